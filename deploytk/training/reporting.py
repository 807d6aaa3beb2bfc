"""What a person reads about a training of whatever backend: training_report.md and curves.png."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploytk.errors import InputError
from deploytk.files import write_text
from deploytk.training import aftermath, curves, events, story, timeline
from deploytk.training import state as states
from deploytk.training.state import Folder, State
from deploytk.training.story import Story

_SEGMENT = (
    "segment", "start", "seconds", "epochs", "reached", "batch", "imgsz", "lr_scale", "precision", "because", "ended",
    "reason",
)  # fmt: skip


def write(run: Path, summary: Mapping[str, Any]) -> None:
    """Write training_report.md and curves.png into the run folder.

    Args:
        summary: what the backend knows; every part may be missing: name, metrics, best_epoch, seconds, model,
            training, data, activations, versions, findings.
    """
    folder = Folder(run=run)
    heard = story.told(events.read(folder.events))
    rows = _rows(aftermath.entries(folder)) or [heard.rows[epoch] for epoch in sorted(heard.rows)]
    curves.draw(run / "curves.png", rows, heard.marks, heard.milestones)
    write_text(run / "training_report.md", markdown(summary, heard, rows, _state(folder)))


def _rows(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of metadata.json with what is known of an epoch beside its metrics."""
    return [{**(e["facts"] if isinstance(e.get("facts"), Mapping) else {}), **e} for e in entries]


def _state(folder: Folder) -> State | None:
    try:
        return states.read(folder)
    except InputError:
        return None


def markdown(summary: Mapping[str, Any], heard: Story, rows: Sequence[Mapping[str, Any]], state: State | None) -> str:
    """The training as Markdown: outcome, segments, what went wrong on the way, milestones, advice, every epoch."""
    parts = [
        _head(summary, rows),
        _metrics(summary),
        _listed("Findings", [_finding(f) for f in _maps(summary.get("findings"))]),
        _activations(summary),
        _settings(summary),
        *_course(heard, state),
        _epochs(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n\n![curves](curves.png)\n"


def _head(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    model, training = _map(summary.get("model")), _map(summary.get("training"))
    told = [f"{model.get('arch', '')}{model.get('scale', '')}"]
    if "nc" in model:
        told.append(f"{model['nc']} classes")
    if "imgsz" in training:
        told.append(f"{training['imgsz']}x{training['imgsz']} pixels")
    told.append(f"{len(rows)} of {training.get('epochs', '?')} epochs")
    if (seconds := story.number(summary.get("seconds"))) is not None:
        told[-1] += f" in {seconds:.0f} s"
    if training.get("device"):
        told[-1] += f" on {training['device']}"
    best = f" Best epoch: {summary['best_epoch']}." if summary.get("best_epoch") is not None else ""
    return f"# Training of {_text(summary.get('name'))}\n\n{', '.join(t for t in told if t)}.{best}"


def _metrics(summary: Mapping[str, Any]) -> str:
    metrics = _map(summary.get("metrics"))
    if not metrics:
        return ""
    return _table(list(metrics), [metrics]) + "\n\nOf the model that is kept, measured after training."


def _finding(finding: Mapping[str, Any]) -> str:
    fix = f"; {finding['fix']}" if finding.get("fix") else ""
    return f"**{finding.get('severity')}** {finding.get('where')}: {finding.get('message')}{fix}"


def _activations(summary: Mapping[str, Any]) -> str:
    found = _map(summary.get("activations"))
    if not found:
        return ""
    rows = [{"section": section, "found in the model": _counted(kinds)} for section, kinds in found.items()]
    return "## Activations\n\n" + _table(["section", "found in the model"], rows)


def _settings(summary: Mapping[str, Any]) -> str:
    data, versions = _map(summary.get("data")), _map(summary.get("versions"))
    lines = []
    if images := _map(data.get("images")):
        lines.append("images: " + ", ".join(f"{count} {split}" for split, count in images.items()))
    if data.get("fingerprint"):
        lines.append(f"data: {str(data['fingerprint'])[:16]}")
    if training := _map(summary.get("training")):
        lines.append(", ".join(f"{name} {_text(value)}" for name, value in training.items() if value is not None))
    if versions:
        lines.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    return _listed("Data and settings", lines)


def _course(heard: Story, state: State | None) -> Iterator[str]:
    """How it went, segment by segment, and what was said on the way."""
    told = timeline.rows(state) if state else []
    if told:
        yield "## Segments\n\n" + _table(_SEGMENT, told)
    yield _listed("What happened on the way", [f"{m.kind} before epoch {m.epoch}: {m.text}" for m in heard.marks])
    yield _listed("Warnings", heard.warnings)
    if heard.milestones:
        columns = ("epoch", "metric", "at_least", "reached", "met")
        yield "## Milestones\n\n" + _table(columns, heard.milestones)
    said = [f"epoch {_text(a.get('epoch'))}: {_text(a.get('reason'))} ({_done(a)})" for a in heard.advice]
    yield _listed("Phase rules", said)


def _done(advice: Mapping[str, Any]) -> str:
    return "done" if advice.get("auto") is True else "advised"


def _epochs(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "## Epochs\n\nnone"
    flat = [
        {"epoch": row.get("epoch"), **_map(row.get("losses")), **_map(row.get("metrics")), "lr": row.get("lr")}
        for row in rows
    ]
    return "## Epochs\n\n" + _table(list(dict.fromkeys(str(key) for row in flat for key in row)), flat)


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| " + " | ".join(map(_text, columns)) + " |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows)])


def _listed(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {_text(line)}" for line in lines) if lines else ""


def _counted(kinds: Any) -> str:
    if not isinstance(kinds, Mapping):
        return _text(kinds)
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "none"


def _cell(value: Any) -> str:
    known = story.number(value)
    if known is None:
        return _text(value) or "–"
    return str(int(known)) if known.is_integer() and abs(known) < 1e9 else f"{known:.4g}"


def _text(value: Any) -> str:
    """One line that cannot end a cell of a table."""
    return story.words(value).replace("|", r"\|")


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list | tuple) else []
