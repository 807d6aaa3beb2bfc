"""What one point of a bench became in a later run: each percentile old and new, with a ratio and a word for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploytk import ratio
from deploytk.measurement import percentile
from deploytk.report.points import Point
from deploytk.stages.diff_quiet import Quiet, quiet

Row = dict[str, Any]

#: With more of the blocks left out as disturbed, what is left is too little to go by.
_MOST_LEFT_OUT = 0.5
#: The fastest tenth of the calls: how fast the model is where nothing holds it back. It mostly moves less from one run
#: to the next than the median, not always (bench/LOG.md): a slower model moves both.
UNHINDERED = 10.0
#: By so much a percentile moves between two runs of one file for reasons that no interval of the samples within the
#: runs can know: where its memory lies, and, where it moves alone, who else used the machine.
_BETWEEN_RUNS, _BETWEEN_RUNS_ALONE = 1.02, 1.10


@dataclass(frozen=True, kw_only=True)
class Question:
    """How two points are compared.

    `confidence` is that of each single interval; `tolerance` is what is the same for the user (0.05 is 5 %);
    `disturbed` is the larger share of disturbed blocks of the two runs, for points that do not tell which these are.
    """

    percents: tuple[float, ...]
    confidence: float
    tolerance: float
    disturbed: float = 0.0


def compared(old: Point, new: Point, question: Question) -> list[Row]:
    """One row for each percentile, a single one for an estimate; the first `decides` whether the point is open."""
    found = _rows(old, new, question)
    return [row | {"decides": row is found[0]} for row in found]


def _rows(old: Point, new: Point, question: Question) -> list[Row]:
    if old.estimated:
        return [_estimate(old, new, question.tolerance)]
    if not old.samples_ms or not new.samples_ms:
        return [_without_samples(old, new)]
    calm = quiet(old), quiet(new)
    left_out = _left_out(calm)
    a, b = (old, new) if left_out and max(left_out) > _MOST_LEFT_OUT else (calm[0].point, calm[1].point)
    ratios = {p: ratio.unpaired(a.blocks_ms, b.blocks_ms, question.confidence, percent=p) for p in question.percents}
    others = {p: ratios[50.0 if p == UNHINDERED else UNHINDERED].value for p in ratios}
    return [_row(old, new, percent, found, others[percent], question, calm) for percent, found in ratios.items()]


def word(found: ratio.Ratio, tolerance: float, other: float | None = None) -> str:
    """slower or faster: beyond noise and by more than the tolerance; same: surely less than twice of it; undecided.

    Args:
        other: the ratio of the fastest calls, for a percentile of slower ones; that of the median, for the fastest.
            A slower model moves both; where one did not go along, it may be the machine, and more is asked for.
    """
    most = 1 + tolerance
    if found.low > _beyond(other is None or other > most) and found.value > most:
        return "slower"
    if found.high < 1 / _beyond(other is None or other < 1 / most) and found.value < 1 / most:
        return "faster"
    surely = 1 / (1 + 2 * tolerance) <= found.low and found.high <= 1 + 2 * tolerance
    return "same" if surely and 1 / most <= found.value <= most else "undecided"


def _beyond(other_went_along: bool) -> float:
    return _BETWEEN_RUNS if other_went_along else _BETWEEN_RUNS_ALONE


def suspicious(low: float, value: float, tolerance: float) -> bool:
    """Whether a percentile of the slower calls rose beyond its noise, though not beyond what machines do."""
    return low > _BETWEEN_RUNS and value > 1 + tolerance


def _row(
    old: Point,
    new: Point,
    percent: float,
    found: ratio.Ratio,
    other: float,
    question: Question,
    calm: tuple[Quiet, Quiet],
) -> Row:
    """One line: what was measured, the ratio and the word for it. `raw_ratio` is of all samples as they are."""
    raw = percentile(new.samples_ms, percent) / percentile(old.samples_ms, percent)
    verdict = word(found, question.tolerance, other)
    left_out = _left_out(calm)
    note = _disturbed(verdict, percent, question, left_out) or _explained(verdict, found, question.tolerance, calm)
    if note:
        verdict = "undecided"
    elif verdict == "undecided":
        note = _why(found)
    elif left_out and max(left_out) > 0:
        note = f"without the blocks that waited for a core ({_percents(left_out)})"
    return {
        **_named(new),
        "what": f"p{percent:g}",
        "old_ms": percentile(old.samples_ms, percent),
        "new_ms": percentile(new.samples_ms, percent),
        "ratio": found.value,
        "low": found.low,
        "high": found.high if math.isfinite(found.high) else None,
        "raw_ratio": raw,
        "left_out": list(left_out) if left_out else None,
        "verdict": verdict,
        "note": note,
        "refined": old.refined and new.refined,
    }


def _disturbed(verdict: str, percent: float, question: Question, left_out: tuple[float, float] | None) -> str:
    """Why the word cannot be believed on a machine that was so busy; empty where it can."""
    if left_out and max(left_out) > _MOST_LEFT_OUT:
        return f"too many blocks waited for a core ({_percents(left_out)})"
    if left_out is None and verdict in ("slower", "faster") and question.disturbed > (1 - percent / 100) / 2:
        return f"would be {verdict}, but {100 * question.disturbed:.0f} % of the blocks were disturbed"
    return ""


def _explained(verdict: str, found: ratio.Ratio, tolerance: float, calm: tuple[Quiet, Quiet]) -> str:
    """Why what is left of the word is no more than what the threads waited in the quiet blocks; empty where it is."""
    which, times = {"slower": (1, found.value), "faster": (0, 1 / found.value)}.get(verdict, (0, 0.0))
    waited = calm[which].waited or 0.0
    if not times or times * (1 - waited) > 1 + tolerance:
        return ""
    run = ("first", "second")[which]
    return (
        f"would be {verdict}, but in the {run} run its threads waited for a core for {100 * waited:.0f} % of the time"
    )


def _left_out(calm: tuple[Quiet, Quiet]) -> tuple[float, float] | None:
    old, new = calm[0].left_out, calm[1].left_out
    return None if old is None or new is None else (old, new)


def _percents(shares: tuple[float, float]) -> str:
    return " and ".join(f"{100 * share:.0f} %" for share in shares)


def _why(found: ratio.Ratio) -> str:
    """What stands in the way of a word."""
    if not found.bounded:
        return "too few independent samples for an interval"
    if suspicious(found.low, found.value, 0.0):
        return "so much may be the machine's; measured side by side (--remeasure) it can be told"
    return "the interval reaches over the limit of what is the same"


def _estimate(old: Point, new: Point, tolerance: float) -> Row:
    """A compiler's estimate has no noise: its ratio is what it is."""
    before, after = old.judged_ms, new.judged_ms
    told = {**_named(new), "what": "estimate", "old_ms": before, "new_ms": after, "refined": True, "note": ""}
    if not before or not after:
        return told | {"ratio": None, "low": None, "high": None, "verdict": "undecided", "note": "no estimate"}
    exact = ratio.Ratio(value=after / before, low=after / before, high=after / before, confidence=1.0)
    bounds = {"ratio": exact.value, "low": exact.low, "high": exact.high, "raw_ratio": exact.value}
    return told | bounds | {"verdict": word(exact, tolerance)}


def _without_samples(old: Point, new: Point) -> Row:
    before, after = old.p50_ms, new.p50_ms
    value = after / before if before and after else None
    bounds = {"ratio": value, "raw_ratio": value, "low": 0.0, "high": None}
    told = {**_named(new), "what": "p50", "old_ms": before, "new_ms": after, **bounds, "refined": True}
    return told | {"verdict": "undecided", "note": "a report without samples has no interval"}


def _named(point: Point) -> Row:
    names = ("artifact", "runtime", "threads", "batch")
    return {name: getattr(point, name) for name in names} | {"series": point.series}


def values(pairs: Sequence[tuple[Point, Point]]) -> list[Row]:
    """Memory, load and first inference of each pair, told but not judged: a single number shows no noise."""
    found = []
    for old, new in pairs:
        for name, what in (
            ("peak_rss_mb", "peak memory, MB"),
            ("load_ms", "load, ms"),
            ("first_ms", "first, ms"),
            ("cpu_ms", "CPU, ms"),
        ):
            before, after = getattr(old, name), getattr(new, name)
            if before and after:
                row = {**_named(new), "what": what, "old": before, "new": after, "ratio": after / before}
                found.append(row)
    return found
