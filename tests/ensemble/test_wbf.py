"""Weighted boxes fusion, beside a plain reading of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.data.detections import Detections
from deploytk.ensemble.boxes import fused
from deploytk.errors import InputError

Row = tuple[float, float, float, float, float, int]


def detections(*rows: Row) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(
        boxes=table[:, :4], scores=table[:, 4], labels=table[:, 5].astype(np.int64), candidates=len(table)
    )


def rows_of(found: Detections) -> list[list[float]]:
    columns = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return sorted([*box, score, label] for box, score, label in columns)


def shared(a: Sequence[float], b: Sequence[float]) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    areas = [(one[2] - one[0]) * (one[3] - one[1]) for one in (a, b)]
    return across * down / (sum(areas) - across * down)


def plain(models: Sequence[Detections], weights: Sequence[float], overlap: float) -> list[list[float]]:
    """The paper's six steps, box by box, in lists. No two scores may be equal here."""
    every = [
        (score * weight, weight, score, box, label)
        for one, weight in zip(models, weights, strict=True)
        for box, score, label in zip(one.boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
    ]
    clusters: list[dict[str, Any]] = []
    for certain, weight, score, box, label in sorted(every, key=lambda one: -one[0]):
        same = [c for c in clusters if c["label"] == label]
        best = max(same, key=lambda c: shared(c["box"], box), default=None)
        if best is None or shared(best["box"], box) <= overlap:
            best = {"label": label, "of": []}
            clusters.append(best)
        best["of"].append((certain, weight, score, box))
        total = sum(one[0] for one in best["of"])
        best["box"] = [sum(one[0] * one[3][side] for one in best["of"]) / total for side in range(4)]
    told = []
    for cluster in clusters:
        present = sum(one[1] for one in cluster["of"])
        mean = sum(one[0] for one in cluster["of"]) / present
        told.append([*cluster["box"], mean * min(1.0, present / sum(weights)), cluster["label"]])
    return sorted(told)


def alike(ours: list[list[float]], theirs: list[list[float]]) -> bool:
    """Whether they are the same boxes up to rounding, in any order."""
    if len(ours) != len(theirs) or not ours:
        return len(ours) == len(theirs)
    near = np.isclose(np.array(ours)[:, None], np.array(theirs)[None], atol=1e-3).all(2)
    return bool(near.any(0).all() and near.any(1).all())


@st.composite
def several(draw: st.DrawFn) -> list[Detections]:
    """Up to four models that find boxes near a few places; no two scores are equal."""
    models = draw(st.integers(1, 4))
    count = draw(st.integers(0, 12))
    scores = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count, unique=True))
    rows: list[list[Row]] = [[] for _ in range(models)]
    for score in scores:
        place, label = draw(st.integers(0, 2)), draw(st.integers(0, 1))
        left, top = (40 * place + draw(st.integers(0, 9)) for _ in range(2))
        width, height = (draw(st.integers(10, 24)) for _ in range(2))
        row = (left, top, left + width, top + height, score / 1000, label)
        rows[draw(st.integers(0, models - 1))].append(row)
    return [detections(*one) for one in rows]


#: No IoU of boxes with such whole sides lies on it: with 0.55, 110 of 200, the last bit of a quotient would decide.
_OVERLAP = 0.55032


@given(several(), st.data())
def test_it_is_the_paper(models: list[Detections], data: st.DataObject) -> None:
    equal = [1.0] * len(models)
    assert alike(rows_of(fused(models, overlap=_OVERLAP)), plain(models, equal, _OVERLAP))

    # Weights that keep the weighted scores apart: 1, and what no ratio of two thousandths is near.
    weights = [data.draw(st.sampled_from([1.0, 1.37337]), label=f"weight {i}") for i in range(len(models))]
    certain = [score * weight for one, weight in zip(models, weights, strict=True) for score in one.scores.tolist()]
    if len(set(certain)) == len(certain):
        assert alike(rows_of(fused(models, weights=weights, overlap=_OVERLAP)), plain(models, weights, _OVERLAP))


@given(several(), st.randoms())
def test_the_order_of_the_models_does_not_matter(models: list[Detections], chance: Any) -> None:
    other = list(models)
    chance.shuffle(other)
    first, second = fused(models), fused(other)
    for name in ("boxes", "scores", "labels"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


@given(several())
def test_scores_are_shares_and_the_most_certain_comes_first(models: list[Detections]) -> None:
    told = fused(models, weights=[3.0, 1.0, 1.0, 1.0][: len(models)])
    assert ((told.scores > 0) & (told.scores <= 1)).all()
    assert (np.diff(told.scores) <= 0).all()
    assert len(told.scores) <= told.candidates == sum(len(one.scores) for one in models)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(1 / 64, 1, width=32)), max_size=6, unique_by=lambda t: t[0]))
def test_one_models_boxes_that_do_not_overlap_come_back(places: list[tuple[int, float]]) -> None:
    alone = detections(*((50.3 * i, 0.7, 50.3 * i + 20.1, 33.3, score, i % 2) for i, score in places))
    assert rows_of(fused([alone])) == rows_of(alone)


def test_known_values() -> None:
    one, other = detections((0, 0, 10, 10, 0.9, 1)), detections((0, 0, 10, 12, 0.6, 1))
    assert rows_of(fused([one, other])) == [pytest.approx([0, 0, 10, (0.9 * 10 + 0.6 * 12) / 1.5, 0.75, 1])]
    # What one of two models found counts half, by its weight in all where there are weights.
    assert fused([one, detections()]).scores.tolist() == pytest.approx([0.45])
    assert fused([one, detections()], weights=[3, 1]).scores.tolist() == pytest.approx([0.9 * 3 / 4])
    # Several boxes of one model in a cluster count each, and a score stays one.
    assert fused([detections((0, 0, 10, 10, 1, 1), (0, 0, 10, 10.5, 1, 1)), detections()]).scores.tolist() == [1.0]


def test_classes_are_not_mixed_and_less_overlap_is_two_objects() -> None:
    one = detections((0, 0, 10, 10, 0.9, 0))
    assert len(fused([one, detections((0, 0, 10, 10, 0.8, 1))]).scores) == 2
    half = detections((0, 0, 10, 5, 0.8, 0))
    assert len(fused([one, half]).scores) == 2
    assert len(fused([one, half], overlap=0.45).scores) == 1


def test_nothing_found_is_nothing() -> None:
    for models in ([], [detections()], [detections(), detections()]):
        told = fused(models)
        assert (told.boxes.shape, told.scores.shape, told.labels.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize(
    ("weights", "said"),
    [([1.0], "1 weights for 2 models"), ([1.0, 0.0], "above 0"), ([1.0, float("nan")], "above 0")],
)
def test_weights_that_are_none(weights: list[float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fused([detections(), detections()], weights=weights)
