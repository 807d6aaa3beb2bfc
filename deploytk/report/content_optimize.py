"""What the report says about a search: why this one, what nearly was, and a row for every candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, number, pairs, readable, text, yes
from deploytk.report.content_diff import interval

_TONES: dict[str, Tone] = {
    "chosen": "good",
    "estimated": "estimate",
    "over budget": "bad",
    "lost accuracy": "bad",
    "too slow": "bad",
    "refused": "bad",
    "not tried": "warn",
}
_SPARE = ("look ms", "size", "points lost", "interval", "p50 ms", "batch")


def optimize_block(report: Report) -> list[Block]:
    """The candidates of a search, the figure of latency against accuracy, and what was deployed."""
    told = report.sections.get("optimize")
    if not isinstance(told, Mapping) or not told.get("rows"):
        return []
    tables = (_candidates(told), *_deployed(told), *_skipped(told))
    return [
        Block(
            name="optimize",
            title="The search",
            lines=(*report.verdict.reasons, *_lines(told)),
            tables=tables,
            figures=("pareto",),
        )
    ]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{told['metric']} of the trained model: {told['source']:.3f}; {100 * told['allowed']:.3g} points may be lost. "
        f"p{told['percentile']:g} must be below {told['limit_ms']:g} ms per {told['per']}, at the boundary "
        f"{told['boundary']}."
    )
    yield (
        "Ratios are the time per item over that of the plain default, measured in turns in the final round. Without a "
        "ratio a time is of a look at a few dozen calls; a look's ms are of the float model, from a few calls."
    )


def _candidates(told: Mapping[str, Any]) -> Table:
    known = ("candidate", "status", str(told["metric"]), "points lost", "p50 ms", f"p{told['percentile']:g} ms")
    columns = (*known, "times the default", "interval", "size", "look ms", "why")
    rows = tuple(_candidate(row) for row in told["rows"])
    return Table(columns=columns, rows=rows, brief=True, spare=_SPARE, sentences_from=10)


def _candidate(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    ratio, drop, size = row["ratio"], row["drop"], row["size_bytes"]
    how = f" ({row['how']})" if row["how"] else ""
    return (
        text(f"{row['name']}{how}"),
        text(row["status"], _TONES.get(row["status"], "")),
        number(row["metric"]),
        Cell(text="–" if drop is None else f"{100 * drop:.1f}", number=True),
        _ms(row, "p50_ms"),
        _ms(row, "judged_ms"),
        Cell(text="–" if ratio is None else f"{ratio:.3f}", number=True),
        interval(row),
        text(None) if size is None else number(size / 1e6, unit=" MB"),
        number(row["look_ms"]),
        text(row["why"] or "; ".join(row["reasons"])),
    )


def _ms(row: Mapping[str, Any], name: str) -> Cell:
    value = row[name]
    if row["kind"] != "estimated" or value is None:
        return number(value)
    return Cell(text=f"{readable(value)} est.", tone="estimate", number=True)


def _deployed(told: Mapping[str, Any]) -> list[Table]:
    deployed = told.get("deployed")
    if not deployed:
        return []
    example = f"{deployed['example']['boxes']} boxes in {deployed['example']['images']} images, as the bench finds them"
    rows = [("folder", text(deployed["folder"])), ("its run.py, run once", text(example))]
    return [pairs(rows, "To deploy")]


def _skipped(told: Mapping[str, Any]) -> list[Table]:
    """What stood there already from an earlier search."""
    skipped = told.get("skipped") or {}
    rows = tuple((text(name), yes(found, good="found, not done again", bad="done")) for name, found in skipped.items())
    again = sum(map(bool, skipped.values()))
    title = f"Steps: {again} of {len(rows)} found from an earlier search"
    return [Table(columns=("step", ""), rows=rows, title=title, folded=True)] if rows else []
