"""`deploytk train PROFILE --matrix level=2,3,4 activation=relu,leaky`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploytk.cli.common import say_last
from deploytk.cli.live import live
from deploytk.errors import DeploytkError, InputError

if TYPE_CHECKING:
    from deploytk.cli.options import Overrides
    from deploytk.report import Report
    from deploytk.stages.matrix_axes import Variant


def several(names: Sequence[str], given: Overrides, out: Path | None, *, jobs: int, how: Any) -> Report:
    """The report of several profiles, each trained for itself."""
    from deploytk.cli.train import told_how_to_go_on
    from deploytk.stages.matrix import matrix

    variants, refused = loaded(names, given)
    folder = (out or Path("runs") / "several").absolute()
    with live({v.name: v.profile.train.epochs for v in variants}) as listen, told_how_to_go_on(folder):
        report = matrix(folder.name, variants, folder, jobs=jobs, how=how, listen=listen, refused=refused)
    say_last(f"report: {folder / 'report.html'}")
    return report


def loaded(names: Sequence[str], given: Overrides) -> tuple[list[Variant], dict[str, DeploytkError]]:
    """(the profiles with these names, why the others are none).

    Raises:
        InputError: two of them have the same name.
    """
    from deploytk import profile_loading
    from deploytk.stages import train_parts
    from deploytk.stages.matrix_axes import Variant

    variants, refused = [], dict[str, DeploytkError]()
    for name in names:
        try:
            profile = profile_loading.load(name, given)
            train_parts.refuse_parts(profile, "each of several is")
        except DeploytkError as error:
            refused[Path(name).stem if "/" in name else name] = error
        else:
            variants.append(Variant(name=profile.name, values={"model": profile.name}, profile=profile))
    twice = {v.name for v in variants if [w.name for w in variants].count(v.name) > 1}
    if twice:
        raise InputError(f"{', '.join(sorted(twice))}: named more than once; their run folders would be the same")
    return variants, refused


def trained(which: str, axes: Sequence[str], given: Overrides, out: Path | None, *, jobs: int, how: Any) -> Report:
    """The report of all variants of the profile `which`."""
    from deploytk import profile_loading
    from deploytk.cli.train import told_how_to_go_on
    from deploytk.stages import matrix_axes, train_parts
    from deploytk.stages.matrix import matrix

    train_parts.refuse_parts(profile_loading.load(which, given), "a matrix varies")
    variants, findings = matrix_axes.expanded(axes, lambda chosen: profile_loading.load(which, {**given, **chosen}))
    title = f"{profile_loading.load(which, given).name}-matrix"
    folder = (out or Path("runs") / title).absolute()
    with live({v.name: v.profile.train.epochs for v in variants}) as listen, told_how_to_go_on(folder):
        report = matrix(title, variants, folder, jobs=jobs, how=how, listen=listen, findings=findings)
    say_last(f"report: {folder / 'report.html'}")
    return report
