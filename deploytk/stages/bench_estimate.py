"""A compiled NPU model under the budget: no host can run it, so Vela's estimate is judged, and said to be one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.errors import InputError
from deploytk.measurement import Measurement

REPORT = "npu_report.json"
_KEPT = ("accelerator", "system_config", "memory_mode", "vela_version", "cycles")
_AGAIN = "make it again with: deploytk export RUN --target npu"


def estimated(artifact: Artifact, budget: Budget) -> tuple[Measurement, Verdict]:
    """The estimate for a Vela-compiled model as a measurement of kind "estimated", and what the budget says to it.

    Raises:
        InputError: no assessment belongs to this file.
    """
    told = _assessment(artifact)
    time_ms = told.get("time_ms")
    usable = isinstance(time_ms, int | float) and math.isfinite(time_ms) and time_ms > 0
    npu, cpu = told.get("npu_ops") or 0, told.get("cpu_ops") or 0
    measurement = Measurement(
        artifact_sha256=artifact.sha256,
        runtime=f"vela {told.get('accelerator', '')}".strip(),
        batch=1,
        kind="estimated",
        samples_ms=(float(time_ms),) if usable and time_ms is not None else (),
        share_on_target=npu / (npu + cpu) if npu + cpu else None,
        details={
            key: told.get(key) for key in ("accelerator", "system_config", "memory_mode", "vela_version", "cycles")
        },
    )
    if not usable or time_ms is None:
        return measurement, Verdict(status="fail", reasons=(_no_time(time_ms, npu, cpu),))
    if budget.boundary != "model":
        reason = (
            f"Vela estimates {time_ms:.4g} ms for the model alone; the budget is from the image file to the result, "
            "and nothing says how long the rest takes on the device."
        )
        return measurement, Verdict(status="inconclusive", reasons=(reason,))
    where = f"Vela estimates {time_ms:.4g} ms on {told.get('accelerator', 'the NPU')} (estimated, not measured)"
    if time_ms < budget.latency_ms:
        return measurement, Verdict(status="pass", reasons=(f"{where}: under {budget.latency_ms:g} ms.",))
    return measurement, Verdict(status="fail", reasons=(f"{where}: over {budget.latency_ms:g} ms.",))


def _no_time(time_ms: Any, npu: int, cpu: int) -> str:
    if cpu or not npu:
        return f"There is no estimate of the time: {npu} operators are on the NPU and {cpu} on the CPU."
    return f"There is no usable estimate of the time: Vela's report says {time_ms!r} ms."


def _assessment(artifact: Artifact) -> dict[str, Any]:
    """The NPU assessment of exactly this file: from its lineage, or from the report beside it."""
    kept = artifact.settings.get("assessment")
    if isinstance(kept, dict):
        return kept
    beside = artifact.path.with_name(REPORT)
    try:
        told = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{artifact.path}: compiled for an Ethos-U, which no host can run, and there is no {REPORT} beside it; "
            f"bench the INT8 model it was compiled from, or {_AGAIN}"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{beside}: damaged ({error}); make it again with: deploytk export RUN --target npu"
        ) from error
    if not isinstance(told, dict):
        raise InputError(f"{beside}: not an NPU report")
    _refuse_another_file(told, artifact, beside)
    return told


def _refuse_another_file(told: dict[str, Any], artifact: Artifact, beside: Path) -> None:
    said = told.get("compiled_sha256") or told.get("sha256")
    if said and said not in (artifact.sha256, *artifact.made_from):
        raise InputError(f"{beside}: is about another file (sha256 {said[:12]}), not about {artifact.path.name}")
