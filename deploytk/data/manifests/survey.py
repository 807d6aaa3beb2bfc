"""A manifest looked at from every side: one value with all that is wrong and what a cleaned copy leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploytk.data.checks import class_checks
from deploytk.data.checks.looking import Listener
from deploytk.data.checks.rules import Missing, Problem, Unused
from deploytk.data.manifests import copies, looks, manifest, memory, remarks, similar
from deploytk.data.manifests.looks import Looks
from deploytk.data.manifests.manifest import Manifest
from deploytk.data.manifests.remarks import Remark


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found. No image and no manifest was written to."""

    manifest: Manifest
    looks: Looks
    counts: Mapping[str, Mapping[str, int]]  # class -> split -> rows
    problems: tuple[Problem, ...]
    rejected: Mapping[int, Problem]  # row -> the first reason why a cleaned copy leaves it out

    def shown(self, file: Path) -> str:
        """A file as a person is shown it."""
        return file.name


def survey(
    paths: tuple[Path, ...],
    *,
    deep: bool,
    jobs: int,
    least: int,
    cache: Path | None,
    listen: Listener,
    engine: looks.Name = "processes",
) -> Survey:
    """All that is wrong with the manifest in the files `paths`.

    Args:
        least: with fewer images in train a class is rare.
        cache: the file in which what was seen is remembered.
        engine: where images are looked at: on this machine, or on a Ray cluster.

    Raises:
        InputError: a file is no manifest.
        MissingDependency: polars is not installed, or Ray where it is asked for.
    """
    told = manifest.read_all(*paths)
    with memory.opened(cache, deep=deep) as before:
        seen = looks.look_at(told.images, deep=deep, jobs=jobs, memory=before, listen=listen, engine=engine)
    listen({"done": None, "total": None, "text": "copies and classes"})
    counts = told.counts()
    found = list(_remarks(told, seen, deep))
    problems = [_problem(told, each) for each in found]
    listed = [problem for each, problem in zip(found, problems, strict=True) if each.told]
    rejected: dict[int, Problem] = {}
    for each, problem in zip(found, problems, strict=True):
        if each.rejects:
            rejected.setdefault(each.row, problem)
    what = "image" if told.boxes is None else "object"
    classes = class_checks.check(told.sources[0], counts, least=least, what=what)
    order = {path: number for number, path in enumerate(told.sources)}
    ordered = sorted([*_columns(told), *listed, *classes], key=lambda p: (p.rule.code, order[p.file], p.line))
    return Survey(manifest=told, looks=seen, counts=counts, problems=tuple(ordered), rejected=rejected)


def _remarks(told: Manifest, seen: Looks, deep: bool) -> Iterator[Remark]:
    shown = _shown(told)
    yield from remarks.of_rows(told)
    yield from remarks.of_labels(told)
    yield from remarks.of_images(told, seen, shown)
    yield from remarks.of_boxes(told, seen)
    yield from copies.of_rows(told, shown)
    yield from copies.of_content(told, seen, shown)
    if deep:
        yield from similar.check(told, seen, shown)


def _shown(told: Manifest) -> list[str]:
    """Each image as it stands in the manifest, or nearly so."""
    roots = {f"{path.absolute().parent}/" for path in told.sources}
    if len(roots) > 1:
        return list(told.images)
    root = roots.pop()
    return [image.removeprefix(root) for image in told.images]


def _problem(told: Manifest, remark: Remark) -> Problem:
    path, line = told.where(remark.row)
    return Problem(rule=remark.rule, file=path, line=line, said=remark.said)


def _columns(told: Manifest) -> Iterator[Problem]:
    for table in told.tables:
        if table.unused:
            yield Problem(rule=Unused, file=table.path, line=1, said=f"{', '.join(table.unused)}: not read")


def none_there(found: Survey) -> bool:
    """Whether not one image was found: then most likely the paths are meant from another folder."""
    lost = sum(any(rule is Missing for rule, _ in of) for of in found.looks.problems.values())
    return 0 < lost == len(found.manifest.images)
