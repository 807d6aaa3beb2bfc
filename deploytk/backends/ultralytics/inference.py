"""Predictions of a trained detector: as a torch module, decoded, and the images they are made from (torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deploytk.backends.ultralytics import checkpoint as checkpoints
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.network import Decode, RawMaps
from deploytk.data import samples as images
from deploytk.data.calibration_making import usual
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError


def torch_module(checkpoint: Path, trust: bool = False) -> nn.Module:
    """The network of a checkpoint, fused, eval: (N, 3, S, S) float32 0..1 -> raw maps box0, cls0, box1, ... (NCHW)."""
    model = checkpoints.rebuild(checkpoints.payload(checkpoint, trust=trust))
    maps = RawMaps(model.fuse(verbose=False)).eval()
    return maps.requires_grad_(False)


def torch_predictor(checkpoint: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """`predict(NCHW float32 0..1) -> raw maps (NCHW float32)`, computed by torch."""
    module = torch_module(checkpoint)

    def predict(batch: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [m.numpy() for m in module(torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32)))]

    return predict


def decode(maps: Sequence[np.ndarray], checkpoint: Path) -> np.ndarray:
    """Raw maps (NCHW float32, in the order of `torch_module`) -> (N, 4 + nc, anchors), as the ONNX gives.

    Raises:
        InputError: these are not the maps of this checkpoint's head.
    """
    told = checkpoints.payload(checkpoint)
    strides, reg_max = head_of(checkpoint)
    expected = [c for _ in strides for c in (4 * reg_max, told["nc"])]
    got = [m.shape[1] if m.ndim == 4 else None for m in maps]
    if got != expected:
        raise InputError(f"{checkpoint}: maps with {got} channels; its head gives {expected}")
    sizes = tuple((int(m.shape[2]), int(m.shape[3])) for m in maps[0::2])
    decoder = _decoder(sizes, strides, reg_max, told["nc"])
    with torch.inference_mode():
        given = [torch.from_numpy(np.ascontiguousarray(m, dtype=np.float32)) for m in maps]
        decoded: np.ndarray = decoder(given).numpy()
    return decoded


def preparation(checkpoint: Path, imgsz: int) -> Preparation:  # noqa: ARG001 - all detectors are letterboxed
    """How an image file becomes an input of `imgsz` pixels, in validation and on the device."""
    return usual("detector", imgsz)


def samples(profile: dict[str, Any], split: str, count: int, seed: int, run: str | Path) -> Iterator[np.ndarray]:
    """`count` images of a split, letterboxed to (1, 3, S, S) float32 0..1 RGB, as in validation and on the device."""
    return images.stream(view_of(profile, run).data, split, profile["train"]["imgsz"], count, seed)


def head_of(checkpoint: Path) -> tuple[tuple[int, ...], int]:
    """(strides, reg_max) of a checkpoint's head."""
    stat = Path(checkpoint).stat()
    return _head(Path(checkpoint).resolve(), stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _head(path: Path, _changed: int) -> tuple[tuple[int, ...], int]:
    told = checkpoints.describe(path)
    return tuple(told["strides"]), told["reg_max"]


@lru_cache(maxsize=8)
def _decoder(sizes: tuple[tuple[int, int], ...], strides: tuple[int, ...], reg_max: int, nc: int) -> Decode:
    decoder = Decode(sizes, strides, reg_max, nc)
    decoder.eval()
    return decoder
