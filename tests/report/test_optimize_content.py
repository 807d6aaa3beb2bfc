"""The report of a search: a row for every candidate, the chosen one marked, estimates hollow and said to be some."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.report import Report, terminal
from deploytk.report.content import blocks
from deploytk.report.html import html
from deploytk.report.plots_pareto import pareto


def row(name: str, status: str, **more: Any) -> dict[str, Any]:
    target, precision, size, *_ = name.split()
    nothing = dict.fromkeys(
        ("metric", "drop", "size_bytes", "look_ms", "p50_ms", "judged_ms", "samples", "kind", "ratio", "low", "high")
    )
    told = {"name": name, "target": target, "precision": precision, "imgsz": int(size), "batch": 1, "status": status}
    plain = {"setting": "", "why": "", "how": "", "word": "", "attempt_ms": None, "verdict": None, "reasons": []}
    return {**told, **plain, **nothing, **more}


ROWS = [
    row("onnx fp32 320 px", "slower", metric=0.8, drop=0.0, p50_ms=20.0, judged_ms=22.0, kind="final", ratio=1.0),
    row(
        "openvino int8 320 px",
        "chosen",
        metric=0.796,
        drop=0.004,
        p50_ms=9.0,
        judged_ms=10.0,
        kind="final",
        ratio=0.45,
        low=0.44,
        high=0.46,
        how="3 layers in float",
        size_bytes=3_400_000,
    ),
    row("npu int8 320 px", "estimated", metric=0.79, drop=0.01, p50_ms=4.0, judged_ms=4.0, kind="estimated"),
    row("onnx fp32 256 px", "lost accuracy", metric=0.77, drop=0.03, look_ms=13.0, why="at 256 px it loses 3.0 points"),
    row("onnx int8 320 px", "not tried", look_ms=20.0, why="the time was over"),
]


def report(**more: Any) -> Report:
    section: dict[str, Any] = {
        "metric": "mAP50",
        "source": 0.8,
        "allowed": 0.01,
        "limit_ms": 50.0,
        "per": "batch",
        "percentile": 95.0,
        "boundary": "model",
        "rows": ROWS,
        "deployed": {"folder": "runs/demo/deploy", "example": {"images": 4, "boxes": 11}},
        "skipped": {"make onnx fp32 320 px": True, "final round": False},
    }
    made = Artifact(
        path=Path("model.xml"), format="openvino-xml", precision="int8", sha256="a" * 64, made_by="quantize"
    )
    return Report(
        command="optimize",
        title="pills",
        verdict=Verdict(status="pass", reasons=("Chosen: openvino int8 320 px.",)),
        exit_code=0,
        artifact=made,
        budget=Budget(),
        sections={"optimize": {**section, **more}},
    )


def test_every_candidate_has_a_row_with_its_status_and_why() -> None:
    block = next(b for b in blocks(report()) if b.name == "optimize")
    cells = [[cell.text for cell in line] for line in block.tables[0].rows]
    assert [line[1] for line in cells] == ["slower", "chosen", "estimated", "lost accuracy", "not tried"]
    assert cells[1][0] == "openvino int8 320 px (3 layers in float)"
    assert cells[1][7] == "0.440 to 0.460"
    assert cells[2][4] == "4.00 est."
    assert cells[3][-1] == "at 256 px it loses 3.0 points"
    assert "Steps: 1 of 2 found from an earlier search" in [table.title for table in block.tables]


def test_the_page_and_the_terminal_hold_it() -> None:
    page = html(report())
    assert "Latency against accuracy" in page
    assert "Chosen: openvino int8 320 px." in page
    out = StringIO()
    terminal.show(report(), Console(file=out, width=100))
    assert "openvino int8 320 px" in out.getvalue()


def test_measured_marks_are_filled_estimates_hollow_what_is_out_pale_and_the_chosen_one_ringed() -> None:
    figure = pareto(report())
    assert figure
    axes = figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert {"onnx", "openvino", "npu (estimated)", "chosen", "budget", "least accuracy allowed"} <= set(lines)
    assert lines["npu (estimated)"].get_markerfacecolor() == "none"
    assert (list(lines["chosen"].get_xdata()), list(lines["chosen"].get_ydata())) == ([10.0], [0.796])
    pale = [line for line in axes.get_lines() if line.get_alpha() == 0.35]
    assert [list(line.get_xdata()) for line in pale] == [[13.0]]


def test_nothing_known_is_nothing_drawn_and_no_block() -> None:
    empty = replace(report(), sections={})
    assert pareto(empty) is None
    assert not [b for b in blocks(empty) if b.name == "optimize"]
