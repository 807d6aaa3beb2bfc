"""Several learning rates of a profile tried by short real trainings, and the one to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploytk import plugins
from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PASS, EXIT_TRAINING, InputError
from deploytk.files import plain, write_json
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.report.render import write
from deploytk.stages.matrix import matrix
from deploytk.stages.matrix_axes import Variant
from deploytk.stages.train_begin import How
from deploytk.training import shelf, sweep, sweep_picture
from deploytk.training import state as states
from deploytk.training.diagnosis import patches
from deploytk.training.shelf import Entry
from deploytk.training.state import Folder
from deploytk.training.sweep import Point, Recommendation, Word
from deploytk.worker import Listener

#: word -> (verdict, exit code)
_ENDS: Mapping[Word, tuple[Status, int]] = {
    "found": ("pass", EXIT_PASS),
    "at_an_end": ("inconclusive", EXIT_INCONCLUSIVE),
    "nothing_learned": ("inconclusive", EXIT_INCONCLUSIVE),
    "all_diverged": ("fail", EXIT_TRAINING),
    "failed": ("fail", EXIT_TRAINING),
}
_DIVERGED = ("nan", "collapse")
#: A loss that ends above so many times what it began with has run away.
LOSS_RATIO = 10.0


def default_epochs(profile: Profile) -> int:
    """How long a point is trained where nobody says so: a tenth of the training, at least 3 epochs."""
    return min(profile.train.epochs, max(3, round(profile.train.epochs / 10)))


def variants(profile: Profile, rates: Sequence[float], epochs: int) -> list[Variant]:
    """A short training for each rate, alike but for it: nothing that changes the rate on the way is left on.

    Raises:
        InputError: the profile's optimizer chooses its own learning rate.
    """
    if profile.train.optimizer == "auto":
        raise InputError("optimizer: auto ignores lr0, there is nothing to sweep; name one: train: {optimizer: AdamW}")
    base = profile.model_dump(mode="json", by_alias=True)
    return [_variant(base, rate, epochs) for rate in rates]


def _variant(base: dict[str, Any], rate: float, epochs: int) -> Variant:
    alike = {
        "name": f"{base['name']}-lr-{rate:.10g}",
        "train": {"lr0": rate, "epochs": epochs, "patience": 0},
        "guard": {"nan": "fail", "collapse": "fail"},
        "rules": [],
    }
    wanted = Profile.model_validate(patches.laid_over(base, alike))
    return Variant(name=f"lr-{rate:.10g}", values={"lr0": f"{rate:.10g}"}, profile=wanted)


def sweep_lr(
    profile: Profile,
    rates: Sequence[float],
    out: Path,
    *,
    epochs: int,
    jobs: int = 1,
    how: How = "auto",
    listen: Callable[[str], Listener] | None = None,
) -> Report:
    """The report of a sweep, with the learning rate to take; `out` then has lr-sweep.json, lr-sweep.png and report.*.

    Each point is a training in `out`/lr-RATE. What is finished or has diverged is not trained again.

    Raises:
        InputError, MissingDependency: something is wrong with one of the points; nothing was started.
    """
    points = variants(profile, rates, epochs)
    trained = matrix(f"{profile.name}-sweep", points, out, jobs=jobs, how=_how(points, out, how), listen=listen)
    metric = str(plugins.load("backends", profile.backend).PRIMARY)
    rows = trained.sections["matrix"]["rows"]
    became = [_point(rate, row, metric, out / row["folder"]) for rate, row in zip(rates, rows, strict=True)]
    found = sweep.recommended(became)
    told = _told(profile, became, found, metric, epochs)
    write_json(out / "lr-sweep.json", plain(told))
    sweep_picture.draw(out / "lr-sweep.png", became, found, metric)
    report = _report(trained, became, found, told)
    write(report, out)
    return report


def _how(points: Sequence[Variant], out: Path, how: How) -> dict[str, How]:
    """How each point is begun: one that has diverged would do so again, and is not resumed."""
    return {p.name: "auto" if how == "resume" and _has_diverged(out / p.name) else how for p in points}


def _has_diverged(run: Path) -> bool:
    state = states.read(Folder(run=run))
    return bool(state and state.steps and (last := state.steps[-1].outcome) and last.ended in _DIVERGED)


def _point(rate: float, row: Mapping[str, Any], metric: str, run: Path) -> Point:
    if row["status"] != "done":
        if row["ended_as"] not in _DIVERGED:
            return Point(lr=rate, became="failed", reason=str(row["reasons"][0]))
        state = states.read(Folder(run=run))
        return Point(lr=rate, became="diverged", reason=state.reason if state else str(row["reasons"][0]))
    entries = shelf.entries_in(Folder(run=run).checkpoints)
    away = _ran_away(entries)
    if away:
        return Point(lr=rate, became="diverged", reason=away)
    return Point(lr=rate, became="trained", metric=row["metrics"].get(metric), loss=_loss(entries[-1]))


def _ran_away(entries: Sequence[Entry]) -> str:
    """Why a training that came to its end has diverged all the same: it was too short for the guard to say so."""
    first, last = entries[0], entries[-1]
    before, after = _loss(first), _loss(last)
    if last.suspect:
        return "its metric fell below half of its best in the last epoch"
    if before > 0 and after > LOSS_RATIO * before:
        return f"its training loss grew from {before:.4g} to {after:.4g}"
    return ""


def _loss(entry: Entry) -> float:
    return sum(v for v in entry.losses.values() if v is not None)


def _told(profile: Profile, points: Sequence[Point], found: Recommendation, metric: str, epochs: int) -> dict[str, Any]:
    patch = {"train": {"lr0": found.lr}} if found.lr is not None else {}
    return {
        "profile": profile.name,
        "optimizer": profile.train.optimizer,
        "epochs": epochs,
        "seed": profile.train.seed,
        "metric": metric,
        "points": [asdict(p) for p in points],
        "verdict": found.word,
        "recommended": found.lr,
        "best": found.best,
        "tied": list(found.tied),
        "reasons": list(found.reasons),
        "unsettled": sweep.unsettled(points, found),
        "patch": patches.as_yaml(patch) if patch else "",
        "changes": patch,
    }


def _report(trained: Report, points: Sequence[Point], found: Recommendation, told: dict[str, Any]) -> Report:
    status, code = _ENDS[found.word]
    failed = [p for p in points if p.became == "failed"]
    missing = tuple(f"lr0 {p.lr:g} is not known: {p.reason}; try it again with --resume" for p in failed)
    unsettled = (told["unsettled"],) if told["unsettled"] else ()
    if (failed or unsettled) and status == "pass":
        status, code = "inconclusive", EXIT_INCONCLUSIVE
    diverged = tuple(f"lr0 {p.lr:g} diverged: {p.reason}" for p in points if p.became == "diverged")
    first = (f"recommended: {patches.one_line(told['changes'])}",) if told["changes"] else ()
    return Report(
        command="train sweep-lr",
        title=trained.title,
        verdict=Verdict(status=status, reasons=(*first, *found.reasons, *unsettled, *diverged, *missing)),
        exit_code=code,
        findings=trained.findings,
        machine=trained.machine,
        sections={"sweep": told, **trained.sections},
    )
