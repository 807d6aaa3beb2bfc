"""What the report says about the NPU: the Ethos score with its parts, placement, memory, what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, number, pairs, text, yes

_GRADES = {"full": "good", "partial": "warn", "none": "bad"}
_NOTE = "Every number of cycles, milliseconds and KiB here is estimated by Vela's compiler; no hardware was used."


def npu_block(report: Report) -> list[Block]:
    """The NPU assessment, where there is one."""
    npu = report.sections.get("npu")
    if not isinstance(npu, Mapping) or not npu:
        return []
    tables = [_score(npu), _system(npu), *_cpu(npu), *_improvements(npu), *_ops(npu)]
    title = f"NPU placement on {npu.get('accelerator', 'Ethos-U')} (estimated)"
    return [
        Block(
            name="npu",
            title=title,
            lines=_lines(npu),
            tables=tuple(tables),
            figures=("cycles",),
            figures_below=True,
        )
    ]


def _lines(npu: Mapping[str, Any]) -> tuple[str, ...]:
    if npu.get("cpu_ops") or not npu.get("npu_ops"):
        told = "No time is quoted: Vela counts operators on the CPU as zero cycles."
        return (_NOTE, told)
    return (_NOTE,)


def _score(npu: Mapping[str, Any]) -> Table:
    total = (npu.get("npu_ops") or 0) + (npu.get("cpu_ops") or 0)
    grade = str(npu.get("grade", "–"))
    rows = [
        ("Ethos score", number(npu.get("ethos_score"), _GRADES.get(grade, ""), unit=" of 100")),  # type: ignore[arg-type]
        ("= compatibility", number(npu.get("compatibility"), unit=" %")),
        ("× activation efficiency", _efficiency(npu)),
        ("grade", text(grade, _GRADES.get(grade, ""))),  # type: ignore[arg-type]
        ("operators on the NPU", text(f"{npu.get('npu_ops', 0)} of {total}")),
        ("NPU segments", number(npu.get("segments"))),
        ("MACs on the NPU", number(npu.get("mac_share"), unit=" %")),
        ("cycles (estimated)", number(npu.get("cycles"), "estimate")),
        ("time (estimated)", number(npu.get("time_ms"), "estimate", unit=" ms")),
        ("SRAM (estimated)", _sram(npu)),
        ("flash (estimated)", number(npu.get("flash_kib"), "estimate", unit=" KiB")),
        ("INT8 in and out", yes(npu.get("int8_io"))),
    ]
    return pairs(rows, "Score and its parts", brief=True)


def _efficiency(npu: Mapping[str, Any]) -> Cell:
    value = npu.get("activation_efficiency")
    if value is None:
        return text("unknown while operators are on the CPU", "warn")
    twin = npu.get("twin_cycles")
    told = number(value, unit=" %")
    return told if twin is None else text(f"{told.text} (its ReLU twin: {number(twin).text} cycles)")


def _sram(npu: Mapping[str, Any]) -> Cell:
    used, budget = npu.get("sram_kib"), npu.get("sram_budget_kib")
    told = f"{number(used).text} of {number(budget).text} KiB"
    return text(told, "good") if npu.get("sram_fits") else text(f"{told}: does not fit", "bad")


def _system(npu: Mapping[str, Any]) -> Table:
    names = {
        "accelerator": "accelerator",
        "system_config": "system config",
        "memory_mode": "memory mode",
        "vela_version": "Vela",
        "core": "compiler core",
        "kind": "kind",
    }
    return pairs([(told, text(npu.get(key))) for key, told in names.items()], "Compiled with")


def _cpu(npu: Mapping[str, Any]) -> list[Table]:
    """The operators on the CPU: by reason first, then each."""
    ops = [op for op in _listed(npu, "ops") if op.get("target") != "npu"]
    if not ops:
        return []
    groups = Counter((str(op.get("op")), str(op.get("reason") or "")) for op in ops)
    brief = tuple((text(op), number(count), text(reason)) for (op, reason), count in groups.most_common())
    rows = tuple(
        (number(op.get("index")), text(op.get("op")), text(op.get("name")), text(op.get("reason"))) for op in ops
    )
    return [
        Table(columns=("operator", "count", "reason"), rows=brief, title="On the CPU, and why", brief=True),
        Table(columns=("#", "operator", "name", "reason"), rows=rows, title=f"Each of them ({len(rows)})", folded=True),
    ]


def _improvements(npu: Mapping[str, Any]) -> list[Table]:
    rows = tuple((text(i.get("what")), number(i.get("cycles_saved"), "estimate")) for i in _listed(npu, "improvements"))
    title = "What would raise the score most"
    return [Table(columns=("change", "cycles saved (estimated)"), rows=rows, title=title, brief=True)] if rows else []


def _ops(npu: Mapping[str, Any]) -> list[Table]:
    rows = tuple(
        (
            number(op.get("index")),
            text(op.get("op")),
            text(op.get("target"), "good" if op.get("target") == "npu" else "bad"),
            number(op.get("cycles"), "estimate"),
            number(op.get("macs")),
            text(op.get("name")),
        )
        for op in _listed(npu, "ops")
    )
    columns = ("#", "operator", "on", "cycles (est.)", "MACs", "name")
    return [Table(columns=columns, rows=rows, title=f"Every operator ({len(rows)})", folded=True)] if rows else []


def _listed(npu: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [entry for entry in npu.get(key) or () if isinstance(entry, Mapping)]
