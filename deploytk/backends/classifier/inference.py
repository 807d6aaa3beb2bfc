"""Predictions of a trained classifier: as a torch module, in numpy, and the images they are made from (torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deploytk.backends.classifier import checkpoint as checkpoints
from deploytk.backends.classifier.checks import dataset
from deploytk.backends.classifier.fixed_sizes import holds_its_size
from deploytk.data import choice
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.profile import Profile


def torch_module(checkpoint: Path) -> nn.Module:
    """The network of a checkpoint, eval: (N, 3, S, S) float32, prepared, -> logits (N, classes)."""
    return checkpoints.rebuild(checkpoints.payload(Path(checkpoint))).requires_grad_(False)


def torch_predictor(checkpoint: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """`predict(NCHW float32, prepared) -> [logits (N, classes) float32]`, computed by torch."""
    module = torch_module(checkpoint)

    def predict(batch: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [module(torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32))).numpy()]

    return predict


def decode(outputs: Sequence[np.ndarray], checkpoint: Path) -> np.ndarray:  # noqa: ARG001 - logits need no decoding
    """The logits (N, classes) among the outputs of any runtime: the only one.

    Raises:
        InputError: a classifier gives one output, these are several.
    """
    if len(outputs) != 1:
        raise InputError(f"{len(outputs)} outputs; a classifier gives its logits alone")
    return outputs[0].reshape(len(outputs[0]), -1)


def preparation(checkpoint: Path, imgsz: int) -> Preparation:
    """How an image file becomes an input of `imgsz` pixels: as the checkpoint says that it was validated.

    Raises:
        InputError: the network runs at another size alone.
    """
    told = checkpoints.payload(Path(checkpoint))
    if imgsz != told["imgsz"] and holds_its_size(told["arch"]):
        raise InputError(f"{checkpoint}: {told['arch']} runs at {told['imgsz']} px alone, not at {imgsz}")
    return Preparation.model_validate(told["preparation"]).model_copy(update={"size": (imgsz, imgsz)})


def samples(profile: dict[str, Any], split: str, count: int, seed: int, run: str | Path) -> Iterator[np.ndarray]:
    """`count` images of a split, prepared as the run's model.pt says, (1, 3, S, S) float32; every class first.

    Raises:
        InputError: there is no such split, or an image cannot be decoded.
    """
    wanted = Profile.model_validate(profile)
    data = dataset(wanted)
    every = data.splits.get(split)
    if not every:
        raise InputError(f"{data.source}: there is no split {split!r} to take samples from")
    how = preparation(Path(run) / "model.pt", wanted.train.imgsz)
    for index in choice.drawn([(int(label),) for label in every.labels], count, seed):
        yield every[index].prepared(how)
