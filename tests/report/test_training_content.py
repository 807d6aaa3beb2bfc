"""What a report shows of a training and of a matrix: how it went, and never a crash over what a backend told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk.budget import Verdict
from deploytk.report import Report
from deploytk.report.blocks import Block, Table
from deploytk.report.content_matrix import matrix_block
from deploytk.report.content_training import train_block
from deploytk.report.html import html
from deploytk.report.markdown import markdown

SEGMENT = {
    "segment": 1, "start": "2026-11-26T14:28:59+00:00", "seconds": 8.5, "epochs": "1..6", "reached": 3,
    "batch": "8 x 2", "imgsz": 64, "lr_scale": 0.1, "precision": "fp32", "because": "rollback 1 of 3",
    "ended": "nan", "reason": "NaN",
}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "epochs": [{"epoch": 1}, {"epoch": 2}],
    "ended": "all 6 epochs were trained",
    "attempts": 3,
    "timeline": [SEGMENT, {**SEGMENT, "segment": 2, "ended": "done", "reason": "trained to epoch 6"}],
    "milestones": [
        {"epoch": 3, "metric": "mAP50", "at_least": 0.5, "reached": 0.25, "met": False},
        {"epoch": 5, "metric": "mAP50", "at_least": 0.5, "reached": 0.75, "met": True},
    ],
    "advice": [{"epoch": 2, "rule": 0, "reason": "gap is 0.5: lr x 0.1", "changes": {"lr": 0.1}, "auto": True}],
    "memory": [{"time": "t", "epoch": 2, "imgsz": 64, "batch": 16, "message": "out of memory", "done": "batch 8"}],
    "checkpoints": [{"epoch": 2, "file": "epoch_0002.pt", "fitness": 0.25, "best": True, "pick": ""}],
    "best_epoch": 2,
}
ROW: dict[str, Any] = {
    "variant": "toy-relu", "status": "done", "verdict": "pass", "exit_code": 0, "reasons": ["good"], "ended_as": "",
    "metrics": {"mAP50": 0.81234}, "best_epoch": 4, "epochs": 6, "activations": {"backbone": {"ReLU": 27}},
    "sha256": "a" * 64, "weights_sha256": "b" * 64, "attempts": 2, "seconds": 8.5, "segments": 2, "rollbacks": 1,
    "ooms": 0, "runs": [
        {"began": "2026-11-26T14:00:00+00:00", "ended": None},
        {"began": "2026-11-26T15:00:00+00:00", "ended": "2026-11-26T15:10:00+00:00"},
    ],
}  # fmt: skip


def report(**sections: Any) -> Report:
    return Report(command="train", verdict=Verdict(status="pass"), exit_code=0, sections=sections)


def table(block: Block, title: str) -> Table:
    return next(t for t in block.tables if t.title.startswith(title))


def texts(shown: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in shown.rows]


def test_a_training_is_told_segment_by_segment() -> None:
    block = train_block(report(train=SUMMARY))[0]
    assert block.lines == (
        "2 epochs.",
        "Ended: all 6 epochs were trained.",
        "Begun or gone on with 3 times.",
        "1 of 2 milestones were met.",
    )
    assert [(row[1], row[-2]) for row in texts(table(block, "Segments"))] == [
        ("2026-11-26T14:28:59+00:00", "nan"), ("2026-11-26T14:28:59+00:00", "done"),
    ]  # fmt: skip
    assert [row[-2].tone for row in table(block, "Segments").rows] == ["warn", ""]
    assert [row[-1] for row in texts(table(block, "Milestones"))] == ["no", "yes"]
    assert texts(table(block, "Phase rules")) == [["2", "gap is 0.5: lr x 0.1", "done"]]
    assert texts(table(block, "Where memory ran out"))[0][-1] == "batch 8"
    assert texts(table(block, "Checkpoints"))[0] == ["2", "epoch_0002.pt", "0.25", "best", "–"]
    assert [row[0] for row in texts(block.tables[-1])] == ["best_epoch"]


def test_a_training_without_any_of_it_has_no_empty_tables() -> None:
    block = train_block(report(train={"epochs": [{"epoch": 1}], "timeline": [], "milestones": []}))[0]
    assert (block.lines, block.tables) == (("1 epoch.",), ())


def test_a_matrix_is_two_tables_results_and_how_it_went() -> None:
    failed = {
        **ROW, "variant": "toy-silu", "status": "failed", "verdict": "fail", "exit_code": 7, "reasons": ["NaN again"],
        "ended_as": "nan", "metrics": {}, "activations": None, "sha256": None, "weights_sha256": None,
    }  # fmt: skip
    block = matrix_block(report(matrix={"rows": [ROW, failed], "succeeded": 1, "of": 2}))[0]
    results, course = block.tables
    assert block.lines == ("1 of 2 succeeded.", "Failed: 1 x nan.")
    assert results.columns == ("variant", "verdict", "mAP50", "best epoch", "epochs", "backbone", "weights")
    assert texts(results)[0] == ["toy-relu", "pass", "0.8123", "4", "6", "27 ReLU", "b" * 12]
    assert texts(results)[1][2] == "–"
    assert texts(course)[0][:3] == [
        "toy-relu", "2026-11-26 14:00:00, 2026-11-26 15:00:00", "cut off, 2026-11-26 15:10:00",
    ]  # fmt: skip
    assert texts(course)[1][-1] == "NaN again"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


_ROWS = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys([*SEGMENT, "epoch", "file", "met", "best"], _JSON)))


@settings(deadline=None)
@given(told=st.dictionaries(st.sampled_from(list(SUMMARY)), _JSON | _ROWS))
def test_whatever_a_backend_tells_can_be_shown(told: dict[str, Any]) -> None:
    shown = markdown(report(train=told))
    assert shown.startswith("#")


@settings(deadline=None)
@given(row=st.fixed_dictionaries({}, optional=dict.fromkeys(ROW, _JSON)))
def test_a_row_of_an_older_or_newer_deploytk_can_be_shown(row: dict[str, Any]) -> None:
    assert matrix_block(report(matrix={"rows": [row, ROW]}))[0].tables


@pytest.mark.parametrize("sections", [{"train": SUMMARY}, {"matrix": {"rows": [ROW], "succeeded": 1, "of": 1}}])
def test_both_are_in_the_page(sections: dict[str, Any]) -> None:
    page = html(report(**sections))
    assert ("rollback 1 of 3" in page) or ("27 ReLU" in page)
