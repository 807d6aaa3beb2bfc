"""Calibration sets: make one, check one against the files as they are now, list those that can be named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.budget import Verdict
from deploytk.data import calibration, calibration_making, labelled, preparation_file
from deploytk.data.calibration import CalibrationSet
from deploytk.data.calibration_file import FILE
from deploytk.data.labelled import Pool
from deploytk.data.preparation import Preparation, Task
from deploytk.errors import InputError
from deploytk.report import Finding, Report

#: Where neither --imgsz nor --prepare says it: a profile's own default, and what most classifiers are trained with.
_SIDES: dict[Task, int] = {"detector": 640, "classifier": 224}
#: How many files are named one by one.
_NAMED = 8


def make(
    data: Path, *, name: str, samples: int, imgsz: int | None, prepare: Path | None, seed: int, out: Path
) -> Report:
    """The report of the calibration set that now stands in the folder `out`/`name`.

    Raises:
        InputError: what is wrong with the data, the preparation or the splits; or another set of that name stands
            there already, for a set that was used must not become another one under the same name.
    """
    pool = labelled.read(data)
    how = _preparation(pool, imgsz, prepare)
    made = calibration_making.drawn(pool, out / name, name=name, samples=samples, seed=seed, preparation=how)
    _refuse_other(made)
    return _report("calibrate make", made.save(), [*_shortages(made), *_unproven(made)])


def check(name: str) -> Report:
    """The report on a calibration set, its samples and its evaluation images as they are now.

    Raises:
        InputError: no such set, a sample that is missing or has changed, or one that is an evaluation image too.
    """
    found = calibration.load(name)
    _refuse_changed(found)
    return _report("calibrate check", found, [*_shortages(found), *_evaluation_now(found)])


def listed() -> list[dict[str, Any]]:
    """The sets that can be named, one row each; of a broken one `error` says what is wrong."""
    return [_row(name, folder) for name, folder in calibration.found().items()]


def _row(name: str, folder: Path) -> dict[str, Any]:
    try:
        found = calibration.load(str(folder))
    except InputError as error:
        return {"name": name, "folder": str(folder), "error": error.message}
    return {"name": name, "folder": str(folder), **_facts(found)}


def _preparation(pool: Pool, imgsz: int | None, prepare: Path | None) -> Preparation:
    if prepare is not None:
        return preparation_file.stated(prepare)
    return calibration_making.usual(pool.task, imgsz or _SIDES[pool.task])


def _refuse_other(made: CalibrationSet) -> None:
    """Nothing, where no other set stands in the folder; a broken one may be replaced."""
    file = made.folder / FILE
    try:
        before = calibration.load(str(file)) if file.is_file() else made
    except InputError:
        return
    if before.sha256 != made.sha256:
        raise InputError(
            f"{made.folder}: another calibration set of this name stands here (sha256 {before.sha256[:12]}, this one "
            f"{made.sha256[:12]}); choose another --name, or remove that folder"
        )


def _refuse_changed(found: CalibrationSet) -> None:
    wrong = []
    for sample in found.told.samples:
        try:
            found.bytes_of(sample)
        except InputError as error:
            wrong.append(error.message)
    if wrong:
        more = [f"and {len(wrong) - _NAMED} samples more"] if len(wrong) > _NAMED else []
        reasons = (*wrong[:_NAMED], *more)
        raise InputError("\n".join(reasons), reasons=reasons)


def _shortages(found: CalibrationSet) -> list[Finding]:
    """What the set lacks of what was asked for."""
    told, short = found.told, []
    if found.images < told.asked:
        message = f"{told.asked} samples asked for, {found.images} different images are in the training split"
        short.append(_finding("CAL001", found, message, "the set has all of them"))
    uncovered = [name for name, count in told.coverage.classes.items() if not count]
    if uncovered:
        some = f"{', '.join(uncovered[:_NAMED])}{' ...' if len(uncovered) > _NAMED else ''}"
        message = f"no sample has {some} ({len(uncovered)} of {len(told.coverage.classes)} classes)"
        short.append(_finding("CAL002", found, message, "ask for more --samples, or label training images of them"))
    return short


def _unproven(found: CalibrationSet) -> list[Finding]:
    if found.told.evaluation.images:
        return []
    message = "the dataset has no evaluation split (val, test) that the samples could be told apart from"
    return [_finding("CAL003", found, message, "keep what the model is judged with out of the training split")]


def _evaluation_now(found: CalibrationSet) -> list[Finding]:
    """What has become of the evaluation splits since; an overlap is refused."""
    try:
        pool = labelled.read(found.dataset)
    except InputError as error:
        fix = "the samples are known to be apart from the evaluation images of the day the set was made"
        return [_finding("CAL004", found, f"the dataset cannot be read any more ({error.message})", fix)]
    sums = calibration_making.evaluated(pool)
    samples = [(found.path_of(sample), sample.sha256) for sample in found.told.samples]
    calibration_making.refuse_overlap(samples, sums)
    if calibration_making.evaluation_of(pool, sums) == found.told.evaluation:
        return _unproven(found)
    message = "the evaluation splits are not those of the day the set was made; the samples are apart from these too"
    return [_finding("CAL005", found, message, "make the set again, so that it names what the model is judged with")]


def _finding(rule: str, found: CalibrationSet, message: str, fix: str) -> Finding:
    return Finding(rule=rule, severity="warning", where=found.name, message=message, fix=fix)


def _report(command: str, found: CalibrationSet, findings: list[Finding]) -> Report:
    evaluation = found.told.evaluation.images
    apart = " and ".join(f"{count} {split}" for split, count in evaluation.items()) or "no"
    reasons = (
        f"{found.folder}: {found.images} training images of {found.dataset}, sha256 {found.sha256}",
        f"{found.preparation.summary}; none of them is among the {apart} images, by content",
        *(str(finding) for finding in findings),
    )
    return Report(
        command=command,
        title=f"calibration set {found.name}",
        verdict=Verdict(status="pass", reasons=reasons),
        exit_code=0,
        findings=tuple(findings),
        sections={"calibration": _facts(found)},
    )


def _facts(found: CalibrationSet) -> dict[str, Any]:
    told = found.told
    return {
        "sha256": found.sha256,
        "dataset": str(found.dataset),
        "images": found.images,
        "seed": told.seed,
        "preparation": found.preparation.summary,
        "preparation_sha256": told.preparation_sha256,
        "evaluation": told.evaluation.model_dump(mode="json"),
        "classes": told.coverage.classes,
        "brightness": [
            {"of": "the samples", **told.coverage.brightness.model_dump()},
            {"of": "the training split", **told.coverage.brightness_of_train.model_dump()},
        ],
    }
