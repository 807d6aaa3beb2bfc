"""The tables of a comparison of two models: outputs, what they mean, and the layers that are furthest off."""

from __future__ import annotations

from typing import Any

from deploytk.budget import Verdict
from deploytk.report import Report
from deploytk.report.content_parity import agreement_block

LAYER = {"layer": "/model.2/conv/Conv", "op": "Conv", "before_db": 60.0, "max_abs": 3.0, "cosine": 0.1, "sqnr_db": 1.5}
TOLD: dict[str, Any] = {
    "precision": "int8",
    "computed_in": "int8",
    "samples": 8,
    "limits": {"sqnr_db": 8.0, "top1": 0.9, "iou": 0.5, "boxes": 0.8},
    "rows": [
        {"output": "scores", "batch": 2, "size": [64, 32], "sqnr_db": 3.0, "max_abs": 1.0, "ok": False},
        {"output": "boxes", "batch": 2, "size": [64, 32], "error": "the output holds NaN", "ok": False},
        {"output": "boxes found again", "batch": 1, "size": [], "boxes": 10, "iou50": 0.9, "iou90": None, "ok": True},
    ],
    "layers": [LAYER],
    "layers_compared": 60,
    "layers_at": "batch 1, 64x64",
    "first_wrong_layer": LAYER,
    "notes": ["m.onnx holds batch size 2"],
}


def report(**sections: Any) -> Report:
    return Report(command="parity", verdict=Verdict(status="fail"), exit_code=8, sections=sections)


def test_nothing_compared_is_no_block() -> None:
    assert agreement_block(report()) == []


def test_outputs_meaning_and_layers_are_three_tables() -> None:
    (block,) = agreement_block(report(agreement=TOLD))
    outputs, meaning, layers = ([[cell.text for cell in row] for row in table.rows] for table in block.tables)
    assert outputs[0][:4] == ["scores", "2", "64x32", "1.00"]
    assert outputs[1][-1] == "the output holds NaN"
    assert meaning[0] == ["boxes found again", "1", "–", "10", "90.00 %", "–", "–", "–", "yes"]
    assert layers[0][:4] == ["/model.2/conv/Conv", "Conv", "1.50", "60.00"]


def test_the_first_wrong_layer_stands_out_and_the_notes_are_told() -> None:
    (block,) = agreement_block(report(agreement=TOLD))
    assert block.tables[2].rows[0][0].tone == "bad"
    assert block.lines[-1] == "m.onnx holds batch size 2"
    assert "80% of the boxes with a partner at IoU 0.5" in block.lines[1]


def test_of_classifiers_no_word_is_of_boxes() -> None:
    rows = [{"output": "top-1", "batch": 2, "size": [64, 64], "top1": 0.875, "ok": False}]
    (block,) = agreement_block(report(agreement={**TOLD, "rows": rows}))
    assert [cell.text for cell in block.tables[0].rows[0]] == ["top-1", "2", "64x64", "87.50 %", "no"]
    assert not any("box" in told for told in (*block.lines, *block.tables[0].columns))
