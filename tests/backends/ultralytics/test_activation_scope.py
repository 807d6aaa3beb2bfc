"""Which activation each section has: set on every module of its own, audited by name, never leaked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends.ultralytics import activations, network, trainer  # noqa: E402
from deploytk.backends.ultralytics.library import Conv, DetectionModel  # noqa: E402
from deploytk.errors import RuleFailed  # noqa: E402
from deploytk.profile import Activation  # noqa: E402

ALL = Activation(kind="relu").expected()


def counted(model: Any, backbone: int = 10) -> dict[str, dict[str, int]]:
    return activations.counts(activations.audit(model, backbone))


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        (["backbone"], {"backbone": {"relu": 27}, "neck": {"silu": 18}, "head": {"silu": 12}}),
        (["backbone", "neck"], {"backbone": {"relu": 27}, "neck": {"relu": 18}, "head": {"silu": 12}}),
        (["backbone", "neck", "head"], {"backbone": {"relu": 27}, "neck": {"relu": 18}, "head": {"relu": 12}}),
    ],
)
def test_each_level_changes_its_sections_only(sections: list[Any], wanted: dict[str, dict[str, int]]) -> None:
    kinds = Activation(kind="relu", sections=tuple(sections)).expected()
    assert counted(network.build("yolov8", "n", 3, kinds, 0.1)) == wanted


def test_yolo11_has_its_own_backbone_and_every_activation_is_set() -> None:
    model = network.build("yolo11", "n", 3, Activation(kind="leaky_relu").expected(), 0.2)
    found = activations.audit(model, network.backbone_layers("yolo11"))
    assert network.backbone_layers("yolo11") == 11
    assert len(found) == 77 and {f.kind for f in found} == {"leaky_relu(0.2)"}


def test_every_module_has_an_activation_of_its_own() -> None:
    model = network.build("yolov8", "n", 3, ALL, 0.1)
    acts = [m for m in model.modules() if isinstance(m, torch.nn.ReLU)]
    assert len(acts) == 57  # modules() shows a shared object once


def test_a_shared_activation_is_counted_at_every_place() -> None:
    model = DetectionModel(network.definition("yolov8", "n"), ch=3, nc=3, verbose=False)
    assert len([m for m in model.modules() if isinstance(m, torch.nn.SiLU)]) == 1
    assert sum(sum(kinds.values()) for kinds in counted(model).values()) == 57


def test_ultralytics_graft_of_six_silus_is_caught_and_each_module_named() -> None:
    model = network.build("yolov8", "n", 3, ALL, 0.1)
    source = DetectionModel(network.definition("yolov8", "n"), ch=3, nc=80, verbose=False)
    model.load(source, verbose=False)
    with pytest.raises(RuleFailed) as raised:
        activations.require(model, 10, ALL, 0.1, "after load")
    assert raised.value.exit_code == 5
    assert len(raised.value.reasons) == 6
    assert "model.22.cv3.0.0.act (head): silu instead of relu" in raised.value.reasons[0]


def test_our_graft_takes_the_weights_and_leaves_the_modules() -> None:
    model = network.build("yolov8", "n", 3, ALL, 0.1)
    source = DetectionModel(network.definition("yolov8", "n"), ch=3, nc=80, verbose=False)
    taken = trainer.graft(model, source)
    activations.require(model, 10, ALL, 0.1, "after graft")
    assert 300 < taken["tensors"] < taken["of"] == 355
    assert torch.equal(model.model[0].conv.weight, source.model[0].conv.weight)
    assert network.hidden_class_channels(model) == 64


def test_another_slope_is_another_activation() -> None:
    kinds = Activation(kind="leaky_relu").expected()
    model = network.build("yolov8", "n", 3, kinds, 0.1)
    with pytest.raises(RuleFailed, match=r"leaky_relu\(0\.1\) instead of leaky_relu\(0\.3\)"):
        activations.require(model, 10, kinds, 0.3, "build")


def test_a_network_without_any_activation_fails() -> None:
    model = network.build("yolov8", "n", 3, ALL, 0.1)
    for module in model.modules():
        if hasattr(module, "act"):
            module.act = torch.nn.Identity()
    with pytest.raises(RuleFailed, match="no activation at all in the backbone"):
        activations.require(model, 10, ALL, 0.1, "build")


def test_an_activation_outside_act_is_found_too() -> None:
    model = network.build("yolov8", "n", 3, ALL, 0.1)
    model.model[5].extra = torch.nn.GELU()
    with pytest.raises(RuleFailed, match=r"model\.5\.extra \(backbone\): GELU instead of relu"):
        activations.require(model, 10, ALL, 0.1, "build")


def test_a_failing_build_leaves_the_default_activation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Conv.default_act

    def broken(*_: Any, **__: Any) -> None:
        Conv.default_act = torch.nn.ReLU()  # as parse_model does before it raises
        raise KeyError("no such module")

    monkeypatch.setattr(network, "DetectionModel", broken)
    with pytest.raises(KeyError):
        network.build("yolov8", "n", 3, ALL, 0.1)
    assert Conv.default_act is before


def test_a_leaked_default_does_not_reach_our_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conv, "default_act", torch.nn.Tanh())
    silu = Activation(kind="silu").expected()
    assert counted(network.build("yolov8", "n", 3, silu, 0.1))["head"] == {"silu": 12}


def test_raw_maps_and_decode_are_the_networks_own_output(random_network: Callable[..., Any]) -> None:
    for arch in ("yolov8", "yolo11"):
        model = random_network(arch)
        images = torch.rand(2, 3, 64, 96)
        with torch.no_grad():
            expected = model(images)[0]
            maps = network.RawMaps(model)(images)
            got = network.Decode([(8, 12), (4, 6), (2, 3)], [8, 16, 32], 16, 3)(maps)
        assert [m.shape[1] for m in maps] == [64, 3, 64, 3, 64, 3]
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-3)
