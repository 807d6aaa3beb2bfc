"""How many times as long a converted model takes as the float model on the same target, measured in turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.budget import Budget
from deploytk.files import plain
from deploytk.measurement import Machine
from deploytk.stages import bench_compare
from deploytk.stages.bench import spec_of
from deploytk.worker import Listener

#: For one comparison: most are decided after the first look, at a fifth of it.
TIME_LIMIT_S = 40.0


def beside_float(
    model: Artifact, rival: Artifact, runtime: str, feeds: Path, out: Path, listen: Listener | None = None
) -> dict[str, Any]:
    """`model`'s latency over `rival`'s at batch 1: ratio, low, high, rounds, verdict, note, both medians in ms.

    The verdict is "slower" or "faster" where the whole interval says so, otherwise "undecided". A model that could
    not be run has no ratio, but its status as verdict, and a reason.

    Args:
        feeds: .npz of real inputs.
        out: folder for the children's logs.
    """
    report = bench_compare.compare(
        [bench_compare.Contender(artifact=a, spec=spec_of(a, runtime=runtime, feeds=feeds)) for a in (rival, model)],
        budget=Budget(),
        batches=[1],
        tolerance=0.0,
        time_limit_s=TIME_LIMIT_S,
        out=out,
        listen=listen,
    )
    row = report.sections["ratio"]["rows"][0]
    told = {name: row[name] for name in ("ratio", "low", "high", "rounds", "verdict", "reason") if name in row}
    float_ms, ms = (m.percentile_ms(50) for m in report.measurements)
    note = " ".join(finding.message for finding in report.findings)  # what disturbed the machine
    # An open interval has an end that JSON does not know, hence `plain`.
    return {**plain({**told, "float_ms": float_ms, "ms": ms, "note": note}), "measured_on": measured_on(rival)}


def measured_on(rival: Artifact) -> dict[str, Any]:
    """What a kept comparison must have been measured with to be used again."""
    machine = Machine.this()
    return {"against": rival.sha256, "cpu": machine.cpu, "cores": machine.cores}
