"""A torch module as a float LiteRT file with channels last, as Ethos-U wants them (litert_torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litert_torch
import torch

from deploytk.errors import DeploytkError
from deploytk.files import written_whole
from deploytk.graphs import litert


def convert(module: torch.nn.Module, imgsz: int, out: Path) -> None:
    """Write the module as a float32 .tflite: NHWC in and out, so that no TRANSPOSE costs cycles on the NPU.

    Args:
        module: takes (1, 3, imgsz, imgsz) float32 0..1; gives a tensor or a list: feature maps (NCHW), or logits.
    """
    image = torch.rand(1, 3, imgsz, imgsz)
    with torch.no_grad():
        given = module.eval()(image)
    outputs = list(given) if isinstance(given, list | tuple) else [given]
    maps = [place for place, output in enumerate(outputs) if output.ndim == 4]
    wrapped = litert_torch.to_channel_last_io(module, args=[0], outputs=maps).eval()
    model = litert_torch.convert(wrapped, (image.permute(0, 2, 3, 1).contiguous(),))
    with written_whole(out) as temporary:
        model.export(str(temporary))
    check_order(out, len(outputs))


def check_order(path: Path, count: int) -> None:
    """Nothing, where the file's outputs stand in the module's order.

    Raises:
        DeploytkError: the converter lost or reordered an output.
    """
    outputs = litert.read(path).outputs
    signatures: list[Any] = litert.load(path).signatureDefs or []
    named = {s.name.decode(): s.tensorIndex for s in signatures[0].outputs} if signatures else {}
    wanted = [named.get(f"output_{i}") for i in range(count)]
    if signatures and count > 1 and wanted != [o.index for o in outputs]:
        raise DeploytkError(f"{path.name}: the converter changed the order of the outputs: {named}")
