"""Calibration that streams: the same thresholds as ONNX Runtime's own, without its appetite for memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphs
import pytest
import tiny_detector
from onnxruntime.quantization import calibrate

from deploytk.errors import InputError
from deploytk.targets.onnx import ranges

TENSORS = ("x", "t1", "a1", "a2", "raw_s")
METHODS = ("minmax", "percentile", "entropy")
#: How ONNX Runtime is told to do the same: our bins, and ranges around zero as it does by default for a percentile.
OWN = {
    "minmax": (calibrate.CalibrationMethod.MinMax, {}, 0),
    "percentile": (calibrate.CalibrationMethod.Percentile, {}, 2048),
    "entropy": (calibrate.CalibrationMethod.Entropy, {"num_bins": 256}, 128),
}


class Reader(calibrate.CalibrationDataReader):
    """The images as ONNX Runtime takes them."""

    def __init__(self) -> None:
        self._images = tiny_detector.feeds()

    def get_next(self) -> Any:
        image = next(self._images, None)
        return None if image is None else {"x": image}


def onnx_runtimes_own(path: Path, method: str) -> dict[str, tuple[float, float]]:
    kind, options, _ = OWN[method]
    augmented = str(path.with_name("augmented.onnx"))
    calibrator = calibrate.create_calibrator(str(path), ["Conv"], augmented, kind, extra_options=options)
    calibrator.collect_data(Reader())
    found = calibrator.compute_data()
    return {name: (float(found[name].lowest.item()), float(found[name].highest.item())) for name in TENSORS}


@pytest.mark.parametrize("method", METHODS)
def test_thresholds_are_within_one_bin_of_onnx_runtimes_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    monkeypatch.setattr(ranges, "_ENTROPY_BINS", 256)  # ONNX Runtime's search takes seconds for 512
    path = tiny_detector.write(tmp_path / "m.onnx")
    own = onnx_runtimes_own(path, method)
    found, images = ranges.ranges(onnx.load(path), TENSORS, tiny_detector.feeds, method)
    bins = OWN[method][2]
    assert images == 4
    for name in TENSORS:
        width = max(abs(v) for v in own[name]) / bins if bins else 0
        np.testing.assert_allclose(found[name], own[name], atol=width + 1e-6, err_msg=name)


def test_a_percentile_cuts_what_a_single_value_reaches(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")

    def spiked() -> Iterator[np.ndarray]:
        for image in tiny_detector.feeds(200):
            yield image
        image = image.copy()
        image[0, 0, 0, 0] = 50
        yield image

    exact, _ = ranges.ranges(onnx.load(path), ["x"], spiked, "minmax")
    cut, _ = ranges.ranges(onnx.load(path), ["x"], spiked, "percentile")
    assert exact["x"][1] == 50
    assert cut["x"][1] < 2


def test_a_tensor_that_is_always_zero_keeps_its_range(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")

    def black() -> Iterator[np.ndarray]:
        yield np.zeros((1, 3, 16, 16), np.float32)

    found, _ = ranges.ranges(onnx.load(path), ["x", "a1"], black, "percentile")
    assert found["x"] == (0, 0)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), r"finite float32 \['any', 3, 16, 16\], not float32 \[1, 3, 8, 8\]"),
        (np.zeros((1, 3, 16, 16), np.float64), "not float64"),
        (np.full((1, 3, 16, 16), np.nan, np.float32), "must be finite"),
    ],
)
def test_an_image_that_the_model_does_not_take_is_refused(tmp_path: Path, image: np.ndarray, said: str) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=said):
        ranges.ranges(onnx.load(path), ["a1"], lambda: iter([image]), "minmax")


def test_no_images_are_an_error_and_never_made_up(tmp_path: Path) -> None:
    path = tiny_detector.write(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="given none"):
        ranges.ranges(onnx.load(path), ["a1"], lambda: iter(()), "minmax")


_PEAK = """
import sys, numpy as np
from deploytk import usage
from deploytk.targets.onnx import preparing, ranges, scope
from pathlib import Path
model, graph = preparing.prepared(Path(sys.argv[1]), Path(sys.argv[1]).with_suffix(".float.onnx"))
draw = np.random.default_rng(0)
feeds = lambda: (draw.random((1, 3, 48, 48), dtype=np.float32) for _ in range(int(sys.argv[3])))
ranges.ranges(model, scope.scope(graph).tensors, feeds, sys.argv[2])
print(usage.peak_rss_mb())
"""


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_images(tmp_path: Path, method: str) -> None:
    path = _wide(tmp_path / "m.onnx")
    peaks = [_peak_mb(path, method, images) for images in (16, 512)]
    # Kept, the activations of 512 images would be 95 MB, more than half of the whole.
    assert peaks[1] < 1.2 * peaks[0]


def _peak_mb(path: Path, method: str, images: int) -> float:
    """The peak memory of a process of its own that calibrates."""
    told = [sys.executable, "-c", _PEAK, str(path), method, str(images)]
    return float(subprocess.run(told, capture_output=True, check=True, text=True).stdout)


def _wide(path: Path) -> Path:
    """Two convolutions whose activations are 0.18 MB for each image."""
    rng = np.random.default_rng(0)
    constants = {f"w{i}": rng.normal(0, 0.2, (4, 3 if i == 0 else 4, 3, 3)).astype(np.float32) for i in range(2)}
    nodes: list[Any] = []
    for i in range(2):
        nodes.append(("Conv", f"{'x' if i == 0 else f'a{i - 1}'} w{i}", f"t{i}", {"pads": [1, 1, 1, 1]}))
        nodes.append(("Relu", f"t{i}", f"a{i}"))
    onnx.save(onnx_graphs.model(nodes, constants=constants, shape=("batch", 3, 48, 48), outputs=("a1",)), path)
    return path
