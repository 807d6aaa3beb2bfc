"""INT8 models as ONNX Runtime's quantize_static and NNCF's quantize make them with their defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from onnxruntime.quantization import CalibrationDataReader, quantize_static


class Reader(CalibrationDataReader):
    """The images of an .npz, one at a time, as ONNX Runtime takes them."""

    def __init__(self, images: Iterator[np.ndarray], name: str) -> None:
        self._images, self._name = images, name

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None."""
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def one_by_one(images: str) -> Iterator[np.ndarray]:
    """The images of an .npz as inputs of batch 1."""
    held = np.load(images)["images"]
    return (held[i : i + 1] for i in range(len(held)))


def onnxruntime_int8(model: str, images: str, out: str) -> None:
    """Write what `quantize_static(model, out, reader)` makes."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    quantize_static(model, out, Reader(one_by_one(images), "images"))


def nncf_int8(model: str, images: str, out: str) -> None:
    """Write what `nncf.quantize(model, dataset)` makes."""
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    made = nncf.quantize(ov.convert_model(model), nncf.Dataset(list(one_by_one(images))))
    ov.save_model(made, out, compress_to_fp16=False)
