"""What LoadGen itself says about a known number of slow calls: the oracle for `verdict_rules`.

    python bench/verdict_loadgen.py --queries 200 --percentile 95 --slow 3 --out FOLDER

It runs LoadGen's SingleStream on a system that answers at once, but for `--slow` calls that take 50 ms, and prints one
JSON line: how many of the slowest queries LoadGen leaves out (-1: too few queries), and its early-stopping estimate.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import mlperf_loadgen as loadgen

SLOW_S = 0.05


def run(queries: int, percentile: float, slow: int, out: Path) -> None:
    """One SingleStream test of `queries` queries, the first `slow` of them slow; its logs are in `out`."""
    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.SingleStream
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.single_stream_target_latency_percentile = percentile / 100
    settings.single_stream_expected_latency_ns = 1000
    settings.min_query_count = settings.max_query_count = queries
    settings.min_duration_ms = 0
    answered = 0

    def issue(asked: list[Any]) -> None:
        nonlocal answered
        for query in asked:
            if answered < slow:
                time.sleep(SLOW_S)
            answered += 1
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0)])

    output = loadgen.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = str(out), False
    log = loadgen.LogSettings()
    log.log_output, log.enable_trace = output, False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(8, 8, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(system, library, settings, log, str(out / "audit.config"))
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)


def told(summary: str) -> dict[str, int]:
    """What the summary says about early stopping."""
    left_out = re.search(r"Would discard (\d+) highest", summary)
    estimate = re.search(r"Early stopping [\d.]+th percentile estimate: (\d+)", summary)
    if left_out is None or estimate is None:
        return {"discarded": -1, "estimate_ns": -1}
    return {"discarded": int(left_out[1]), "estimate_ns": int(estimate[1])}


def main() -> None:
    """Run LoadGen once and print what it said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--queries", type=int, required=True)
    parser.add_argument("--percentile", type=float, default=95.0)
    parser.add_argument("--slow", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    run(asked.queries, asked.percentile, asked.slow, asked.out)
    print(json.dumps(told((asked.out / "mlperf_log_summary.txt").read_text())))


if __name__ == "__main__":
    main()
