"""`deploytk train PROFILE --matrix level=2,3,4 activation=relu,leaky`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploytk.cli.common import say_last
from deploytk.cli.live import live

if TYPE_CHECKING:
    from deploytk.cli.options import Overrides
    from deploytk.report import Report


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
