"""What `yolo export` makes of trained weights, in a process of its own (Ultralytics)."""

from __future__ import annotations

import shutil
from pathlib import Path

# Ultralytics offline and quiet: before anything else of it.
from deploytk.backends.ultralytics import library  # noqa: F401  isort: skip
from ultralytics import YOLO


def exported(weights: str, data: str, imgsz: int, folder: str) -> dict[str, str]:
    """The files that `yolo export format=onnx|openvino [int8]` writes into `folder`, by name; all else is its default.

    Args:
        weights: its own checkpoint (a pickle: only one that was made here).
        data: the data.yaml that int8 calibrates with.
    """
    found = {}
    for form, int8 in (("onnx", False), ("onnx", True), ("openvino", False), ("openvino", True)):
        name = f"{form}-int8" if int8 else form
        found[name] = str(
            _one(Path(weights), Path(folder) / name, form, imgsz, {"int8": True, "data": data} if int8 else {})
        )
    return found


def _one(weights: Path, folder: Path, form: str, imgsz: int, more: dict[str, object]) -> Path:
    """The model file of one export; it writes beside the weights, so they are copied into a folder of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(weights, folder / "model.pt")
    made = Path(YOLO(folder / "model.pt").export(format=form, imgsz=imgsz, **more))
    return next(made.glob("*.xml")) if made.is_dir() else made
