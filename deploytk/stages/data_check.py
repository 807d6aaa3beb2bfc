"""Look at a detection dataset before anything is trained on it, and write a cleaned copy where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploytk import usage
from deploytk.artifact import versions_of
from deploytk.budget import Verdict
from deploytk.data.checks import cleaning, image_checks
from deploytk.data.checks.cleaning import Cleaned
from deploytk.data.checks.looking import Listener
from deploytk.data.checks.rules import NoLabelFor
from deploytk.data.checks.survey import Survey, survey
from deploytk.errors import EXIT_PASS, EXIT_RULE
from deploytk.files import write_json
from deploytk.report import Finding, Report
from deploytk.stages import data_findings
from deploytk.stages.data_findings import counted

#: So many pairs are named in the report; data-check.json has them all.
_PAIRS = 50
DETAILS = "data-check.json"


def check(
    path: Path,
    *,
    imgsz: int = 640,
    deep: bool = False,
    jobs: int | None = None,
    fix: Path | None = None,
    out: Path | None = None,
    listen: Listener = lambda _event: None,
) -> Report:
    """The report on a dataset; with errors it fails.

    Args:
        path: a YOLO data.yaml or its folder, or a Pascal-VOC folder. Nothing in it is written to.
        imgsz: side of the network's input in pixels, for the sizes of objects.
        deep: decode each image to its end, and look for nearly equal pictures in other splits.
        jobs: how many images are looked at at once; as many as there are cores where it is None.
        fix: folder for a cleaned dataset; it must not be there yet.
        out: folder for `data-check.json` with every place.

    Raises:
        InputError: no dataset is there, or `fix` cannot be written.
    """
    if fix is not None:
        cleaning.require_new(fix)
    found = survey(path, imgsz=imgsz, deep=deep, jobs=jobs or usage.cores(), listen=listen)
    cleaned = cleaning.clean(found, fix, listen) if fix is not None else None
    report = _report(found, imgsz=imgsz, deep=deep, cleaned=cleaned)
    if out is not None:
        write_json(out / DETAILS, _details(found, report))
    return report


def _report(found: Survey, *, imgsz: int, deep: bool, cleaned: Cleaned | None) -> Report:
    findings = tuple(data_findings.finding(found, problems) for problems in data_findings.by_rule(found.problems))
    errors = [f for f in findings if f.severity == "error"]
    section = {
        "source": str(found.listing.source),
        "imgsz": imgsz,
        "deep": deep,
        "splits": _splits(found),
        "rules": [data_findings.section(found, problems) for problems in data_findings.by_rule(found.problems)],
        "classes": _classes(found),
        "pairs": [_pair(found, pair) for pair in found.pairs[:_PAIRS]],
        "notes": list(_notes(found, deep)),
        "cleaned": {**asdict(cleaned), "folder": str(cleaned.folder)} if cleaned else None,
    }
    return Report(
        command="data check",
        title=_title(found),
        verdict=Verdict(status="fail" if errors else "pass", reasons=tuple(_reasons(found, errors, cleaned))),
        exit_code=EXIT_RULE if errors else EXIT_PASS,
        findings=findings,
        versions=versions_of("deploytk", "pillow", "simplejpeg"),
        sections={"data_check": section},
    )


def _title(found: Survey) -> str:
    source = found.listing.source.resolve()
    return source.name if found.listing.is_voc else f"{source.parent.name}/{source.name}"


def _splits(found: Survey) -> list[dict[str, Any]]:
    rows = []
    for split, images in found.listing.splits.items():
        labels = [found.labels[image] for image in images]
        row = {
            "split": split,
            "images": len(images),
            "unusable": sum(not found.looks[image].usable for image in images),
            "without_objects": sum(not each.lines for each in labels),
            "unlabelled": sum(any(p.rule is NoLabelFor for p in each.problems) for each in labels),
            "objects": sum(len(each.lines) for each in labels),
        }
        rows.append(row)
    return rows


def _classes(found: Survey) -> list[dict[str, Any]]:
    rows = []
    for name, objects in found.counts.items():
        sides = found.sides.get(name)
        sizes = {"median_px": sides.median_px, "tenth_px": sides.tenth_px} if sides else {}
        rows.append({"class": name, **objects, **sizes})
    return rows


def _pair(found: Survey, pair: Any) -> dict[str, Any]:
    told = asdict(pair)
    return {**told, "image": found.shown(pair.image), "other": found.shown(pair.other)}


def _notes(found: Survey, deep: bool) -> Iterator[str]:
    if not deep:
        yield "without --deep, images are not decoded, and nearly equal pictures in other splits are not looked for"
    elif not image_checks.strict_decoder() and any(each.kind == "JPEG" for each in found.looks.values()):
        yield (
            "simplejpeg is not installed: changed bytes and blocks of zeros within a JPEG were not looked for "
            "(pip install 'deploytk[data]')"
        )


def _reasons(found: Survey, errors: Sequence[Finding], cleaned: Cleaned | None) -> Iterator[str]:
    objects = sum(sum(of.values()) for of in found.counts.values())
    images, classes = len(found.listing.images), len(found.classes)
    places = sum(p.is_error for p in found.problems)
    warned = sorted({p.rule.code for p in found.problems if p.rule.severity == "warning"})
    of = "1 class" if classes == 1 else f"{classes:,} classes"
    told = f"{counted(images, 'image')}, {counted(objects, 'object')} of {of}"
    if errors:
        rules = ", ".join(f.rule for f in errors)
        yield f"{told}: {counted(places, 'error')} ({rules})"
    else:
        yield f"{told}: no error" + (f"; warnings: {', '.join(warned)}" if warned else "")
    if cleaned is not None:
        kept = ", ".join(f"{count:,} in {split}" for split, count in cleaned.images.items())
        left_out = f"{counted(cleaned.rejected_images, 'image')} and {counted(cleaned.rejected_lines, 'label line')}"
        had = f"{kept}, {counted(cleaned.objects, 'object')}"
        told = f"left out: {left_out} (rejected.csv)" if cleaned.rejected else "nothing was left out"
        yield f"cleaned: {cleaned.folder} has {had}; {told}"


def _details(found: Survey, report: Report) -> dict[str, Any]:
    """Every place of every rule, every class and every pair."""
    section = {**report.sections["data_check"], "pairs": [_pair(found, pair) for pair in found.pairs]}
    return {"root": str(found.listing.root), **section, "problems": data_findings.places(found, found.problems)}
