"""ROUGE-1, -2 and -L (Lin 2004) by the rouge-score library, with a tokenizer that is named and told with each number.

The library's own tokenizer keeps a-z and 0-9 alone: two equal Korean sentences score 0.0 with it. Scores by different
tokenizers are different measures: they are never compared here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from deploytk.errors import InputError
from deploytk.plugins import import_or_explain
from deploytk.profile_text import Rouge

NAMES = ("rouge1", "rouge2", "rougeL")
#: Samples that are drawn with replacement for an interval, and how sure it is.
_RESAMPLED, CONFIDENCE = 2000, 0.95
_SEED = 0
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The F1 of each sample, 0 to 1, by each kind of ROUGE."""

    tokenizer: str
    each: Mapping[str, np.ndarray]  # rouge1, rouge2, rougeL -> (samples,) float64

    def __len__(self) -> int:
        return len(self.each[NAMES[0]])

    @property
    def means(self) -> dict[str, float]:
        """The mean over the samples."""
        return {name: float(values.mean()) for name, values in self.each.items()}

    def intervals(self) -> dict[str, Interval]:
        """The bootstrap's interval of each mean (percentiles, 95 %)."""
        return {name: _interval(values) for name, values in self.each.items()}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one system's mean is above another's on the same samples."""

    mean: float
    interval: Interval
    told: Literal["better", "worse", "not told apart"]


def scored(answers: Sequence[str], references: Sequence[str], tokenizer: Rouge, model: Any = None) -> Scores:
    """The scores of answers, each beside its reference.

    Args:
        tokenizer: whitespace (words), character (without spaces) or model.
        model: the model's own tokenizer of transformers, for "model".

    Raises:
        InputError: there is nothing to score, or not as many answers as references.
        MissingDependency: rouge-score is not installed.
    """
    if not references or len(answers) != len(references):
        raise InputError(f"ROUGE needs an answer for each reference: {len(answers)} and {len(references)} are there")
    scorer = import_or_explain("rouge_score.rouge_scorer").RougeScorer(
        list(NAMES), tokenizer=_Tokenizer(tokenizer, model)
    )
    told = [scorer.score(reference, answer) for answer, reference in zip(answers, references, strict=True)]
    return Scores(
        tokenizer=tokenizer, each={name: np.array([one[name].fmeasure for one in told], np.float64) for name in NAMES}
    )


def similarity(tokenizer: Rouge, model: Any = None) -> Callable[[str, str], float]:
    """A function that says how alike two texts are: the mean of the three, 0 to 1."""
    scorer = import_or_explain("rouge_score.rouge_scorer").RougeScorer(
        list(NAMES), tokenizer=_Tokenizer(tokenizer, model)
    )
    return lambda one, other: sum(each.fmeasure for each in scorer.score(one, other).values()) / len(NAMES)


def compared(ours: Scores, theirs: Scores) -> dict[str, Difference]:
    """For each kind of ROUGE how far `ours` is above `theirs`: paired, as both answered the same samples.

    Raises:
        InputError: they were scored by different tokenizers, or on another number of samples.
    """
    if ours.tokenizer != theirs.tokenizer:
        raise InputError(f"ROUGE by {ours.tokenizer} and by {theirs.tokenizer} are different measures: not compared")
    if len(ours) != len(theirs):
        raise InputError(f"scores of {len(ours)} and of {len(theirs)} samples are not compared")
    return {name: difference(ours.each[name], theirs.each[name]) for name in NAMES}


def difference(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """How far the mean of `ours` is above that of `theirs`, both (samples,), with the paired bootstrap's interval."""
    apart = ours - theirs
    low, high = _interval(apart)
    told: Literal["better", "worse", "not told apart"] = "not told apart"
    if low > 0 or high < 0:
        told = "better" if low > 0 else "worse"
    return Difference(mean=float(apart.mean()), interval=(low, high), told=told)


def _interval(values: np.ndarray) -> Interval:
    """Percentile bootstrap (Efron 1979) of a mean; the same for the same values."""
    chosen = np.random.default_rng(_SEED).integers(0, len(values), (_RESAMPLED, len(values)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[chosen].mean(axis=1), (tail, 1 - tail))
    return float(low), float(high)


class _Tokenizer:
    """What rouge-score asks of a tokenizer."""

    def __init__(self, kind: Rouge, model: Any) -> None:
        if kind == "model" and model is None:
            raise InputError("rouge: model needs the model's own tokenizer, and there is none here: use whitespace")
        self._kind, self._model = kind, model

    def tokenize(self, text: str) -> list[str]:
        """The parts of a text that are counted. The same letters in other code points are the same."""
        plain = unicodedata.normalize("NFC", text).casefold()
        if self._kind == "model":
            return list(self._model.tokenize(plain))
        return [c for c in plain if not c.isspace()] if self._kind == "character" else plain.split()
