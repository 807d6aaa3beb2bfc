"""Networks with weights that give varied outputs, and small datasets, for the tests of the Ultralytics backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploytk.profile import Activation


@pytest.fixture(scope="session")
def random_network() -> Callable[..., Any]:
    """`make(arch, nc=3, kind="relu", sections=...)`: an eval network, its batch statistics off their defaults."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")
    from deploytk.backends.ultralytics import network

    def make(arch: str = "yolov8", nc: int = 3, kind: Any = "relu", **activation: Any) -> Any:
        torch.manual_seed(0)
        wanted = Activation(kind=kind, **activation)
        model = network.build(arch, "n", nc, wanted.expected(), wanted.negative_slope)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.2, 0.6)
        return model.eval()

    return make


@pytest.fixture
def small_dataset(tmp_path: Path) -> Path:
    """The data.yaml of 10 training and 6 validation images of two shapes, 3 classes."""
    root = tmp_path / "data"
    for split, count in (("train", 10), ("val", 6)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", (100, 60 if i % 2 else 100), (20 * i, 90, 60))
            image.paste((250, 250, 10 * i), (20, 10, 60, 50))
            image.save(root / "images" / split / f"{i}.jpg")
            height = image.height
            line = f"{i % 3} 0.4 {30 / height} 0.4 {40 / height}\n"
            (root / "labels" / split / f"{i}.txt").write_text(line)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b, c]\n")
    return root / "data.yaml"
