"""Targets of a detector's classification loss, softened."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends.ultralytics.smoothing import SmoothedBce, smoothed  # noqa: E402


def test_an_anchors_weight_is_spread_over_all_classes_and_stays() -> None:
    targets = torch.tensor([[0.8, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    soft = smoothed(targets, 0.1)
    assert torch.allclose(soft, torch.tensor([[0.74, 0.02, 0.02, 0.02], [0.0, 0.0, 0.0, 0.0]]))
    assert torch.allclose(soft.sum(-1), targets.sum(-1))


def test_without_smoothing_the_loss_is_the_same_to_the_last_bit() -> None:
    bce = torch.nn.BCEWithLogitsLoss(reduction="none")
    scores, targets = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), torch.eye(3, 5)
    assert torch.equal(SmoothedBce(bce, 0.0)(scores, targets), bce(scores, targets))


def test_a_sure_answer_costs_more_and_a_hesitant_one_less() -> None:
    bce = torch.nn.BCEWithLogitsLoss(reduction="none")
    sure, targets = torch.tensor([[12.0, -12.0]]), torch.tensor([[1.0, 0.0]])
    assert SmoothedBce(bce, 0.2)(sure, targets).sum() > bce(sure, targets).sum()
