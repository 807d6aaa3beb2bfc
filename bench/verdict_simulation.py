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
from pathlib import Path
from typing import Any

import numpy as np
from verdict_rules import FAIL, INCONCLUSIVE, PASS, Array, Decided, loadgen_passes, naive_passes, sequential
from verdict_series import PROMISED, SPACING, STRESS, Series, block_times, shorter, true_p95

from deploytk.budget import Budget
from deploytk.judge import CALLS, Look, longer, plan_for

RESULTS = Path(__file__).parent / "results"
#: The true p95 against the budget.
PLACES = {"10 % over": 1.1, "at the budget": 1.0, "10 % under": 0.9}
#: The same, for what a verdict costs.
COSTS = {f"{factor:g} of the budget": factor for factor in (0.4, 0.6, 0.75, 0.85, 0.95, 1.05, 1.2, 1.5, 2)}
CUT_AFTER = (60, 120)
PLAN = plan_for(Budget())
#: With time left at its end.
LONGER = longer(PLAN)
_AT_ONCE = 1000

Row = dict[str, Any]


def simulate(
    series: Series, *, runs: int, plan: tuple[Look, ...] = PLAN, places: dict[str, float] = PLACES, seed: int = 1
) -> dict[str, Row]:
    """For each place of the true p95, percent of the runs that ended in each way, and what the other rules said."""
    rng = np.random.default_rng(seed)
    p95_ms = true_p95(series, plan[-1].rounds * SPACING)
    found: dict[str, list[Row]] = {place: [] for place in places}
    while runs > 0:
        batch = min(runs, _AT_ONCE)
        spread = series(rng, batch, block_times(plan[-1].rounds, CALLS))
        in_a_row = series(rng, batch, np.arange(spread.shape[1]))
        for place, factor in places.items():
            budget = Budget(latency_ms=p95_ms / factor)
            decided = sequential(spread, plan, budget)
            found[place].append(shares(decided) | others(spread, in_a_row, decided, budget) | {"runs": batch})
        runs -= batch
    return {place: _mean(rows) for place, rows in found.items()}


def others(spread: Array, in_a_row: Array, decided: Decided, budget: Budget, *, part: float = 0.0) -> Row:
    """How often the naive rule and LoadGen's pass: on the samples the plan had used, and on as many calls in a row."""
    return {
        "naive": percent(naive_passes(spread, decided.samples, budget, spread=part)),
        "naive, in a row": percent(naive_passes(in_a_row, decided.samples, budget)),
        "LoadGen": percent(loadgen_passes(spread, decided.samples, budget, spread=part)),
        "LoadGen, in a row": percent(loadgen_passes(in_a_row, decided.samples, budget)),
    }


def cut_short(rounds: int) -> tuple[Look, ...]:
    """The plan of a series that a time limit ends after `rounds` blocks."""
    before = tuple(look for look in PLAN if look.rounds < rounds)
    next_look = next(look for look in PLAN if look.rounds >= rounds)
    return (*before, Look(rounds=rounds, share=next_look.share))


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
    tables = {"Promised": _table(PROMISED, asked.runs, asked.only), "Stress": _table(STRESS, asked.runs, asked.only)}
    # A line cannot go on for four times the plan; waves can.
    series = {name: each for name, each in PROMISED.items() if name != "drift, linear"}
    tables["With time for more"] = _table(series, asked.runs, asked.only, plan=LONGER)
    for rounds in CUT_AFTER:
        series = {name: shorter(name, rounds) for name in PROMISED}
        tables[f"Cut short after {rounds} blocks"] = _table(series, asked.runs, asked.only, plan=cut_short(rounds))
    tables["What a verdict costs"] = _table(PROMISED, max(1, asked.runs // 10), asked.only, places=COSTS)
    if not asked.only:
        keep(tables)


def _table(group: dict[str, Series], runs: int, only: str, **how: Any) -> list[Row]:
    rows: list[Row] = []
    for name, series in group.items():
        if only in name:
            for place, row in simulate(series, runs=runs, **how).items():
                rows.append({"series": name, "true p95": place, "runs": runs} | row)
                print(markdown(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def keep(tables: dict[str, list[Row]]) -> None:
    """Write the tables under bench/results."""
    told = [f"## {title}\n\nPercent of runs.\n\n{markdown(rows)}" for title, rows in tables.items()]
    (RESULTS / "verdict_simulation.json").write_text(json.dumps(tables, indent=1) + "\n")
    (RESULTS / "verdict_simulation.md").write_text("\n".join(told))


if __name__ == "__main__":
    main()
