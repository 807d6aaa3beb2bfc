"""Whether the machine was quiet while it was measured, and whether a model keeps its memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deploytk.growth import memory_growth

#: A block whose threads waited for a core for this share of it was disturbed.
DISTURBED = 0.1
#: From this share of disturbed blocks on the figures may be unstable.
_MANY = 0.1


def stability(series: Sequence[Mapping[str, Sequence[float]]], command: str = "") -> dict[str, Any]:
    """What disturbed the blocks of all points together, as the section "stability" of a bench.

    Args:
        series: for each point, of each block: wall_ms, cpu_ms, waited_ms, busy_ms, stolen_ms.
        command: what to call again on a quiet machine.
    """
    wall, cpu, waited, busy, stolen = (
        np.concatenate([np.asarray(s.get(name, []), float) for s in series] or [np.empty(0)])
        for name in ("wall_ms", "cpu_ms", "waited_ms", "busy_ms", "stolen_ms")
    )
    if not wall.size or waited.size != wall.size:
        return {"disturbed": None, "sentence": "", "note": "this system does not tell how long threads wait for a core"}
    cores = os.cpu_count() or 1
    disturbed = float((waited > DISTURBED * wall).mean())
    others = max(0.0, float(busy.sum() - cpu.sum())) / (cores * wall.sum()) if busy.size == wall.size else 0.0
    taken = float(stolen.sum()) / (cores * wall.sum()) if stolen.size == wall.size else 0.0
    told = {
        "blocks": wall.size,
        "disturbed": disturbed,
        "waited": float(waited.sum() / wall.sum()),
        "others": others,
        "stolen": taken,
    }
    return told | {"sentence": _sentence(told, command)}


def _sentence(told: Mapping[str, float], command: str) -> str:
    if told["disturbed"] < _MANY and told["stolen"] < _MANY / 2:
        return ""
    why = []
    if told["others"] >= 0.02:
        why.append(f"other processes took {100 * told['others']:.0f} % of the processors' time")
    if told["stolen"] >= 0.02:
        why.append(f"the hypervisor gave {100 * told['stolen']:.0f} % of it to other machines")
    if not why:
        why.append("the model's own threads waited for each other (are there more of them than cores?)")
    again = f"; on a quiet machine: {command}" if command else ""
    waited = f"{100 * told['waited']:.0f} % of the time, its threads together"
    if told["blocks"] == 1:
        how = f"the model waited for a core for {waited}"
    else:
        how = f"in {100 * told['disturbed']:.0f} % of the blocks the model waited for a core ({waited})"
    return f"These figures may be unstable: {how}; {', and '.join(why)}{again}."


def leak(rss_mb: Sequence[float], calls: Sequence[int]) -> str:
    """The sentence that memory grows with the calls, or the empty string.

    Args:
        rss_mb: resident memory after each block.
        calls: of each block.
    """
    if not rss_mb or len(rss_mb) != len(calls):
        return ""
    found = memory_growth(rss_mb, calls)
    if not found.leaks:
        return ""
    return (
        f"The memory grows by {found.mb_per_1000_calls:.3g} MB per 1000 calls (from {rss_mb[0]:.0f} to "
        f"{rss_mb[-1]:.0f} MB in {sum(calls)} calls): a leak."
    )
