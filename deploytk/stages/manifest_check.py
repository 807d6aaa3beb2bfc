"""Look at an image manifest (CSV) before anything is trained on it; on request a cleaned one and the class index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import usage
from deploytk.artifact import versions_of
from deploytk.budget import Verdict
from deploytk.data import class_index
from deploytk.data.checks import image_checks
from deploytk.data.checks.looking import Listener
from deploytk.data.class_index import ClassIndex
from deploytk.data.dataset import SPLITS
from deploytk.data.manifests import cleaning
from deploytk.data.manifests.cleaning import Cleaned
from deploytk.data.manifests.looks import Name
from deploytk.data.manifests.manifest import NONE
from deploytk.data.manifests.survey import Survey, none_there, survey
from deploytk.errors import EXIT_PASS, EXIT_RULE
from deploytk.files import write_json
from deploytk.report import Finding, Report
from deploytk.stages import data_findings
from deploytk.stages.data_check import DETAILS
from deploytk.stages.data_findings import counted

#: What was seen in each file, beside the report or the cleaned manifests.
MEMORY = "data-check.sqlite"
#: Classes in the report, the rarest; data-check.json has them all.
_CLASSES = 200


def check(
    paths: Sequence[Path],
    *,
    deep: bool = False,
    jobs: int | None = None,
    least: int = 10,
    remove: Path | None = None,
    index: Path | None = None,
    out: Path | None = None,
    cache: Path | None = None,
    engine: Name = "processes",
    listen: Listener = lambda _event: None,
) -> Report:
    """The report on a manifest; with errors it fails.

    Args:
        paths: CSV files with a header: path, label, and if wanted split, x1, y1, x2, y2. They stay as they are.
        deep: decode each image to its end, and look for nearly equal pictures in other splits.
        jobs: how many processes look at images; as many as there are cores where it is None.
        least: with fewer images in train a class is rare.
        remove: folder for the manifests without the rows that cannot be used; it must not be there yet.
        index: file for the class index.
        out: folder for `data-check.json` with every place.
        cache: file in which what was seen is remembered; None: beside `out` or `remove`.
        engine: where images are looked at: in processes here, or on a Ray cluster.

    Raises:
        InputError: a file is no manifest, or `remove` cannot be written.
        MissingDependency: polars is not installed, or Ray where it is asked for.
    """
    paths = tuple(paths)
    if remove is not None:
        cleaning.require_new(remove, paths)
    memory = cache or _memory(out, remove)
    jobs = jobs or usage.cores()
    found = survey(paths, deep=deep, jobs=jobs, least=least, cache=memory, listen=listen, engine=engine)
    cleaned = cleaning.clean(found, remove) if remove is not None else None
    classes = _index(found, cleaned)
    if index is not None:
        class_index.write(index, classes)
    report = _report(found, deep=deep, cleaned=cleaned, index=classes if index else None, memory=memory)
    if out is not None:
        write_json(out / DETAILS, _details(found, report))
    return report


def _memory(out: Path | None, remove: Path | None) -> Path | None:
    if out is not None:
        return out / MEMORY
    return remove.with_name(f"{remove.name}.{MEMORY}") if remove is not None else None


def _index(found: Survey, cleaned: Cleaned | None) -> ClassIndex:
    """Of the labels that are there; of those that are left, where the manifest was cleaned."""
    told = found.manifest
    there = told.label != NONE
    if cleaned is not None:
        there[list(found.rejected)] = False
    return class_index.of_labels(told.classes[number] for number in np.unique(told.label[there]).tolist())


def _report(
    found: Survey, *, deep: bool, cleaned: Cleaned | None, index: ClassIndex | None, memory: Path | None
) -> Report:
    findings = tuple(data_findings.finding(found, problems) for problems in data_findings.by_rule(found.problems))
    errors = [f for f in findings if f.severity == "error"]
    section = {
        "source": ", ".join(map(str, found.manifest.sources)),
        "manifest": True,
        "deep": deep,
        "splits": _splits(found),
        "rules": [data_findings.section(found, problems) for problems in data_findings.by_rule(found.problems)],
        "class_count": len(found.counts),
        "classes": _classes(found)[:_CLASSES],
        "notes": list(_notes(found, deep, memory)),
        "cleaned": {**asdict(cleaned), "folder": str(cleaned.folder)} if cleaned else None,
        "class_index": {"classes": len(index.classes), "sha256": index.sha256} if index else None,
    }
    return Report(
        command="data check",
        title=", ".join(path.name for path in found.manifest.sources),
        verdict=Verdict(status="fail" if errors else "pass", reasons=tuple(_reasons(found, errors, cleaned, index))),
        exit_code=EXIT_RULE if errors else EXIT_PASS,
        findings=findings,
        versions=versions_of("deploytk", "pillow", "simplejpeg", "polars"),
        sections={"data_check": section},
    )


def _splits(found: Survey) -> list[dict[str, Any]]:
    told, rows = found.manifest, []
    unusable = np.array([found.looks.unusable(image) for image in range(len(told.images))], dtype=bool)
    for split in told.splits:
        of = told.split == SPLITS.index(split)
        images = np.unique(told.image[of & (told.image != NONE)])
        row = {
            "split": split,
            "rows": int(of.sum()),
            "images": len(images),
            "unusable": int(unusable[images].sum()),
            "classes": len(np.unique(told.label[of & (told.label != NONE)])),
        }
        rows.append(row)
    return rows


def _classes(found: Survey) -> list[dict[str, Any]]:
    """Each class with its rows in each split, the rarest in train first."""
    first = found.manifest.splits[0]
    ranked = sorted(found.counts.items(), key=lambda each: (each[1][first], each[0]))
    return [{"class": name, **of} for name, of in ranked]


def _notes(found: Survey, deep: bool, memory: Path | None) -> Iterator[str]:
    if none_there(found):
        root = found.manifest.sources[0].absolute().parent
        yield f"not one image was found: paths are absolute, or relative to the folder of the manifest, {root}"
    if not deep:
        yield "without --deep, images are not decoded, and nearly equal pictures in other splits are not looked for"
    elif not image_checks.strict_decoder():
        yield (
            "simplejpeg is not installed: changed bytes and blocks of zeros within a JPEG were not looked for "
            "(pip install 'deploytk[data]')"
        )
    if memory is not None and found.looks.remembered:
        yield f"{counted(found.looks.remembered, 'image')} had not changed since they were looked at ({memory})"


def _reasons(
    found: Survey, errors: Sequence[Finding], cleaned: Cleaned | None, index: ClassIndex | None
) -> Iterator[str]:
    told = found.manifest
    places = sum(p.is_error for p in found.problems)
    warned = sorted({p.rule.code for p in found.problems if p.rule.severity == "warning"})
    classes = "1 class" if len(told.classes) == 1 else f"{len(told.classes):,} classes"
    said = f"{counted(len(told), 'row')}, {counted(len(told.images), 'image')} of {classes}"
    if errors:
        yield f"{said}: {counted(places, 'error')} ({', '.join(f.rule for f in errors)})"
    else:
        yield f"{said}: no error" + (f"; warnings: {', '.join(warned)}" if warned else "")
    if cleaned is not None:
        kept = ", ".join(f"{count:,} in {split}" for split, count in cleaned.images.items())
        left_out = f"{counted(cleaned.rejected, 'row')} left out (rejected.csv)"
        yield f"cleaned: {cleaned.folder} has {kept}; {left_out if cleaned.rejected else 'nothing was left out'}"
    if index is not None:
        yield f"class index: {len(index.classes):,} classes, sha256 {index.sha256[:12]}"


def _details(found: Survey, report: Report) -> dict[str, Any]:
    """Every place of every rule, and every class."""
    section = {**report.sections["data_check"], "classes": _classes(found)}
    return {**section, "problems": data_findings.places(found, found.problems)}
