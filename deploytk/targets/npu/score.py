"""The Ethos score: one number for how well a model suits an Ethos-U, and what would raise it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Grade = Literal["full", "partial", "none"]
_FLOAT = ("float operators to INT8", "deploytk export --target npu does")


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score and its parts, each 0..100."""

    compatibility: float
    activation_efficiency: float | None  # None: unknown while an operator is on the CPU
    ethos_score: float
    grade: Grade


def score(
    *,
    npu_ops: int,
    cpu_ops: int,
    cycles: int | None,
    twin_cycles: int | None,
    segments: int,
    int8_io: bool,
    sram_fits: bool,
) -> Score:
    """The Ethos score of one model on one NPU.

        compatibility          = 100 x NPU operators / all operators of the INT8 model
        activation_efficiency  = 100 x cycles of the ReLU twin / cycles of the model      (at most 100)
        ethos_score            = compatibility x activation_efficiency / 100

    Compatibility is the `accelerator_operator_percentage` of Arm's ML Inference Advisor. The twin has the same
    weights and every activation a ReLU (`twin.py`); both cycle counts are Vela's estimates for the same accelerator,
    system configuration and memory mode. While an operator is on the CPU, where Vela counts zero cycles, the
    efficiency is unknown and the score is the compatibility alone. It is 0 where nothing is on the NPU. It is never
    derived from a name or a level.

    Grade: full = every operator on the NPU, in one segment, INT8 in and out, within the SRAM; none = no operator
    on the NPU; partial = anything between.
    """
    total = npu_ops + cpu_ops
    compatibility = 100.0 * npu_ops / total if total else 0.0
    efficiency = None
    if npu_ops and not cpu_ops and cycles and twin_cycles:
        efficiency = min(100.0, 100.0 * twin_cycles / cycles)
    full = npu_ops > 0 and cpu_ops == 0 and segments == 1 and int8_io and sram_fits
    return Score(
        compatibility=compatibility,
        activation_efficiency=efficiency,
        ethos_score=compatibility if efficiency is None else compatibility * efficiency / 100.0,
        grade="full" if full else "partial" if npu_ops else "none",
    )


@dataclass(frozen=True, kw_only=True)
class Swap:
    """What replacing one kind of activation by ReLU gives, measured by compiling the model so changed."""

    kind: str
    count: int
    cycles: int  # of the model with these replaced


def improvements(
    ops: Iterable[Mapping[str, Any]], swaps: Iterable[Swap], cycles: int | None, floats: Collection[int] = ()
) -> list[dict[str, Any]]:
    """What would raise the score, the most points first: {what, cycles_saved, points, ops}.

    `cycles_saved` is None for operators on the CPU: Vela knows nothing of their time.

    Args:
        floats: the indices of the operators that compute in floating point.
    """
    ops = list(ops)
    found = [_moved(key, group, len(ops)) for key, group in _cpu_groups(ops, floats).items()]
    found += [_swapped(swap, cycles) for swap in swaps if cycles and swap.cycles < cycles]
    return sorted(found, key=lambda i: (-i["points"], -(i["cycles_saved"] or 0), i["what"]))


def plain_reason(reason: str) -> str:
    """Vela's reason without the name of the one tensor it is about, so that equal reasons are equal."""
    return re.sub(r"has tensor \S+ with", "has a tensor with", re.sub(r" \(\S*\)", "", reason))


def _cpu_groups(ops: Iterable[Mapping[str, Any]], floats: Collection[int]) -> dict[tuple[str, str], list[int]]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for op in ops:
        if op["target"] == "cpu":
            key = _FLOAT if op["index"] in floats else (op["op"], plain_reason(op["reason"]))
            groups[key].append(op["index"])
    return groups


def _moved(key: tuple[str, str], group: list[int], total: int) -> dict[str, Any]:
    op, reason = key
    what = (
        f"quantize {len(group)} {op} ({reason})" if key == _FLOAT else f"get {len(group)} {op} off the CPU ({reason})"
    )
    return {
        "what": what,
        "cycles_saved": None,
        "points": 100.0 * len(group) / total,
        "ops": group,
    }


def _swapped(swap: Swap, cycles: int | None) -> dict[str, Any]:
    saved = (cycles or 0) - swap.cycles
    return {
        "what": f"train with ReLU in place of {swap.count} {swap.kind}",
        "cycles_saved": saved,
        "points": 100.0 * saved / cycles if cycles else 0.0,
        "ops": [],
    }
