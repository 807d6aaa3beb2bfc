"""One recording: the latency of every call of one model in this (fresh) process, for bench/verdict_replay.py.

    python bench/recordings/record.py MODEL OUT.npz --threads 1 --calls 8000 --seconds 90

Calls follow each other without a pause. Nothing is clipped; twenty warm-up calls are left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

WARMUP_CALLS = 20


def onnx_call(model: str, threads: int) -> Callable[[], object]:
    """One run of an ONNX model at batch 1 on random input."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    asked = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in asked.shape]
    rng = np.random.default_rng(0)
    feed = {asked.name: rng.random(shape, dtype=np.float32)}
    return lambda: session.run(None, feed)


def litert_call(model: str, threads: int) -> Callable[[], object]:
    """One invocation of a LiteRT model on random input."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=threads)
    interpreter.allocate_tensors()
    asked = interpreter.get_input_details()[0]
    rng = np.random.default_rng(0)
    interpreter.set_tensor(asked["index"], rng.integers(0, 100, asked["shape"]).astype(asked["dtype"]))
    return interpreter.invoke


def record(call: Callable[[], object], calls: int, seconds: float) -> np.ndarray:
    """Latencies in ms, of `calls` calls or as many as fit in `seconds`."""
    for _ in range(WARMUP_CALLS):
        call()
    found: list[int] = []
    until = time.monotonic() + seconds
    while len(found) < calls and time.monotonic() < until:
        began = time.perf_counter_ns()
        call()
        found.append(time.perf_counter_ns() - began)
    return (np.asarray(found, dtype=np.float64) / 1e6).astype(np.float32)


def main() -> None:
    """Record, and keep the series with the hour it was made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=8000)
    parser.add_argument("--seconds", type=float, default=90.0)
    asked = parser.parse_args()
    opened = litert_call if asked.model.endswith(".tflite") else onnx_call
    began = time.strftime("%Y-%m-%d %H:%M")
    latencies = record(opened(asked.model, asked.threads), asked.calls, asked.seconds)
    np.savez_compressed(asked.out, latency_ms=latencies, began=np.array(began), threads=np.array(asked.threads))
    print(f"{asked.out.name}: {latencies.size} calls, median {np.median(latencies):.3g} ms, began {began}")


if __name__ == "__main__":
    main()
