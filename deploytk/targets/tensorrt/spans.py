"""Which batch sizes an engine takes: one optimization profile for each span of them. Imports no library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploytk.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Span:
    """The batch sizes of one profile: TensorRT chooses its kernels for the best, and runs them for all."""

    least: int
    best: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}" if self.least == self.most else f"{self.least}..{self.most}, best at {self.best}"

    def as_list(self) -> list[int]:
        """Least, best, most."""
        return [self.least, self.best, self.most]


def spans(batches: Sequence[int], best: int | None = None) -> tuple[Span, ...]:
    """The spans for these batch sizes: 1 has its own, as its kernels suit no other size, the rest share one.

    Args:
        best: the size that the shared span is built for; the middle of its powers of two where it is None.

    Raises:
        InputError: `best` is none of the sizes.
    """
    least, most = min(batches), max(batches)
    if best is not None and not least <= best <= most:
        raise InputError(f"the engine cannot be built best for batch {best}: its batches are {least} to {most}")
    alone = [Span(least=1, best=1, most=1)] if least == 1 else []
    if most == 1:
        return tuple(alone)
    least = max(2, least) if alone else least
    shared = best if best is not None and best >= least else _middle(least, most)
    return (*alone, Span(least=least, best=shared, most=most))


def _middle(least: int, most: int) -> int:
    """The power of two nearest to the geometric mean from below, or `least` where there is none within."""
    return max(least, min(most, 1 << int(math.log2(math.sqrt(least * most)))))
