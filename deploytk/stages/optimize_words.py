"""Why a candidate was chosen, in plain sentences; where none was, what comes nearest and what would meet the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deploytk.stages.optimize_candidates import Candidate, Timing, Wanted


def judged(ms: float, wanted: Wanted) -> str:
    """`p95 8.91 ms`."""
    return f"p{wanted.budget.percentile:g} {ms:.3g} ms"


def _accuracy(candidate: Candidate, wanted: Wanted) -> str:
    if candidate.metric is None or candidate.drop is None:
        return "accuracy not measured"
    lost = f"{100 * candidate.drop:.1f} points lost" if candidate.drop > 0 else "nothing lost"
    return f"{wanted.metric} {candidate.metric:.3f} ({lost}, {100 * wanted.allowed:.3g} allowed)"


def why(chosen: Candidate, default: Candidate, wanted: Wanted) -> str:
    """Why this one: the budget, the accuracy, the plain default."""
    assert chosen.timing
    limit = f"{judged(chosen.timing.judged_ms, wanted)} of {wanted.limit_ms(chosen.batch):g} ms"
    if chosen.timing.kind == "estimated":
        limit = f"the compiler estimates {chosen.timing.judged_ms:.3g} of {wanted.limit_ms(chosen.batch):g} ms"
    told = f"Chosen: {chosen.name}: {limit}, {_accuracy(chosen, wanted)}"
    if chosen is default:
        return f"{told}. It is the plain default, and nothing that may be taken is faster beyond noise."
    return f"{told}{_beside_default(chosen.timing)}."


def _beside_default(timing: Timing) -> str:
    if timing.ratio is None:
        return ""
    return f"; {timing.ratio:.2f} times as long as the plain default ({_ends(timing)})"


def _ends(timing: Timing) -> str:
    return " to ".join(f"{end:.2f}" if end else "unknown" for end in (timing.low, timing.high))


def others(chosen: Candidate, candidates: Sequence[Candidate]) -> list[str]:
    """The next best of the final round, in one sentence."""
    rest = [c for c in candidates if c.status == "open" and c is not chosen and c.timing and c.timing.kind == "final"]
    if not rest or chosen.timing is None or chosen.timing.kind == "estimated":
        return []
    nearest = min(rest, key=lambda c: c.per_item_ms)
    return [
        f"Next: {nearest.name} with {nearest.per_item_ms:.3g} ms per item, {chosen.per_item_ms:.3g} for the chosen."
    ]


def left_out(candidates: Sequence[Candidate]) -> list[str]:
    """What was not tried, and estimates, which are no rivals of what was measured."""
    late = [c.key for c in candidates if c.status == "not tried"]
    told = [f"Not tried, the time was over: {', '.join(late)}; go on with the same command."] if late else []
    return told + [f"Not ranked, an estimate: {c.name}: {c.why}" for c in candidates if c.status == "estimated"]


def nearest(candidates: Sequence[Candidate], wanted: Wanted) -> str:
    """What comes nearest to the budget, and by how much it misses it."""
    best = min(candidates, key=lambda c: _share(c, wanted))
    assert best.timing
    limit_ms = wanted.limit_ms(best.batch)
    return (
        f"Nothing meets {limit_ms:g} ms with at most {100 * wanted.allowed:.3g} points lost. Nearest: {best.name} with "
        f"{judged(best.timing.judged_ms, wanted)}, {_share(best, wanted):.2f} times the budget, "
        f"{_accuracy(best, wanted)}."
    )


def would(candidates: Sequence[Candidate], wanted: Wanted, smaller: Mapping[int, float]) -> list[str]:
    """What would meet the budget, from what was measured: less accuracy, smaller images, another target or model."""
    told = [
        f"{c.name} would meet it ({_known_ms(c):.3g} ms): {c.why}."
        for c in candidates
        if c.status == "lost accuracy" and 0 < _known_ms(c) < wanted.limit_ms(c.batch)
    ]
    told += [
        f"Smaller images would: at {size} px the fastest float model took {ms:.3g} ms in a look (its accuracy is not "
        f"known; try --imgsz {size})."
        for size, ms in smaller.items()
    ]
    unasked = [name for name in ("onnx", "openvino", "npu") if name not in (*wanted.targets, wanted.default.target)]
    if unasked:
        told.append(f"Not asked for, so not known: --targets {','.join(unasked)}.")
    share = min(_share(c, wanted) for c in candidates)
    return [*told, f"A smaller model would have to take less than {1 / share:.2f} of the time of the nearest one."]


def _share(candidate: Candidate, wanted: Wanted) -> float:
    """How many times the budget a candidate of the final round takes; infinite for the others."""
    if candidate.timing is None or candidate.timing.kind != ("estimated" if wanted.only_estimates else "final"):
        return float("inf")
    return candidate.timing.judged_ms / wanted.limit_ms(candidate.batch)


def _known_ms(candidate: Candidate) -> float:
    """The best known time of one that lost too much: of the INT8 attempt, otherwise of its float model in a look."""
    made_ms = candidate.made.p50_ms if candidate.made else None
    return made_ms or candidate.look_ms or 0.0
