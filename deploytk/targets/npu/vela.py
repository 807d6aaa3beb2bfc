"""Vela, Arm's compiler for Ethos-U, run as its own process, and what its debug database says about each operator.

Only its public command line is used. Its exit code is 0 and its time 0.0 ms for models of which nothing reaches the
NPU, so the placement is read from the database and checked against the operators left in the file it wrote.
"""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from deploytk.errors import DeploytkError, InputError, MissingDependency, StepFailed
from deploytk.graphs import litert

DISTRIBUTION = "ethos-u-vela"
CORE = "regor"  # the C++ core; the legacy Python core counts cycles differently
_CONFIG = "Arm/vela.ini"
#: Vela's word for an operator that it leaves to the CPU.
_ON_CPU = "Passthrough"
_WARNING = re.compile(r"Warning \(supported operators\) operator: (?P<op>[^,]+), ofm: '(?P<name>.*)'\nReason: ")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where Vela put one operator of the .tflite, and what it costs there. On the CPU Vela counts no cycles at all."""

    index: int
    op: str
    name: str
    target: Literal["npu", "cpu"]
    cycles: int
    macs: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """One compilation: `cycles` and the memories are meaningful only while no operator is on the CPU."""

    ops: tuple[Placed, ...]
    segments: int  # command streams: each further one is a way through the CPU
    cycles: int
    clock_hz: float
    macs: int
    sram_kib: float
    flash_kib: float  # weights and command stream, wherever the system keeps constants
    dram_kib: float
    model: Path
    summary: Path

    @property
    def cpu(self) -> tuple[Placed, ...]:
        """The operators left to the CPU."""
        return tuple(op for op in self.ops if op.target == "cpu")


def compiled(model: Path, npu: Mapping[str, Any], work: Path) -> Compiled:
    """What Vela makes of an INT8 .tflite for one NPU (the fields of `profile.Npu`); its files stand in `work`.

    Raises:
        InputError: the system configuration is unknown, or belongs to another NPU family.
        MissingDependency: Vela is not installed.
        StepFailed: Vela itself failed.
    """
    check_family(npu)
    log = _run(model, npu, work)
    graph = litert.read(model)
    tables = database(work / f"{model.stem}_debug.xml")
    result = work / f"{model.stem}_vela.tflite"
    ops = _placed(graph, tables, _reasons(log))
    summary = next(work.glob(f"{model.stem}_summary_*.csv"))
    left = litert.read(result)
    segments = sum(1 for node in left.nodes if node.custom == litert.ETHOS_U)
    _agree(ops, len(left.nodes) - segments, model)
    return Compiled(ops=ops, segments=segments, model=result, summary=summary, **_totals(summary))


def version() -> str:
    """The installed version of Vela."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise MissingDependency("Vela is not installed. Install it with: pip install 'deploytk[npu]'") from error


def check_family(npu: Mapping[str, Any]) -> None:
    """Nothing, where accelerator and system configuration are of one family: Vela itself accepts any mixture."""
    family = "_".join(str(npu["accelerator"]).split("-")[:2]).lower()  # ethos-u55-256 -> ethos_u55
    if not str(npu["system_config"]).lower().startswith(family + "_"):
        raise InputError(
            f"system_config {npu['system_config']} is not one of {npu['accelerator']}; "
            f"choose one that starts with {family.replace('ethos_u', 'Ethos_U')}_ (vela --list-configs {_CONFIG})"
        )


def database(path: Path) -> dict[str, list[dict[str, str]]]:
    """The tables of Vela's debug database, each row by column name."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r'<table name="(\w+)">\s*<!\[CDATA\[\n(.*?)\n\]\]>', text, re.DOTALL)
    return {name: list(csv.DictReader(io.StringIO(rows))) for name, rows in found}


def _run(model: Path, npu: Mapping[str, Any], work: Path) -> str:
    """Vela's own output; its files are written to `work`."""
    version()
    argv = [sys.executable, "-m", "ethosu.vela", str(model), "--output-dir", str(work), "--config", _CONFIG]
    argv += ["--accelerator-config", npu["accelerator"], "--system-config", npu["system_config"]]
    argv += ["--memory-mode", npu["memory_mode"], "--enable-debug-db", "--verbose-performance"]
    # Regor writes to the C library's stdout: only a process of its own gives all of it.
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False)
    log = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    sys.stderr.write(log)  # into the log of this step
    if done.returncode == 0:
        return log
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "no output")
    if "ConfigOptionError" in log or "CliOptionError" in log:
        raise InputError(f"Vela refuses this NPU: {last.strip()}")
    raise StepFailed(f"Vela failed on {model.name} (exit code {done.returncode}): {last.strip()}", kind="error")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1"}


def _reasons(log: str) -> dict[str, list[str]]:
    """Why each operator stays on the CPU, by the name of its output, in the order of Vela's warnings."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for found in _WARNING.finditer(log):
        text = log[found.end() :].split("\n\n", 1)[0].split("\nWarning", 1)[0]
        reasons[found["name"]].append("; ".join(line.strip() for line in text.splitlines() if line.strip()))
    return reasons


def _placed(
    graph: litert.Graph, tables: Mapping[str, list[dict[str, str]]], reasons: Mapping[str, list[str]]
) -> tuple[Placed, ...]:
    """Each operator of the graph with its place; an operator that Vela folded away is on the NPU, for free."""
    source = {row["id"]: int(row["ext_key"]) for row in tables.get("source", [])}
    rows: dict[int, list[dict[str, str]]] = defaultdict(list)
    for row in tables.get("perf", []):
        if row["source_id"] in source:
            rows[source[row["source_id"]]].append(row)
    return tuple(_one(node, rows[node.index], reasons) for node in graph.nodes)


def _one(node: litert.Node, rows: list[dict[str, str]], reasons: Mapping[str, list[str]]) -> Placed:
    on_cpu = any(row["operator"] == _ON_CPU for row in rows)
    why = next((reasons[t.name][0] for t in node.outputs if reasons.get(t.name)), "Vela gives no reason")
    return Placed(
        index=node.index,
        op=node.custom or node.op,
        name=node.name,
        target="cpu" if on_cpu else "npu",
        cycles=0 if on_cpu else sum(int(row["op_cycles"]) for row in rows),
        macs=sum(int(row["mac_count"]) for row in rows),
        reason=why if on_cpu else "",
    )


def _agree(ops: tuple[Placed, ...], left: int, model: Path) -> None:
    said = sum(1 for op in ops if op.target == "cpu")
    if said != left:
        raise DeploytkError(
            f"Vela's database puts {said} operators of {model.name} on the CPU, but the file it wrote holds {left}; "
            f"this version of Vela ({version()}) is not one that deploytk understands"
        )


def _totals(summary: Path) -> dict[str, Any]:
    with summary.open(newline="", encoding="utf-8") as stream:
        row = next(csv.DictReader(stream))
    flash = float(row["off_chip_flash_memory_used"]) + float(row["on_chip_flash_memory_used"])
    # Where constants lie in DRAM or SRAM too, Vela adds them to that memory: their own size is the encoded weights'.
    return {
        "cycles": int(float(row["cycles_total"])),
        "clock_hz": float(row["core_clock"]),
        "macs": int(float(row["nn_macs"])),
        "sram_kib": float(row["sram_memory_used"]),
        "flash_kib": flash or float(row["total_npu_encoded_weights"]) / 1024,
        "dram_kib": float(row["dram_memory_used"]),
    }
