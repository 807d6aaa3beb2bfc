"""What a crossover does in child processes: every model that is scored is made here, from the kept checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins, worker
from deploytk.errors import InputError
from deploytk.training import averaging
from deploytk.training.averaging import Weights
from deploytk.training.crossover import MARGIN, Evaluator, Part, grafted, greedy, members
from deploytk.training.sweetspots import spot

#: How many of the best checkpoints the plain mean is of.
TOP = 5

_PARTS: tuple[Part, ...] = ("choosing", "held_out")

#: How a model is made: `{"checkpoint": 7}` as it is kept, `{"trained": 7}` without its moving average,
#: `{"settled": 7}` with batch-norm statistics of its own, `{"mean": [7, 8]}`, `{"home": 7, "origin": {"head": 9}}`.
Recipe = Mapping[str, Any]


class Scales:
    """The evaluator of a run and its kept checkpoints; counts what was scored."""

    def __init__(self, task: Mapping[str, Any], total: int) -> None:
        """`total` is how many scores are expected, for the progress."""
        profile = task["profile"]
        self.evaluator = _evaluator(profile, task["run"])
        self.files = {int(epoch): Path(path) for epoch, path in task["files"].items()}
        first = self.evaluator.weights(next(iter(self.files.values())))
        self.members = members(first, task["modules"] or self.evaluator.modules())
        self.done, self.total = 0, total

    def made(self, recipe: Recipe) -> Weights:
        """The weights of a recipe. Where weights of several epochs meet, batch norm is settled anew."""
        if "checkpoint" in recipe:
            return self._of(recipe["checkpoint"])
        if "trained" in recipe:
            return self.evaluator.weights(self.files[recipe["trained"]], averaged=False)
        if "settled" in recipe:
            return self.evaluator.settled(self._of(recipe["settled"]))
        if "mean" in recipe:
            several = len(recipe["mean"]) > 1
            mean = averaging.mean([self._of(epoch) for epoch in recipe["mean"]])
            return self.evaluator.settled(mean) if several else mean
        return self._crossed(recipe["home"], recipe["origin"])

    def _crossed(self, home: int, origin: Mapping[str, int]) -> Weights:
        weights = self._of(home)
        for module, epoch in origin.items():
            if epoch != home:
                donor = self._of(epoch)
                averaging.require_alike([weights, donor])
                weights = grafted(weights, donor, self.members[module])
        return self.evaluator.settled(weights) if {*origin.values()} - {home} else weights

    def _of(self, epoch: int) -> Weights:
        return self.evaluator.weights(self.files[epoch])

    def score(self, recipe: Recipe, part: Part, text: str) -> float:
        """What the model of a recipe is worth on one part of the images."""
        return self.weigh(self.made(recipe), part, text)

    def weigh(self, weights: Weights, part: Part, text: str) -> float:
        """What weights are worth on one part of the images; `text` tells of the progress."""
        found = self.evaluator.score(weights, part)
        self.done += 1
        worker.emit(done=self.done, total=max(self.total, self.done), text=text)
        return found


def _evaluator(profile: dict[str, Any], run: str) -> Evaluator:
    made = getattr(plugins.load("backends", profile["backend"]), "evaluator", None)
    if made is None:
        raise InputError(f"the backend {profile['backend']} has no evaluator of single weights, so no crossover")
    evaluator: Evaluator = made(profile, run)
    return evaluator


def searched(task: dict[str, Any]) -> dict[str, Any]:
    """Everything that is chosen, all by the choosing part: the home epoch, sweet spots, crossover and soup.

    Returns:
        scores: of each kept checkpoint; home: the epoch of the best one, which modules are grafted into.
        reference: its score, or with batch norm settled anew where that is better (`over`: checkpoint or settled).
            That alone can help, and must not look like a swap's gain.
        gained: whether swaps (`swapped`), or batch norm alone, have raised the score.
        spots, origin, start, score, tried: as `sweetspots` and `crossover` say.
        soup, top: epochs; parts, modules: what was scored on and what was swapped; scored: how many models.
    """
    scales = Scales(task, 0)
    scales.total = _expected(len(scales.members), len(scales.files))
    scores = {e: scales.score({"checkpoint": e}, "choosing", f"checkpoint of epoch {e}") for e in scales.files}
    ranked = sorted(scores, key=lambda e: (scores[e], e), reverse=True)
    home = ranked[0]
    settled = scales.score({"settled": home}, "choosing", "batch norm anew")
    reference = max(scores[home], settled)
    spots = [spot(m, _curve(scales, m, home, reference), home=home, reference=reference) for m in scales.members]
    crossing = greedy(spots, home=home, start=reference, score_of=_crossed_score(scales, home))
    soup, _ = averaging.greedy_soup(ranked, _soup_score(scales, scores))
    gained = crossing.swapped or settled > scores[home] + MARGIN
    over = "settled" if settled > scores[home] else "checkpoint"
    chosen = {"home": home, "scores": scores, "reference": reference, "over": over, **crossing.as_dict()}
    modules = {name: len(tensors) for name, tensors in scales.members.items()}
    return {
        **chosen, "gained": gained, "spots": [s.as_dict() for s in spots], "soup": sorted(soup),
        "top": sorted(ranked[:TOP]), "parts": scales.evaluator.parts(), "modules": modules, "scored": scales.done,
    }  # fmt: skip


def _expected(modules: int, epochs: int) -> int:
    """How many scores there are at most: checkpoints, batch norm anew, curves, swaps, soups."""
    return epochs + 1 + modules * (epochs - 1) + modules + epochs - 1


def _crossed_score(scales: Scales, home: int) -> Callable[[Mapping[str, int]], float]:
    return lambda origin: scales.score({"home": home, "origin": origin}, "choosing", "crossover")


def _curve(scales: Scales, module: str, home: int, reference: float) -> dict[int, float]:
    """The score of the home model with the module's weights of each epoch."""
    others = [e for e in scales.files if e != home]
    found = {
        e: scales.score({"home": home, "origin": {module: e}}, "choosing", f"{module} of epoch {e}") for e in others
    }
    return {**found, home: reference}


def _soup_score(scales: Scales, scores: Mapping[int, float]) -> Callable[[Sequence[int]], float]:
    def score(epochs: Sequence[int]) -> float:
        if len(epochs) == 1:
            return scores[epochs[0]]
        return scales.score({"mean": list(epochs)}, "choosing", f"mean of {len(epochs)}")

    return score


def judged(task: dict[str, Any], models: list[dict[str, Any]], write: str | None) -> list[dict[str, Any]]:
    """The models with their scores on both parts; one with the very weights of an earlier one is named there, `also`.

    Args:
        models: each with its `recipe`; the one that is called crossover is also written to `write`.
    """
    scales = Scales(task, 2 * len(models))
    seen: list[Weights] = []
    found: list[dict[str, Any]] = []
    for model in models:
        weights = scales.made(model["recipe"])
        if write is not None and model["name"] == "crossover":
            scales.evaluator.write(weights, Path(write))
        twin = next((row for row, other in zip(found, seen, strict=True) if _same(weights, other)), None)
        if twin is not None:
            twin["also"].append(model["name"])
            continue
        seen.append(weights)
        choosing, held_out = (scales.weigh(weights, part, model["name"]) for part in _PARTS)
        found.append({**model, "also": [], "choosing": choosing, "held_out": held_out})
    return found


def _same(one: Weights, other: Weights) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)
