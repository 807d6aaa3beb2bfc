"""Train the two models of a pipeline in turns: so many epochs of the detector, so many of the classifier, and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploytk import plugins
from deploytk.budget import Verdict
from deploytk.errors import InputError, MissingDependency, TrainingFailed
from deploytk.files import plain, write_json
from deploytk.measurement import Machine
from deploytk.profile import PART_NAMES, Profile
from deploytk.report import Finding, Report
from deploytk.stages import train as one
from deploytk.stages import train_begin, train_modes
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train_begin import How
from deploytk.stages.train_settings import Settings
from deploytk.training import state as states
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder
from deploytk.worker import Listener

#: How far both are, for people and for other programs; what a resume goes by stands with each part.
STATE = "two-stage.json"
#: The name of a part -> who listens to its training.
Listeners = Callable[[str], Listener | None]


def nobody(_name: str) -> None:
    """No listener for any part."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A part with all that its training needs."""

    name: str
    profile: Profile
    run: RunFolder
    wanted: Settings
    cycle: int
    findings: tuple[Finding, ...]

    @property
    def reached(self) -> int:
        """The last epoch that is kept."""
        last = Shelf(Folder(run=self.run.path).checkpoints, self.profile.keep).last
        return last.epoch if last else 0

    @property
    def turns(self) -> int:
        """How many turns it has had; the last epoch of one counts also where it was too bad to be kept."""
        state = states.read(Folder(run=self.run.path))
        steps = [s for s in (state.steps if state else ()) if s.outcome and s.outcome.ended == "done"]
        return max([self.reached, *(s.segment.last_epoch for s in steps)]) // self.cycle


def part_folder(out: Path, name: str) -> RunFolder:
    """The run folder of a part: a whole one, for every command."""
    return RunFolder(out / name)


def refuse_parts(profile: Profile, what: str, out: Path | None = None) -> None:
    """Nothing, where the profile has one model.

    Raises:
        InputError: it has two; `what` says what is done with one at a time.
    """
    if profile.parts is not None:
        where = " or ".join(str((out or Path("RUN")) / name) for name in PART_NAMES)
        raise InputError(f"{profile.name} is a pipeline of two models: {what} one of them ({where})")


def train(profile: Profile, out: Path, listeners: Listeners = nobody, *, how: How = "auto") -> Report:
    """The report of both trainings, in `out`/detector and `out`/classifier.

    Args:
        how: as for one model, and for both.

    Raises:
        InputError: the preflight of one found an error; nothing was started or written.
        TrainingFailed: one ended without a usable model; the other was trained to its end all the same.
    """
    turns = [_turn(profile, out, name) for name in PART_NAMES]
    for turn in turns:
        train_begin.refuse_own_weights(turn.profile, turn.run)
        if how != "restart":
            train_begin.require_same(turn.run, turn.wanted, "auto" if how == "auto" or _fresh(turn) else how)
    RunFolder(out).save_profile(profile)
    failed = _taken_on(turns, out, listeners, how)
    reports = {
        t.name: one.train(t.profile, t.run.path, listeners(t.name), already="trained in turns")
        for t in turns
        if t.name not in failed
    }
    if failed:
        told = [f"{name}: {error.message}" for name, error in failed.items()]
        others = [f"{name}: trained, {reports[name].verdict.reasons[-1]}" for name in reports]
        raise TrainingFailed("\n".join([*told, *others]), reasons=(*told, *others))
    return _report(profile, reports)


def look(mode: str, profile: Profile, out: Path, listeners: Listeners = nobody) -> Report:
    """The report of `--mode validate` or `smoke` on both parts.

    Raises:
        DeploytkError: what one of them would have ended with.
    """
    reports = {}
    for name in PART_NAMES:
        own, folder = profile.part(name), part_folder(out, name).path
        validate = mode == "validate"
        reports[name] = (
            train_modes.validate(own, folder) if validate else train_modes.smoke(own, folder, listeners(name))
        )
    return _joined(profile, reports, {f"{name}: {k}": v for name, r in reports.items() for k, v in r.sections.items()})


def _turn(profile: Profile, out: Path, name: str) -> Turn:
    own = profile.part(name)
    run = part_folder(out, name)
    backend = plugins.load("backends", own.backend)
    try:
        findings = one.preflight(own, run.path, backend)
    except (InputError, MissingDependency) as error:
        reasons = tuple(f"parts.{name}: {reason}" for reason in error.message.splitlines())
        raise type(error)("\n".join(reasons), reasons=reasons) from error
    cycle = getattr(profile.parts, name).cycle or own.train.epochs
    return Turn(
        name=name,
        profile=own,
        run=run,
        wanted=Settings.of(own, backend),
        cycle=cycle,
        findings=tuple(findings),
    )


def _fresh(turn: Turn) -> bool:
    return states.read(Folder(run=turn.run.path)) is None


def _taken_on(turns: list[Turn], out: Path, listeners: Listeners, how: How) -> Mapping[str, TrainingFailed]:
    """The parts whose training failed; all others have no epoch left to train."""
    failed: dict[str, TrainingFailed] = {}
    asked: dict[str, How] = {t.name: "auto" if how == "resume" and _fresh(t) else how for t in turns}
    left = {turn.name: turn for turn in turns}
    while left:
        # Whoever has had fewer turns, the detector first: also after a kill, whatever was going on then.
        turn = min(left.values(), key=lambda t: t.turns if asked[t.name] != "restart" else -1)
        until = (0 if asked[turn.name] == "restart" else turn.turns * turn.cycle) + turn.cycle
        try:
            state = one.take_on(
                turn.profile, turn.run, turn.wanted, until, how=asked[turn.name], listen=listeners(turn.name)
            )
        except TrainingFailed as error:
            failed[turn.name] = error
            del left[turn.name]
        else:
            if state.status == "done":
                del left[turn.name]
        asked[turn.name] = "auto"
        _tell(turns, failed, left, out)
    return failed


def _tell(turns: list[Turn], failed: Mapping[str, TrainingFailed], left: Mapping[str, Turn], out: Path) -> None:
    rows = {}
    for turn in turns:
        shelf = Shelf(Folder(run=turn.run.path).checkpoints, turn.profile.keep)
        best, status = shelf.best, "failed" if turn.name in failed else "running" if turn.name in left else "done"
        row = {"epochs": turn.reached, "of": turn.profile.train.epochs, "cycle": turn.cycle, "status": status}
        rows[turn.name] = row | ({"best_epoch": best.epoch, "metrics": dict(best.metrics)} if best else {})
    write_json(out / STATE, plain({"time": round(time.time(), 3), "parts": rows}))


def _report(profile: Profile, reports: Mapping[str, Report]) -> Report:
    return _joined(profile, reports, {"parts": [_row(profile, name, report) for name, report in reports.items()]})


def _joined(profile: Profile, reports: Mapping[str, Report], sections: Mapping[str, Any]) -> Report:
    undecided = [r for r in reports.values() if r.verdict.status != "pass"]
    reasons = tuple(f"{name}: {reason}" for name, r in reports.items() for reason in r.verdict.reasons)
    verdict = Verdict(status=undecided[0].verdict.status if undecided else "pass", reasons=reasons)
    return Report(
        command="train",
        title=profile.name,
        verdict=verdict,
        exit_code=verdict.exit_code,
        chain=tuple(artifact for r in reports.values() for artifact in r.chain),
        findings=tuple(finding for r in reports.values() for finding in r.findings),
        machine=Machine.this(),
        versions={name: version for r in reports.values() for name, version in r.versions.items()},
        sections=sections,
    )


def _row(profile: Profile, name: str, report: Report) -> dict[str, Any]:
    summary, own = report.sections["train"], profile.part(name)
    return {
        "part": name,
        "model": f"{own.model.arch}{own.model.scale if own.backend != 'classifier' else ''}",
        "epochs": len(summary.get("epochs", ())),
        "cycle": getattr(profile.parts, name).cycle,
        "best_epoch": summary.get("best_epoch"),
        "metrics": {k: v for k, v in summary["metrics"].items() if isinstance(v, int | float)},
        "sha256": report.artifact.sha256 if report.artifact else "",
        "folder": name,
    }
