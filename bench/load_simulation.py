"""How often the verdict on a server errs: M/G/1 queues whose true percentile is known, judged many times.

    python bench/load_simulation.py            # writes bench/results/load_simulation.{json,md}
    python bench/load_simulation.py --runs 50

Each run draws the arrivals and the services of one load that begins with an empty queue, and judges it against a
budget placed 10 % below, at, 10 % and 30 % above the queue's true percentile. The naive rule compares the percentile
of the same samples with the budget.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from deploytk.budget import Budget
from deploytk.files import write_json, write_text
from deploytk.measurement import percentile
from deploytk.scenarios import Load
from deploytk.stages.load_verdict import server_verdict

RESULTS = Path(__file__).parent / "results"
SERVICE_MS = 10.0
#: The true percentile against the budget.
PLACES = {"10 % over": 1.1, "at the budget": 1.0, "10 % under": 0.9, "30 % under": 0.7}
#: Coefficient of variation of the service time; log-normal where it is not 0.
SPREADS = {"constant": 0.0, "spread 0.5": 0.5}


def queue(rng: np.random.Generator, rho: float, count: int, spread: float) -> Load:
    """`count` requests to one worker that is busy for the share `rho` of the time (Lindley's recursion)."""
    arrived = np.cumsum(rng.exponential(SERVICE_MS / rho, count))
    sigma = float(np.sqrt(np.log(1 + spread**2)))
    service = SERVICE_MS * np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2)
    slack = np.concatenate([[0.0], np.cumsum(service[:-1] - np.diff(arrived))])
    began = arrived + slack - np.minimum.accumulate(slack)
    as_ns = [np.round(1e6 * values).astype(np.int64) for values in (arrived, began, began + service)]
    return Load(
        arrived_ns=as_ns[0],
        began_ns=as_ns[1],
        ended_ns=as_ns[2],
        waited=np.zeros(count, bool),
        items=1,
        workers=1,
    )


def rows(runs: int) -> list[dict[str, object]]:
    """One row per queue, percentile and length of the run; shares of the runs in percent."""
    rng = np.random.default_rng(1)
    found: list[dict[str, object]] = []
    for name, spread in SPREADS.items():
        for rho in (0.3, 0.5, 0.7, 0.8, 0.9):
            long = queue(rng, rho, 3_000_000, spread).latency_ms
            for percent in (95.0, 99.0):
                true_ms = float(np.quantile(long, percent / 100))
                for count in (600, 1800, 6000, 20_000):
                    loads = [queue(rng, rho, count, spread) for _ in range(runs)]
                    row: dict[str, object] = {"service": name, "busy": rho, "percentile": percent, "requests": count}
                    found.append(row | _judged(loads, true_ms, percent))
    return found


def _judged(loads: list[Load], true_ms: float, percent: float) -> dict[str, object]:
    told: dict[str, object] = {}
    for place, factor in PLACES.items():
        budget = Budget(latency_ms=true_ms / factor, percentile=percent)
        statuses = Counter(server_verdict(load, budget)[0].status for load in loads)
        told[f"{place}: pass"] = 100 * statuses["pass"] / len(loads)
        if place != "30 % under":
            told[f"{place}: fail"] = 100 * statuses["fail"] / len(loads)
    naive = sum(percentile(load.latency_ms.tolist(), percent) < true_ms / 1.1 for load in loads)
    return told | {"10 % over: naive pass": 100 * naive / len(loads)}


def markdown(table: list[dict[str, object]], runs: int) -> str:
    """The table as text."""
    head = list(table[0])
    lines = [f"{runs} runs each; percent of runs.", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in r.values()) + " |" for r in table]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    table = rows(runs)
    write_json(RESULTS / "load_simulation.json", {"runs": runs, "rows": table})
    write_text(RESULTS / "load_simulation.md", markdown(table, runs))
    print(markdown(table, runs))


if __name__ == "__main__":
    main()
