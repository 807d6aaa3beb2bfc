"""What the search over batch sizes saves: the naive sweep and `deploytk bench --batches 1..64` on the same model.

python bench/peers/search.py [--budget 40 50 70] [--model PATH]        # writes bench/results/search.{json,md}

The naive sweep is what one writes in an afternoon: for each batch size a process that loads the model, calls it 10
times to warm up and 100 times for the clock, and the 95th percentile against the budget.

A batch size whose 95th percentile is within a tenth of the budget, in the samples of either, lies on it: 100 calls
cannot tell its side (docs/verdict.md), and another sweep says otherwise. The sets are compared without it, and it is
named.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from results import MODELS, keep, parser

from deploytk.artifact import versions_of
from deploytk.batches import parse_batches
from deploytk.budget import Budget
from deploytk.measurement import percentile
from deploytk.report import Report

WARM_UP, CALLS, PERCENT = 10, 100, 95.0
TARGET = 0.2
ON_IT = 0.1


def naive_samples(model: Path, batch: int, threads: int, calls: int) -> list[float]:
    """Latencies in ms of the calls after the warm-up, in this process."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    feed = {given.name: np.random.default_rng(0).random((batch, *given.shape[1:]), dtype=np.float32)}
    samples = []
    for _ in range(WARM_UP + calls):
        began = perf_counter()
        session.run(None, feed)
        samples.append(1000 * (perf_counter() - began))
    return samples[WARM_UP:]


def naive_sweep(model: Path, batches: Sequence[int], threads: int, calls: int) -> dict[str, Any]:
    """Seconds, calls and samples by batch size of the naive sweep, one process each."""
    began = perf_counter()
    samples: dict[int, list[float]] = {}
    for batch in batches:
        asked = ["--one", str(batch), "--model", str(model), "--threads", str(threads), "--calls", str(calls)]
        done = subprocess.run([sys.executable, __file__, *asked], check=True, stdout=subprocess.PIPE, text=True)
        samples[batch] = json.loads(done.stdout)
    return {
        "seconds": perf_counter() - began,
        "calls": len(batches) * (WARM_UP + calls),
        "p95_ms": {batch: percentile(found, PERCENT) for batch, found in samples.items()},
        "samples_ms": samples,
    }


def searched(model: Path, batches: str, budget_ms: float, threads: int, time_limit_s: float) -> dict[str, Any]:
    """The same of deploytk's search, with the verdict of each batch size it looked at."""
    from deploytk.batches import may_go_between
    from deploytk.stages.bench import bench

    with tempfile.TemporaryDirectory() as out:
        began = perf_counter()
        report = bench(
            model,
            budget=Budget(latency_ms=budget_ms, percentile=PERCENT),
            batches=parse_batches(batches),
            may_go_between=may_go_between(batches),
            runtime="onnx",
            threads=threads,
            time_limit_s=time_limit_s,
            out=Path(out),
        )
        seconds = perf_counter() - began
    return {"seconds": seconds, "calls": report.sections["bench"]["search"]["calls"], **_verdicts(report)}


def _verdicts(report: Report) -> dict[str, Any]:
    rows = report.sections["bench"]["rows"]
    return {
        "verdicts": {row["batch"]: row["verdict"] for row in rows},
        "p95_ms": {m.batch: m.percentile_ms(PERCENT) for m in report.measurements if m.samples_ms},
        "samples_ms": {m.batch: list(m.samples_ms) for m in report.measurements},
    }


def row(budget_ms: float, naive: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Both at one budget: cost, and the listed batch sizes within it."""
    listed = list(naive["p95_ms"])
    theirs = [batch for batch in listed if naive["p95_ms"][batch] <= budget_ms]
    passed = [batch for batch in listed if ours["verdicts"].get(batch) == "pass"]
    found = [[sweep["p95_ms"].get(batch, math.inf) for sweep in (naive, ours)] for batch in listed]
    on_it = [batch for batch, p95s in zip(listed, found, strict=True) if _near(p95s, budget_ms)]
    same = {*theirs} - {*on_it} == {*passed} - {*on_it}
    return {
        "budget ms": budget_ms,
        "naive s": round(naive["seconds"], 1),
        "deploytk s": round(ours["seconds"], 1),
        "cost ratio": round(ours["seconds"] / naive["seconds"], 3),
        "naive calls": naive["calls"],
        "deploytk calls": ours["calls"],
        "naive set": theirs,
        "deploytk set": passed,
        "on the budget": on_it or "none",
        "undecided": [batch for batch in listed if ours["verdicts"].get(batch) == "inconclusive"],
        "same set": "yes" if same else "no",
        "also tried": [batch for batch in ours["verdicts"] if batch not in listed],
    }


def _near(p95s_ms: Sequence[float], budget_ms: float) -> bool:
    return any(abs(p95 / budget_ms - 1) <= ON_IT for p95 in p95s_ms)


def compared(given: argparse.Namespace) -> tuple[dict[str, Any], dict[float, dict[str, Any]]]:
    """The naive sweep, and a search for each budget: the first one before it, the others after it."""
    batches = parse_batches(given.batches)
    ours: dict[float, dict[str, Any]] = {}
    naive: dict[str, Any] = {}
    for budget_ms in given.budget:
        ours[budget_ms] = searched(given.model, given.batches, budget_ms, given.threads, given.time_limit)
        naive = naive or naive_sweep(given.model, batches, given.threads, given.calls)
    return naive, ours


def main() -> None:
    """Measure, print and keep the table; with `--one` print the samples of one batch size."""
    asked = parser("The naive sweep over batch sizes and deploytk's search.", "search")
    asked.add_argument("--model", type=Path, default=MODELS / "yolov8n-320.onnx")
    asked.add_argument("--batches", default="1..64")
    asked.add_argument("--budget", type=float, nargs="+", default=[50.0, 70.0], help="in ms")
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--calls", type=int, default=CALLS, help="of the naive sweep at each batch size")
    asked.add_argument("--time-limit", type=float, default=120.0, help="of each search, in seconds")
    asked.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one:
        print(json.dumps(naive_samples(given.model, given.one, given.threads, given.calls)))
        return
    naive, ours = compared(given)
    rows = [row(budget_ms, naive, found) for budget_ms, found in ours.items()]
    cheap = sum(r["cost ratio"] <= TARGET for r in rows)
    same = sum(r["same set"] == "yes" for r in rows)
    keep(
        given.out,
        "search",
        sentence=f"At most {TARGET:g} of the naive cost: {cheap} of {len(rows)} budgets; "
        f"the same listed batch sizes within the budget, but for what lies on it: {same} of {len(rows)}.",
        how=f"{given.model.name} in ONNX Runtime, {given.threads} threads, batch sizes {given.batches}, p95; the "
        f"naive sweep takes {WARM_UP} + {given.calls} calls each, once for all budgets. Seconds hold starting the "
        "processes and loading on both sides.",
        rows=rows,
        versions=versions_of("deploytk", "onnxruntime"),
        naive=naive,
        ours=ours,
    )


if __name__ == "__main__":
    main()
