"""Each technique does what its paper says, by itself."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from deploytk.profile_training import Ema, Train  # noqa: E402
from deploytk.training.loop import batches, optimizers, rdrop, schedule  # noqa: E402
from deploytk.training.loop.ema import Average, decay_after  # noqa: E402
from deploytk.training.segments import Segment  # noqa: E402

SEGMENT = Segment(first_epoch=1, last_epoch=4, total_epochs=4, imgsz=32, batch=4, accumulate=1, precision="fp32")


def test_the_average_begins_by_following_the_weights() -> None:
    ema = Ema(decay=0.999, warmup_updates=100)
    assert decay_after(ema, 1) == pytest.approx(0.999 * (1 - math.exp(-0.01)))
    assert decay_after(ema, 10_000) == pytest.approx(0.999)
    assert decay_after(Ema(decay=0.9, warmup_updates=0), 1) == 0.9
    assert decay_after(None, 500) == 0.0


def test_the_average_is_the_recurrence_of_its_formula() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.0)
    average, expected = Average(model, Ema(decay=0.5, warmup_updates=0)), 0.0
    for value in (1.0, 2.0, 4.0):
        torch.nn.init.constant_(model.weight, value)
        average.update(model)
        expected = 0.5 * expected + 0.5 * value
    assert float(average.model.weight) == expected


def test_without_an_average_the_weights_are_followed_at_once_statistics_too() -> None:
    model = torch.nn.BatchNorm1d(2)
    average = Average(model, None)
    model(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    average.update(model)
    for mine, theirs in zip(average.model.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_r_drop_is_the_mean_of_both_divergences() -> None:
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.3, 0.4])
    expected = (np.sum(p * np.log(p / q)) + np.sum(q * np.log(q / p))) / 2
    first, second = (torch.tensor(np.log([x, x])) for x in (p, q))
    assert float(rdrop.divergence(first, second)) == pytest.approx(expected, rel=1e-5)
    assert float(rdrop.divergence(first, first)) == 0.0


def test_two_equal_passes_cost_what_one_costs() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1])

    def of(found: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(found, labels)

    assert float(rdrop.loss(lambda: logits, of, 5.0)) == pytest.approx(float(of(logits)))


def test_the_rate_warms_up_and_falls_to_its_last_share() -> None:
    train = Train(lrf=0.1, warmup_epochs=2)
    assert schedule.share(train, 0.0, 10) == 0.0
    assert schedule.share(train, 1.0, 10) == pytest.approx(0.5 * (1 - 0.9 * 0.1))
    assert schedule.share(train, 10.0, 10) == pytest.approx(0.1)
    later = [schedule.share(train, 2 + i / 4, 10) for i in range(33)]
    assert all(a > b for a, b in pairwise(later))


def test_layers_further_from_the_head_learn_more_slowly_and_biases_do_not_decay() -> None:
    head, body = torch.nn.Linear(3, 2), torch.nn.Linear(4, 3)
    train = Train(optimizer="AdamW", lr0=0.01, layer_lr=0.5, weight_decay=0.1)
    optimizer = optimizers.build(train, SEGMENT, [list(head.parameters()), list(body.parameters())])
    optimizers.set_rate(optimizer, 0.01)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert rates[id(head.weight)] == (0.01, 0.1)
    assert rates[id(body.weight)] == (0.005, 0.1)
    assert rates[id(body.bias)] == (0.005, 0.0)


@settings(max_examples=200, deadline=None)
@given(images=st.integers(1, 200), batch=st.integers(1, 40), accumulate=st.integers(1, 8), epoch=st.integers(1, 50))
def test_an_epoch_sees_every_image_once_in_batches_that_fit(
    images: int, batch: int, accumulate: int, epoch: int
) -> None:
    steps = batches.plan(images, batch=batch, accumulate=accumulate, seed=3, epoch=epoch)
    flat = [key for step in steps for piece in step for key in piece]
    assert sorted(flat) == [(epoch, i) for i in range(images)]
    assert all(len(piece) <= batch for step in steps for piece in step)
    sizes = [sum(map(len, step)) for step in steps]
    assert max(sizes) <= batch * accumulate and max(sizes) - min(sizes) <= 1


@settings(max_examples=100, deadline=None)
@given(images=st.integers(1, 200), half=st.integers(1, 20), accumulate=st.integers(1, 8))
def test_half_the_batch_and_twice_the_accumulation_are_the_same_steps(images: int, half: int, accumulate: int) -> None:
    def steps(batch: int, gathered: int) -> list[list[batches.Key]]:
        planned = batches.plan(images, batch=batch, accumulate=gathered, seed=0, epoch=1)
        return [[key for piece in step for key in piece] for step in planned]

    assert steps(2 * half, accumulate) == steps(half, 2 * accumulate)
