"""A tiny classifier trained on drawn pictures and exported to every target, each model proved beside its source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("timm", reason="timm is not installed")
onnx = pytest.importorskip("onnx", reason="ONNX is not installed")

from deploytk.backends import classifier as backend  # noqa: E402
from deploytk.data import calibration  # noqa: E402
from deploytk.errors import InputError, ParityFailed  # noqa: E402

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_COLOURS = {"007": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}
_PROFILE = """
schema: 1
name: colours
backend: classifier
model: {arch: test_efficientnet, activation: {kind: relu}}
train:
  {epochs: 12, imgsz: 32, batch: 12, optimizer: AdamW, lr0: 0.004, warmup_epochs: 0, device: cpu, workers: 0,
   label_smoothing: 0.1, ema: {decay: 0.8, warmup_updates: 4}}
calibration: {samples: 12}
budget: {max_accuracy_drop: 0.3}
"""


def deploytk(*args: str | Path, expect: int | None = None) -> dict[str, Any]:
    argv = [sys.executable, "-m", "deploytk.cli.main", *map(str, args), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if expect is not None:
        assert done.returncode == expect, (told["reasons"], done.stderr)
    return told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes told by their colour."""
    root = tmp_path_factory.mktemp("colours")
    for split, count in (("train", 12), ("val", 6)):
        for name, colour in _COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.new("RGB", (40, 36), (4 * i + (split == "val"), 4 * i, 4 * i))
                image.paste(colour, (6 + i % 8, 6, 28 + i % 8, 28))
                image.save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a classifier that has learned the colours."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "colours.yaml").write_text(_PROFILE)
    deploytk("train", "--profile", folder / "colours.yaml", "--data", data, "--out", folder / "run", expect=0)
    return folder / "run"


def rows(told: dict[str, Any], name: str) -> dict[str, Any]:
    """What was found of one model: metric -> its row."""
    return {row["metric"]: row for row in told["sections"]["parity"] if row["what"] == name}


def contracts(told: dict[str, Any]) -> dict[str, Any]:
    return {s["where"]: (s["ok"], s["sections"]) for s in told["sections"]["contract"]["stages"]}


def test_the_npu_model_is_proved_at_every_step_and_gates_are_no_activations(run: Path) -> None:
    told = deploytk("export", run, "--target", "npu")
    found = contracts(told)
    assert set(found) == {"onnx", "litert fp32", "litert int8"}
    assert all(ok and set(sections["network"]) == {"relu"} for ok, sections in found.values())
    assert len({sections["network"]["relu"] for _, sections in found.values()}) == 1
    assert told["sections"]["contract"]["expected"] == {"network": "relu"}
    for name in ("model.onnx", "model_fp32.tflite"):
        assert rows(told, name)["SQNR of logits, dB"]["converted"] > 60
        assert rows(told, name)["same class"]["converted"] == 1.0
    assert rows(told, "model_int8.tflite")["top1"]["source"] > 0.6
    assert told["sections"]["ladder"]["metric"] == "top1"
    assert all(a["settings"]["classes"] == ["007", "blue", "green"] for a in told["chain"])
    assert (told["sections"]["npu"]["cpu_ops"], told["sections"]["npu"]["segments"]) == (0, 1)


def test_the_int8_onnx_is_calibrated_with_what_the_checkpoint_is_validated_with(run: Path) -> None:
    told = deploytk("export", run, "--target", "onnx", "--precision", "int8")
    attempts = told["sections"]["ladder"]["attempts"]
    assert attempts[0]["what"] == "full INT8"
    assert attempts[0]["metric"] is not None
    assert not any("quantization-aware" in a["what"] for a in attempts)  # this backend has none
    assert rows(told, "model.onnx")["top1"]["drop"] == 0
    made = calibration.load(str(run / "calibration" / "train"))
    assert made.preparation.model_dump(mode="json") == backend.describe(run / "model.pt")["preparation"]


def test_the_onnx_says_what_its_classes_and_its_images_are(run: Path) -> None:
    path = run / "export" / "onnx" / "model.onnx"
    if not path.is_file():
        deploytk("export", run, "--target", "onnx", expect=0)
    model = onnx.load(path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["deploytk.names"]) == ["007", "blue", "green"]
    assert json.loads(facts["deploytk.preparation"])["kind"] == "center-crop"
    assert [o.name for o in model.graph.output] == ["logits"]
    same = deploytk("parity", run / "model.pt", path, "--out", run / "parity", expect=0)
    assert {row["output"] for row in same["sections"]["agreement"]["rows"]} == {"logits", "top-1"}


def test_predictions_are_scored_whoever_makes_them(run: Path, data: Path) -> None:
    wanted = json.loads((run / "profile.json").read_text())
    labels = {name: i for i, name in enumerate(_COLOURS)}

    def by_colour(images: np.ndarray) -> np.ndarray:
        middle = images[:, :, 12:20, 12:20].mean((2, 3))
        return middle[:, [0, 2, 1]]  # red, blue, green

    assert list(labels) == ["007", "blue", "green"]
    assert backend.score(by_colour, wanted, run / "model.pt", run) == {"top1": 1.0, "top5": 1.0}
    one = backend.score(lambda images: np.tile([3.0, 2.0, 1.0], (len(images), 1)), wanted, run / "model.pt", run)
    assert one == {"top1": pytest.approx(1 / 3), "top5": 1.0}
    with pytest.raises(ParityFailed, match=r"\(16, 2\) instead of \(16, 3\)"):
        backend.score(lambda images: np.zeros((len(images), 2)), wanted, run / "model.pt", run)
    fewer = {**wanted, "data": {"path": str(data.parent / "other")}}
    for split in ("train", "val"):
        (data.parent / "other" / split / "red").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(data.parent / "other" / split / "red" / "0.png")
    with pytest.raises(InputError, match=r"was trained on 3 classes \(007, blue, green\), the dataset has 1 classes"):
        backend.score(by_colour, fewer, run / "model.pt", run)
