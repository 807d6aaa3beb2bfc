"""Several text models by one command: each trained, exported, benched for itself, then answered by as one.

What goes wrong with one, at whatever stage, is its row; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_PARITY, EXIT_PASS, DeploytkError
from deploytk.measurement import Machine
from deploytk.report import Report
from deploytk.report.render import write
from deploytk.stages import ensemble as ensembles
from deploytk.stages import ensemble_text, run_text
from deploytk.stages.matrix import matrix
from deploytk.stages.matrix_axes import Variant
from deploytk.stages.train import train
from deploytk.stages.train_begin import How
from deploytk.worker import Listener

Say = Callable[[str], None]


def run(
    title: str,
    variants: Sequence[Variant],
    out: Path,
    *,
    refused: Mapping[str, DeploytkError],
    strategy: ensemble_text.Strategy | None,
    say: Say,
    jobs: int = 1,
    how: How = "auto",
    listeners: Callable[[str], Listener] | None = None,
    listen: Listener | None = None,
) -> Report:
    """The report of all models: how far each came, and what they are worth as one.

    Args:
        refused: by name, why a model has no profile at all.
        strategy: of the ensemble of those that came to the end; None: none is made.
        listeners: gives the listener of the training of the model with a name.
        listen: hears of everything after the trainings.
    """
    trained = matrix(title, variants, out, jobs=jobs, how=how, listen=listeners, refused=refused)
    rows = [_row(row) for row in trained.sections["matrix"]["rows"]]
    by_name = {variant.name: variant for variant in variants}
    done: list[Path] = []
    for row in rows:
        if row["trained"] and row["name"] in by_name:
            folder = out / row["name"]
            _deployed(by_name[row["name"]], folder, row, say, listen)
            if row["stage"] == "done":
                done.append(folder)
    told, note = _together(variants, done, strategy, out, say, listen)
    report = _report(title, trained, rows, told, note)
    write(report, out)
    return report


def _row(trained: Mapping[str, Any]) -> dict[str, Any]:
    reason = next(iter(trained["reasons"]), "")
    ended = {"verdict": trained["verdict"], "exit_code": trained["exit_code"], "reason": reason}
    return {
        "name": trained["variant"],
        "trained": trained["status"] == "done",  # what has learned nothing is a model too
        "train": ended,
        "stage": "train",
        "why": trained["ended_as"],
        **ended,
    }


def _deployed(variant: Variant, folder: Path, row: dict[str, Any], say: Say, listen: Listener | None) -> None:
    """Export and bench one trained model, and note in its row how far it came."""
    try:
        trained = train(variant.profile, folder, None, how="auto")  # stands there already: only read
        report = run_text.after_training(variant.profile, folder, trained, say=say, listen=listen)
    except DeploytkError as error:
        row |= {
            "stage": "export",
            "why": "",
            "verdict": "fail",
            "exit_code": error.exit_code,
            "reason": error.reasons[0],
        }
        say(f"{variant.name}: {error.reasons[0]}")
        return
    write(report, folder)
    benched = "bench" in report.sections
    row |= {
        "why": "",
        "stage": "done" if benched else "export",
        "verdict": report.verdict.status,
        "exit_code": report.exit_code,
        "reason": report.verdict.reasons[0] if report.exit_code else "",
        "exports": report.sections["text_export"],
    }
    if benched:
        section = report.sections["bench"]
        best = section.get("best_throughput_batch") or section.get("knee_batch")
        row["best_batch"] = section.get("best_batch")
        row["bench"] = next((r for r in report.sections["text_bench"]["rows"] if r["batch"] == best), None)
    say(f"{variant.name}: {report.verdict.status}{': ' if row['reason'] else ''}{row['reason']}")


def _together(
    variants: Sequence[Variant],
    done: Sequence[Path],
    strategy: ensemble_text.Strategy | None,
    out: Path,
    say: Say,
    listen: Listener | None,
) -> tuple[dict[str, Any] | None, str]:
    """(what the ensemble came to, or why there is none)."""
    if strategy is None:
        return None, ""
    if not done:
        return None, "no ensemble: no model came to the end"
    profile = next(v.profile for v in variants if v.name == done[0].name)
    assert profile.text is not None and profile.data.path is not None
    say(f"ensemble: {strategy} of {len(done)}")
    asked = ensemble_text.Asked(data=profile.data.path, strategy=strategy, samples=profile.text.score)
    made = {v.name: f"{v.profile.export.target}/{v.profile.export.precision or 'fp32'}" for v in variants}
    models = [folder / "export" / made[folder.name] for folder in done]
    try:
        return ensemble_text.combined(models, asked, out / "ensemble", listen), ""
    except DeploytkError as error:
        return None, f"no ensemble: {error.reasons[0]}"


def _report(
    title: str, trained: Report, rows: Sequence[Mapping[str, Any]], told: dict[str, Any] | None, note: str
) -> Report:
    done = [row for row in rows if row["stage"] == "done"]
    wrong = [row for row in rows if row["exit_code"] != EXIT_PASS]
    reasons = [f"{len(done)} of {len(rows)} models were trained, exported and benched"]
    reasons += [f"{row['name']}: {_where(row)}{row['reason']}" for row in wrong]
    sections: dict[str, Any] = {**trained.sections, "several": {"rows": list(rows), "note": note}}
    code = max((row["exit_code"] for row in rows), default=EXIT_PASS)
    if told is not None:
        alone = ensembles.report_of(told, title, None)
        sections |= alone.sections
        reasons.append(f"Ensemble ({told['strategy']}): {alone.verdict.reasons[0]}")
    elif note:
        reasons.append(note)
        code = code or EXIT_PARITY
    verdicts = {row["verdict"] for row in rows}
    status: Status = "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"
    return Report(
        command="run",
        title=title,
        verdict=Verdict(status=status, reasons=tuple(reasons)),
        exit_code=code,
        findings=trained.findings,
        machine=Machine.this(),
        versions=trained.versions,
        sections=sections,
    )


def _where(row: Mapping[str, Any]) -> str:
    if row["stage"] == "done":
        return ""
    why = f" ({row['why']})" if row["why"] else ""
    return f"{row['stage']}{why}: "
