"""Activations of torch modules: shared objects count at each place, functional calls are seen in what forward does."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from deploytk.rules import activations_torch  # noqa: E402
from deploytk.rules.activations import Activation  # noqa: E402


class Conv(nn.Module):
    default = nn.SiLU()  # one object for all, as Ultralytics has it

    def __init__(self, act: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1), act or self.default

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.conv(x))


class Functional(Conv):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.leaky_relu(self.conv(x), 0.2)
        return y * torch.sigmoid(y)


class Net(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


def told(found: list[Activation]) -> list[tuple[str, str, str]]:
    return [(a.section, a.kind, a.node) for a in found]


def test_a_shared_activation_counts_at_each_place() -> None:
    net = Net(Conv(), Conv(nn.ReLU()), nn.Upsample(scale_factor=2), Conv(), Conv())
    wanted = [
        ("backbone", "silu", "model.0.act"), ("backbone", "relu", "model.1.act"), ("neck", "silu", "model.3.act"),
        ("head", "silu", "model.4.act"),
    ]  # fmt: skip
    assert told(activations_torch.find(net)) == wanted
    assert told(activations_torch.find_called(net, (1, 3, 4, 4))) == wanted
    assert activations_torch.convolutions(net) == 4


def test_functional_calls_are_seen_in_what_forward_does() -> None:
    net = Net(Functional(nn.ReLU()))
    assert [a.kind for a in activations_torch.find(net)] == ["relu"]  # never called
    called = activations_torch.find_called(net, (1, 3, 4, 4))
    assert [(a.kind, a.slope) for a in called] == [("leaky_relu", pytest.approx(0.2)), ("silu", None)]


def test_identity_in_place_of_an_activation_is_told_apart_from_a_linear_branch() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = Conv(nn.Identity())

    net = Net(Conv(nn.Identity()), Attention())
    assert told(activations_torch.find(net)) == [("", "identity", "model.0.act")]
