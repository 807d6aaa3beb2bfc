"""How often the verdict errs on recorded latencies of real models: blocks taken out of a recording, many times.

    python bench/verdict_replay.py            # writes bench/results/verdict_replay.{json,md}

The true p95 is that of the whole recording, and the budget is put 10 % below it, at it and 10 % above it. One draw
starts anywhere in the recording (which goes round) and takes the blocks of the whole plan, each somewhere in its own
stretch, so that no call is taken twice. The naive rule and LoadGen's get the same samples, and as many in a row.

It is done twice. "Spread": the recording is the measurement, and however many blocks a look has, they come from all of
it, as when a sweep measures other batch sizes in between. "As they come": the first looks see only the first blocks,
and decide about minutes of which they saw seconds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from verdict_rules import sequential
from verdict_simulation import PLACES, RESULTS, Row, markdown, others, shares

from deploytk.budget import Budget
from deploytk.judge import CALLS, plan_for

Array = npt.NDArray[Any]
RECORDINGS = Path(__file__).parent / "recordings"
#: The rule was shaped with an eye on the recordings of these hours; all others are held out.
SHAPED_ON = ("_a", "_b")
#: Made on another day than those, on a machine that nobody else in the work space used.
ANOTHER_DAY = ("_f",)
#: At least so much of a recording; a look always has its own blocks.
PARTS = (0.0, 0.125, 0.25, 0.5, 1.0)


def recordings() -> dict[str, Array]:
    """Every recording by name: latencies in ms, in order."""
    return {path.stem: np.load(path)["latency_ms"].astype(np.float64) for path in sorted(RECORDINGS.glob("*.npz"))}


def held_out(name: str) -> bool:
    """Whether the recording was made or looked at only after the rule was settled."""
    return not name.endswith(SHAPED_ON)


def another_day(name: str) -> bool:
    """Whether the recording was made on another day than those that the rule was shaped on."""
    return name.endswith(ANOTHER_DAY)


def drawn(rng: np.random.Generator, latencies: Array, rounds: int, draws: int) -> tuple[Array, Array]:
    """(blocks spread over the recording, as many calls in a row), one draw in each row.

    Raises:
        ValueError: the recording is too short for as many blocks that share no call.
    """
    stretch = latencies.size // rounds
    if stretch < CALLS:
        raise ValueError(f"{latencies.size} calls are too few for {rounds} blocks of {CALLS}")
    start = rng.integers(latencies.size, size=(draws, 1, 1))
    inside = rng.integers(stretch - CALLS + 1, size=(draws, rounds, 1))
    at = start + stretch * np.arange(rounds)[:, np.newaxis] + inside + np.arange(CALLS)
    in_a_row = start[:, :, 0] + np.arange(rounds * CALLS)
    return latencies[at.reshape(draws, -1) % latencies.size], latencies[in_a_row % latencies.size]


def replay(latencies: Array, *, draws: int, part: float = 1.0, seed: int = 1) -> dict[str, Row]:
    """For each place of the true p95, percent of the draws with each verdict, and what the other rules said."""
    plan = plan_for(Budget())
    spread, in_a_row = drawn(np.random.default_rng(seed), latencies, plan[-1].rounds, draws)
    p95_ms = float(np.quantile(latencies, 0.95, method="inverted_cdf"))
    found: dict[str, Row] = {}
    for place, factor in PLACES.items():
        budget = Budget(latency_ms=p95_ms / factor)
        decided = sequential(spread, plan, budget, spread=part)
        exceeding = {"calls over it": 100 * float((latencies > budget.latency_ms).mean())}
        found[place] = exceeding | shares(decided) | others(spread, in_a_row, decided, budget, part=part)
    return found


def _use(name: str) -> str:
    return "another day" if another_day(name) else "held out" if held_out(name) else "shaped on"


def described(name: str, latencies: Array) -> Row:
    """What a recording is like: how long, how slow, and how alike are calls next to and far from each other."""
    over = (latencies > np.quantile(latencies, 0.95)).astype(float)
    stretch = latencies.size // plan_for(Budget())[-1].rounds
    return {
        "recording": name,
        "use": _use(name),
        "calls": float(latencies.size),
        "seconds": float(latencies.sum() / 1000),
        "p50 ms": f"{np.median(latencies):.3g}",
        "p95 ms": f"{np.quantile(latencies, 0.95):.3g}",
        "next call also slow %": 100 * float(over[1:][over[:-1] > 0].mean()),
        "next block also slow %": 100 * float(over[stretch:][over[:-stretch] > 0].mean()),
    }


def main() -> None:
    """Replay every recording, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    about = [described(name, latencies) for name, latencies in recordings().items()]
    tables = {"Blocks spread over the recording": _rows(draws, part=1.0), "As they come": _rows(draws, part=0.0)}
    tables["False passes, by the part of the recording a look sees"] = _by_part(draws // 4)
    told = [f"## The recordings\n\n{markdown(about)}"]
    told += [f"## {title}\n\nPercent of the draws.\n\n{markdown(rows)}" for title, rows in tables.items()]
    kept = json.dumps({"draws": draws, "recordings": about, **tables}, indent=1)
    (RESULTS / "verdict_replay.json").write_text(kept + "\n")
    (RESULTS / "verdict_replay.md").write_text("\n".join(told))
    print("\n".join(told))


def _rows(draws: int, *, part: float) -> list[Row]:
    return [
        {"recording": name, "true p95": place, "draws": draws} | row
        for name, latencies in recordings().items()
        for place, row in replay(latencies, draws=draws, part=part).items()
    ]


def _by_part(draws: int) -> list[Row]:
    """How often a p95 10 % over the budget passes when every look has its blocks from so much of the recording."""
    return [
        {"recording": name, "seconds": float(latencies.sum() / 1000), "draws": draws}
        | {f"{100 * part:g} %": replay(latencies, draws=draws, part=part)["10 % over"]["pass"] for part in PARTS}
        for name, latencies in recordings().items()
    ]


if __name__ == "__main__":
    main()
