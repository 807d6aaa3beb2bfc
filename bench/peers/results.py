"""What every script in this folder does with its results: JSON and Markdown in bench/results, with the machine."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploytk.measurement import Machine

RESULTS = Path(__file__).parents[1] / "results"
MODELS = Path("runs") / "models"
#: The load of the machine before this script added its own.
_LOAD = os.getloadavg()[0]

Row = Mapping[str, Any]


def parser(text: str, name: str) -> argparse.ArgumentParser:
    """A parser that has `--out`: the folder for `name`.json and `name`.md."""
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--out", type=Path, default=RESULTS, help=f"folder for {name}.json and {name}.md")
    return made


def keep(
    out: Path, name: str, *, sentence: str, how: str, rows: Sequence[Row], versions: Mapping[str, str], **more: Any
) -> None:
    """Write and print the results.

    Args:
        sentence: what the rows say.
        how: rounds, seconds, threads: what it takes to repeat them.
        rows: of the table, one dict each, values rounded as they are to be read.
        more: whatever else is worth keeping (raw samples), JSON-like.
    """
    told = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "sentence": sentence,
        "how": how,
        "machine": asdict(Machine.this()),
        "load_before": round(_LOAD, 2),
        "versions": dict(versions),
        "rows": list(rows),
        **more,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    text = markdown(told)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def markdown(told: Mapping[str, Any]) -> str:
    """The results as the page shows them: what they say, how they came about, on which machine, the table."""
    machine, versions = told["machine"], told.get("versions", {})
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    load = told.get("load_before", told.get("load_1min"))
    when = str(told.get("when") or told["date"])[:10]
    named = "; ".join(f"{name} {version}" for name, version in {"Python": machine["python"], **versions}.items())
    measured = f"Measured {when} on {where}, load {load:.1f} before. {named}."
    told_how = told.get("how") or f"{told['rounds']} rounds."
    return "\n\n".join([*filter(None, (told.get("sentence"), told_how, measured)), table(told["rows"])]) + "\n"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table of rows with the same keys; `-` where a value is None or missing."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
