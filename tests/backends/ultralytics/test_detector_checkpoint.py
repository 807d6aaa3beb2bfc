"""Checkpoints: written as plain data, proved, reopened without unpickling; foreign ones only when trusted."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends import ultralytics as backend  # noqa: E402
from deploytk.backends.ultralytics import checkpoint, network  # noqa: E402
from deploytk.backends.ultralytics.library import DetectionModel  # noqa: E402
from deploytk.errors import InputError, ParityFailed  # noqa: E402

Make = Callable[..., Any]


def save(model: Any, path: Path, arch: str = "yolov8", imgsz: int = 64) -> Path:
    told = checkpoint.pack(model, arch=arch, scale="n", imgsz=imgsz, names=["a", "b", "c"])
    checkpoint.write(told, path, like=model)
    return path


def test_a_checkpoint_opens_weights_only_and_says_what_it_is(tmp_path: Path, random_network: Make) -> None:
    path = save(random_network(kind="leaky_relu", sections=("backbone",)), tmp_path / "model.pt")
    assert torch.load(path, weights_only=True)["format"] == "deploytk-detector-1"
    told = backend.describe(path)
    assert told["activation"] == {"backbone": "leaky_relu", "neck": "silu", "head": "silu"}
    assert told["classes"] == ["a", "b", "c"]
    assert (told["arch"], told["scale"], told["imgsz"]) == ("yolov8", "n", 64)
    assert told["head"] == {"strides": [8, 16, 32], "reg_max": 16}
    assert told["sections"] == {"backbone": [0, 9], "neck": [10, 21], "head": [22, 22]}
    assert "state_dict" not in told


def test_a_rebuilt_network_that_does_something_else_is_not_written(tmp_path: Path, random_network: Make) -> None:
    told = checkpoint.pack(random_network(), arch="yolov8", scale="n", imgsz=64, names=["a", "b", "c"])
    other = random_network()
    with torch.no_grad():
        other.model[-1].cv3[0][-1].bias += 1.0
    with pytest.raises(ParityFailed, match="raw scores differ"):
        checkpoint.write(told, tmp_path / "model.pt", like=other)
    assert list(tmp_path.iterdir()) == []


def test_mixed_activations_in_a_section_are_refused(random_network: Make) -> None:
    model = random_network()
    model.model[3].act = torch.nn.SiLU()
    with pytest.raises(InputError, match=r"mixed activations.*backbone"):
        checkpoint.pack(model, arch="yolov8", scale="n", imgsz=64, names=["a", "b", "c"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arch": "../evil.yaml"}, "unknown network"),
        ({"nc": 4}, "4 classes and 3 names"),
        ({"imgsz": 70}, "input size 70"),
        ({"activation": {"backbone": "__import__('os')", "neck": "relu", "head": "relu"}}, "activation"),
        ({"format": "other"}, "format"),
        ({"names": None}, "names"),
    ],
)
def test_a_damaged_checkpoint_is_one_clear_error(
    tmp_path: Path, random_network: Make, change: dict[str, Any], said: str
) -> None:
    told = checkpoint.pack(random_network(), arch="yolov8", scale="n", imgsz=64, names=["a", "b", "c"])
    torch.save({**told, "note": "deploytk-detector-1", **change}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=said) as raised:
        backend.describe(tmp_path / "model.pt")
    assert str(tmp_path / "model.pt") in raised.value.message


def test_tensors_of_another_network_are_refused(tmp_path: Path, random_network: Make) -> None:
    told = checkpoint.pack(random_network(), arch="yolov8", scale="n", imgsz=64, names=["a", "b", "c"])
    torch.save({**told, "scale": "s"}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="not those of yolov8s with 3 classes"):
        backend.describe(tmp_path / "model.pt")


def test_a_foreign_pickle_needs_trust_and_is_then_converted(tmp_path: Path, random_network: Make) -> None:
    model = random_network()
    model.names = {0: "a", 1: "b", 2: "c"}
    torch.save({"model": None, "ema": model.half()}, tmp_path / "best.pt")
    with pytest.raises(InputError, match="--trust"):
        backend.describe(tmp_path / "best.pt")
    told = backend.adopt(tmp_path / "best.pt", tmp_path / "model.pt")
    assert told == backend.describe(tmp_path / "model.pt")
    assert told["activation"]["head"] == "relu" and told["adopted_from"] == "best.pt"
    with torch.no_grad():
        images = torch.rand(1, 3, 64, 64)
        expected = model.float()(images)[0].numpy()
    got = backend.decode(backend.torch_predictor(tmp_path / "model.pt")(images.numpy()), tmp_path / "model.pt")
    np.testing.assert_allclose(got, expected, atol=1e-2, rtol=1e-4)


def test_a_model_with_grafted_class_layers_can_be_adopted(tmp_path: Path) -> None:
    """Ultralytics widens the class layers of a 3-class model to those of the 80-class weights it starts from."""
    model = DetectionModel(network.definition("yolov8", "n"), ch=3, nc=3, verbose=False)
    model.load(DetectionModel(network.definition("yolov8", "n"), ch=3, nc=80, verbose=False), verbose=False)
    model.names = {0: "a", 1: "b", 2: "c"}
    torch.save({"model": model.eval()}, tmp_path / "best.pt")
    told = backend.adopt(tmp_path / "best.pt", tmp_path / "model.pt")
    assert told["cls_channels"] == 80 and told["nc"] == 3
    assert told["activation"] == {"backbone": "silu", "neck": "silu", "head": "silu"}


class Harm:
    """A pickle of it runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


def test_a_pickle_that_runs_code_is_refused_trusted_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pt").write_bytes(pickle.dumps({"model": Harm()}))
    for trust in (False, True):
        with pytest.raises(InputError, match="refused"):
            backend.describe(tmp_path / "bad.pt", trust)
    assert not (tmp_path / "harmed").exists()


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.pt: no such checkpoint"):
        backend.describe(tmp_path / "model.pt")


def test_maps_of_another_head_are_refused(tmp_path: Path, random_network: Make) -> None:
    path = save(random_network(), tmp_path / "model.pt")
    with pytest.raises(InputError, match="its head gives"):
        backend.decode([np.zeros((1, 64, 8, 8), np.float32), np.zeros((1, 80, 8, 8), np.float32)], path)


@pytest.mark.parametrize("arch", ["yolov8", "yolo11"])
def test_the_onnx_has_a_free_batch_section_names_and_the_decoded_output(
    tmp_path: Path, random_network: Make, arch: str
) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = save(random_network(arch), tmp_path / "model.pt", arch)
    backend.onnx_from_checkpoint(path, tmp_path / "model.onnx", 17)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    acts = [n.name for n in nodes if n.op_type == "Relu"]
    assert len(acts) == {"yolov8": 57, "yolo11": 77}[arch]
    assert all(name.startswith("/model.") for name in acts)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for batch in (1, 3):
        images = np.random.default_rng(0).random((batch, 3, 64, 64), dtype=np.float32)
        got = session.run(["output0"], {"images": images})[0]
        expected = backend.decode(backend.torch_predictor(path)(images), path)
        assert got.shape == (batch, 7, 84)
        np.testing.assert_allclose(got, expected, atol=2e-3, rtol=1e-4)
    assert session.get_modelmeta().custom_metadata_map["deploytk.arch"] == arch
