"""The runtimes of a GPU on a real one: the results are those of the CPU, in every way they can be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_onnx
import torch as library
from test_torch_runtime import expected, images, program

from deploytk.errors import MissingDependency
from deploytk.runtimes import onnx, onnx_cuda, onnx_tensorrt, tensorrt, torch_compile_cuda, torch_cuda
from deploytk.runtimes.tensorrt_library import complaints, logger

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not library.cuda.is_available(), reason="there is no GPU here"),
]
TF32 = 1e-2  # which has ten bits


def feed_for(batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).random((batch, 3, 8, 8), dtype=np.float32)}


def on_the_cpu(path: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    return onnx.open_session(path, batch=len(feed["x"]), threads=1).run(feed)["y"]


# ---- TensorRT -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(an ONNX file, an engine of it with a profile for batch 1 and one for 2 to 8)."""
    trt = pytest.importorskip("tensorrt", reason="TensorRT is not installed")
    folder = tmp_path_factory.mktemp("engine")
    path = tiny_onnx.conv(folder / "m.onnx")
    builder = trt.Builder(logger(trt))
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger(trt))
    assert parser.parse_from_file(str(path)), complaints()
    config = builder.create_builder_config()
    for sizes in ((1, 1, 1), (2, 3, 8)):
        profile = builder.create_optimization_profile()
        profile.set_shape("x", *((size, 3, 8, 8) for size in sizes))
        assert config.add_optimization_profile(profile) >= 0, complaints()
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, complaints()
    (folder / "m.engine").write_bytes(bytes(plan))
    return path, folder / "m.engine"


@pytest.mark.parametrize("graph", ["off", "on"])
@pytest.mark.parametrize(("batch", "profile"), [(1, 0), (3, 1), (8, 1)])
def test_an_engine_gives_what_onnx_runtime_gives(engine: Any, batch: int, profile: int, graph: str) -> None:
    path, built = engine
    session = tensorrt.open_session(built, batch=batch, threads=None, options={"graph": graph})
    assert (session.details["profile"], session.details["graph"]) == (profile, graph)
    for seed in (0, 1):
        got = session.run(feed_for(batch, seed))["y"]
        np.testing.assert_allclose(got, on_the_cpu(path, feed_for(batch, seed)), rtol=TF32, atol=TF32)
    assert 0 < session.last_ms["device"] < 1000


def test_two_requests_on_one_engine_do_not_disturb_each_other(engine: Any) -> None:
    path, built = engine
    first = tensorrt.open_session(built, batch=3, threads=None, options={"graph": "on"})
    second = first.another()
    given = first.run(feed_for(3))["y"]
    second.run(feed_for(3, seed=1))
    np.testing.assert_allclose(given, on_the_cpu(path, feed_for(3)), rtol=TF32, atol=TF32)


# ---- PyTorch ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, TF32),
        ({"graph": "on"}, TF32),
        ({"precision": "float16"}, 2e-2),
        ({"precision": "bfloat16", "graph": "on"}, 5e-2),
    ],
)
def test_the_gpu_gives_what_the_cpu_gives(tmp_path: Path, options: dict[str, str], tolerance: float) -> None:
    session = torch_cuda.open_session(program(tmp_path / "m.pt2"), batch=3, threads=None, options=options)
    assert session.details["provider"] == "cuda"
    session.run({"x": images(3, seed=1)})
    for got, wanted in zip(session.run({"x": images(3)}).values(), expected(3), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    assert 0 < session.last_ms["device"] < 1000


def test_a_captured_program_gives_exactly_what_it_gives_without_a_graph(tmp_path: Path) -> None:
    path = program(tmp_path / "m.pt2")
    plain, captured = (
        torch_cuda.open_session(path, batch=3, threads=None, options={"graph": graph}) for graph in ("off", "on")
    )
    for seed in (0, 1):
        feed = {"x": images(3, seed=seed)}
        for a, b in zip(plain.run(feed).values(), captured.run(feed).values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_program_compiled_for_the_gpu_gives_what_the_cpu_gives(tmp_path: Path, mode: str) -> None:
    session = torch_compile_cuda.open_session(
        program(tmp_path / "m.pt2"), batch=3, threads=None, options={"mode": mode}
    )
    assert session.details["graph"] == ("off" if mode == "default" else "on")
    for seed in (1, 0):
        session.run({"x": images(3, seed=seed)})
    for got, wanted in zip(session.run({"x": images(3)}).values(), expected(3), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=TF32, atol=TF32)


# ---- ONNX Runtime -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", [onnx_cuda, onnx_tensorrt])
def test_onnx_runtime_on_the_gpu_gives_what_it_gives_on_the_cpu(tmp_path: Path, runtime: Any) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    session = opened_or_skipped(lambda: runtime.open_session(path, batch=3, threads=None))
    assert session.details["provider"] == runtime.PROVIDER
    np.testing.assert_allclose(session.run(feed_for(3))["y"], on_the_cpu(path, feed_for(3)), rtol=TF32, atol=TF32)


def opened_or_skipped(open_session: Callable[[], Any]) -> Any:
    try:
        return open_session()
    except MissingDependency as error:
        pytest.skip(error.message)
