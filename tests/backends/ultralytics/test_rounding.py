"""Convolutions that round: what they give, what gradients they pass, and that training with them helps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends.ultralytics import rounding  # noqa: E402


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3)).eval()


def feeds() -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    yield from (generator.random((1, 3, 12, 12), np.float32) for _ in range(4))


def rounded(model: Any) -> Any:
    rounding.insert(model, ())
    rounding.calibrate(model, feeds)
    return model


def distance(a: Any, b: Any) -> float:
    images = torch.from_numpy(next(feeds()))
    return float((a(images) - b(images)).detach().abs().max())


def test_weights_are_rounded_to_127_values_per_channel_and_inputs_to_256() -> None:
    plain, model = network(), rounded(network())
    conv = model[0]
    step = plain[0].weight.detach().abs().amax((1, 2, 3)) / 63
    input_step = max(float(f.max()) for f in feeds()) / 255
    images = torch.from_numpy(next(feeds()))
    weights = (plain[0].weight / step.reshape(-1, 1, 1, 1)).round() * step.reshape(-1, 1, 1, 1)
    expected = torch.nn.functional.conv2d((images / input_step).round() * input_step, weights, conv.bias)
    torch.testing.assert_close(conv(images), expected)


def test_rounding_stays_near_the_float_network_and_is_gone_when_removed() -> None:
    plain, model = network(), rounded(network())
    assert 1e-5 < distance(plain, model) < 0.05
    rounding.remove(model)
    assert distance(plain, model) == 0
    assert type(model[0]) is torch.nn.Conv2d


def test_ranges_hold_zero_and_are_given_to_the_twin() -> None:
    model = rounded(network())
    twin = deepcopy(model)
    with torch.no_grad():
        model[0].bias += 1
    rounding.calibrate(model, feeds, twin)
    assert twin[2].high == model[2].high > 1


def test_gradients_pass_through_the_rounding_to_weights_and_images() -> None:
    model = rounded(network())
    images = torch.from_numpy(next(feeds())).requires_grad_()
    model(images).square().sum().backward()
    assert float(images.grad.abs().sum()) > 0
    assert all(float(module.weight.grad.abs().sum()) > 0 for module in (model[0], model[2]))


def test_a_few_steps_win_back_most_of_what_coarse_weights_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "_LARGEST_WEIGHT", 3)
    plain, model = network(), rounded(network())
    images = torch.from_numpy(np.concatenate(list(feeds())))
    wanted = plain(images).detach()

    def lost() -> Any:
        return (model(images) - wanted).square().mean()

    before, optimizer = float(lost().detach()), torch.optim.AdamW(model.parameters(), lr=1e-3)
    # The steps must grow small in the end: weights near the middle between two values go to and fro.
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 100)
    for _ in range(100):
        optimizer.zero_grad()
        lost().backward()
        optimizer.step()
        schedule.step()
    assert float(lost().detach()) < before / 3


def test_layers_kept_in_float_and_the_decoding_do_not_round(random_network: Callable[..., Any]) -> None:
    model = random_network()
    convs = [name for name, module in model.named_modules() if type(module) is torch.nn.Conv2d]
    kept = ["/model.0/conv/Conv", "/model.22/cv3.0/cv3.0.2/Conv", "/model.9/Concat"]
    assert rounding.insert(model, kept) == len(convs) - 3  # these two, and the sum over the box distribution
    plain = {name for name in convs if type(model.get_submodule(name)) is torch.nn.Conv2d}
    assert plain == {"model.0.conv", "model.22.cv3.0.2", "model.22.dfl.conv"}
