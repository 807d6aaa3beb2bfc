"""What deploytk's own loop adds to each call: an empty model run bare, and as `deploytk bench` runs it.

python bench/peers/overhead.py [--repeats 30] [--calls 2000]        # writes bench/results/overhead.{json,md}

`clocked` is what stands in the samples, `whole` what a call costs beside the clock too (reading it, choosing the
input, keeping the sample). Both sides run in this process, in turn.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper
from results import keep, parser

from deploytk import plugins, timing
from deploytk.artifact import versions_of
from deploytk.stages.bench_child import ModelOnly
from deploytk.stages.bench_inputs import feeds_for

TARGET_US = 20.0
Bare = Callable[[], Any]


def empty_model(path: Path) -> Path:
    """An ONNX that hands one float through."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def bare_onnx(path: Path, feed: dict[str, np.ndarray]) -> Bare:
    """ONNX Runtime as its documentation calls it, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)


def bare_openvino(path: Path, feed: dict[str, np.ndarray]) -> Bare:
    """One request of OpenVINO with its input set beforehand: nothing but `infer()`."""
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, 1])
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(model, "CPU", config).create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(feed["x"], shared_memory=True))
    return lambda: request.infer()


BARE = {"onnx": bare_onnx, "openvino": bare_openvino}


def bare_us(run: Bare, calls: int) -> tuple[float, float]:
    """(median of clocked calls, mean of the whole loop without a clock inside) in microseconds per call."""
    samples = []
    with timing.no_garbage_collection():
        for _ in range(calls):
            began = perf_counter_ns()
            run()
            samples.append(perf_counter_ns() - began)
        began = perf_counter_ns()
        for _ in range(calls):
            run()
        whole = (perf_counter_ns() - began) / calls
    return median(samples) / 1e3, whole / 1e3


def ours_us(measured: ModelOnly, calls: int) -> tuple[float, float]:
    """(median of the samples, mean of the whole) in microseconds per call of `timing.sample`."""
    began = perf_counter_ns()
    _, samples = timing.sample(measured.run, start=0, calls=calls)
    return median(samples) * 1e3, (perf_counter_ns() - began) / calls / 1e3


def compared(runtime: str, *, repeats: int, calls: int) -> dict[str, list[float]]:
    """Microseconds per call of each repeat; the first repeat is thrown away."""
    found: dict[str, list[float]] = {name: [] for name in ("bare clocked", "bare whole", "clocked", "whole")}
    with tempfile.TemporaryDirectory() as folder:
        path = empty_model(Path(folder) / "empty.onnx")
        session = plugins.load("runtimes", runtime).open_session(path, batch=1, threads=1)
        measured = ModelOnly(session, feeds_for(session.inputs, None)[0], 1)
        bare = BARE[runtime](path, measured.feeds[0])
        gc.collect()
        gc.freeze()  # as the child of a bench does
        for turn in range(repeats + 1):
            sides = {"bare ": lambda: bare_us(bare, calls), "": lambda: ours_us(measured, calls)}
            for side in sorted(sides, reverse=bool(turn % 2)):
                clocked, whole = sides[side]()
                if turn:
                    found[f"{side}clocked"].append(clocked)
                    found[f"{side}whole"].append(whole)
        gc.unfreeze()
    return found


def row(runtime: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """One runtime's row: medians over the repeats, and the medians of the repeats' own differences."""
    extra = {
        kind: median(b - a for a, b in zip(found[f"bare {kind}"], found[kind], strict=True))
        for kind in ("clocked", "whole")
    }
    return {
        "runtime": runtime,
        "bare call, us": round(median(found["bare clocked"]), 1),
        "in deploytk's samples, us": round(median(found["clocked"]), 1),
        "extra inside the clock, us": round(extra["clocked"], 1),
        "extra in all, us": round(extra["whole"], 1),
    }


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("What deploytk's loop adds to each call.", "overhead")
    asked.add_argument("--repeats", type=int, default=30)
    asked.add_argument("--calls", type=int, default=2000)
    given = asked.parse_args()
    raw = {name: compared(name, repeats=given.repeats, calls=given.calls) for name in BARE}
    rows = [row(name, found) for name, found in raw.items()]
    below = [r["runtime"] for r in rows if r["extra in all, us"] < TARGET_US]
    keep(
        given.out,
        "overhead",
        sentence=f"Below {TARGET_US:g} microseconds per call in all: {', '.join(below) or 'none'}.",
        how=f"{given.repeats} repeats of {given.calls} calls of a model that hands one float through, bare and in "
        "deploytk's loop in turn; medians over the repeats; 1 thread.",
        rows=rows,
        versions=versions_of("deploytk", "onnxruntime", "openvino"),
        us_per_call=raw,
    )


if __name__ == "__main__":
    main()
