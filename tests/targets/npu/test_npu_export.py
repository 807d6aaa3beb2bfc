"""From a torch module to a command stream with the real libraries: small networks, and YOLOv8n with its raw head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploytk.errors import InputError
from deploytk.graphs import litert
from deploytk.profile_loading import load_npu
from deploytk.recipe import Recipe
from deploytk.runtimes.litert import open_session
from deploytk.targets import npu
from deploytk.targets.npu.flatbuffer import normalise
from deploytk.targets.npu.quantization import _quantized, _Seen

pytestmark = [
    pytest.mark.e2e,
    # The converters warn about themselves, dozens of times.
    pytest.mark.filterwarnings("ignore"),
]
torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
U55 = load_npu("ethos-u55-256").model_dump()
ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "ReLU": torch.nn.ReLU,
    "LeakyReLU": lambda: torch.nn.LeakyReLU(0.1),
    "SiLU": torch.nn.SiLU,
}


class Small(torch.nn.Module):  # type: ignore[misc,name-defined]
    """A residual, an upsampling and a concatenation: the shapes of a detector's neck, and two raw maps."""

    def __init__(self, act: Callable[[], Any], width: int = 16) -> None:
        super().__init__()

        def block(given: int, made: int, stride: int) -> Any:
            return torch.nn.Sequential(torch.nn.Conv2d(given, made, 3, stride, 1), act())

        self.stem, self.side, self.up, self.down = (
            block(3, width, 2), block(width, width, 1), block(width, width, 1), block(2 * width, 2 * width, 2),
        )  # fmt: skip
        self.boxes, self.classes = (torch.nn.Conv2d(2 * width, n, 1) for n in (8, 5))

    def forward(self, images: Any) -> list[Any]:
        x = self.stem(images)
        y = torch.nn.functional.max_pool2d(x + self.side(x), 2)
        z = self.down(torch.cat([x, self.up(torch.nn.functional.interpolate(y, scale_factor=2.0))], 1))
        return [self.boxes(z), self.classes(z)]


def images(size: int, count: int = 12) -> Iterator[np.ndarray]:
    """Smooth pictures, channels last: noise would have no structure to keep."""
    random = np.random.default_rng(3)
    for _ in range(count):
        coarse = torch.tensor(random.random((1, 3, 4, 4), dtype=np.float32))
        fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
        yield np.ascontiguousarray(fine.numpy().transpose(0, 2, 3, 1))


def exported(module: Any, size: int, folder: Path) -> tuple[Path, Path, dict[str, Any]]:
    """(float file, INT8 file, what the quantization says)."""
    single, integer = folder / "model_fp32.tflite", folder / "model_int8.tflite"
    npu.convert(module, size, single)
    return single, integer, npu.quantize(single, images(size), integer)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_small_network_reaches_the_npu_whole_and_computes_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Small(ACTIVATIONS[name]).eval()
    single, integer, facts = exported(module, 32, tmp_path)
    assert (facts["float_islands"], facts["saturated_biases"], facts["calibration_images"]) == ([], [], 12)
    assert facts["collapsed"] == (4 if name == "LeakyReLU" else 0)
    assert facts.get("op_max_steps", 0) <= 1

    batch = np.concatenate(list(images(32, 3))).transpose(0, 3, 1, 2)
    with torch.no_grad():
        wanted = [m.numpy() for m in module(torch.tensor(np.ascontiguousarray(batch)))]
    for path, tolerance in ((single, 1e-5), (integer, 0.12)):
        for expected, got in zip(wanted, npu.predictor(path)(batch), strict=True):
            assert got.shape == expected.shape
            assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()

    told = npu.assess(str(integer), U55, str(tmp_path / "npu"))
    assert (told["compatibility"], told["segments"], told["grade"], told["int8_io"]) == (100.0, 1, "full", True)
    assert (told["ethos_score"] == 100.0) == (name == "ReLU")
    assert told["activations"] == ({} if name == "ReLU" else {name: 4})


def test_the_ranges_are_those_of_every_image_and_not_their_moving_average(tmp_path: Path) -> None:
    npu.convert(Small(torch.nn.ReLU).eval(), 32, tmp_path / "m.tflite")
    dark_first = [np.full((1, 32, 32, 3), value, np.float32) for value in (0.1, 0.0, 1.0)]
    npu.quantize(tmp_path / "m.tflite", dark_first, tmp_path / "q.tflite")
    (entry,) = litert.read(tmp_path / "q.tflite").inputs
    assert (entry.scales[0], entry.zero_points[0]) == (pytest.approx(1 / 255, rel=1e-3), -128)


def test_percentile_ranges_leave_out_what_one_image_in_forty_reaches(tmp_path: Path) -> None:
    npu.convert(Small(torch.nn.ReLU).eval(), 32, tmp_path / "m.tflite")
    values = [0.5] * 39 + [1.0]

    def feeds() -> Iterator[np.ndarray]:
        return (np.full((1, 3, 32, 32), value, np.float32) for value in values)

    facts = npu.quantize_graph(tmp_path / "m.tflite", feeds, tmp_path / "q.tflite", Recipe(correction="percentile"))
    (entry,) = litert.read(tmp_path / "q.tflite").inputs
    assert entry.scales[0] == pytest.approx(0.5 / 255, rel=1e-3)
    assert facts["calibration_images"] == 40


def test_a_recipe_that_no_full_integer_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no float layers"):
        npu.quantize_graph(tmp_path / "m.tflite", lambda: iter(()), tmp_path / "q", Recipe(float_nodes=("conv",)))


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ([], "given none"),
        ([np.zeros((1, 3, 32, 32), np.float32)], "must be finite float32"),
        ([np.full((1, 32, 32, 3), np.nan, np.float32)], "must be finite float32"),
        ([np.zeros((1, 32, 32, 3), np.uint8)], "not uint8"),
    ],
)
def test_calibration_without_real_inputs_is_refused(feeds: list[np.ndarray], words: str, tmp_path: Path) -> None:
    npu.convert(Small(torch.nn.ReLU).eval(), 32, tmp_path / "m.tflite")
    with pytest.raises(InputError, match=words):
        npu.quantize(tmp_path / "m.tflite", feeds, tmp_path / "q.tflite")
    assert {p.name for p in tmp_path.iterdir()} == {"m.tflite"}


class RawHead(torch.nn.Module):  # type: ignore[misc,name-defined]
    """A detection model up to the raw maps of its head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers, self.save = model.model, model.save

    def forward(self, x: Any) -> list[Any]:
        kept: list[Any] = []
        for layer in self.layers[:-1]:
            if layer.f != -1:
                x = kept[layer.f] if isinstance(layer.f, int) else [x if j == -1 else kept[j] for j in layer.f]
            x = layer(x)
            kept.append(x if layer.i in self.save else None)
        head = self.layers[-1]
        return [branch[i](kept[j]) for i, j in enumerate(head.f) for branch in (head.cv2, head.cv3)]


def yolo(act: Callable[[], Any]) -> Any:
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    torch.manual_seed(0)
    model = tasks.DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    for module in model.modules():
        if isinstance(getattr(module, "act", None), torch.nn.SiLU):
            module.act = act()
    return RawHead(model.eval().fuse(verbose=False)).eval()


def test_yolov8n_with_leaky_relu_is_one_segment_and_its_twin_is_the_relu_model(tmp_path: Path) -> None:
    _, relu, _ = exported(yolo(torch.nn.ReLU), 96, _folder(tmp_path / "relu"))
    single, leaky, facts = exported(yolo(ACTIVATIONS["LeakyReLU"]), 96, _folder(tmp_path / "leaky"))
    assert (facts["collapsed"], facts["float_islands"], facts["op_max_steps"]) == (57, [], 1)

    four = open_session(leaky, batch=4, threads=1)
    assert (four.details["rebatched"], [o.shape[0] for o in four.outputs]) == (True, [4] * 6)

    of_relu = npu.assess(str(relu), U55, str(tmp_path / "npu_relu"))
    of_leaky = npu.assess(str(leaky), U55, str(tmp_path / "npu_leaky"))
    for told in (of_relu, of_leaky):
        assert (told["compatibility"], told["segments"], told["grade"]) == (100.0, 1, "full")
    assert of_relu["ethos_score"] == 100.0
    assert of_leaky["twin_cycles"] == pytest.approx(of_relu["cycles"], rel=0.02)

    broken = npu.assess(str(_as_the_quantizer_leaves_it(single, tmp_path)), U55, str(tmp_path / "npu_broken"))
    assert (broken["cpu_ops"] >= 3 * 57, broken["segments"] > 50, broken["cycles"]) == (True, True, None)
    assert broken["compatibility"] < 45
    assert "NPU004" in {f["rule"] for f in broken["findings"] if f["severity"] == "error"}


def _as_the_quantizer_leaves_it(single: Path, folder: Path) -> Path:
    raw = folder / "raw.tflite"
    graph = litert.read(single)
    seen = _Seen(shape=graph.inputs[0].shape)
    _quantized(single, seen, seen.checked(images(96, 4)), raw)
    assert normalise(raw, folder / "repaired.tflite").collapsed == 57
    return raw


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
