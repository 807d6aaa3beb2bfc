"""What the report says about how right a two-stage pipeline is, beside the one it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, text

#: Which number is shown -> (of which stage, in words).
_ROWS = {
    "detector_mAP50": ("detector", "mAP50, boxes without names"),
    "detector_recall": ("detector", "objects that a box takes"),
    "classifier_top1": ("classifier", "top-1 on the true boxes"),
    "classifier_top5": ("classifier", "top-5 on the true boxes"),
    "mAP50": ("whole", "mAP50 of boxes with names"),
    "found_and_named": ("whole", "objects found and named rightly"),
}


def accuracy_block(report: Report) -> list[Block]:
    """The numbers of each stage and of the whole."""
    told = report.sections.get("accuracy")
    if not isinstance(told, Mapping):
        return []
    lines = tuple(_lines(told))
    return [Block(name="accuracy", title="Accuracy", lines=lines, tables=(_table(told),), brief_lines=len(lines))]


def _table(told: Mapping[str, Any]) -> Table:
    deployed, source = told["deployed"], told.get("source")
    beside = ("in torch" if told.get("source_is") == "torch" else "the other", "difference") if source else ()
    rows = []
    for name, (stage, what) in _ROWS.items():
        cells = [text(stage), text(what), _share(deployed.get(name))]
        if source:
            cells += [_share(source.get(name)), _difference(deployed.get(name), source.get(name))]
        rows.append(tuple(cells))
    return Table(columns=("stage", "number", "deployed", *beside), rows=tuple(rows), brief=True)


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    deployed = told["deployed"]
    yield (
        f"{deployed['images']} images of {told['split']!r} with {deployed['objects']} objects of {deployed['names']} "
        f"names; boxes above {told['score_above']:g}, at most {told['most_crops']} crops of an image, as deployed."
    )
    yield f"Rule of matching: {told['rule']}."
    alike = told.get("agreement")
    if isinstance(alike, Mapping):
        yield (
            f"Image by image: {alike['same']} of {alike['images']} images have the same boxes with the same names; "
            f"{_words(alike['same_boxes'])} of the boxes are in both, {_words(alike['same_names'])} of these have the "
            "same name."
        )


def _words(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f} %"


def _share(value: Any) -> Cell:
    return Cell(text="–" if value is None else f"{value:.3f}", number=True)


def _difference(value: Any, source: Any) -> Cell:
    told = None if value is None or source is None else value - source
    return Cell(text="–" if told is None else f"{told:+.3f}", number=True, tone="bad" if told and told < 0 else "")
