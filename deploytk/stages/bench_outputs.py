"""What a model answered at first, kept small, and whether it still answers so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: Values kept of each output, evenly over it.
_KEPT = 4096
#: How far a repeated answer may be from the first: threads sum in any order.
_RELATIVE = 1e-2

Answer = Mapping[str, np.ndarray]


class FirstAnswers:
    """The first answer to each of several inputs."""

    def __init__(self) -> None:
        self._first: dict[int, dict[str, np.ndarray]] = {}

    def keep(self, number: int, answer: Answer) -> None:
        """Remember the answer to input `number`."""
        self._first[number] = {name: _some(value) for name, value in answer.items()}

    def known(self, number: int) -> bool:
        """Whether there is a first answer to input `number`."""
        return number in self._first

    def differs(self, number: int, answer: Answer) -> str:
        """The sentence that the answer to input `number` is not the first one any more, or the empty string."""
        for name, first in self._first.get(number, {}).items():
            now = _some(np.asarray(answer[name]))
            if now.shape != first.shape or not _close(now, first):
                return f"Output {name} is not what it was the first time for the same input."
        return ""

    def same_for_all(self) -> str:
        """The sentence that the model ignores its input, when all answers are equal for different inputs."""
        answers = list(self._first.values())
        if len(answers) < 2:
            return ""
        first = answers[0]
        if all(np.array_equal(first[name], other[name]) for other in answers[1:] for name in first):
            return (
                f"All outputs are the same for {len(answers)} different inputs: the model does not depend on its input."
            )
        return ""


def _some(value: np.ndarray) -> np.ndarray:
    """A copy of at most 4096 values of an output, evenly over it."""
    flat = np.asarray(value).reshape(-1)
    return flat[:: max(1, -(-flat.size // _KEPT))].copy()


def _close(now: np.ndarray, first: np.ndarray) -> bool:
    if now.dtype.kind not in "iuf":
        return bool(np.array_equal(now, first))
    apart = np.abs(now.astype(np.float64) - first.astype(np.float64)).max(initial=0.0)
    if now.dtype.kind in "iu":
        return bool(apart <= 1)  # a rounding that falls the other way
    return bool(apart <= _RELATIVE * max(1e-6, float(np.abs(first).max(initial=0.0))))
