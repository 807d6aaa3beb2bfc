"""What the report says about a sweep of learning rates, and about a crossover of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, number, text

_BECAME: dict[str, Tone] = {"trained": "good", "diverged": "bad", "failed": "warn"}


def sweep_block(report: Report) -> list[Block]:
    """Each learning rate with its metric, and the one to take as a patch of the profile."""
    told = report.sections.get("sweep")
    if not isinstance(told, Mapping) or not told:
        return []
    metric, chosen = str(told.get("metric")), told.get("recommended")
    rows = tuple(
        (
            text(_rate(p.get("lr"))),
            text(p.get("became"), _BECAME.get(str(p.get("became")), "")),
            score(p.get("metric")),
            number(p.get("loss")),
            text(_note(p, told)),
        )
        for p in _maps(told.get("points"))
    )
    said = [f"{told.get('epochs')} epochs each, {told.get('optimizer')}, seed {told.get('seed')}."]
    if chosen is not None:
        said.append(f"In the profile: train: {{lr0: {_rate(chosen)}}}")
    table = Table(columns=("lr0", "became", metric, "last training loss", ""), rows=rows, brief=True)
    return [Block(name="sweep", title="Learning rates", lines=tuple(said), brief_lines=len(said), tables=(table,))]


def _note(point: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    lr = point.get("lr")
    notes = [
        "recommended" if lr == told.get("recommended") else "",
        "best" if lr == told.get("best") else "",
        "as good" if lr in (told.get("tied") or ()) and lr != told.get("recommended") else "",
        str(point.get("reason") or ""),
    ]
    return ", ".join(n for n in notes if n)


def _rate(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else "–"


def crossover_block(report: Report) -> list[Block]:
    """The models side by side on images that chose none of them, and each module's sweet spot."""
    told = report.sections.get("crossover")
    if not isinstance(told, Mapping) or not told:
        return []
    metric, lines = str(told.get("metric")), tuple(str(line) for line in told.get("notes") or ())
    tables = (_models(told, metric), _spots(_maps(told.get("spots"))), _tried(_maps(told.get("tried"))))
    shown = tuple(table for table in tables if table.rows)
    return [Block(name="crossover", title="Crossover", lines=lines, brief_lines=len(lines), tables=shown)]


def _models(told: Mapping[str, Any], metric: str) -> Table:
    rows = tuple(
        (
            text(" = ".join([str(row.get("name")), *(row.get("also") or ())])),
            text(", ".join(str(e) for e in row.get("epochs") or ())),
            score(row.get("choosing")),
            score(row.get("held_out")),
            _change(row.get("change")),
        )
        for row in _maps(told.get("models"))
    )
    columns = ("model", "epochs", f"{metric}, choosing part", f"{metric}, held-out part", "against model.pt")
    return Table(columns=columns, rows=rows, title="Side by side", brief=True, spare=("epochs",))


def _change(value: Any) -> Cell:
    if not isinstance(value, int | float):
        return text(None)
    return Cell(text=f"{value:+.4f}", number=True, tone="good" if value > 0 else "bad" if value < 0 else "")


def _spots(spots: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            text(s.get("module")),
            number(s.get("peak_epoch")),
            score(s.get("peak")),
            _change(s.get("gain")),
            text(_plateau(s.get("plateau"))),
            text("as good everywhere" if s.get("flat") else None),
        )
        for s in spots
    )
    columns = ("module", "peak at epoch", "its score", "gain", "plateau", "")
    return Table(columns=columns, rows=rows, title="Sweet spots, on the choosing part", brief=True)


def _plateau(ends: Any) -> str:
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        return ""
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _tried(tried: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            text(t.get("module")),
            number(t.get("epoch")),
            score(t.get("before")),
            score(t.get("score")),
            text("accepted", "good") if t.get("accepted") else text("refused", "muted"),
        )
        for t in tried
    )
    columns = ("module", "from epoch", "before", "with it", "")
    return Table(columns=columns, rows=rows, title="Swaps tried, in this order", brief=True)


def score(value: Any) -> Cell:
    """A metric with four digits: models are often a few thousandths apart."""
    return Cell(text=f"{value:.4f}", number=True) if isinstance(value, int | float) else number(None)


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list | tuple) else []
