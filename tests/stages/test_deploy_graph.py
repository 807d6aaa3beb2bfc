"""The graph that is deployed: made as the profile asks, compared with the host's way, benched from photos on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")

from deploytk import plugins  # noqa: E402
from deploytk.artifact import Artifact  # noqa: E402
from deploytk.data import samples  # noqa: E402
from deploytk.errors import InputError  # noqa: E402
from deploytk.graphs import onnx_detector  # noqa: E402
from deploytk.profile import Profile  # noqa: E402
from deploytk.recipe import Recipe  # noqa: E402
from deploytk.runtimes import FixedBatch  # noqa: E402
from deploytk.stages.bench_end_to_end import EndToEnd, open_end_to_end  # noqa: E402
from deploytk.stages.bench_inputs import feeds_for  # noqa: E402
from deploytk.stages.deploy_graph import wanted  # noqa: E402
from deploytk.stages.deploy_steps import deploy_graph, deploy_ir, deploy_proof  # noqa: E402
from deploytk.stages.proof import Checks  # noqa: E402

SIDE, CELLS = 64, 64
INSIDE = [("normalise", "out"), ("letterbox", "out"), ("out", "in"), ("normalise", "in"), ("letterbox", "in")]


def red_cells(path: Path, likes: float = 1.0) -> Path:
    """A detector without training: of the 8 x 8 cells of an image, those that are red are boxes of class 1."""
    rows, columns = np.mgrid[:8, :8].reshape(2, -1)
    places = np.stack([8 * columns + 4, 8 * rows + 4, np.full(CELLS, 8), np.full(CELLS, 8)])[None].astype(np.float32)
    weights = np.zeros((2, 3, 8, 8), np.float32)
    weights[1] = np.array([likes, -1, -1])[:, None, None] * 8 / 64
    floats = {"w": weights, "b": np.array([-9, -4], np.float32), "places": places, "zero": np.float32(0)}
    integers = {"flat": [0, 2, CELLS], "anchors": [0, 0, 0, 0, 0, 84 - CELLS], "each": [-1, 1, 1]}
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        node("Conv", ["images", "w", "b"], ["cells"], strides=[8, 8], name="/model.0/Conv"),
        node("Reshape", ["cells", "flat"], ["logits"]),
        node("Sigmoid", ["logits"], ["scores"]),
        node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        node("Reshape", ["mean", "each"], ["mean3"]),
        node("Mul", ["mean3", "zero"], ["nothing"]),
        node("Add", ["places", "nothing"], ["boxes"]),
        node("Concat", ["boxes", "scores"], ["rows"], axis=1),
        node("Pad", ["rows", "anchors"], ["output0"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "red",
        [value("images", onnx.TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [value("output0", onnx.TensorProto.FLOAT, ["batch", 6, 84])],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (floats | integers).items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A YOLO dataset whose validation images have red things on white, each of another size."""
    for split, sizes in {"train": [(64, 64)], "val": [(200, 100), (90, 180), (64, 64)]}.items():
        for part in ("images", "labels"):
            (tmp_path / part / split).mkdir(parents=True)
        for number, (width, height) in enumerate(sizes):
            image = Image.new("RGB", (width, height), "white")
            ImageDraw.Draw(image).rectangle((width // 8, height // 4, width // 2, height // 2), "red")
            image.save(tmp_path / "images" / split / f"{split}{number}.png")
            (tmp_path / "labels" / split / f"{split}{number}.txt").write_text("0 0.3 0.35 0.3 0.25\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [red]\n")
    return tmp_path / "data.yaml"


def opened(model: Path, images: Path, batch: int = 1, **more: Any) -> EndToEnd:
    session = plugins.load("runtimes", "onnx").open_session(model, batch=batch, threads=1)
    return open_end_to_end({"batch": batch, "images": str(images), **more}, session)


def asking(target: str = "onnx", **export: str) -> Profile:
    return Profile.model_validate({"schema": 1, "name": "x", "export": {"target": target, **export}})


# --- the comparison --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize(("preprocess", "nms"), INSIDE)
def test_the_graph_finds_the_boxes_of_the_hosts_way(
    data: Path, tmp_path: Path, preprocess: Any, nms: Any, runtime: str
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    model, out = red_cells(tmp_path / "m.onnx"), tmp_path / "m_deploy.onnx"
    deploy_graph(str(model), str(out), preprocess, nms)
    found = deploy_proof(str(data), str(model), str(out), runtime, 8)
    assert found["images"] == 3 and found["boxes"] == found["boxes_deployed"] > 10
    assert found["lost"] == found["added"] == 0


@pytest.mark.parametrize(("preprocess", "nms"), INSIDE)
def test_an_int8_ir_with_all_inside_finds_the_boxes_of_the_hosts_way(
    data: Path, tmp_path: Path, preprocess: Any, nms: Any
) -> None:
    pytest.importorskip("nncf", reason="NNCF is not installed")
    target = plugins.load("targets", "openvino")
    model, graph = red_cells(tmp_path / "m.onnx"), tmp_path / "m_deploy.onnx"
    int8, out = tmp_path / "m_int8.xml", tmp_path / "m_int8_deploy.xml"
    images = [samples.tensor(path, SIDE)[0] for path in sorted((data.parent / "images" / "val").iterdir())]
    target.quantize_graph(model, lambda: iter(images), int8, Recipe())
    deploy_graph(str(model), str(graph), preprocess, nms)
    assert deploy_ir(str(graph), str(int8), str(out)) == {"quantizers": 1}  # the weights are integers in the file
    found = deploy_proof(str(data), str(int8), str(out), "openvino", 8)
    assert found["images"] == 3 and found["boxes"] == found["boxes_deployed"] > 10
    assert found["lost"] == found["added"] == 0


def test_a_detector_of_another_size_is_not_put_into_a_graph(tmp_path: Path) -> None:
    target = pytest.importorskip("deploytk.targets.openvino.grafting", reason="OpenVINO is not installed")
    graph, other = tmp_path / "m_deploy.onnx", tmp_path / "m.xml"
    deploy_graph(str(red_cells(tmp_path / "m.onnx")), str(graph), "normalise", "out")
    value, shape = onnx.helper.make_tensor_value_info, ["batch", 3, 32, 32]
    ends = [value(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    small = onnx.helper.make_graph(nodes, "small", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(small, opset_imports=opset, ir_version=8), tmp_path / "small.onnx")
    plugins.load("targets", "openvino").convert(tmp_path / "small.onnx", other, "fp32")
    with pytest.raises(InputError, match=r"32,32.* where m_deploy\.onnx has .*64,64"):
        target.graft(graph, other, tmp_path / "out.xml", *onnx_detector.seams(onnx.load(graph)))
    assert not (tmp_path / "out.xml").exists()


def test_a_graph_that_finds_other_boxes_fails_the_export_and_says_how_many(data: Path, tmp_path: Path) -> None:
    model, out = red_cells(tmp_path / "m.onnx"), tmp_path / "m_deploy.onnx"
    deploy_graph(str(red_cells(tmp_path / "other.onnx", likes=-1.0)), str(out), "letterbox", "in")
    found = deploy_proof(str(data), str(model), str(out), "onnx", 8)
    assert found["lost"] == found["boxes"] > 0 and found["boxes_deployed"] == 0
    checks = checked(found)
    assert checks.codes == [8] and f"{found['lost']} boxes of model.onnx" in checks.bad[0]


def test_a_model_that_finds_nothing_proves_nothing() -> None:
    checks = checked({"images": 3, "boxes": 0, "boxes_deployed": 0, "lost": 0, "added": 0})
    assert checks.codes == [4] and "train longer" in checks.bad[0]


def test_equal_boxes_are_a_row_of_the_report_and_nothing_else() -> None:
    checks = checked({"images": 3, "boxes": 7, "boxes_deployed": 7, "lost": 0, "added": 0})
    assert not checks.codes and checks.parity[0]["ok"] and checks.parity[0]["metric"] == "boxes in 3 images"


def checked(found: dict[str, int]) -> Checks:
    checks, names = Checks(asking()), ("model_deploy.onnx", "model.onnx")
    deployed, source = (
        Artifact(path=Path(n), format="onnx", precision="fp32", sha256=n, made_by="t", settings={"same_boxes": found})
        for n in names
    )
    checks.same_boxes(deployed, source)
    return checks


# --- the profile -----------------------------------------------------------------------------------------------


def test_nothing_is_made_unless_the_profile_asks() -> None:
    assert not wanted(asking()) and not wanted(asking("npu"))
    assert wanted(asking(nms="in")) and wanted(asking("openvino", preprocess="normalise"))


def test_a_target_without_such_a_graph_is_refused_before_anything_starts() -> None:
    with pytest.raises(InputError, match="npu keeps preparation and suppression outside; leave --preprocess"):
        wanted(asking("npu", nms="in"))


# --- the bench -------------------------------------------------------------------------------------------------


def test_an_image_of_any_size_goes_in_as_it_was_decoded(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m_deploy.onnx"
    deploy_graph(str(red_cells(tmp_path / "m.onnx")), str(out), "letterbox", "in")
    whole, host = opened(out, data), opened(tmp_path / "m.onnx", data)
    for turn in range(3):
        got, wanted_boxes = whole.run(turn), host.run(turn)
        assert got["count"] == wanted_boxes["count"]
        assert got["boxes"] == pytest.approx(wanted_boxes["boxes"], abs=1e-3)
    assert whole.details["preparation"]["kind"] == "inside the model"
    assert whole.details["after"] == "nms of end-to-end outputs"


def test_images_of_different_sizes_do_not_go_in_together(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m_deploy.onnx"
    deploy_graph(str(red_cells(tmp_path / "m.onnx")), str(out), "letterbox", "in")
    with pytest.raises(FixedBatch, match="one image of any size at a time, not 2"):
        opened(out, data, batch=2)
    with pytest.raises(InputError, match="leave --prepare detector out"):
        opened(out, data, prepare="detector")


def test_the_model_alone_is_not_measured_on_images_of_no_known_size(tmp_path: Path) -> None:
    out = tmp_path / "m_deploy.onnx"
    deploy_graph(str(red_cells(tmp_path / "m.onnx")), str(out), "letterbox", "out")
    session = plugins.load("runtimes", "onnx").open_session(out, batch=1, threads=1)
    with pytest.raises(InputError, match="--boundary end_to_end --images"):
        feeds_for(session.inputs, None)


def test_a_classifier_takes_nothing_of_a_detector_into_its_graph() -> None:
    profile = Profile.model_validate({"name": "x", "backend": "classifier", "export": {"nms": "in"}})
    with pytest.raises(InputError, match=r"backend classifier: its models are classifiers; .* leave both out"):
        wanted(profile)
