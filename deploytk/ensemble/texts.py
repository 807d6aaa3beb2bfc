"""One answer of several to the same text: by their mutual likeness, by the most frequent, by a reranker."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploytk.errors import InputError
from deploytk.plugins import import_or_explain

#: How alike two texts are, 0 to 1, the same both ways round.
Similarity = Callable[[str, str], float]
#: A reranker that is fitted on less has seen next to nothing.
LEAST_SAMPLES = 20
_RIDGE = 1.0


def mutual(candidates: Sequence[str], similarity: Similarity) -> np.ndarray:
    """(candidates,): how alike each is to the others in the mean; 0 where it has none beside it."""
    count = len(candidates)
    alike = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            alike[i, j] = alike[j, i] = similarity(candidates[i], candidates[j])
    means: np.ndarray = alike.sum(axis=1) / max(1, count - 1)
    return means


def by_mutual(candidates: Sequence[str], similarity: Similarity) -> int:
    """The candidate that is most like the others: minimum Bayes risk (Kumar and Byrne 2004) with what there is.

    Of two candidates each is as like the other: the first is taken.
    """
    return int(np.argmax(mutual(candidates, similarity)))


def by_vote(candidates: Sequence[str], similarity: Similarity) -> int:
    """The most frequent candidate; of several that are, the one most like all others.

    Other code points for the same letters and other white space make no other answer.
    """
    plain = [" ".join(unicodedata.normalize("NFC", text).split()) for text in candidates]
    counts = Counter(plain)
    most = max(counts.values())
    alike = mutual(candidates, similarity)
    return max((i for i, text in enumerate(plain) if counts[text] == most), key=lambda i: (alike[i], -i))


@dataclass(frozen=True, kw_only=True)
class Stacked:
    """What a reranker chose, each sample by one that never saw its reference, and the one fitted on all samples."""

    chosen: tuple[int, ...]  # of each sample, the candidate
    features: tuple[str, ...]
    weights: tuple[float, ...]  # of the features, for the score that is expected of a candidate
    intercept: float


def stacked(
    rows: Sequence[Sequence[str]],
    sources: Sequence[str],
    gains: np.ndarray,
    similarity: Similarity,
    names: Sequence[str],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Stacked:
    """Choose by a ridge regression of each candidate's score on what is known of it without the reference.

    Args:
        rows: of each sample its candidates, in the order of `names`.
        gains: (samples, candidates): what each candidate scored against the reference.
        folds: parts of the samples; each is chosen for by what the others have taught.

    Raises:
        InputError: too few samples.
        MissingDependency: scikit-learn is not installed.
    """
    if len(rows) < LEAST_SAMPLES:
        raise InputError(f"stacking learns from samples and has {len(rows)}; give --samples {LEAST_SAMPLES} or more")
    linear, selection = import_or_explain("sklearn.linear_model"), import_or_explain("sklearn.model_selection")
    known = np.stack([_features(row, source, similarity) for row, source in zip(rows, sources, strict=True)])
    chosen = np.zeros(len(rows), np.int64)
    for taught, asked in selection.KFold(folds, shuffle=True, random_state=seed).split(known):
        fitted = _fitted(linear, known[taught], gains[taught])
        expected = fitted.predict(known[asked].reshape(-1, known.shape[2])).reshape(len(asked), -1)
        chosen[asked] = expected.argmax(axis=1)
    whole = _fitted(linear, known, gains)
    return Stacked(
        chosen=tuple(map(int, chosen)),
        features=(*_FEATURES, *(f"is {name}" for name in names)),
        weights=tuple(map(float, whole.coef_)),
        intercept=float(whole.intercept_),
    )


_FEATURES = ("mutual likeness", "length beside the others", "length beside the source", "is empty")


def _features(row: Sequence[str], source: str, similarity: Similarity) -> np.ndarray:
    """(candidates, features) of one sample. Lengths are logarithms: twice and half as long are as far away."""
    lengths = np.log1p([len(text) for text in row])
    told = (
        mutual(row, similarity),
        lengths - np.median(lengths),
        lengths - np.log1p(len(source)),
        np.array([not text.strip() for text in row], np.float64),
    )
    return np.concatenate([np.stack(told, axis=1), np.eye(len(row))], axis=1)


def _fitted(linear: Any, known: np.ndarray, gains: np.ndarray) -> Any:
    return linear.Ridge(alpha=_RIDGE).fit(known.reshape(-1, known.shape[2]), gains.reshape(-1))
