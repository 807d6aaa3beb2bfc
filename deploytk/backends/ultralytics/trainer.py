"""Ultralytics' trainer with our network in it: activations set last, and asserted before the first epoch."""

from __future__ import annotations

from typing import Any

from torch import nn

from deploytk.backends.ultralytics import activations, checkpoint, network
from deploytk.backends.ultralytics.library import DetectionTrainer, build_yolo_dataset
from deploytk.errors import InputError
from deploytk.profile import ActivationKind, Profile


class Trainer(DetectionTrainer):  # type: ignore[misc, unused-ignore]
    """A DetectionTrainer for one profile."""

    def __init__(self, profile: Profile, overrides: dict[str, Any]) -> None:
        self.profile = profile
        self.kinds = profile.model.activation.expected()
        self.slope = profile.model.activation.negative_slope
        self.backbone = network.backbone_layers(profile.model.arch, profile.model.scale)
        #: What the pretrained weights gave: {"from": path, "tensors": n, "of": m}; empty without any.
        self.grafted: dict[str, Any] = {}
        super().__init__(overrides=overrides)
        self.add_callback("on_pretrain_routine_end", _assert_activations)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:  # noqa: ARG002
        """The network of the profile, pretrained weights grafted first and activations set after."""
        wanted = self.profile.model
        model = network.build(wanted.arch, wanted.scale, self.data["nc"], self.kinds, self.slope)
        if wanted.pretrained is not None:
            source = checkpoint.rebuild(checkpoint.payload(wanted.pretrained))
            self.grafted = {"from": wanted.pretrained.name, **graft(model, source)}
            network.dress(model, wanted.arch, wanted.scale, self.kinds, self.slope, where="after pretrained weights")
        model.names = self.data["names"]
        note_activation(model, self.kinds, self.slope)
        return model

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """The images of a split; validation on squares, as the model is deployed (Ultralytics uses rectangles)."""
        stride = max(int(self.model.stride.max()), 32)
        return build_yolo_dataset(self.args, img_path, batch, self.data, mode=mode, rect=False, stride=stride)


def graft(model: nn.Module, source: nn.Module) -> dict[str, int]:
    """How many tensors of `model` took the values of `source`: those of the same name and shape.

    Ultralytics' own `load` also replaces the class layers of the head by the source's modules, activations and all
    (51 ReLU + 6 SiLU). Here no module is replaced: the network stays what its YAML says.

    Raises:
        InputError: nothing fits.
    """
    mine, theirs = model.state_dict(), source.state_dict()
    fitting = {k: v for k, v in theirs.items() if k in mine and mine[k].shape == v.shape}
    if not fitting:
        raise InputError("model.pretrained: no tensor fits this network; it is another architecture or scale")
    model.load_state_dict(fitting, strict=False)
    return {"tensors": len(fitting), "of": len(mine)}


def note_activation(model: nn.Module, kinds: dict[Any, ActivationKind], slope: float) -> None:
    """Write a uniform activation into the model's own YAML, so that the stock trainer rebuilds best.pt as it is."""
    written = {
        "relu": "nn.ReLU()",
        "relu6": "nn.ReLU6()",
        "leaky_relu": f"nn.LeakyReLU({float(slope)!r})",
        "hardswish": "nn.Hardswish()",
    }
    if len(set(kinds.values())) == 1 and (text := written.get(next(iter(kinds.values())))):
        model.yaml["activation"] = text


def _assert_activations(trainer: Trainer) -> None:
    for model, name in ((trainer.model, "the model in training"), (trainer.ema.ema, "its moving average")):
        activations.require(model, trainer.backbone, trainer.kinds, trainer.slope, name)
