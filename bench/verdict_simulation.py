"""How often the verdict errs: simulated latencies whose true percentile is known, judged many times.

    python bench/verdict_simulation.py            # 10,000 runs; writes bench/results/verdict_simulation.{json,md}
    python bench/verdict_simulation.py --runs 500 --only bimodal

Each run draws one measurement, takes blocks spread over it as the bench does, and lets the whole sequential plan
judge them against budgets 10 % below, at, and 10 % above the series' true p95. Beside it stand the naive rule and
MLPerf LoadGen's, on the very samples that the plan had used when it ended, and on as many calls in a row.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from verdict_rules import FAIL, INCONCLUSIVE, PASS, Decided, loadgen_passes, naive_passes, sequential
from verdict_series import PROMISED, STRESS, Series, block_times, true_p95

from deploytk.budget import Budget
from deploytk.judge import CALLS, plan_for

RESULTS = Path(__file__).parent / "results"
#: The true p95 against the budget.
PLACES = {"10 % over": 1.1, "at the budget": 1.0, "10 % under": 0.9}
_AT_ONCE = 1000

Row = dict[str, Any]


def simulate(series: Series, *, runs: int, seed: int = 1) -> dict[str, Row]:
    """For each place of the true p95, percent of the runs that ended in each way, and what the other rules said."""
    rng = np.random.default_rng(seed)
    p95_ms = true_p95(series)
    found: dict[str, list[Row]] = {place: [] for place in PLACES}
    while runs > 0:
        batch = min(runs, _AT_ONCE)
        for place, row in _judged(rng, series, p95_ms, batch):
            found[place].append(row | {"runs": batch})
        runs -= batch
    return {place: _mean(rows) for place, rows in found.items()}


def _judged(rng: np.random.Generator, series: Series, p95_ms: float, runs: int) -> Iterator[tuple[str, Row]]:
    """One row for each place, from the same measurements."""
    plan = plan_for(Budget())
    spread = series(rng, runs, block_times(plan[-1].rounds, CALLS))
    in_a_row = series(rng, runs, np.arange(spread.shape[1]))
    for place, factor in PLACES.items():
        budget = Budget(latency_ms=p95_ms / factor)
        decided = sequential(spread, plan, budget)
        yield (
            place,
            shares(decided)
            | {
                "naive": percent(naive_passes(spread, decided.samples, budget)),
                "naive, in a row": percent(naive_passes(in_a_row, decided.samples, budget)),
                "LoadGen": percent(loadgen_passes(spread, decided.samples, budget)),
                "LoadGen, in a row": percent(loadgen_passes(in_a_row, decided.samples, budget)),
            },
        )


def shares(decided: Decided) -> Row:
    """Percent of the series with each verdict, and the mean number of calls that took."""
    told = {"pass": PASS, "fail": FAIL, "inconclusive": INCONCLUSIVE}
    return {name: decided.percent(status) for name, status in told.items()} | {"calls": float(decided.samples.mean())}


def percent(passes: Any) -> float:
    """How many are true, in percent."""
    return 100 * float(passes.mean())


def _mean(rows: list[Row]) -> Row:
    """The mean of rows, each weighed with its runs."""
    weights = [row["runs"] for row in rows]
    return {name: float(np.average([row[name] for row in rows], weights=weights)) for name in rows[0] if name != "runs"}


def markdown(rows: list[Row]) -> str:
    """A table; numbers with one digit, calls with none."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [
            str(v) if not isinstance(v, float) else f"{v:.0f}" if name == "calls" else f"{v:.1f}"
            for name, v in row.items()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--only", default="", help="series whose name has this in it; nothing is written")
    asked = parser.parse_args()
    tables: dict[str, list[Row]] = {"promised": [], "beyond the promises": []}
    for title, group in zip(tables, (PROMISED, STRESS), strict=True):
        for name, series in group.items():
            if asked.only in name:
                for place, row in simulate(series, runs=asked.runs).items():
                    tables[title].append({"series": name, "true p95": place} | row)
                    print(markdown(tables[title][-1:]).splitlines()[-1], flush=True)
    if not asked.only:
        keep(tables, asked.runs)


def keep(tables: dict[str, list[Row]], runs: int) -> None:
    """Write both tables under bench/results."""
    told = [f"## {title}\n\n{runs} runs each; percent of runs.\n\n{markdown(rows)}" for title, rows in tables.items()]
    (RESULTS / "verdict_simulation.json").write_text(json.dumps({"runs": runs, **tables}, indent=1) + "\n")
    (RESULTS / "verdict_simulation.md").write_text("\n".join(told))


if __name__ == "__main__":
    main()
