"""What a search over batch sizes is worth: which proofs are cheap enough, and which batch sizes are left open.

To prove a percentile that lies on the budget takes longer than all the rest of a search. A user who asks for `1..64`
wants to know the largest batch size that is surely within the budget, soon; whoever wants the one on the budget proved
names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from deploytk.budget import Budget, Verdict
from deploytk.judge import CALLS, plan_for
from deploytk.measurement import percentile
from deploytk.stages.bench_point import ROUND_S, Point

#: A proof may take this share of the time limit for a batch size of the search, and this for one it tries between them.
_PROOF, _PROOF_BETWEEN = 0.3, 0.08
#: A percentile between these shares of the budget lies on it: only the whole plan tells its side, if anything does.
_ON_IT = (0.9, 1.1)
#: How near the budget a batch size is can be said after so many blocks.
_TOLD_AFTER = 8
#: A larger batch is worth trying for if the larger one still takes so many times less per item.
_GAIN = 1.03
#: What looks within this share of the budget clearly does; above the others nothing is tried before they are decided.
_CLEARLY = 0.9


def affordable_s(time_limit_s: float, *, between: bool) -> float:
    """What the proof of one batch size may take."""
    return time_limit_s * (_PROOF_BETWEEN if between else _PROOF)


def proof_s(budget: Budget, share: float, call_ms: float) -> float:
    """About how long it takes to decide about a percentile at this share of the budget: the nearer, the longer."""
    plan = [look for look in plan_for(budget) if not look.fail_only]
    deciding = next((look for look in plan if not look.band[0] <= share <= look.band[1]), plan[-1])
    return deciding.rounds * max(ROUND_S, CALLS * call_ms / 1000)


def judged_ms(point: Point, points: Sequence[Point]) -> float:
    """The judged percentile of a point: of few samples their median, with the tail of the best known point."""
    known = max(points, key=lambda p: len(p.judged))
    tail = percentile(known.judged, known.budget.percentile) / (median(known.judged) if known.judged else 1.0)
    return tail * (median(point.judged) if point.judged else point.typical_ms or 0.0)


def is_too_dear(point: Point, points: Sequence[Point], most_s: float) -> bool:
    """Whether a point lies on the budget, or its proof has taken `most_s` or would take longer.

    False while too few blocks tell, and before the first look that can decide a clear case.
    """
    if len(point.blocks) < _TOLD_AFTER or point.waiting:
        return False
    most_s = max(most_s, proof_s(point.budget, 0.0, point.typical_ms or 0.0))
    return max(_proof_in_all_s(point, points), sum(point.samples) / 1000) > most_s


def _proof_in_all_s(point: Point, points: Sequence[Point]) -> float:
    """About how long the proof of a point takes; on the budget it takes the whole plan."""
    share = judged_ms(point, points) / point.limit_ms
    on_it = _ON_IT[0] < share < _ON_IT[1]
    return proof_s(point.budget, 1.0 if on_it else share, point.typical_ms or 0.0)


def left_open(point: Point, points: Sequence[Point]) -> Verdict:
    """The verdict on a point whose proof is not worth what it costs."""
    now = point.verdict_now()
    if now.status != "inconclusive":
        return now
    why = (
        f"So near the budget, or so unsteady, that a search does not go on (a proof takes "
        f"{_proof_in_all_s(point, points):.0f} s or more); for the proof: --batches {point.batch}."
    )
    return Verdict(status=now.status, reasons=(*now.reasons, why))


def gap(points: Sequence[Point]) -> tuple[Point, Point] | None:
    """The largest that is (or clearly looks) within the budget and the next larger one tried, with others between."""
    within = [p for p in points if p.status == "ok" and p.looks_within(_CLEARLY)]
    low = max(within, key=lambda p: p.batch, default=None)
    over = [p for p in points if low and p.batch > low.batch and (p.samples or p.status == "oom")]
    if low is None or not over:
        return None
    high = min(over, key=lambda p: p.batch)
    return (low, high) if high.batch - low.batch > 1 else None


def gains(low: Point, high: Point) -> bool:
    """Whether an item takes less time in the larger batch, so that a batch between them is worth a try."""
    return (low.typical_ms or 0.0) / low.batch > _GAIN * (high.typical_ms or 0.0) / high.batch


def between(points: Sequence[Point], is_cheap: Callable[[float, float], bool]) -> int | None:
    """The batch size to try next, None where nothing is left to try.

    It lies between the largest that is (or clearly looks) within the budget and the next larger one tried: half-way
    where that one ran out of memory, otherwise the largest whose proof is cheap, by a straight line between the two.
    Where that larger one brings no more items per second there is nothing to be had between them.

    Args:
        is_cheap: whether a percentile at this share of the budget, of calls that take so many ms, is cheap to prove.
    """
    found = gap(points)
    if found is None:
        return None
    low, high = found
    if high.status == "oom":
        return (low.batch + high.batch) // 2
    if not gains(low, high):
        return None
    low_ms, high_ms = judged_ms(low, points), judged_ms(high, points)
    for batch in range(high.batch - 1, low.batch, -1):
        part = (batch - low.batch) / (high.batch - low.batch)
        expected_ms = low_ms + part * (high_ms - low_ms)
        share = expected_ms / (low.limit_ms * (batch / low.batch if low.budget.per == "item" else 1))
        if share < 1 and is_cheap(share, expected_ms):
            return batch
    return None
