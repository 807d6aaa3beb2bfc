"""The part of a report about a TensorRT engine."""

from __future__ import annotations

from typing import Any

from deploytk.budget import Verdict
from deploytk.report import Report, content
from deploytk.report.content_engine import engine_block

ENGINE: dict[str, Any] = {
    "library": "tensorrt_rtx", "version": "1.7.1.116", "gpu": None, "compute_capability": None, "driver": None,
    "onnx_sha256": "ab12", "profiles": [[1, 1, 1], [2, 8, 64]], "precision": "float16", "tf32": True,
    "timing_cache": "none", "level": 3, "workspace_bytes": None, "build_s": 2.4, "bytes": 12_900_000,
}  # fmt: skip


def told(**changes: Any) -> dict[str, str]:
    report = Report(
        command="export tensorrt",
        title="t",
        verdict=Verdict(status="inconclusive"),
        exit_code=6,
        sections={"engine": {**ENGINE, **changes}},
    )
    (block,) = engine_block(report)
    assert block in content.blocks(report)
    return {row[0].text: row[1].text for row in block.tables[0].rows}


def test_an_engine_built_without_a_gpu_says_that_it_was_not_executed() -> None:
    rows = told()
    assert rows["built by"] == "TensorRT-RTX 1.7.1.116"
    assert rows["GPU"] == "none here: built without one, and not executed"
    assert rows["batches"] == "1; 2..64, best at 8"
    assert rows["size"] == "12.90 MB"


def test_an_engine_of_a_gpu_names_it_and_what_the_sweep_chose() -> None:
    rows = told(library="tensorrt", gpu="NVIDIA H100", compute_capability="9.0", driver="570", best_by="sweep")
    assert rows["GPU"] == "NVIDIA H100, compute capability 9.0, driver 570"
    assert rows["batches"].endswith("(found by a sweep)")


def test_a_report_without_an_engine_has_no_such_part() -> None:
    assert not engine_block(Report(command="bench", title="t", verdict=Verdict(status="pass"), exit_code=0))
