"""The folder to deploy: its example needs only numpy, OpenCV and the runtime, and finds what the bench finds."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploytk.artifact import Artifact, TensorSpec
from deploytk.data import preparation_file
from deploytk.errors import InputError, ParityFailed, StepFailed
from deploytk.stages import deployable, deployable_example
from deploytk.stages.deployable import Deployable, different, require_replaceable
from deploytk.stages.optimize_steps import boxes, image_spec

SIZE, LABELS = 64, ("red", "blue")


def detector(path: Path) -> None:
    """A detector without a backbone: anchors, of which two are boxes whose scores follow the mean of the image."""
    anchors = sum((SIZE // stride) ** 2 for stride in (8, 16, 32))
    fixed = np.zeros((1, 6, anchors), np.float32)
    fixed[0, :, 3] = (30, 20, 16, 12, 0.5, 0.1)
    fixed[0, :, 9] = (40, 40, 10, 10, 0.0, 0.6)
    fixed[0, :, 10] = (41, 40, 10, 10, 0.0, 0.4)  # the same object, less certain
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["bright"]),
        helper.make_node("Mul", ["bright", "tiny"], ["some"]),
        helper.make_node("Add", ["some", "fixed"], ["output0"]),
    ]
    held = {"fixed": fixed, "shape": np.array([-1, 1, 1]), "tiny": np.array(0.01, np.float32)}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 6, anchors])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / "wide.png", tmp_path / "tall.jpg"]
    for path, shape in zip(paths, ((50, 90, 3), (120, 40, 3)), strict=True):
        cv2.imwrite(str(path), rng.integers(0, 255, shape, dtype=np.uint8))
    return paths


def to_deploy(tmp_path: Path) -> Deployable:
    path = tmp_path / "export" / "model_int8.onnx"
    path.parent.mkdir()
    detector(path)
    artifact = Artifact.record(path, format="onnx", precision="fp32", made_by="export-onnx")
    spec = image_spec(str(path), "onnx")
    return Deployable(
        model=artifact,
        runtime="onnx",
        threads=1,
        options={},
        input=TensorSpec(**{**spec, "shape": tuple(spec["shape"])}),
        labels=LABELS,
        chain=(artifact,),
        verdict={"verdict": "pass", "reasons": ["fast enough"]},
    )


def test_the_folder_works_by_itself_and_finds_what_the_bench_finds(tmp_path: Path, images: list[Path]) -> None:
    def expected(model: Path, preparation: Path) -> Any:
        return boxes(str(model), "onnx", [str(i) for i in images], str(preparation))

    out = tmp_path / "deploy"
    assert to_deploy(tmp_path).write(out, images, expected) == {"images": 2, "boxes": 4}
    names = {"model.onnx", "preparation.yaml", "labels.txt", "deploy.json", "run.py", "verdict.json", "lineage.json"}
    assert {path.name for path in out.iterdir()} == names
    told = json.loads((out / "deploy.json").read_text())
    prepared = preparation_file.load(
        str(out / "preparation.yaml"), TensorSpec(name="x", shape=(1, 3, 64, 64), dtype="float32")
    )
    assert prepared.sha256 == told["preparation_sha256"]
    assert json.loads((out / "lineage.json").read_text())[0]["path"] == "model_int8.onnx"
    assert str(tmp_path) not in "".join(path.read_text() for path in out.iterdir() if path.suffix != ".onnx")


def test_a_folder_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    require_replaceable(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    require_replaceable(tmp_path / "empty")
    (tmp_path / "thesis.tex").write_text("five years of work")
    with pytest.raises(InputError, match="would be replaced"):
        require_replaceable(tmp_path)
    (tmp_path / "deploy.json").write_text("{}")
    require_replaceable(tmp_path)


def test_an_example_that_finds_something_else_leaves_no_folder(tmp_path: Path, images: list[Path]) -> None:
    with pytest.raises(ParityFailed, match="2 boxes instead of 0 in image 1"):
        to_deploy(tmp_path).write(tmp_path / "deploy", images, lambda *_: [[], []])
    assert not (tmp_path / "deploy").exists()


def test_an_example_that_cannot_run_says_its_last_line(
    tmp_path: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such runtime')")
    monkeypatch.setattr(deployable, "_EXAMPLE", broken)
    with pytest.raises(StepFailed, match="no such runtime"):
        to_deploy(tmp_path).write(tmp_path / "deploy", images, lambda *_: [[], []])


def test_the_example_imports_nothing_but_numpy_opencv_and_one_runtime() -> None:
    tree = ast.parse(Path(deployable_example.__file__).read_text())
    imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    at_home = {"__future__", "collections", "json", "math", "pathlib", "sys", "typing"}
    assert imported - at_home == {"cv2", "numpy", "onnxruntime", "openvino", "ai_edge_litert"}


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ([1, 2, 3, 4, 0.9, "red"], ""),
        ([1.3, 2, 3, 4, 0.9, "red"], ""),
        ([3, 2, 3, 4, 0.9, "red"], "instead of"),
        ([1, 2, 3, 4, 0.8, "red"], "instead of"),
        ([1, 2, 3, 4, 0.9, "blue"], "instead of"),
    ],
)
def test_a_box_is_the_same_within_half_a_pixel(got: list[Any], said: str) -> None:
    assert said in different([[got]], [[[1, 2, 3, 4, 0.9, 0]]], LABELS)
    assert bool(said) == bool(different([[got]], [[[1, 2, 3, 4, 0.9, 0]]], LABELS))
