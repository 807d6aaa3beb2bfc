"""What the report says about two models on the same samples: each output, and the layers that are furthest off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, number, text, yes


def agreement_block(report: Report) -> list[Block]:
    """The outputs by batch and image size, the worst layers, and in lines what was compared."""
    told = report.sections.get("agreement")
    if not isinstance(told, Mapping) or not told:
        return []
    tables = (_outputs(told), _meaning(told), _layers(told))
    return [
        Block(
            name="agreement",
            title="The same samples through both models",
            lines=_lines(told),
            brief_lines=2,
            tables=tuple(table for table in tables if table.rows),
        )
    ]


def _lines(told: Mapping[str, Any]) -> tuple[str, ...]:
    limits = told.get("limits") or {}
    first = f"{told.get('samples')} real samples; the converted model is {told.get('precision')}"
    boxes = f"{_share(limits.get('boxes'))} of the boxes with a partner at IoU {limits.get('iou')}, "
    expected = (
        f"expected: SQNR of {limits.get('sqnr_db')} dB, {'' if _of_classes(told) else boxes}"
        f"{_share(limits.get('top1'))} of the samples with the same class."
    )
    return (f"{first} and is computed in {told.get('computed_in')}.", f"At least {expected}", *told.get("notes", ()))


def _of_classes(told: Mapping[str, Any]) -> bool:
    """Whether the models say classes, and no boxes."""
    rows = told.get("rows", ())
    return any("top1" in row for row in rows) and not any("boxes" in row for row in rows)


def _share(value: Any) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else "–"


def _setting(row: Mapping[str, Any]) -> tuple[Cell, Cell]:
    size = row.get("size") or ()
    return number(row.get("batch")), text("x".join(map(str, size)))


def _outputs(told: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            text(row.get("output")),
            *_setting(row),
            number(row.get("max_abs")),
            number(row.get("mean_abs")),
            number(row.get("cosine")),
            number(row.get("sqnr_db")),
            text(row["error"], "bad") if row.get("error") else yes(row.get("ok")),
        )
        for row in told.get("rows", ())
        if "sqnr_db" in row or row.get("error")
    )
    columns = ("output", "batch", "size", "max abs", "mean abs", "cosine", "SQNR, dB", "good")
    return Table(columns=columns, rows=rows, title="Outputs", brief=True, spare=("cosine", "size", "mean abs"))


def _meaning(told: Mapping[str, Any]) -> Table:
    return _classes(told) if _of_classes(told) else _boxes(told)


def _classes(told: Mapping[str, Any]) -> Table:
    rows = tuple(
        (text(row.get("output")), *_setting(row), _percent(row["top1"]), yes(row.get("ok")))
        for row in told.get("rows", ())
        if "top1" in row
    )
    columns = ("what", "batch", "size", "same class", "good")
    return Table(columns=columns, rows=rows, title="What the outputs mean", brief=True, spare=("size",))


def _boxes(told: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            text(row.get("output")),
            *_setting(row),
            number(row.get("boxes")),
            _percent(row.get("iou50")),
            _percent(row.get("iou90")),
            number(row.get("mean_iou")),
            _percent(row.get("top1")),
            yes(row.get("ok")),
        )
        for row in told.get("rows", ())
        if "boxes" in row or "top1" in row
    )
    columns = ("what", "batch", "size", "boxes", "IoU ≥ 0.5", "IoU ≥ 0.9", "mean IoU", "same class", "good")
    spare = ("mean IoU", "size", "same class")
    return Table(columns=columns, rows=rows, title="What the outputs mean", brief=True, spare=spare)


def _percent(value: Any) -> Cell:
    return number(100 * value, unit=" %") if isinstance(value, int | float) else text(None)


def _layers(told: Mapping[str, Any]) -> Table:
    first = (told.get("first_wrong_layer") or {}).get("layer")
    rows = tuple(
        (
            text(row.get("layer"), "bad" if row.get("layer") == first else ""),
            text(row.get("op")),
            number(row.get("sqnr_db")),
            number(row.get("before_db")),
            number(row.get("max_abs")),
            number(row.get("cosine")),
        )
        for row in told.get("layers", ())
    )
    title = f"The worst of {told.get('layers_compared')} layers, at {told.get('layers_at')}"
    columns = ("layer", "operator", "SQNR, dB", "before it", "max abs", "cosine")
    return Table(columns=columns, rows=rows, title=title, brief=True, spare=("cosine", "max abs", "operator"))
