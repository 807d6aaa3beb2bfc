"""At which epoch each module of a network was at its best: curves of grafted models, their peaks and plateaus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Scores closer to the peak than this share of it lie on its plateau.
FLAT = 0.02


@dataclass(frozen=True, kw_only=True)
class Spot:
    """The sweet spot of one module."""

    module: str
    curve: tuple[tuple[int, float], ...]  # (epoch its weights are of, score of the whole model)
    home: int  # the epoch of all the other modules
    reference: float  # the score that a graft must beat
    peak_epoch: int
    peak: float
    plateau: tuple[int, int]  # the kept epochs around the peak that are as good within FLAT: first and last

    @property
    def gain(self) -> float:
        """What the peak promises over the reference."""
        return self.peak - self.reference

    @property
    def flat(self) -> bool:
        """Whether every kept epoch is as good as the peak: then the module has no sweet spot."""
        return self.plateau == (self.curve[0][0], self.curve[-1][0])

    def as_dict(self) -> dict[str, Any]:
        """The spot as JSON-like values."""
        return {
            "module": self.module,
            "curve": [list(point) for point in self.curve],
            "home": self.home,
            "reference": self.reference,
            "peak_epoch": self.peak_epoch,
            "peak": self.peak,
            "gain": self.gain,
            "plateau": list(self.plateau),
            "flat": self.flat,
        }


def spot(module: str, curve: Mapping[int, float], *, home: int, reference: float) -> Spot:
    """The sweet spot of a module; of equal peaks the home epoch, else the latest."""
    points = sorted(curve.items())
    peak = max(score for _, score in points)
    ties = [epoch for epoch, score in points if score == peak]
    epoch = home if home in ties else ties[-1]
    return Spot(
        module=module,
        curve=tuple(points),
        home=home,
        reference=reference,
        peak_epoch=epoch,
        peak=peak,
        plateau=_plateau(points, epoch, peak),
    )


def _plateau(points: Sequence[tuple[int, float]], epoch: int, peak: float) -> tuple[int, int]:
    least = peak - FLAT * abs(peak)
    low = high = next(i for i, (e, _) in enumerate(points) if e == epoch)
    while low > 0 and points[low - 1][1] >= least:
        low -= 1
    while high + 1 < len(points) and points[high + 1][1] >= least:
        high += 1
    return points[low][0], points[high][0]


def as_text(spots: Sequence[Spot], metric: str) -> str:
    """The sweet spots for people, a line for each kept epoch of each module."""
    parts = []
    for s in spots:
        ends = f"{s.plateau[0]} to {s.plateau[1]}" if s.plateau[0] != s.plateau[1] else f"{s.plateau[0]} alone"
        said = "as good everywhere: no sweet spot" if s.flat else f"plateau: epoch {ends}"
        head = f"{s.module}: peak {metric} {s.peak:.4f} with the weights of epoch {s.peak_epoch}"
        lines = [f"    epoch {e:>4}  {score:.4f}{_mark(s, e)}" for e, score in s.curve]
        parts.append("\n".join([f"{head} ({s.gain:+.4f} against {s.reference:.4f}); {said}", *lines]))
    return "\n\n".join(parts) + "\n"


def _mark(found: Spot, epoch: int) -> str:
    marks = [" <- peak"] if epoch == found.peak_epoch else []
    return "".join([*marks, " (home)" if epoch == found.home else ""])
