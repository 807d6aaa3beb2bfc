"""Which candidate of `deploytk optimize` is deployed, if any, and what became of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from deploytk.budget import Status, Verdict
from deploytk.stages import optimize_words as words
from deploytk.stages.optimize_candidates import ESTIMATED, Candidate, Wanted


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
    default, *_ = candidates
    status: Status = "pass"
    pool = _estimates(candidates, "pass") if _only_estimates(wanted) else _within(candidates, default, "pass")
    if not pool:
        status = "inconclusive"
        pool = _estimates(candidates, status) if _only_estimates(wanted) else _within(candidates, default, status)
    if not pool:
        reasons = (*words.nearest(candidates, wanted), *words.would(candidates, wanted, smaller))
        told = tuple(_placed(c, None, wanted) for c in candidates)
        return Choice(chosen=None, verdict=Verdict(status="fail", reasons=reasons), candidates=told)
    chosen = _best(pool)
    told = tuple(_placed(c, chosen, wanted) for c in candidates)
    reasons = (words.why(chosen, default, wanted), *words.others(chosen, candidates), *words.left_out(candidates))
    if status == "inconclusive":
        reasons = (*reasons, *(chosen.timing.verdict.reasons if chosen.timing and chosen.timing.verdict else ()))
    return Choice(chosen=chosen, verdict=Verdict(status=status, reasons=reasons), candidates=told)


def _only_estimates(wanted: Wanted) -> bool:
    return set(wanted.targets) <= ESTIMATED


def _verdict(candidate: Candidate) -> Status | None:
    timing = candidate.timing
    return timing.verdict.status if timing and timing.verdict else None


def _estimates(candidates: Sequence[Candidate], status: Status) -> list[Candidate]:
    return [c for c in candidates if c.status == "estimated" and _verdict(c) == status]


def _within(candidates: Sequence[Candidate], default: Candidate, status: Status) -> list[Candidate]:
    """The finalists with this verdict; beside a default that has it too only those that are faster beyond noise."""
    finalists = [c for c in candidates if c.status == "open" and _verdict(c) == status]
    if default not in finalists:
        return finalists
    return [c for c in finalists if c is default or (c.timing and c.timing.word == "faster")]


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
    if _verdict(candidate) == "fail":
        limit_ms = wanted.limit_ms(candidate.batch)
        judged_ms = candidate.timing.judged_ms if candidate.timing else 0.0
        return replace(
            candidate, status="over budget", why=f"{words.judged(judged_ms, wanted)}, {limit_ms:g} ms allowed"
        )
    return replace(candidate, status="slower", why=_why_not(candidate, chosen))


def _why_not(candidate: Candidate, chosen: Candidate | None) -> str:
    if candidate.timing and candidate.timing.word in ("undecided", "slower"):
        return f"{candidate.timing.word} beside the default"
    if candidate.timing and candidate.timing.tied:
        return "as fast as the chosen one within noise, and no more accurate"
    return f"slower than {chosen.name}" if chosen else ""
