"""Say what went wrong in a training, with the lines that show it, ranked causes, and the profile to try next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploytk.artifact import versions_of
from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PASS, EXIT_TRAINING, InputError
from deploytk.files import write_text
from deploytk.profile import Profile
from deploytk.report import Finding, Report, Severity
from deploytk.stages.run_folder import RunFolder
from deploytk.training.diagnosis import data_facts, patches, reading, verdict
from deploytk.training.diagnosis.case import BAD, Case
from deploytk.training.diagnosis.causes import Ranked, ranked
from deploytk.training.diagnosis.data_facts import DataFacts
from deploytk.training.diagnosis.values import Curves
from deploytk.training.diagnosis.verdict import Diagnosis, Word

#: word -> (verdict, exit code)
ENDS: Mapping[Word, tuple[Status, int]] = {
    "healthy": ("pass", EXIT_PASS),
    "healthy_transient": ("pass", EXIT_PASS),
    "early_stop": ("inconclusive", EXIT_INCONCLUSIVE),
    "degraded": ("fail", EXIT_TRAINING),
    "collapsed": ("fail", EXIT_TRAINING),
    "never_learned": ("fail", EXIT_TRAINING),
    "failed": ("fail", EXIT_TRAINING),
}
_IMGSZ = 640


@dataclass(frozen=True, kw_only=True)
class _Looked:
    """What was found out, and where the profile of a run stands."""

    curves: Curves
    diagnosis: Diagnosis
    causes: tuple[Ranked, ...]
    base: dict[str, Any]
    run: Path | None
    notes: tuple[str, ...] = ()


def diagnose(path: Path, *, data: Path | None = None, patch: Path | None = None) -> Report:
    """The report on a training: a word for how it ended, what shows it, causes with the profile patch for each.

    Args:
        path: a run folder, a results.csv, a console log, a trainer_state.json, or the folder of one.
        data: the dataset it was trained on, to look at its labels; the run's own where that can be read.
        patch: the file for a profile with the changes of the likeliest cause; written only where there is one.

    Raises:
        InputError: nothing there, or no log of a training; `data` was given and is wrong.
    """
    curves = reading.read(path)
    run = path if curves.kind == "run" and (path / "profile.json").is_file() else None
    base, said = _base(curves, run)
    facts, also = _facts(curves, data)
    found = verdict.judge(curves)
    causes = tuple(ranked(Case(curves=curves, diagnosis=found, data=facts)))
    if found.word in BAD and not causes:
        also = (*also, "nothing in the log explains it; give the data (--data) and keep args.yaml beside the log")
    notes = (*said, *also, *(f"{n.where}: {n.text}" for n in list(curves.said("reading"))[:20]))
    looked = _Looked(curves=curves, diagnosis=found, causes=causes, base=base, run=run, notes=notes)
    return _report(path, looked, written=_write(patch, looked) if patch else None)


def _base(curves: Curves, run: Path | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    profile: Profile | None = None
    said: tuple[str, ...] = ()
    if run is not None:
        try:
            profile = RunFolder(run).profile()
        except InputError as error:
            said = (error.message,)
    return patches.base_of(curves, profile), said


def _facts(curves: Curves, data: Path | None) -> tuple[DataFacts | None, tuple[str, ...]]:
    """The facts of the dataset; of the run's own only where it is there, and its faults are a note."""
    told = curves.setting("imgsz")
    imgsz = told if isinstance(told, int) and 32 <= told <= 65536 else _IMGSZ
    if data is not None:
        return data_facts.read(data, imgsz), ()
    own = curves.setting("data")
    try:
        if not isinstance(own, str) or not Path(own).is_absolute() or not Path(own).exists():
            return None, ("the dataset was not looked at; give it with --data",) if own else ()
        return data_facts.read(Path(own), imgsz), ()
    except (InputError, OSError, ValueError) as error:
        return None, (f"the dataset cannot be read: {error}",)


def _write(out: Path, looked: _Looked) -> str | None:
    """The path of the profile with the likeliest cause's patch; None where no cause has one."""
    best = next((c for c in looked.causes if _usable(c, looked)), None)
    if best is None:
        return None
    run = looked.run if "schema" in looked.base else None
    text = patches.profile_yaml(best.found.patch, looked.base, run=run, out=out, source=looked.curves.source)
    write_text(out, text)
    return str(out)


def _usable(cause: Ranked, looked: _Looked) -> bool:
    return bool(cause.found.patch) and patches.valid(looked.base, cause.found.patch)


def _report(path: Path, looked: _Looked, written: str | None) -> Report:
    word = looked.diagnosis.word
    status, code = ENDS[word]
    return Report(
        command="diagnose",
        title=path.name,
        verdict=Verdict(status=status, reasons=looked.diagnosis.reasons),
        exit_code=code,
        findings=tuple(_finding(cause, looked) for cause in looked.causes),
        versions=versions_of("deploytk"),
        sections={"diagnosis": _section(looked) | {"written": written}},
    )


def _section(looked: _Looked) -> dict[str, Any]:
    curves = looked.curves
    return {
        "verdict": looked.diagnosis.word,
        "source": curves.source,
        "kind": curves.kind,
        "rows": len(curves.rows),
        "unit": curves.unit,
        "planned": curves.planned,
        "metric": _metric(curves),
        "settings": {name: s.value for name, s in sorted(curves.settings.items())},
        "evidence": [asdict(e) for e in looked.diagnosis.evidence],
        "causes": [_told(cause, looked) for cause in looked.causes],
        "notes": list(looked.notes),
    }


def _metric(curves: Curves) -> dict[str, Any] | None:
    series = curves.metric()
    best = series.best() if series else None
    if series is None or best is None:
        return None
    last = series.points[-1]
    return {
        "name": series.name.removeprefix("metric/"),
        "best": best.value,
        "best_at": best.epoch,
        "last": last.value,
        "last_at": last.epoch,
    }


def _told(cause: Ranked, looked: _Looked) -> dict[str, Any]:
    usable = _usable(cause, looked)
    return {
        "code": cause.code,
        "sentence": cause.sentence,
        "found": cause.found.said,
        "score": cause.found.score,
        "evidence": [asdict(e) for e in cause.found.evidence],
        "patch": patches.as_yaml(cause.found.patch) if usable else "",
        "changes": dict(cause.found.patch) if usable else {},
        "advice": cause.found.advice,
    }


def _finding(cause: Ranked, looked: _Looked) -> Finding:
    where = cause.found.evidence[0].where if cause.found.evidence else looked.curves.source
    changes = patches.one_line(cause.found.patch) if _usable(cause, looked) else ""
    fix = "; ".join(filter(None, [f"try {changes}" if changes else "", cause.found.advice]))
    message = f"{cause.sentence} {cause.found.said}"
    severity: Severity = "warning" if looked.diagnosis.word in BAD else "info"
    return Finding(rule=cause.code, severity=severity, where=where, message=message, fix=fix)
