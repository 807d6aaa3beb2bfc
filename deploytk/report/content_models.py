"""What the report says about the models: side by side, their activations, their accuracy, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.files import size_of
from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, code, number, sha, text, yes

SEVERITIES = ("error", "warning", "info")


def compare_block(report: Report) -> list[Block]:
    """The table of several runs, where the report compares some."""
    told = report.sections.get("compare")
    rows = told.get("rows", ()) if isinstance(told, Mapping) else ()
    if not isinstance(told, Mapping) or not rows:
        return []
    columns = tuple(str(c) for c in told.get("columns") or dict.fromkeys(key for row in rows for key in row))
    table = Table(columns=columns, rows=tuple(tuple(_any(row.get(c)) for c in columns) for row in rows), brief=True)
    return [Block(name="compare", title="Comparison", tables=(table,))]


def _any(value: Any) -> Cell:
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else text(value)


def models_block(report: Report) -> list[Block]:
    """Format, size and task metrics of every model of the chain, side by side."""
    measured = [a for a in report.chain if a.metrics]
    if not measured:
        return []
    metrics = list(dict.fromkeys(name for a in measured for name in a.metrics))
    rows = tuple(
        (text(a.path.name), _format(a), _size(a), *(number(a.metrics.get(m)) for m in metrics)) for a in measured
    )
    columns = ("model", "format", "size", *metrics)
    table = Table(columns=columns, rows=rows, brief=True, spare=("size", "format"))
    line = "Measured by the same code on the same validation images, whatever the format."
    return [Block(name="models", title="Models", lines=(line,), tables=(table,))]


def contract_block(report: Report) -> list[Block]:
    """Which activation each section of each graph has, against what the profile asks for."""
    told = report.sections.get("contract")
    if not isinstance(told, Mapping) or not told:
        return []
    stages = [s for s in told.get("stages", ()) if isinstance(s, Mapping)] if "stages" in told else [_flat(told)]
    expected = told.get("expected") if isinstance(told.get("expected"), Mapping) else {}
    names = list(dict.fromkeys(name for s in [{"sections": expected}, *stages] for name in s.get("sections") or {}))
    rows = [(text("the profile asks for"), *(text(expected.get(n)) for n in names), text(None))] if expected else []
    rows += [_stage(s, names) for s in stages]
    table = Table(columns=("graph", *names, "holds"), rows=tuple(rows), brief=True)
    return [Block(name="contract", title="Activation contract", tables=(table,))]


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    """A contract given as {section: {kind: count}} alone."""
    sections = {name: counts for name, counts in told.items() if isinstance(counts, Mapping) and name != "expected"}
    return {"where": "model", "sections": sections, "ok": told.get("ok")}


def _stage(stage: Mapping[str, Any], names: list[str]) -> tuple[Cell, ...]:
    sections = stage.get("sections") or {}
    found = (text(_counts(sections.get(name))) for name in names)
    return (text(stage.get("where")), *found, yes(stage.get("ok"), bad="no: see the findings"))


def _counts(counts: Any) -> str | None:
    if not isinstance(counts, Mapping):
        return str(counts) if counts else None
    return ", ".join(f"{kind} ×{count}" for kind, count in counts.items()) or "none"


def parity_block(report: Report) -> list[Block]:
    """What each conversion cost, measured against its source model."""
    told = [p for p in report.sections.get("parity") or () if isinstance(p, Mapping)]
    rows = tuple(
        (
            text(p.get("what")),
            text(p.get("metric")),
            _any(p.get("source")),
            _any(p.get("converted")),
            number(p.get("drop")),
            yes(p.get("ok")),
        )
        for p in told
    )
    table = Table(columns=("model", "metric", "source", "converted", "lost", "good"), rows=rows, brief=True)
    return [Block(name="parity", title="Agreement with the source model", tables=(table,))] if rows else []


def findings_block(report: Report) -> list[Block]:
    """The findings, errors first."""
    tones: dict[str, Tone] = {"error": "bad", "warning": "warn", "info": "muted"}
    ordered = sorted(report.findings, key=lambda f: SEVERITIES.index(f.severity))
    rows = tuple(
        (text(f.severity, tones[f.severity]), code(f.rule), text(f.where), text(f.message), text(f.fix))
        for f in ordered
    )
    table = Table(columns=("severity", "rule", "where", "found", "what to do"), rows=rows, brief=True, sentences_from=3)
    return [Block(name="findings", title="Findings", tables=(table,))] if rows else []


def chain_block(report: Report) -> list[Block]:
    """Every file on the way to the target, with its sha256, its size and what it was made from."""
    chain = report.chain or ((report.artifact,) if report.artifact else ())
    names = {a.sha256: a.path.name for a in chain}
    skipped = report.sections.get("skipped")
    skipped = skipped if isinstance(skipped, Mapping) else {}
    rows = tuple(
        (
            Cell(text=a.path.name, full=str(a.path), tone="good" if _is(a, report.artifact) else ""),
            _format(a),
            text(a.made_by),
            text(", ".join(names.get(source, source[:12]) for source in a.made_from)),
            _size(a),
            text(_this_time(skipped, a)),
            sha(a.sha256),
        )
        for a in chain
    )
    columns = ("file", "format", "made by", "from", "size", "this time", "sha256")
    ours = any(a.made_by != "given" for a in chain)
    lines = ("Each file has its lineage in a .json beside it.",) if ours else ()
    table = Table(columns=columns, rows=rows, brief=True, spare=("this time", "made by", "from"))
    return [Block(name="chain", title="Artifact chain", lines=lines, tables=(table,))] if rows else []


def _is(one: Artifact, other: Artifact | None) -> bool:
    return other is not None and one.sha256 == other.sha256


def _this_time(skipped: Mapping[str, Any], artifact: Artifact) -> str:
    found = skipped.get(artifact.path.name, skipped.get(artifact.made_by))
    return "" if found is None else "unchanged, kept" if found else "made"


def _format(artifact: Artifact) -> Cell:
    return text(f"{artifact.format} {artifact.precision}".removesuffix(" unknown").strip())


def _size(artifact: Artifact) -> Cell:
    size = _bytes(artifact.path)
    if size is None:
        return text(None)
    return number(size / 1e6, unit=" MB") if size >= 100_000 else number(size / 1e3, unit=" kB")


def _bytes(path: Path) -> int | None:
    """The size of a file or folder; None where it is gone (a report may be read elsewhere)."""
    try:
        return size_of(path)
    except OSError:
        return None
