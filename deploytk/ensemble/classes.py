"""The probabilities that several classifiers give to the same samples, as one: their mean, their vote, or learnt."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploytk.ensemble.boxes import model_weights
from deploytk.errors import InputError
from deploytk.plugins import import_or_explain

#: Votes nearer to each other than the first are equal (weights are sums of floats); by the second the winner is ahead.
_EQUAL, _AHEAD = 1e-9, 1e-6
#: The logarithm of less says nothing more.
_LEAST = 1e-6
_ROUNDS = 500
#: Parts of the samples in stacking.
FOLDS = 5


def averaged(probabilities: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """(n, classes): the mean of the models' (n, classes), weighted where weights are given.

    Raises:
        InputError: no models, other shapes, or not one weight above 0 per model.
    """
    mean: np.ndarray = np.tensordot(model_weights(weights, len(probabilities)), _together(probabilities), 1)
    return mean


def voted(probabilities: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """(n, classes): the share of the models whose most probable class it is; the largest is the winner's.

    Of classes with as many votes the one with the larger mean probability wins, by a millionth.

    Raises:
        InputError: as `averaged`.
    """
    rows, shares = _together(probabilities), model_weights(weights, len(probabilities))
    mean = averaged(probabilities, weights)
    votes = np.zeros_like(mean)
    for model, share in zip(rows, shares, strict=True):
        votes[np.arange(len(model)), model.argmax(1)] += share
    equal = votes >= votes.max(1, keepdims=True) - _EQUAL
    winner = np.where(equal, mean, -1.0).argmax(1)
    votes *= 1 - _AHEAD
    votes[np.arange(len(votes)), winner] += _AHEAD
    return votes


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """A multinomial logistic regression on the models' log-probabilities, as plain numbers."""

    models: int
    classes: tuple[int, ...]  # the columns that samples taught; no other is ever answered
    coefficients: tuple[tuple[float, ...], ...]  # per class, for all classes of the first model, then of the second ...
    intercepts: tuple[float, ...]  # per class

    def applied(self, probabilities: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """(n, classes): what it makes of the models' probabilities."""
        features = _features(probabilities)
        logits = features @ np.array(self.coefficients).T + np.array(self.intercepts)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        answers = np.zeros((len(features), probabilities[0].shape[1]))
        answers[:, list(self.classes)] = powers / powers.sum(1, keepdims=True)
        return answers

    def own_weights(self) -> tuple[float, ...]:
        """Per model: how much its log-probability of a class says for that class, in the mean over the classes."""
        apart = np.array(self.coefficients) - np.mean(self.coefficients, axis=0)  # a shift of all says nothing
        by_model = apart.reshape(len(self.classes), self.models, -1)
        own = by_model[np.arange(len(self.classes)), :, list(self.classes)]
        return tuple(own.mean(axis=0).tolist())

    def as_dict(self) -> Mapping[str, Any]:
        """JSON-like values."""
        return {
            "classes": list(self.classes),
            "coefficients": [list(row) for row in self.coefficients],
            "intercepts": list(self.intercepts),
        }


@dataclass(frozen=True, kw_only=True)
class Stacked:
    """What stacking answers, each sample by a model that never saw its label, and the model fitted on all samples."""

    probabilities: np.ndarray  # (n, classes), out of fold
    learnt: Learnt
    folds: int
    stratified: bool  # whether every class is in every fold


def require_samples(samples: int, folds: int = FOLDS) -> None:
    """Nothing, where stacking can learn from so many samples.

    Raises:
        InputError: they are too few.
    """
    if samples < 2 * folds:
        raise InputError(f"stacking in {folds} folds needs {2 * folds} labelled samples or more; {samples} are there")


def stacked(probabilities: Sequence[np.ndarray], truth: np.ndarray, *, folds: int = FOLDS, seed: int = 0) -> Stacked:
    """Answer by a logistic regression on the models' log-probabilities, out of fold.

    Args:
        probabilities: of each model (n, classes).
        truth: (n,) the index of the class of each sample.
        folds: parts of the samples; each is answered by what the others have taught.

    Raises:
        InputError: no models, other shapes, too few samples, or samples of one class only.
        MissingDependency: scikit-learn is not installed.
    """
    rows, truth = _together(probabilities), np.asarray(truth, np.int64)
    if len(truth) != rows.shape[1]:
        raise InputError(f"{len(truth)} labels for the probabilities of {rows.shape[1]} samples")
    require_samples(len(truth), folds)
    counts = np.unique(truth, return_counts=True)[1]
    if len(counts) < 2:
        raise InputError("stacking learns to tell classes apart, and all samples are of one; give samples of others")
    stratified = bool(counts.min() >= folds)
    selection = import_or_explain("sklearn.model_selection")
    kind = selection.StratifiedKFold if stratified else selection.KFold
    answers = np.zeros(rows.shape[1:])
    for taught, asked in kind(folds, shuffle=True, random_state=seed).split(truth, truth):
        answers[asked] = _learnt(rows[:, taught], truth[taught]).applied(rows[:, asked])
    return Stacked(probabilities=answers, learnt=_learnt(rows, truth), folds=folds, stratified=stratified)


def _learnt(rows: Sequence[np.ndarray] | np.ndarray, truth: np.ndarray) -> Learnt:
    features, classes = _features(rows), np.unique(truth)
    if len(classes) == 1:  # the other classes' few samples are all in the fold that is asked
        nothing = ((0.0,) * features.shape[1],)
        return Learnt(models=len(rows), classes=(int(classes[0]),), coefficients=nothing, intercepts=(0.0,))
    linear = import_or_explain("sklearn.linear_model")
    with warnings.catch_warnings():
        # A fit that stops early is still scored out of fold, as any other.
        warnings.simplefilter("ignore", import_or_explain("sklearn.exceptions").ConvergenceWarning)
        fitted = linear.LogisticRegression(max_iter=_ROUNDS).fit(features, truth)
    coefficients, intercepts = np.asarray(fitted.coef_, np.float64), np.asarray(fitted.intercept_, np.float64)
    if len(classes) == 2:  # one row for both: the logit of the second
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    return Learnt(
        models=len(rows),
        classes=tuple(classes.tolist()),
        coefficients=tuple(map(tuple, coefficients.tolist())),
        intercepts=tuple(intercepts.tolist()),
    )


def _features(probabilities: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """(n, models * classes): log-probabilities, one model's after the other's."""
    columns: np.ndarray = np.concatenate([np.log(np.clip(one, _LEAST, 1.0)) for one in probabilities], axis=1)
    return columns.astype(np.float64, copy=False)


def _together(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """(models, n, classes) float64."""
    if not len(probabilities):
        raise InputError("no model's probabilities are there to combine")
    shapes = {one.shape for one in probabilities}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        told = ", ".join(str(list(one.shape)) for one in probabilities)
        raise InputError(f"probabilities of several models must all be (samples, classes); these are {told}")
    return np.stack([np.asarray(one, np.float64) for one in probabilities])
