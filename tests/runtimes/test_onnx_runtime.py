"""ONNX Runtime behind the Session protocol."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx as onnx_library
import onnxruntime
import pytest
import tiny_onnx

from deploytk.errors import InputError
from deploytk.runtimes import FixedBatch, onnx


def images(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, 3, 8, 8), dtype=np.float32)


def test_a_free_batch_is_filled_in_and_run(tmp_path: Path) -> None:
    session = onnx.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=4, threads=1)
    assert session.inputs[0].shape == (4, 3, 8, 8)
    assert session.inputs[0].dtype == "float32"
    assert session.outputs[0].shape == (4, 4, 8, 8)
    assert session.run({"x": images(4)})["y"].shape == (4, 4, 8, 8)
    assert session.details["rebatched"] is False


def test_a_graph_without_an_output_is_refused(tmp_path: Path) -> None:
    model = onnx_library.load(tiny_onnx.conv(tmp_path / "m.onnx"))
    del model.graph.output[:]
    onnx_library.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match="the graph has no output"):
        onnx.open_session(tmp_path / "m.onnx", batch=1, threads=1)


def test_details_say_what_was_really_got(tmp_path: Path) -> None:
    session = onnx.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=2)
    assert session.details["provider"] == "CPUExecutionProvider"
    assert session.details["threads"] == 2
    assert session.details["version"] == onnxruntime.__version__
    assert session.details["graph_optimization"] == "ORT_ENABLE_ALL"


def test_threads_that_were_not_asked_for_are_counted(tmp_path: Path) -> None:
    details = onnx.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None).details
    assert (type(details["threads"]), details["threads"] >= 1) == (int, True)
    assert "default" in details["threads_by"]


def test_options_are_set_and_read_back(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    given = onnx.open_session(path, batch=1, threads=1, options={"optimization": "off", "spin": "off"})
    assert (given.details["graph_optimization"], given.details["spin"]) == ("ORT_DISABLE_ALL", "off")
    np.testing.assert_allclose(
        given.run({"x": images(1)})["y"],
        onnx.open_session(path, batch=1, threads=1).run({"x": images(1)})["y"],
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimisation": "all"}, "no option of the runtime onnx 'optimisation'; did you mean 'optimization'"),
        ({"optimization": "basics"}, "optimization cannot be 'basics'; did you mean 'basic'"),
    ],
)
def test_wrong_options_are_refused_with_the_nearest(tmp_path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        onnx.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1, options=options)


def test_the_second_request_is_the_session_itself(tmp_path: Path) -> None:
    session = onnx.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1)
    assert session.another() is session


def test_float16_without_a_kernel_is_float32_whatever_the_file_says(tmp_path: Path) -> None:
    """On x86 there is no float16 convolution on the CPU: casts are put around a float32 one."""
    session = onnx.open_session(tiny_onnx.half(tmp_path / "m.onnx"), batch=1, threads=1)
    assert session.inputs[0].dtype == "float16"
    assert session.details["precision"] == ("float32" if platform.machine() == "x86_64" else "float16")


def test_dynamic_quantization_is_named(tmp_path: Path) -> None:
    session = onnx.open_session(tiny_onnx.dynamic(tmp_path / "m.onnx"), batch=2, threads=1)
    assert session.details["precision"] == "dynamic int8"


def test_a_float_model_named_int8_is_float32(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "model_int8.onnx")
    assert onnx.open_session(path, batch=1, threads=1).details["precision"] == "float32"


def test_int8_is_what_onnx_runtime_fused_and_nothing_without_fusing(data_dir: Path) -> None:
    path = data_dir / "mlperf_tiny_qdq_onnx/kws/K1_BOARD_V1.0/models/kws_ref_model.onnx"
    got = {
        level: onnx.open_session(path, batch=None, threads=1, options={"optimization": level}).details["precision"]
        for level in ("all", "basic")
    }
    assert got == {"all": "int8", "basic": "float32"}


def test_a_part_in_int8_is_counted(data_dir: Path) -> None:
    """A third of this ResNet's convolutions have no QuantizeLinear right behind them, so they run in float32."""
    path = data_dir / "mlperf_tiny_qdq_onnx/ic/K1_BOARD_V1.0/models/resnet.onnx"
    told = onnx.open_session(path, batch=None, threads=1).details["precision"]
    assert re.fullmatch(r"int8 \(\d+ of 10 weighted operators\), float32 \(\d+\)", told)


def test_another_provider_than_asked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _self: ["SurpriseExecutionProvider"])
    with pytest.raises(InputError, match="uses SurpriseExecutionProvider, not CPUExecutionProvider"):
        onnx.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1)


def test_without_a_batch_the_file_keeps_its_own(tmp_path: Path) -> None:
    fixed = onnx.open_session(tiny_onnx.conv(tmp_path / "f.onnx", batch=2), batch=None, threads=1)
    assert fixed.inputs[0].shape == (2, 3, 8, 8)
    free = onnx.open_session(tiny_onnx.conv(tmp_path / "d.onnx"), batch=None, threads=1)
    assert free.inputs[0].shape == ("batch", 3, 8, 8)
    assert free.run({"x": images(3)})["y"].shape[0] == 3


@pytest.mark.parametrize("own", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 4, 5])
def test_a_fixed_batch_is_really_rebatched(tmp_path: Path, own: int, batch: int) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx", batch=own)
    session = onnx.open_session(path, batch=batch, threads=1)
    assert session.details["rebatched"] is (own != batch)
    together = session.run({"x": images(batch)})["y"]
    assert together.shape == (batch, 4, 8, 8)
    free = onnx.open_session(tiny_onnx.conv(tmp_path / "d.onnx"), batch=None, threads=1)
    np.testing.assert_allclose(together, free.run({"x": images(batch)})["y"], rtol=1e-5)


def test_a_reshape_to_a_constant_batch_follows(tmp_path: Path) -> None:
    session = onnx.open_session(tiny_onnx.flattened(tmp_path / "m.onnx"), batch=8, threads=1)
    assert session.details["rebatched"] is True
    assert session.run({"x": images(8)})["y"].shape == (8, 256)


def test_items_that_would_change_one_another_are_a_fixed_batch(tmp_path: Path) -> None:
    with pytest.raises(FixedBatch, match="fixed at batch 1; at 4 its output y differs"):
        onnx.open_session(tiny_onnx.mixing(tmp_path / "m.onnx"), batch=4, threads=1)


def test_an_output_that_does_not_grow_is_a_fixed_batch(tmp_path: Path) -> None:
    with pytest.raises(FixedBatch, match="fixed at batch 2"):
        onnx.open_session(tiny_onnx.summed(tmp_path / "m.onnx"), batch=4, threads=1)


def test_the_file_itself_is_never_changed(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx", batch=1)
    before = path.read_bytes()
    onnx.open_session(path, batch=4, threads=1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_free_dimensions_are_named(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx", size="side")
    with pytest.raises(InputError, match=r"x\[2\] \(side\), x\[3\] \(side\)"):
        onnx.open_session(path, batch=1, threads=1)


def test_missing_custom_operators_are_named_with_their_domain(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"com\.example\.ops: Frobnicate"):
        onnx.open_session(tiny_onnx.custom(tmp_path / "m.onnx"), batch=1, threads=1)


def test_a_file_that_is_no_onnx_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="ONNX Runtime cannot load it") as caught:
        onnx.open_session(path, batch=1, threads=1)
    assert "\n" not in caught.value.message
    assert "[ONNXRuntimeError]" not in caught.value.message


@pytest.mark.e2e
@pytest.mark.parametrize("batch", [1, 4])
def test_mnist_with_its_constant_reshape_runs_at_any_batch(data_dir: Path, batch: int) -> None:
    session = onnx.open_session(data_dir / "ort_examples/c_cxx/MNIST/mnist.onnx", batch=batch, threads=1)
    (out,) = session.run({"Input3": np.zeros((batch, 1, 28, 28), np.float32)}).values()
    assert out.shape == (batch, 10)


@pytest.mark.e2e
def test_ort_extensions_are_named(data_dir: Path) -> None:
    (path,) = (data_dir / "ort_examples").rglob("pytorch_superresolution*.onnx")
    with pytest.raises(InputError, match=r"ai\.onnx\.contrib|com\.microsoft\.extensions"):
        onnx.open_session(path, batch=1, threads=1)


@pytest.mark.parametrize("shape", [None, []])
def test_a_graph_without_a_batch_dimension_is_wrong_input(tmp_path: Path, shape: list[int] | None) -> None:
    inputs = (
        []
        if shape is None
        else [onnx_library.helper.make_tensor_value_info("x", onnx_library.TensorProto.FLOAT, shape)]
    )
    value = onnx_library.helper.make_tensor("v", onnx_library.TensorProto.FLOAT, [1], [1.0])
    node = (
        onnx_library.helper.make_node("Relu", ["x"], ["y"])
        if inputs
        else onnx_library.helper.make_node("Constant", [], ["y"], value=value)
    )
    output = onnx_library.helper.make_tensor_value_info("y", onnx_library.TensorProto.FLOAT, None)
    model = onnx_library.helper.make_model(onnx_library.helper.make_graph([node], "g", inputs, [output]), ir_version=9)
    model.opset_import[0].version = 17
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="no input has a batch dimension"):
        onnx.open_session(tmp_path / "m.onnx", batch=1, threads=1)


def test_onnx_runtime_tells_its_makers_nothing(tmp_path: Path) -> None:
    """Its wheels for Linux keep what they report in a data base under the home, and send it from their own threads."""
    code = "import sys; from pathlib import Path; from deploytk.runtimes import onnx\n"
    code += "onnx.open_session(Path(sys.argv[1]), batch=1, threads=1)"
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    path, home = tiny_onnx.conv(tmp_path / "m.onnx"), tmp_path / "home"
    home.mkdir()
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", code, str(path)], env={**env, **places}, check=True, timeout=120)
    assert not list(home.rglob("*onnxruntime*"))
