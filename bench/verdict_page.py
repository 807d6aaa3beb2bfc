"""Put the tables of docs/verdict.md there from bench/results/verdict_*.json: python bench/verdict_page.py

Each stands between `<!-- table: NAME -->` and `<!-- end of table -->`; nothing between them is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "verdict.md"
Told = dict[str, Any]

_OTHERS = ("naive", "naive, in a row", "LoadGen", "LoadGen, in a row")
_RESULTS = ("pass", "fail", "inconclusive")
_COSTS = ("independent", "AR(1) 0.9", "drift, linear", "bimodal, runs of 50", "heavy tail, 5x spikes")
#: Recordings this short say little about how the rest of the day would have been.
_SHORT_S = 20


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; numbers with one decimal."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row) + " |" for row in rows]
    return "\n".join(lines)


def _of(rows: Sequence[Told], columns: Sequence[str]) -> list[list[Any]]:
    return [[round(row[c]) if c == "calls" else row[c] for c in columns] for row in rows]


def costs(simulated: Told, _replayed: Told) -> str:
    """The mean number of calls until a verdict, by where the p95 is."""
    rows = simulated["What a verdict costs"]
    places = list(dict.fromkeys(row["true p95"] for row in rows))
    found = {(row["series"], row["true p95"]): round(row["calls"]) for row in rows}
    return table(["p95 is", *_COSTS], [[place, *(found[name, place] for name in _COSTS)] for place in places])


def promised(simulated: Told, _replayed: Told) -> str:
    """How the series of the promises end."""
    columns = ("series", "true p95", *_RESULTS, "calls", *_OTHERS)
    return table(columns, _of(simulated["Promised"], columns))


def goes_on(simulated: Told, _replayed: Told) -> str:
    """How the series of the promises end with time for more."""
    columns = ("series", "true p95", *_RESULTS, "calls")
    return table(columns, _of(simulated["With time for more"], columns))


def stress(simulated: Told, _replayed: Told) -> str:
    """How harder series end."""
    columns = ("series", "true p95", *_RESULTS, "calls", "naive, in a row", "LoadGen, in a row")
    return table(columns, _of([r for r in simulated["Stress"] if r["true p95"] != "10 % under"], columns))


def cut_short(simulated: Told, _replayed: Told) -> str:
    """How often a series passes that is cut short."""
    after = {n: simulated[f"Cut short after {n} blocks"] for n in (60, 120)}
    passed = {(n, r["series"]): r["pass"] for n, rows in after.items() for r in rows if r["true p95"] == "10 % under"}
    names = [r["series"] for r in after[60] if r["true p95"] == "10 % under"]
    rows = [[name, *(round(passed[n, name]) for n in after)] for name in names]
    return table(["series", "after 60 blocks", "after 120"], rows)


def _held_out(replayed: Told) -> dict[str, Told]:
    return {r["recording"]: r for r in replayed["recordings"] if r["use"] != "shaped on"}


def spread(_simulated: Told, replayed: Told) -> str:
    """How the held-out recordings end, blocks spread over each."""
    columns = ("recording", "true p95", "calls over it", *_RESULTS, *_OTHERS)
    held = _held_out(replayed)
    rows = [r for r in replayed["Blocks spread over the recording"] if r["recording"] in held]
    return table(columns, _of(rows, columns))


def as_they_come(_simulated: Told, replayed: Told) -> str:
    """The same, blocks from any point on."""
    held = _held_out(replayed)
    rows = {(r["recording"], r["true p95"]): r for r in replayed["As they come"]}
    over, at, under = "10 % over", "at the budget", "10 % under"
    told = [
        [
            name,
            recording["p50 ms"],
            recording["p95 ms"],
            *(rows[name, over][c] for c in ("pass", "naive, in a row", "LoadGen, in a row")),
            *(rows[name, place][c] for place in (at, under) for c in ("pass", "fail")),
        ]
        for name, recording in held.items()
    ]
    head = ["recording", "p50 ms", "p95 ms", "10 % over: pass", "naive, in a row", "LoadGen, in a row"]
    return table([*head, "at it: pass", "at it: fail", "10 % under: pass", "10 % under: fail"], told)


def by_part(_simulated: Told, replayed: Told) -> str:
    """The eight worst recordings, by the part of each that every look sees."""
    rows = [r for r in replayed["False passes, by the part of the recording a look sees"] if r["seconds"] > _SHORT_S]
    parts = ("0 %", "12.5 %", "25 %", "50 %", "100 %")
    worst = sorted(rows, key=lambda r: -r["0 %"])[:8]
    told = [[f"{r['recording']} ({r['seconds']:.0f} s)", *(r[p] for p in parts)] for r in worst]
    return table(["recording", "its first blocks", *parts[1:]], told)


TABLES: dict[str, Callable[[Told, Told], str]] = {
    "costs": costs,
    "promised": promised,
    "goes on": goes_on,
    "stress": stress,
    "cut short": cut_short,
    "spread": spread,
    "as they come": as_they_come,
    "by part": by_part,
}


def filled(page: str, simulated: Told, replayed: Told) -> str:
    """The page with every table between its markers."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n{TABLES[found[2]](simulated, replayed)}\n{found[3]}"

    return re.sub(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end of table -->)", fill, page, flags=re.DOTALL)


def main() -> None:
    """Fill docs/verdict.md."""
    simulated, replayed = (
        json.loads((ROOT / "bench" / "results" / f"verdict_{name}.json").read_text(encoding="utf-8"))
        for name in ("simulation", "replay")
    )
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), simulated, replayed), encoding="utf-8")


if __name__ == "__main__":
    main()
