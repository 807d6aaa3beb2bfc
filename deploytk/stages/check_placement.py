"""Where a model would run on an Ethos-U: compiled by Vela for INT8 .tflite, predicted by rules for ONNX."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.errors import InputError
from deploytk.report import Finding

_TIMEOUT_S = 1800.0
_EXPORT = "export with: deploytk export RUN --target npu"


def of_tflite(path: Path, npu: dict[str, Any], *, out: Path, logs: Path) -> dict[str, Any]:
    """The assessment of a .tflite; a float one gets score 0 without a compile, which would prove nothing.

    Raises:
        InputError: it is compiled already, or damaged.
    """
    graph = plugins.import_or_explain("deploytk.graphs.litert").read(path)
    if graph.compiled:
        raise InputError(f"{path}: already compiled by Vela for the NPU; check the INT8 model from before Vela")
    if all(t.is_float for node in graph.nodes for t in node.outputs):
        return _float(graph, npu)
    told: dict[str, Any] = worker.call(
        "deploytk.targets.npu:assess",
        {"path": str(path), "npu": npu, "out": str(out)},
        logs=logs,
        name=f"vela-{npu['accelerator']}",
        timeout_s=_TIMEOUT_S,
    )
    return told


def judge(assessment: dict[str, Any], *, max_cpu_ops: int, min_score: float) -> tuple[list[str], list[str]]:
    """(what is good, what is wrong) about an assessment, one sentence each."""
    found = [Finding(**f) for f in assessment["findings"]]
    wrong = [str(f) for f in found if f.severity == "error"]
    total = assessment["npu_ops"] + assessment["cpu_ops"]
    if assessment["cpu_ops"] > max_cpu_ops and assessment["npu_ops"]:
        wrong.append(f"{assessment['cpu_ops']} of {total} operators stay on the CPU ({max_cpu_ops} allowed)")
    if not assessment["npu_ops"] and not wrong:
        wrong.append("no operator would run on the NPU")
    if assessment["ethos_score"] < min_score:
        wrong.append(f"Ethos score {assessment['ethos_score']:.1f} is under {min_score:g} (export.min_score)")
    if wrong:
        return [], list(dict.fromkeys(wrong))
    time = "no time while an operator is on the CPU"
    if assessment["time_ms"] is not None:
        time = f"{assessment['time_ms']:.2f} ms (estimated)"
    score = f"Ethos score {assessment['ethos_score']:.1f} on {assessment['accelerator']}"
    return [f"{score}: {assessment['npu_ops']} of {total} operators on the NPU, {time}"], []


def predicted(path: Path, npu: dict[str, Any]) -> tuple[list[Finding], int, int, bool]:
    """(findings, nodes predicted on the CPU, nodes that compute, INT8 or not) of an ONNX file."""
    graph = plugins.import_or_explain("deploytk.graphs.onnx").read(path)
    rules = plugins.import_or_explain("deploytk.rules.ethos_u")
    family = plugins.import_or_explain("deploytk.rules.ethos_u_ops").family_of(npu["accelerator"])
    found = rules.predict(graph, family)
    lost = {name for _, names in found for name in names}
    return [f for f, _ in found], len(lost), sum(1 for _ in rules.computing(graph)), graph.quantized


def as_warnings(findings: list[Finding]) -> list[Finding]:
    """The same findings, none of which decides."""
    return [replace(f, severity="warning") for f in findings]


def _float(graph: Any, npu: dict[str, Any]) -> dict[str, Any]:
    """The assessment of a model that computes in floating point: nothing would run on the NPU."""
    weights = any(t.constant and t.dtype == "int8" for node in graph.nodes for t in node.inputs)
    what = "dynamic-range model (INT8 weights, float activations)" if weights else "float model"
    finding = {
        "rule": "NPU002" if weights else "NPU001",
        "severity": "error",
        "where": graph.path.name,
        "message": f"{what}: no operator would run on the NPU",
        "fix": _EXPORT,
    }
    ops = [
        {"index": n.index, "op": n.op, "name": n.name, "target": "cpu", "cycles": None, "macs": None, "reason": "float"}
        for n in graph.nodes
    ]
    kept = {key: npu[key] for key in ("accelerator", "system_config", "memory_mode")}
    return {
        **kept, "kind": "estimated", "vela_version": None, "core": None, "npu_ops": 0, "cpu_ops": len(ops), "ops": ops,
        "segments": 0, "compatibility": 0.0, "activation_efficiency": None, "ethos_score": 0.0, "mac_share": 0.0,
        "cycles": None, "time_ms": None, "twin_cycles": None, "sram_kib": 0.0, "flash_kib": 0.0,
        "sram_budget_kib": npu["sram_kib"], "sram_fits": False, "int8_io": False, "grade": "none", "improvements": [],
        "findings": [finding],
    }  # fmt: skip
