"""MLPerf LoadGen beside `deploytk.scenarios`: the same session in one process, scenario by scenario in turn.

python bench/peers/loadgen.py MODEL.onnx [--rounds 6] [--seconds 8]     # writes bench/results/loadgen.{json,md}

A ratio is ours over LoadGen's percentile of the same round. The arrivals of a server are drawn by each tool itself,
so its tails scatter from round to round even where nothing else differs.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import mlperf_loadgen as lg
import numpy as np

from deploytk import scenarios, timing
from deploytk.artifact import versions_of
from deploytk.files import write_json, write_text
from deploytk.measurement import Machine, percentile
from deploytk.runtimes.onnx import open_session
from deploytk.stages.bench_inputs import feeds_for
from deploytk.timing import Run

RESULTS = Path(__file__).parents[1] / "results"
PERCENTS = (50, 95, 99)
#: Of what the session can serve in a closed loop.
BUSY = 0.3
_SUMMARY = re.compile(r"^(50|95|99)\.00 percentile latency \(ns\)\s*: (\d+)", re.MULTILINE)


def ours(run: Run, scenario: str, seconds: float, qps: float, seed: int) -> dict[int, float]:
    """The percentiles in ms that deploytk sees."""
    if scenario == "single-stream":
        found = scenarios.single_stream(run, duration_s=seconds)
    else:
        found = scenarios.server([run], scenarios.poisson_arrivals(qps, seconds, seed))
    return {p: percentile(found.latency_ms.tolist(), p) for p in PERCENTS}


def theirs(run: Run, scenario: str, seconds: float, qps: float, seed: int) -> dict[int, float]:
    """The percentiles in ms that LoadGen sees; one thread of its user's serves what it issues."""
    settings = lg.TestSettings()
    settings.mode = lg.TestMode.PerformanceOnly
    settings.scenario = lg.TestScenario.SingleStream if scenario == "single-stream" else lg.TestScenario.Server
    settings.min_duration_ms = round(1000 * seconds)
    settings.min_query_count = 1
    settings.server_target_qps = qps
    settings.schedule_rng_seed = seed
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    worker = threading.Thread(target=_serve, args=(run, waiting), daemon=True)
    worker.start()
    with tempfile.TemporaryDirectory() as folder, timing.no_garbage_collection():
        _test(settings, Path(folder), waiting.put)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    waiting.put(None)
    worker.join()
    return {int(p): int(ns) / 1e6 for p, ns in _SUMMARY.findall(summary)}


def _serve(run: Run, waiting: queue.SimpleQueue[Any]) -> None:
    turn = 0
    while (samples := waiting.get()) is not None:
        for sample in samples:
            run(turn)
            turn += 1
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])


def _test(settings: Any, folder: Path, issue: Callable[[Any], None]) -> None:
    logs = lg.LogSettings()
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = False
    sut = lg.ConstructSUT(issue, lambda: None)
    library = lg.ConstructQSL(1024, 1024, lambda _: None, lambda _: None)
    try:
        lg.StartTestWithLogSettings(sut, library, settings, logs)
    finally:
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)


def compared(run: Run, rounds: int, seconds: float) -> dict[str, Any]:
    """Both tools on both scenarios, in turn; who begins changes from round to round."""
    timing.warm_up(run)
    closed = scenarios.single_stream(run, duration_s=min(3.0, seconds))
    qps = BUSY * closed.capacity_per_s
    found: dict[str, list[dict[str, Any]]] = {"single-stream": [], "server": []}
    for number in range(rounds):
        for scenario, told in found.items():
            tools = [("deploytk", ours), ("loadgen", theirs)]
            told.append(
                {name: tool(run, scenario, seconds, qps, number) for name, tool in tools[:: 1 - number % 2 * 2]}
            )
    return {"qps": qps, "rounds": found}


def table(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each scenario and percentile: medians over the rounds, and the ratio with its range."""
    rows = []
    for scenario, rounds in found["rounds"].items():
        for p in PERCENTS:
            ratios = [told["deploytk"][p] / told["loadgen"][p] for told in rounds]
            row: dict[str, Any] = {"scenario": scenario, "percentile": f"p{p}"}
            row |= {f"{name} ms": median(told[name][p] for told in rounds) for name in ("deploytk", "loadgen")}
            rows.append(row | {"ratio": median(ratios), "smallest": min(ratios), "largest": max(ratios)})
    return rows


def _busy(told: dict[str, Any]) -> bool:
    """Whether others used the machine: this program alone makes a load of about 1."""
    return bool(max(told["load_before"], told["load_after"] - 1) > 0.5 * told["machine"]["cores"])


def markdown(rows: list[dict[str, Any]], told: dict[str, Any]) -> str:
    """The table, and what it was measured with."""
    machine, versions = told["machine"], told["versions"]
    lines = [
        f"{told['rounds']} rounds of {told['seconds']:g} s, interleaved in one process; ratio: deploytk over LoadGen.",
        f"{told['model']}, ONNX Runtime {versions['onnxruntime']}, {told['threads']} thread(s), "
        f"server at {told['qps']:.3g} requests/s; LoadGen {versions['mlcommons-loadgen']}.",
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; "
        f"load of the machine {told['load_before']:.1f} before and {told['load_after']:.1f} after"
        + (": **others worked on it, and the figures are not to be relied on**." if _busy(told) else "."),
        "",
        "| " + " | ".join(rows[0]) + " |",
        "|---" * len(rows[0]) + "|",
    ]
    lines += ["| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    session = open_session(given.model, batch=1, threads=given.threads)
    feeds, _ = feeds_for(session.inputs, None)

    def run(turn: int) -> dict[str, np.ndarray]:
        return session.run(feeds[turn % len(feeds)])

    before = os.getloadavg()[0]
    found = compared(run, given.rounds, given.seconds)
    rows = table(found)
    told = {
        "date": datetime.now(UTC).date().isoformat(),
        "model": given.model.name,
        "threads": given.threads,
        "rounds": given.rounds,
        "seconds": given.seconds,
        "qps": found["qps"],
        "load_before": before,
        "load_after": os.getloadavg()[0],
        "machine": asdict(Machine.this()),
        "versions": versions_of("onnxruntime", "mlcommons-loadgen", "deploytk"),
    }
    write_json(RESULTS / "loadgen.json", told | {"rows": rows, "each_round": found["rounds"]})
    write_text(RESULTS / "loadgen.md", markdown(rows, told))
    print(markdown(rows, told))


if __name__ == "__main__":
    main()
