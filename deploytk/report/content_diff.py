"""What the report says about two things compared: an earlier and a later run, or two models in one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, number, text

_TONES: dict[str, Tone] = {"slower": "bad", "faster": "good", "same": "", "undecided": "warn"}


def diff_block(report: Report) -> list[Block]:
    """What got slower from one run to a later one (section "diff")."""
    told = report.sections.get("diff")
    if not isinstance(told, Mapping) or not told.get("rows"):
        return []
    tables = [_percentiles(told["rows"])]
    if told.get("changes"):
        tables.append(_changes(told["changes"]))
    if told.get("values"):
        tables.append(_values(told["values"]))
    return [Block(name="diff", title="From the first run to the second", lines=_lines(told), tables=tuple(tables))]


def _lines(told: Mapping[str, Any]) -> tuple[str, ...]:
    found = [f"First: {told.get('old')}. Second: {told.get('new')}."]
    if told.get("tolerance") is not None and told.get("confidence") is not None:
        found.append(
            "The ratio is second over first; "
            f"all intervals together hold at {100 * told['confidence']:g} % confidence, "
            f"and changes of up to {100 * told['tolerance']:g} % count as the same."
        )
    if any(row.get("left_out") for row in told["rows"]):
        found.append(
            "Blocks whose threads waited for a core for more than a tenth of the time are left out of the ratio; "
            "“as measured” is with them."
        )
    else:
        found.append(
            "These runs do not tell how long their threads waited for a core: what other processes took from the "
            "model shows as a change of the model."
        )
    if told.get("forced"):
        found.append(f"Compared with --force, although these differ: {'; '.join(told['forced'])}.")
    return tuple(found)


def _percentiles(rows: Any) -> Table:
    columns = ("point", "batch", "what", "first ms", "second ms", "ratio", "interval", "as measured", "verdict", "note")
    spare = ("note", "as measured", "first ms", "second ms")
    start = 0 if len({row.get("series") for row in rows}) > 1 else 1  # one model needs no column with its name
    cells = tuple(_percentile(row)[start:] for row in rows)
    return Table(columns=columns[start:], rows=cells, brief=True, spare=spare)


def _percentile(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    screened = "" if row.get("refined", True) else "only screened"
    return (
        text(row.get("series")),
        number(row.get("batch")),
        text(row.get("what")),
        number(row.get("old_ms")),
        number(row.get("new_ms")),
        _ratio(row.get("ratio")),
        interval(row),
        _ratio(row.get("raw_ratio")),
        verdict(row),
        text("; ".join(part for part in (screened, row.get("note")) if part)),
    )


def _changes(rows: Any) -> Table:
    told = tuple(
        (text(r.get("point")), text(r.get("old")), text(r.get("new"), "bad" if r.get("broke") else "")) for r in rows
    )
    return Table(columns=("point", "first", "second"), rows=told, title="What it was and what it is", brief=True)


def _values(rows: Any) -> Table:
    told = tuple(
        (
            text(r.get("series")),
            number(r.get("batch")),
            text(r.get("what")),
            number(r.get("old")),
            number(r.get("new")),
            _ratio(r.get("ratio")),
        )
        for r in rows
    )
    title = "Single values: told, not judged, because one number shows no noise"
    return Table(columns=("point", "batch", "what", "first", "second", "ratio"), rows=told, title=title, folded=True)


def ratio_block(report: Report) -> list[Block]:
    """Models or runtimes compared in one run (section "ratio")."""
    told = report.sections.get("ratio")
    rows = told.get("rows") if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or not rows:
        return []
    cells = tuple(
        (
            text(r.get("b")),
            text(r.get("a")),
            number(r.get("batch")),
            _ratio(r.get("ratio")),
            interval(r),
            number(r.get("rounds")),
            verdict(r),
            text(r.get("reason")),
        )
        for r in rows
    )
    columns = ("this", "against", "batch", "ratio", "interval", "rounds", "verdict", "why")
    lines = ["How many times as long the one takes as the other, measured in turns in one run: above 1 is slower."]
    if told.get("tolerance") is not None:
        lines.append(f"Changes of up to {100 * told['tolerance']:g} % count as the same.")
    table = Table(columns=columns, rows=cells, brief=True, spare=("why", "rounds"))
    return [Block(name="ratio", title="Side by side", lines=tuple(lines), tables=(table,))]


def interval(row: Mapping[str, Any]) -> Cell:
    """`1.052 to 1.120`; an end that is not known is said so."""
    if "ratio" not in row or row.get("ratio") is None:
        return text(None)
    low, high = row.get("low"), row.get("high")
    ends = [
        f"{end:.3f}" if isinstance(end, int | float) and 0 < end < float("inf") else "unknown" for end in (low, high)
    ]
    return text("unknown" if ends == ["unknown"] * 2 else " to ".join(ends))


def verdict(row: Mapping[str, Any]) -> Cell:
    """slower, faster, same or undecided in its colour; what could not be measured is bad."""
    told = str(row.get("verdict") or "")
    return text(told.replace("_", " "), _TONES.get(told, "bad" if told else ""))


def _ratio(value: Any) -> Cell:
    """A ratio with three digits: 1.100."""
    return Cell(text=f"{value:.3f}", number=True) if isinstance(value, int | float) else Cell(text="–", number=True)
