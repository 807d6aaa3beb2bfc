"""Which candidate of `deploytk optimize` is deployed, if any, and what became of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from deploytk.budget import Status, Verdict
from deploytk.stages import optimize_words as words
from deploytk.stages.optimize_candidates import Candidate, Wanted


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is deployed (None: nothing meets the budget), the verdict, and the candidates with their last status."""

    chosen: Candidate | None
    verdict: Verdict
    candidates: tuple[Candidate, ...]


def choose(candidates: Sequence[Candidate], wanted: Wanted, smaller: Mapping[int, float]) -> Choice:
    """The fastest candidate that is surely within the budget and surely no slower than the default.

    Among those that cannot be told from the fastest the most accurate is taken, then the smallest file. A candidate
    that is not beyond noise faster than the default is not taken in its place, unless the default misses the budget.
    Where no candidate is within the budget, one on it is taken, and the verdict is inconclusive. Estimates are chosen
    only where nothing but estimated targets was asked for.

    Args:
        candidates: the default first; those of the final round are "open".
        smaller: image size -> ms of a look at the fastest float model at a smaller size than any candidate's.
    """
    status: Status
    for status in ("pass", "inconclusive"):
        pool = _pool(candidates, wanted, status)
        if pool:
            return _chosen(_best(pool), candidates, wanted, status)
    reasons = (words.nearest(candidates, wanted), *words.would(candidates, wanted, smaller))
    verdict = Verdict(status="fail", reasons=(*reasons, *words.left_out(candidates)))
    return Choice(chosen=None, verdict=verdict, candidates=tuple(_placed(c, None, wanted) for c in candidates))


def _chosen(chosen: Candidate, candidates: Sequence[Candidate], wanted: Wanted, status: Status) -> Choice:
    told = [words.why(chosen, candidates[0], wanted)]
    if status == "inconclusive" and chosen.timing and chosen.timing.verdict:
        told += chosen.timing.verdict.reasons
    told += [*words.others(chosen, candidates), *words.left_out([c for c in candidates if c is not chosen])]
    verdict = Verdict(status=status, reasons=tuple(told))
    return Choice(chosen=chosen, verdict=verdict, candidates=tuple(_placed(c, chosen, wanted) for c in candidates))


def _pool(candidates: Sequence[Candidate], wanted: Wanted, status: Status) -> list[Candidate]:
    """What may be chosen with this verdict; beside a default that has it only what is faster beyond noise."""
    if wanted.only_estimates:
        return [c for c in candidates if c.status == "estimated" and _verdict(c) == status]
    default, *_ = candidates
    finalists = [c for c in candidates if c.status == "open" and _verdict(c) == status]
    if default not in finalists:
        return finalists
    return [c for c in finalists if c is default or (c.timing and c.timing.word == "faster")]


def _verdict(candidate: Candidate) -> Status | None:
    timing = candidate.timing
    return timing.verdict.status if timing and timing.verdict else None


def _best(pool: Sequence[Candidate]) -> Candidate:
    fastest = min(pool, key=lambda c: c.per_item_ms)
    alike = [c for c in pool if c is fastest or (c.timing and c.timing.tied)]
    return min(alike, key=lambda c: (c.drop or 0.0, c.made.size_bytes or 0 if c.made else 0, c.per_item_ms))


def _placed(candidate: Candidate, chosen: Candidate | None, wanted: Wanted) -> Candidate:
    """The candidate with its last status and why."""
    if candidate is chosen:
        return replace(candidate, status="chosen")
    if candidate.status != "open":
        return candidate
    if _verdict(candidate) == "fail" and candidate.timing:
        told = words.judged(candidate.timing.judged_ms, wanted)
        why = f"{told}, {wanted.limit_ms(candidate.batch):g} ms allowed"
        return replace(candidate, status="over budget", why=why)
    return replace(candidate, status="slower", why=_why_not(candidate, chosen))


def _why_not(candidate: Candidate, chosen: Candidate | None) -> str:
    timing = candidate.timing
    if chosen is None or chosen.is_estimated or timing is None:
        return "not among the targets that were asked for"
    if timing.word in ("undecided", "slower"):
        return f"{timing.word} beside the default"
    if timing.tied:
        return "as fast as the chosen one within noise, and no more accurate"
    return f"slower than {chosen.name}"
