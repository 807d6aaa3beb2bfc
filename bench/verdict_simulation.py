"""How often the verdict errs: simulated latencies whose true percentile is known, judged many times.

    python bench/verdict_simulation.py            # writes bench/results/verdict_simulation.{json,md}
    python bench/verdict_simulation.py --runs 500

Each run draws one long series, takes blocks spread over it and judges them against a budget placed 10 % below, at,
or 10 % above the series' true p95. The naive rule (nearest-rank p95 of as many consecutive samples) is judged beside
it. "As the bench" is the whole sequential plan: after 15 blocks of 5 (only to fail), 60, 120 and 240, until decided.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from deploytk.budget import Budget
from deploytk.judge import judge
from deploytk.measurement import percentile
from deploytk.stages.bench_sweep import CALLS, LOOKS, ROUNDS, look_after

Series = Callable[[np.random.Generator, int], np.ndarray]
RESULTS = Path(__file__).parent / "results"
#: The true p95 against the budget.
PLACES = {"10 % over": 1.1, "at the budget": 1.0, "10 % under": 0.9}
#: blocks x calls, and how far apart the blocks start.
PLANS = {"30 x 10": (30, 10), "60 x 10": (60, 10), "60 x 5": (60, 5)}
SPACING = 100


def iid(rng: np.random.Generator, n: int) -> np.ndarray:
    """Independent, log-normal."""
    return 40 * np.exp(0.1 * rng.standard_normal(n))


def ar1(rng: np.random.Generator, n: int, rho: float = 0.9) -> np.ndarray:
    """Log-normal whose logarithm is AR(1)."""
    from scipy.signal import lfilter

    noise = rng.standard_normal(n) * np.sqrt(1 - rho**2)
    noise[0] /= np.sqrt(1 - rho**2)
    return 40 * np.exp(0.1 * lfilter([1.0], [1.0, -rho], noise))


def bimodal(rng: np.random.Generator, n: int, slow: float = 0.15, dwell: float = 5.0) -> np.ndarray:
    """Two modes, 40 and 60 ms, 3 % wide; 15 % of the calls are slow, in runs of 5 on average."""
    modes = np.empty(n, dtype=bool)
    leave = {True: 1 / dwell, False: slow / (1 - slow) / dwell}
    now, at = bool(rng.random() < slow), 0
    while at < n:
        run = int(rng.geometric(leave[now]))
        modes[at : at + run] = now
        now, at = not now, at + run
    return np.where(modes, 60.0, 40.0) * np.exp(0.03 * rng.standard_normal(n))


def bimodal_long(rng: np.random.Generator, n: int) -> np.ndarray:
    """The same two modes in runs of 50: longer than a block, the hard case."""
    return bimodal(rng, n, dwell=50.0)


SERIES: dict[str, Series] = {
    "independent": iid,
    "AR(1) 0.9": ar1,
    "AR(1) 0.99": partial(ar1, rho=0.99),
    "AR(1) 0.997": partial(ar1, rho=0.997),
    "bimodal": bimodal,
    "bimodal, long runs": bimodal_long,
}

STATUSES = ("pass", "fail", "inconclusive")
Counts = Counter[str]


def true_p95(series: Series) -> float:
    """The p95 of two million samples of a series."""
    return float(np.quantile(series(np.random.default_rng(95), 2_000_000), 0.95))


def spread(values: np.ndarray, blocks: int, calls: int) -> list[float]:
    """`blocks` blocks of `calls` samples, each starting SPACING after the one before."""
    return [float(v) for b in range(blocks) for v in values[b * SPACING : b * SPACING + calls]]


def naive(samples: list[float], budget: Budget) -> str:
    """What a plain comparison says."""
    return "pass" if percentile(samples, budget.percentile) < budget.latency_ms else "fail"


def simulate(series: Series, place: float, plan: tuple[int, int], *, runs: int, seed: int = 1) -> dict[str, Counts]:
    """How often each status came out of `runs` series, for deploytk's rule and for the naive one."""
    blocks, calls = plan
    budget = Budget(latency_ms=true_p95(series) / place)
    rng = np.random.default_rng(seed)
    ours, theirs = Counter[str](), Counter[str]()
    for _ in range(runs):
        values = series(rng, blocks * SPACING)
        ours[judge(spread(values, blocks, calls), [calls] * blocks, budget, 1).status] += 1
        theirs[naive([float(v) for v in values[: blocks * calls]], budget)] += 1
    return {"deploytk": ours, "naive": theirs}


def simulate_bench(series: Series, place: float, *, runs: int, seed: int = 2) -> Counts:
    """How often each verdict came out when a growing series is judged up to four times, as the bench does it."""
    budget = Budget(latency_ms=true_p95(series) / place)
    rng = np.random.default_rng(seed)
    found = Counter[str]()
    looks = look_after(ROUNDS)
    for _ in range(runs):
        values = series(rng, looks[-1] * SPACING)
        for blocks in looks:
            status = judge(spread(values, blocks, CALLS), [CALLS] * blocks, budget, 1, looks=LOOKS).status
            if status == "fail" or (status == "pass" and blocks != looks[0]):
                break
        found[status] += 1
    return found


def table(runs: int) -> list[dict[str, object]]:
    """One row per series, plan and place, shares in percent."""
    rows: list[dict[str, object]] = []
    for name, series in SERIES.items():
        for plan, size in PLANS.items():
            for place, factor in PLACES.items():
                told = simulate(series, factor, size, runs=runs)
                row: dict[str, object] = {"series": name, "blocks": plan, "true p95": place}
                row |= {s: 100 * told["deploytk"][s] / runs for s in STATUSES}
                rows.append(row | {"naive pass": 100 * told["naive"]["pass"] / runs})
        for place, factor in PLACES.items():
            found = simulate_bench(series, factor, runs=runs)
            row = {"series": name, "blocks": "as the bench", "true p95": place}
            rows.append(row | {s: 100 * found[s] / runs for s in STATUSES} | {"naive pass": "-"})
    return rows


def markdown(rows: list[dict[str, object]], runs: int) -> str:
    """The table for docs/verdict.md."""
    head = list(rows[0])
    lines = [f"{runs} runs each; percent of runs.", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += [
        "| " + " | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in r.values()) + " |" for r in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    rows = table(runs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "verdict_simulation.json").write_text(json.dumps({"runs": runs, "rows": rows}, indent=1) + "\n")
    (RESULTS / "verdict_simulation.md").write_text(markdown(rows, runs))
    print(markdown(rows, runs))


if __name__ == "__main__":
    main()
