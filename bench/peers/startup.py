"""How long `--help` takes: deploytk beside the tools a user would pick, interleaved in one run.

python bench/peers/startup.py [--rounds 15]        # writes bench/results/startup.{json,md}
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

from deploytk.artifact import versions_of
from deploytk.measurement import Machine

RESULTS = Path(__file__).parents[1] / "results"
#: name -> (the command, the distribution whose version is told). The first one is ours.
COMMANDS = {
    "deploytk --help": (["deploytk", "--help"], "deploytk"),
    "deploytk bench --help": (["deploytk", "bench", "--help"], "deploytk"),
    "python -c pass": ([sys.executable, "-c", "pass"], ""),
    "yolo help": (["yolo", "help"], "ultralytics"),
    "optimum-cli --help": (["optimum-cli", "--help"], "optimum"),
}


def located(command: list[str]) -> list[str] | None:
    """`command` with its program's path (beside this Python first), None where it is not installed."""
    beside = Path(sys.executable).parent / command[0]
    found = str(beside) if beside.is_file() else shutil.which(command[0])
    return [found, *command[1:]] if found else None


def version_of(command: list[str], distribution: str) -> str:
    """The version of the distribution behind `command`, asked of the Python that the program belongs to."""
    located_at = Path((located(command) or command)[0])
    python = located_at.parent / "python"
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    if not distribution:
        return sys.version.split()[0]
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or versions_of(distribution)[distribution]


def once(command: list[str]) -> float:
    """Seconds that one run takes; a run that fails is an error, not a time."""
    began = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return perf_counter() - began


def measured(rounds: int) -> dict[str, list[float] | None]:
    """Seconds of each run by name, one of each per round after a first round that is thrown away."""
    commands = {name: located(command) for name, (command, _) in COMMANDS.items()}
    seconds: dict[str, list[float] | None] = {name: [] if found else None for name, found in commands.items()}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            times = seconds[name]
            if command is not None and times is not None:
                took = once(command)
                if turn:
                    times.append(took)
    return seconds


def table(seconds: dict[str, list[float] | None]) -> list[dict[str, object]]:
    """One row per command: version, median in seconds, and how many times as long as `deploytk --help`, paired."""
    ours = next(iter(seconds.values())) or []
    rows: list[dict[str, object]] = []
    for name, times in seconds.items():
        distribution = COMMANDS[name][1]
        row: dict[str, object] = {"command": name}
        if times is None:
            rows.append(row | {"version": "not installed", "median_s": None, "ratio": None})
            continue
        ratio = median(theirs / mine for theirs, mine in zip(times, ours, strict=True))
        rows.append(
            row
            | {
                "version": version_of(COMMANDS[name][0], distribution),
                "median_s": round(median(times), 3),
                "ratio": round(ratio, 1),
            }
        )
    return rows


def markdown(rows: list[dict[str, object]], machine: Machine, rounds: int, load: float) -> str:
    """The table with the machine it was measured on."""
    lines = [
        f"{rounds} interleaved rounds, medians; ratio: median over rounds to `deploytk --help` of the same round.",
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, Python {machine.python}, {machine.system}; "
        f"load {load:.1f}.",
        "",
        "| command | version | median s | ratio |",
        "|---|---|---|---|",
    ]
    for row in rows:
        cells = ("-" if row[key] is None else str(row[key]) for key in ("command", "version", "median_s", "ratio"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description="How long --help takes, beside the peers.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    seconds, machine, load = measured(rounds), Machine.this(), os.getloadavg()[0]
    rows = table(seconds)
    RESULTS.mkdir(exist_ok=True)
    told = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
        "machine": asdict(machine),
        "load_1min": round(load, 2),
        "rows": rows,
        "seconds": seconds,
    }
    (RESULTS / "startup.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    text = markdown(rows, machine, rounds, load)
    (RESULTS / "startup.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
