"""Peak memory of a calibration with few and with many images, deploytk's ways and ONNX Runtime's own.

python bench/peers/calibration_memory.py [--model PATH] [--many 512]    # writes bench/results/calibration_memory.*

A process for each method and number of images. The images are real ones, each turned and shifted anew: their number is
what counts. ONNX Runtime's own calibrators get at most 64, for those that draw histograms keep every activation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from int8_ways import call
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator
from results import MODELS, keep, parser

from deploytk import usage
from deploytk.artifact import versions_of
from deploytk.data import dataset, samples
from deploytk.graphs import onnx as graphs
from deploytk.recipe import Recipe
from deploytk.targets import openvino
from deploytk.targets.onnx import preparing
from deploytk.targets.onnx.ranges import Method, ranges
from deploytk.targets.onnx.scope import scope

#: What is added by more images, at most.
MOST = 1.2
OURS = ("minmax", "percentile", "entropy", "NNCF")
THEIRS = ("MinMax", "Percentile", "Entropy")

Feeds = Callable[[], Iterator[np.ndarray]]


def feeds_of(data: Path, size: int, count: int) -> Feeds:
    """`count` inputs, one at a time: the training images over and over, each time turned and shifted otherwise."""
    files = [sample.image for sample in dataset.read(data).splits["train"]]

    def feeds() -> Iterator[np.ndarray]:
        for number in range(count):
            image, _ = samples.tensor(files[number % len(files)], size)
            turned = np.rot90(image, number // len(files) % 4, (2, 3))
            yield np.ascontiguousarray(np.roll(turned, number, 3))

    return feeds


def ours(method: Method, model: Path, feeds: Feeds) -> None:
    """Find the ranges as deploytk does for ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        whole, graph = preparing.prepared(model, Path(folder) / "float.onnx")
        ranges(whole, scope(graph).tensors, feeds, method)


def by_nncf(model: Path, feeds: Feeds) -> None:
    """Quantize as deploytk does for OpenVINO; NNCF, which brings torch, is in this process only."""
    with tempfile.TemporaryDirectory() as folder:
        openvino.quantize_graph(model, feeds, Path(folder) / "int8.xml", Recipe())


class Reader(CalibrationDataReader):
    """One pass over the inputs, as ONNX Runtime takes it."""

    def __init__(self, images: Iterator[np.ndarray]) -> None:
        self._images = images

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None."""
        image = next(self._images, None)
        return None if image is None else {"images": image}


def theirs(method: str, model: Path, feeds: Feeds) -> None:
    """Calibrate as onnxruntime.quantization does, with its defaults."""
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model, None, str(Path(folder) / "augmented.onnx"), CalibrationMethod[method], extra_options={}
        )
        calibrator.collect_data(Reader(feeds()))
        calibrator.compute_data()


def calibrated(tool: str, method: Any, model: str, data: str, count: int) -> dict[str, float]:
    """Peak memory of this process in MB after one calibration."""
    size = int(graphs.read(Path(model)).inputs[0].shape[-1])
    feeds = feeds_of(Path(data), size, count)
    if method == "NNCF":
        by_nncf(Path(model), feeds)
    else:
        {"deploytk": ours, "ONNX Runtime": theirs}[tool](method, Path(model), feeds)
    return {"peak_mb": round(usage.peak_rss_mb() or 0.0, 1)}


def row(tool: str, method: str, found: Mapping[int, float]) -> dict[str, Any]:
    """One method: its peaks with the fewest and the most images."""
    few, many = min(found), max(found)
    return {
        "tool": tool,
        "method": method,
        "images": f"{few} and {many}",
        "peak MB, few": found[few],
        "peak MB, many": found[many],
        "many / few": round(found[many] / found[few], 3),
        "MB for each more image": round((found[many] - found[few]) / (many - few), 2),
    }


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether deploytk's memory stays where it is."""
    mine = [r for r in rows if r["tool"] == "deploytk"]
    grown = [r["method"] for r in mine if r["many / few"] > MOST]
    most = max(r["many / few"] for r in mine)
    return f"deploytk: within {MOST - 1:.0%} of each other for {len(mine) - len(grown)} of {len(mine)} methods " + (
        f"(at most {most:.3f} times)." if not grown else f"(not: {', '.join(grown)})."
    )


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("Peak memory of a calibration with few and with many images.", "calibration_memory")
    asked.add_argument("--model", type=Path, default=MODELS / "resnet18.onnx")
    asked.add_argument("--data", type=Path, default=Path("../shared/data/bccd_voc"))
    asked.add_argument("--few", type=int, default=16)
    asked.add_argument("--many", type=int, default=512)
    asked.add_argument("--many-theirs", type=int, default=64)
    given = asked.parse_args()
    tried = [("deploytk", m, given.many) for m in OURS] + [("ONNX Runtime", m, given.many_theirs) for m in THEIRS]
    told = []
    with tempfile.TemporaryDirectory() as logs:
        for tool, method, many in tried:
            found = {}
            for count in (given.few, many):
                names = {"model": str(given.model.absolute()), "data": str(given.data.absolute())}
                found[count] = call(
                    "calibration_memory:calibrated",
                    "memory",
                    Path(logs),
                    tool=tool,
                    method=method,
                    count=count,
                    **names,
                )["peak_mb"]
                print(f"{tool} {method}, {count} images: {found[count]:.0f} MB", flush=True)
            told.append(row(tool, method, found))
    keep(
        given.out,
        "calibration_memory",
        sentence=sentence(told),
        how=f"{given.model.name}; a fresh process for each method and number of images, its peak resident memory, the "
        "libraries included. NNCF is the whole quantization; the others find the ranges alone.",
        rows=told,
        versions=versions_of("deploytk", "onnxruntime", "nncf", "openvino"),
    )


if __name__ == "__main__":
    main()
