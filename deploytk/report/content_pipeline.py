"""What the report says about a two-stage pipeline: where its time goes, by number of crops, and what it recognised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Table, number, text, word

#: What the terminal shows of a prediction; the files have the rest.
_MOST_ROWS = 60


def pipeline_block(report: Report) -> list[Block]:
    """Where the time of a pipeline goes, and what the number of crops does to it."""
    told = report.sections.get("pipeline")
    if not isinstance(told, Mapping):
        return []
    tables = [*_parts_of(told), *_stages(told), *_crops(told)]
    lines = tuple(_lines(told))
    return [Block(name="pipeline", title="The pipeline", lines=lines, tables=tuple(tables), brief_lines=len(lines))]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    for key, what in (("boxes_per_image", "Boxes in an image"), ("crops_per_image", "Crops of an image")):
        seen = told.get(key)
        if isinstance(seen, Mapping):
            spread = f"{seen['least']:g} to {seen['most']:g}, in the median {seen['median']:g}"
            yield f"{what}: {spread} ({seen['images']} images)."
    if told.get("note"):
        yield str(told["note"])
    if told.get("crops"):
        yield (
            "A row of k crops: the k most certain boxes of each image, and where it has fewer, drawn boxes "
            "(the same in each run); their share stands in the row."
        )
        if not told.get("decides"):
            yield "The verdict is on the images as they are; with --crops each number must be within the budget too."


def _parts_of(told: Mapping[str, Any]) -> list[Table]:
    """What the pipeline consists of (`deploytk check`)."""
    rows = [r for r in told.get("parts") or () if isinstance(r, Mapping)]
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = tuple(tuple(text(row.get(name)) for name in names) for row in rows)
    return [Table(columns=tuple(names), rows=cells, title="What it consists of", brief=True)]


def _stages(told: Mapping[str, Any]) -> list[Table]:
    rows = [r for r in told.get("stages") or () if isinstance(r, Mapping)]
    if not rows:
        return []
    cells = tuple(
        (
            text(r.get("stage")),
            number(r.get("mean_ms")),
            text(None if r.get("share") is None else f"{100 * r['share']:.1f} %"),
            number(r.get("p50_ms")),
            number(r.get("p95_ms")),
        )
        for r in rows
    )
    title = f"Where the time goes, at batch {rows[0].get('batch')}: the means add up to the whole"
    return [Table(columns=("stage", "mean ms", "share", "p50 ms", "p95 ms"), rows=cells, title=title, brief=True)]


def _crops(told: Mapping[str, Any]) -> list[Table]:
    """The numbers of crops: what they take, and below that in which stages."""
    rows = [r for r in told.get("crops") or () if isinstance(r, Mapping)]
    if not rows:
        return []
    cells = tuple(
        (
            number(r.get("crops")),
            word(r.get("verdict")),
            *(number(r.get(f"p{p}_ms")) for p in (50, 95, 99)),
            text(None if not r.get("drawn_share") else f"{100 * r['drawn_share']:.0f} %"),
            number(r.get("n")),
        )
        for r in rows
    )
    columns = ("crops", "verdict", "p50 ms", "p95 ms", "p99 ms", "drawn", "samples")
    title = "By the number of crops in every image"
    return [Table(columns=columns, rows=cells, title=title, brief=True), _crop_parts(rows)]


def _crop_parts(rows: list[Mapping[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for r in rows for name in r.get("parts") or {}))
    cells = tuple((number(r.get("crops")), *(number((r.get("parts") or {}).get(n)) for n in names)) for r in rows)
    title = "The stages by the number of crops: the median of each"
    return Table(columns=("crops", *(f"{n} ms" for n in names)), rows=cells, title=title)


def predict_block(report: Report) -> list[Block]:
    """What was recognised in each image."""
    told = report.sections.get("predict")
    if not isinstance(told, Mapping):
        return []
    rows = [row for image in told.get("images") or () if isinstance(image, Mapping) for row in _objects(image)]
    more = f"{len(rows) - _MOST_ROWS} more rows are in the files and in --json." if len(rows) > _MOST_ROWS else ""
    columns = ("image", "name", "probability", "score", "box x1 y1 x2 y2", "or else")
    table = Table(columns=columns, rows=tuple(rows[:_MOST_ROWS]), brief=True, spare=("or else", "score"))
    return [Block(name="predict", title="What is in the images", lines=(more,) if more else (), tables=(table,))]


def _objects(image: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    objects = image.get("objects") or ()
    if not objects:
        yield (text(image.get("image")), text("nothing", "muted"), *(text(None) for _ in range(4)))
    for found in objects:
        names, shares = found["names"], found["probabilities"]
        yield (
            text(image.get("image")),
            text(names[0] if names else found["label"]),
            number(shares[0] if shares else None),
            number(found["score"]),
            text(" ".join(f"{side:.0f}" for side in found["box"])),
            text(", ".join(f"{n} {s:.2f}" for n, s in list(zip(names, shares, strict=True))[1:3])),
        )
