"""What the report says about a dataset: its splits, its classes with the sizes of their objects, and each rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import TONES, Block, Cell, Table, code, number, pairs, text

#: Classes shown; beyond that the ones with the fewest objects in train: those are what to look at.
_CLASSES = 24


def data_block(report: Report) -> list[Block]:
    """Splits and classes, and for a reader of the files every rule with its first places, and the pairs that leak."""
    told = report.sections.get("data_check")
    if not isinstance(told, Mapping) or not told:
        return []
    notes = tuple(str(note) for note in told.get("notes", ()))
    tables = (_splits(told), _classes(told), _rules(told), _places(told), _pairs(told), _cleaned(told))
    shown = tuple(table for table in tables if table.rows)
    return [Block(name="data", title="The dataset", lines=notes, brief_lines=len(notes), tables=shown)]


def _splits(told: Mapping[str, Any]) -> Table:
    columns: tuple[str, ...] = ("split", "images", "not usable", "without objects", "without label file", "objects")
    keys: tuple[str, ...] = ("images", "unusable", "without_objects", "unlabelled", "objects")
    if told.get("manifest"):
        columns, keys = ("split", "rows", "images", "not usable", "classes"), ("rows", "images", "unusable", "classes")
    rows = tuple((text(row.get("split")), *(number(row.get(key)) for key in keys)) for row in told.get("splits", ()))
    return Table(columns=columns, rows=rows, title="Splits", brief=True)


def _classes(told: Mapping[str, Any]) -> Table:
    if told.get("manifest"):
        return _labels(told)
    splits = [str(row.get("split")) for row in told.get("splits", ())]
    every = list(told.get("classes", ()))
    shown = sorted(every, key=lambda row: row.get(splits[0], 0) if splits else 0)[:_CLASSES]
    chosen = every if len(every) <= _CLASSES else shown
    columns = ("class", *splits, "median px", "10 % below px")
    rows = tuple(
        (text(row.get("class")), *(number(row.get(s)) for s in splits), _px(row, "median_px"), _px(row, "tenth_px"))
        for row in chosen
    )
    few = f", the {_CLASSES} rarest of {len(every):,}" if len(every) > _CLASSES else ""
    title = f"Objects, and the shorter side of their boxes in pixels at imgsz {told.get('imgsz')}{few}"
    return Table(columns=columns, rows=rows, title=title, brief=True)


def _labels(told: Mapping[str, Any]) -> Table:
    """The rows of each class; of a manifest the section has the rarest classes alone."""
    splits = [str(row.get("split")) for row in told.get("splits", ())]
    shown = list(told.get("classes", ()))[:_CLASSES]
    every = int(told.get("class_count", len(shown)))
    rows = tuple((text(row.get("class")), *(number(row.get(split)) for split in splits)) for row in shown)
    few = f", the {_CLASSES} rarest of {every:,}" if every > _CLASSES else ""
    return Table(columns=("class", *splits), rows=rows, title=f"Rows of each class{few}", brief=True)


def _px(row: Mapping[str, Any], key: str) -> Cell:
    value = row.get(key)
    return Cell(text=f"{value:.1f}", number=True) if isinstance(value, int | float) else number(None)


def _rules(told: Mapping[str, Any]) -> Table:
    rows = []
    for row in told.get("rules", ()):
        severity = str(row.get("severity"))
        found = (number(row.get("found")), number(row.get("files")))
        rows.append((code(row.get("rule")), text(severity, TONES.get(severity, "")), *found, text(row.get("holds"))))
    columns = ("rule", "severity", "found", "in files", "what should hold")
    return Table(columns=columns, rows=tuple(rows), title="Rules that do not hold")


def _places(told: Mapping[str, Any]) -> Table:
    rows = tuple(
        (code(row.get("rule")), code(place.get("where")), text(place.get("said")))
        for row in told.get("rules", ())
        for place in row.get("examples", ())
    )
    title = "The first places of each rule; data-check.json (--out) has them all"
    return Table(columns=("rule", "where", "what"), rows=rows, title=title, folded=True)


def _pairs(told: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            text("the same" if pair.get("kind") == "same" else "looks the same"),
            code(f"{pair.get('split')}: {pair.get('image')}"),
            code(f"{pair.get('other_split')}: {pair.get('other')}"),
            number(pair.get("bits")),
        )
        for pair in told.get("pairs", ())
    )
    columns = ("", "image", "and", "bits of 256 that differ")
    return Table(columns=columns, rows=rows, title="Images that are there twice", folded=len(rows) > 20)


def _cleaned(told: Mapping[str, Any]) -> Table:
    cleaned = told.get("cleaned") or {}
    rows: list[tuple[str, Cell]] = [("folder", code(cleaned.get("folder")))] if cleaned else []
    rows += [(f"images in {split}", number(count)) for split, count in (cleaned.get("images") or {}).items()]
    keys = [key for key in ("objects", "rejected_images", "rejected_lines", "rejected") if key in cleaned]
    rows += [(key.replace("_", " "), number(cleaned[key])) for key in keys]
    return pairs(rows, "Cleaned copy")
