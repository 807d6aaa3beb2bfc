"""The search of `deploytk optimize`: what is cheap to know first, and only what can still win gets the dear steps.

It makes and measures nothing itself: a `Shop` does. What was not tried because the time was over is listed as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from deploytk.errors import DeploytkError, StepFailed
from deploytk.stages.optimize_candidates import ESTIMATED, Candidate, Made, Setting, Status, Timing, Variant, Wanted

#: A float model that takes this many times the budget is not pursued: INT8 done right is about twice as fast.
_HOPELESS = 2.0
#: So many of the fastest go into the final round beside the default.
_FINALISTS = 3
#: A setting must be faster by this much in a look to be worth its words.
_WORTH = 0.97
#: The share of the time limit, and the seconds at most, that are kept for the final round.
_FINAL_SHARE, _FINAL_S = 0.25, 180.0
#: Lost accuracy is compared with what is allowed up to the rounding of a sum of floats.
_ROUNDING = 1e-9


K = TypeVar("K")


class Shop(Protocol):
    """What makes and measures. Each method may raise a DeploytkError, which is then that candidate's result."""

    def look(self, target: str, imgsz: int, batch: int) -> float | None:
        """About how many ms a call of the float model takes on a target at an image size; None where none can tell."""
        ...

    def trained_metric(self, imgsz: int) -> float:
        """The metric of the trained model itself at an image size."""
        ...

    def make(self, variant: Variant, allowed: float, limit_s: float | None) -> Made:
        """The model of a variant, proved; INT8 may lose `allowed` of the metric of its own image size.

        It is stopped after `limit_s`; None: not before a step of an export is.
        """
        ...

    def estimate(self, candidate: Candidate) -> Timing:
        """What the compiler says of a model that no host can run."""
        ...

    def settings(self, target: str) -> list[Setting]:
        """The ways to run a model worth trying besides the runtime's own."""
        ...

    def time(self, candidate: Candidate) -> Timing:
        """The latency of a candidate from a few dozen calls."""
        ...

    def final(self, default: Candidate, rivals: Sequence[Candidate], limit_s: float) -> list[Timing]:
        """The latencies of the default and its rivals, in this order, measured in turns, each with its verdict."""
        ...


class Search:
    """The candidates and what became of them."""

    def __init__(
        self, wanted: Wanted, known: Mapping[str, Sequence[str]], shop: Shop, spent_s: Callable[[], float]
    ) -> None:
        self.wanted, self.shop, self._spent_s = wanted, shop, spent_s
        setting = Setting(threads=wanted.threads if isinstance(wanted.threads, int) else None)
        every = [
            Candidate(variant=v, batch=b, setting=setting)
            for v in wanted.variants(known)
            for b in sorted(wanted.batches)
        ]
        self.table = {c.key: c for c in every}
        self.default = every[0].key
        self.source = 0.0  # the metric of the trained model at its own image size
        self.lost_by_size = {wanted.imgsz: 0.0}

    def run(self) -> list[Candidate]:
        """Every candidate with what became of it, the default first; those of the final round are "open" and timed.

        Raises:
            DeploytkError: the default itself cannot be made or measured; nothing can be said without it.
        """
        self.source = self.shop.trained_metric(self.wanted.imgsz)
        self._look()
        self._leave_hopeless()
        for _ in range(2):  # what is spared first may lose too much by its size
            self._spare_one()
            self._weigh_sizes()
        self._make()
        self._time()
        self._final(self._tuned(self._fastest()))
        return list(self.table.values())

    @property
    def left_s(self) -> float:
        """What may still be spent before the final round."""
        return self.wanted.time_limit_s - self._spent_s() - self._final_s

    @property
    def _final_s(self) -> float:
        return min(_FINAL_S, _FINAL_SHARE * self.wanted.time_limit_s)

    def _look(self) -> None:
        """A few calls of the float model of each target and size."""
        batch = min(self.wanted.batches)
        groups = _grouped(self._open(), lambda c: (c.variant.target, c.variant.imgsz))
        for (target, size), group in groups.items():
            if target in ESTIMATED or (self.left_s <= 0 and self.default not in group):
                continue
            try:
                ms = self.shop.look(target, size, batch)
            except DeploytkError as error:
                self._failed(group, error)
                continue
            for key in group if ms else ():
                self._keep(key, look_ms=(ms or 0.0) * self.table[key].batch / batch)

    def _leave_hopeless(self) -> None:
        """Out with what is over twice the budget by the look."""
        for c in self._rivals():
            limit_ms = self.wanted.limit_ms(c.batch)
            if self._look_share(c) > _HOPELESS:
                why = f"its float model took {c.look_ms:.3g} ms, over twice the {limit_ms:g} ms"
                self._out([c.key], "too slow", why)

    def _spare_one(self) -> None:
        """Where nothing else is left beside the default, the fastest-looking target and size are pursued after all."""
        over = [c for c in self.table.values() if c.status == "too slow"]
        if self._rivals() or not over:
            return
        best = min(over, key=self._look_share).variant
        alike = [c.key for c in over if (c.variant.target, c.variant.imgsz) == (best.target, best.imgsz)]
        self._out(alike, "open", "")

    def _rivals(self) -> list[Candidate]:
        """What is still in the race beside the default and can be measured."""
        return [c for c in self._open() if not c.is_estimated and c.key != self.default]

    def _look_share(self, candidate: Candidate) -> float:
        return (candidate.look_ms or 0.0) / self.wanted.limit_ms(candidate.batch)

    def _weigh_sizes(self) -> None:
        """Out with image sizes at which the trained model itself loses more than is allowed."""
        for size, group in _grouped(self._open(), lambda c: c.variant.imgsz).items():
            if size in self.lost_by_size or self.left_s <= 0:
                continue
            try:
                metric = self.shop.trained_metric(size)
            except DeploytkError as error:
                self._failed(group, error)
                continue
            self.lost_by_size[size] = lost = self.source - metric
            for key in group:
                self._keep(key, metric=metric, drop=lost)
            if self._is_lost(lost):
                self._out(
                    group, "lost accuracy", f"at {size} px the trained model itself loses {100 * lost:.1f} points"
                )

    def _make(self) -> None:
        """The models, the default first, then the cheap ones: float before INT8, the faster-looking ones first."""
        for variant, group in _grouped(sorted(self._open(), key=self._order), lambda c: c.variant).items():
            # Without the default nothing can be said: it is made however long that takes.
            limit_s = None if variant == self.wanted.default else self.left_s
            if (limit_s is not None and limit_s <= 0) or variant.imgsz not in self.lost_by_size:
                self._out(group, "not tried", "the time was over")
                continue
            allowed = max(0.0, self.wanted.allowed - self.lost_by_size[variant.imgsz])
            try:
                self._keep_made(group, self.shop.make(variant, allowed, limit_s))
            except DeploytkError as error:
                self._failed(group, error)

    def _order(self, candidate: Candidate) -> tuple[bool, bool, bool, float]:
        variant = candidate.variant
        is_int8 = variant.precision == "int8"
        return variant != self.wanted.default, candidate.is_estimated, is_int8, candidate.look_ms or 0.0

    def _keep_made(self, group: Sequence[str], made: Made) -> None:
        drop = None if made.metric is None else self.source - made.metric
        is_lost = drop is not None and self._is_lost(drop) and self.default not in group
        for key in group:
            self._keep(key, made=made, metric=made.metric, drop=drop)
        if made.artifact is None or is_lost:
            why = made.reason or f"loses {100 * (drop or 0.0):.1f} points"
            self._out(group, "lost accuracy" if is_lost else "refused", why)

    def _time(self) -> None:
        """A few dozen calls of each model that kept its accuracy; what a compiler says of the others."""
        for candidate in self._open():
            key = candidate.key
            try:
                timing = self.shop.estimate(candidate) if candidate.is_estimated else self.shop.time(candidate)
            except DeploytkError as error:
                self._failed([key], error)
                continue
            self._keep(key, timing=timing)
            if timing.kind == "estimated":
                self._out([key], "estimated", " ".join(timing.verdict.reasons) if timing.verdict else "")

    def _fastest(self) -> list[Candidate]:
        """The few that may win: those that look within the budget first, then by the time per item."""

        def place(candidate: Candidate) -> tuple[bool, float]:
            judged_ms = candidate.timing.judged_ms if candidate.timing else 0.0
            return judged_ms > self.wanted.limit_ms(candidate.batch), candidate.per_item_ms

        return sorted(self._rivals(), key=place)[:_FINALISTS]

    def _tuned(self, rivals: Sequence[Candidate]) -> dict[str, Candidate]:
        """The rivals with the settings they look fastest with; beside the plain default, the one that suits it best."""
        found = {rival.key: self._best_setting(rival) for rival in rivals}
        own = self._best_setting(self.table[self.default])
        return found if own == self.table[self.default] else {**found, own.name: own}

    def _best_setting(self, candidate: Candidate) -> Candidate:
        best = candidate
        for setting in self.shop.settings(candidate.variant.target):
            if self.left_s <= 0:
                break
            tried = replace(candidate, setting=setting)
            try:
                tried = replace(tried, timing=self.shop.time(tried))
            except DeploytkError:  # a setting that this model cannot be run with
                continue
            best = tried if tried.per_item_ms < _WORTH * best.per_item_ms else best
        return best

    def _final(self, rivals: Mapping[str, Candidate]) -> None:
        """Everything that may be chosen, measured in turns; the others stay as they looked."""
        self._out(
            [c.key for c in self._rivals() if c.key not in rivals],
            "slower",
            "not among the fastest in a look, so not in the final round",
        )
        left_s = max(self._final_s, self.wanted.time_limit_s - self._spent_s())
        default = self.table[self.default]
        timings = self.shop.final(default, list(rivals.values()), min(left_s, _FINAL_S))
        for key, candidate, timing in zip((self.default, *rivals), (default, *rivals.values()), timings, strict=True):
            self.table[key] = replace(candidate, timing=timing)

    def _open(self) -> list[Candidate]:
        return [candidate for candidate in self.table.values() if candidate.status == "open"]

    def _keep(self, key: str, **known: Any) -> None:
        self.table[key] = replace(self.table[key], **known)

    def _failed(self, keys: Sequence[str], error: DeploytkError) -> None:
        """What could not be made or run is out, and said so; without the default there is nothing to compare with."""
        if self.default in keys:
            raise error
        was_stopped = isinstance(error, StepFailed) and error.kind == "timeout" and self.left_s <= 0
        self._out(keys, "not tried" if was_stopped else "refused", error.message)

    def _out(self, keys: Sequence[str], status: Status, why: str) -> None:
        for key in keys:
            self._keep(key, status=status, why=why)

    def _is_lost(self, drop: float) -> bool:
        return drop > self.wanted.allowed + _ROUNDING


def _grouped(candidates: Sequence[Candidate], by: Callable[[Candidate], K]) -> dict[K, list[str]]:
    """The keys of the candidates that have the same `by`, in their order."""
    found: dict[K, list[str]] = {}
    for candidate in candidates:
        found.setdefault(by(candidate), []).append(candidate.key)
    return found
