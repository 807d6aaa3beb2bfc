"""A detector built from Ultralytics' own YAML, its raw maps, and what decodes them (torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import yaml
from torch import nn

from deploytk.backends.ultralytics import activations
from deploytk.backends.ultralytics.library import ROOT, Detect, DetectionModel
from deploytk.errors import InputError
from deploytk.plugins import suggestion
from deploytk.profile import ActivationKind, Section

#: arch -> the YAML that Ultralytics ships. Never one that a user or a checkpoint names: it can hold code.
ARCHS = {"yolov8": "cfg/models/v8/yolov8.yaml", "yolo11": "cfg/models/11/yolo11.yaml"}
SCALES = ("n", "s", "m", "l", "x")


def definition(arch: str, scale: str) -> dict[str, Any]:
    """The layers of an architecture as Ultralytics ships them, with its scale written in.

    Raises:
        InputError: unknown architecture or scale.
    """
    if arch not in ARCHS:
        raise InputError(f"model.arch: unknown {arch!r}{suggestion(arch, ARCHS)} Known: {', '.join(ARCHS)}")
    if scale not in SCALES:
        raise InputError(f"model.scale: unknown {scale!r} Known: {', '.join(SCALES)}")
    told: dict[str, Any] = yaml.safe_load((ROOT / ARCHS[arch]).read_text(encoding="utf-8"))
    told.pop("activation", None)
    return {**told, "scale": scale, "yaml_file": f"{arch}{scale}.yaml"}


def backbone_layers(arch: str, scale: str = "n") -> int:
    """How many layers the backbone has: those in the YAML's `backbone:` list."""
    return len(definition(arch, scale)["backbone"])


def build(
    arch: str,
    scale: str,
    nc: int,
    kinds: Mapping[Section, ActivationKind],
    slope: float,
    *,
    cls_channels: int | None = None,
) -> nn.Module:
    """A new DetectionModel whose sections have the activations asked for, asserted.

    Args:
        cls_channels: width of the hidden class layers, where a checkpoint has another than `nc` gives.
    """
    told = definition(arch, scale)
    with activations.default_kept():
        model = DetectionModel({**told, "nc": nc}, ch=3, verbose=False)
        if cls_channels is not None and cls_channels != hidden_class_channels(model):
            model = _with_class_channels(arch, scale, nc, cls_channels)
    dress(model, arch, scale, kinds, slope, where="build")
    return model


def dress(
    model: nn.Module, arch: str, scale: str, kinds: Mapping[Section, ActivationKind], slope: float, *, where: str
) -> None:
    """Set the activations of `model` section by section, and assert them."""
    backbone = backbone_layers(arch, scale)
    activations.apply(model, backbone, kinds, slope)
    activations.require(model, backbone, kinds, slope, where)


def hidden_class_channels(model: nn.Module) -> int:
    """The width of the head's hidden class layers: Ultralytics derives it from the number of classes."""
    return int(model.model[-1].cv3[0][-1].in_channels)


def _with_class_channels(arch: str, scale: str, nc: int, channels: int) -> nn.Module:
    """A model whose class layers are as wide as those of a model with `channels` classes, but with `nc` classes.

    Ultralytics makes such models: it grafts the class layers of the pretrained weights.
    """
    model = DetectionModel({**definition(arch, scale), "nc": channels}, ch=3, verbose=False)
    if hidden_class_channels(model) != channels:
        raise InputError(f"no {arch}{scale} has class layers of {channels} channels")
    head = model.model[-1]
    for branch in head.cv3:
        branch[-1] = nn.Conv2d(channels, nc, 1)
    head.nc, head.no = nc, nc + 4 * head.reg_max
    model.nc, model.names, model.yaml["nc"] = nc, {i: str(i) for i in range(nc)}, nc
    head.bias_init()
    return model


class RawHead(nn.Module):  # type: ignore[misc, unused-ignore]
    """The head without decoding: box0, cls0, box1, cls1, ... one pair per level, each NCHW."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.cv2, self.cv3 = head.cv2, head.cv3

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """The maps of each level's features."""
        pairs = zip(self.cv2, self.cv3, features, strict=True)
        return [branch(f) for box, label, f in pairs for branch in (box, label)]


class RawMaps(nn.Module):  # type: ignore[misc, unused-ignore]
    """The network up to the raw maps. Its module names are those of the DetectionModel: `model.22.cv2.0.0.act`."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        head = detector.model[-1]
        if type(head) is not Detect or head.end2end:
            raise InputError(f"the head is {type(head).__name__}; only plain detectors are supported")
        self.sources = [layer.f for layer in detector.model]
        self.model = nn.ModuleList([*detector.model[:-1], RawHead(head)])

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The raw maps of (N, 3, S, S) images, float32 0..1."""
        outputs: list[Any] = [images]
        for layer, source in zip(self.model, self.sources, strict=True):
            # -1 is the layer before; other numbers count layers from 0, and `outputs` begins with the image.
            given = [outputs[s] if s < 0 else outputs[s + 1] for s in ([source] if isinstance(source, int) else source)]
            outputs.append(layer(given[0] if isinstance(source, int) else given))
        maps: list[torch.Tensor] = outputs[-1]
        return maps


class Decode(nn.Module):  # type: ignore[misc, unused-ignore]
    """Raw maps -> (N, 4 + nc, anchors): centre x, centre y, width, height in pixels, then class scores 0..1."""

    def __init__(self, sizes: Sequence[tuple[int, int]], strides: Sequence[int], reg_max: int, nc: int) -> None:
        super().__init__()
        self.reg_max, self.nc = reg_max, nc
        centres = [_centres(rows, columns) for rows, columns in sizes]
        steps = [torch.full((1, c.shape[1]), float(s)) for c, s in zip(centres, strides, strict=True)]
        self.register_buffer("centres", torch.cat(centres, 1)[None], persistent=False)
        self.register_buffer("steps", torch.cat(steps, 1)[None], persistent=False)
        self.register_buffer(
            "bins", torch.arange(reg_max, dtype=torch.float32).reshape(1, 1, reg_max, 1), persistent=False
        )

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """The decoded predictions of one batch."""
        boxes = torch.cat([m.flatten(2) for m in maps[0::2]], 2)
        scores = torch.cat([m.flatten(2) for m in maps[1::2]], 2)
        # Each side of a box is the mean of a distribution over `reg_max` bins, in steps of the level's stride.
        sides = (boxes.reshape(-1, 4, self.reg_max, boxes.shape[2]).softmax(2) * self.bins).sum(2)
        before, after = sides[:, :2], sides[:, 2:]
        centre = self.centres + (after - before) / 2
        return torch.cat([centre * self.steps, (before + after) * self.steps, scores.sigmoid()], 1)


def _centres(rows: int, columns: int) -> torch.Tensor:
    """The centres of a level's cells, (2, rows * columns), in cells."""
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()])
