"""What the report says about a TensorRT engine: what built it, for which batch sizes, and what it computes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, code, number, pairs, text

_LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
_NO_GPU = "none here: built without one, and not executed"
#: What became of the kernel timings of an earlier build.
_TIMINGS = {"none": "none: this library chooses its kernels where the engine runs", "new": "new", "read": "read"}


def engine_block(report: Report) -> list[Block]:
    """The facts of an engine that are known before it is loaded."""
    told = report.sections.get("engine")
    if not isinstance(told, Mapping) or not told:
        return []
    return [Block(name="engine", title="TensorRT engine", tables=(pairs(_rows(told), brief=True),))]


def _rows(told: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    workspace = told.get("workspace_bytes")
    best = " (found by a sweep)" if told.get("best_by") == "sweep" else ""
    timings = told.get("timing_cache", "")
    return [
        ("built by", text(f"{_LIBRARIES.get(told['library'], told['library'])} {told['version']}")),
        ("GPU", text(_gpu(told))),
        ("computes in", text(told["precision"])),
        ("float32 as TF32", text("yes" if told.get("tf32") else "no")),
        ("batches", text("; ".join(_span(*profile) for profile in told["profiles"]) + best)),
        ("optimization level", number(told.get("level"))),
        (
            "workspace",
            text("the library's own choice") if workspace is None else number(workspace / 2**30, unit=" GiB"),
        ),
        ("kernel timings", text(_TIMINGS.get(timings, timings))),
        ("build", number(told.get("build_s"), unit=" s")),
        ("size", number(told["bytes"] / 1e6, unit=" MB")),
        ("from ONNX", code(told["onnx_sha256"])),
    ]


def _gpu(told: Mapping[str, Any]) -> str:
    if not told.get("gpu"):
        return _NO_GPU
    return f"{told['gpu']}, compute capability {told['compute_capability']}, driver {told['driver'] or 'unknown'}"


def _span(least: int, best: int, most: int) -> str:
    return str(least) if least == most else f"{least}..{most}, best at {best}"
