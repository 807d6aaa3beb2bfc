"""PyTorch on a GPU, on a fake one: captured graphs, the GPU's own time, and reduced precision."""

from __future__ import annotations

from pathlib import Path

import fake_cuda
import numpy as np
import pytest
import torch as library
from fake_cuda import FakeCuda
from test_torch_runtime import Mixing, expected, images, program, script

from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import FixedBatch, cuda, torch_compile_cuda, torch_cuda, torch_gpu


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return fake_cuda.install(monkeypatch)


def opened(path: Path, batch: int | None = 2, **options: str) -> torch_gpu.CudaSession:
    return torch_cuda.open_session(path, batch=batch, threads=None, options=options)


def assert_right(session: torch_gpu.CudaSession, batch: int, tolerance: float = 1e-5) -> None:
    for got, wanted in zip(session.run({"x": images(batch)}).values(), expected(batch), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def test_without_a_graph_each_call_computes_and_its_time_is_known(tmp_path: Path, gpu: FakeCuda) -> None:
    session = opened(program(tmp_path / "m.pt2"))
    assert session.last_ms == {}
    assert_right(session, 2)
    assert session.last_ms == {"device": 1.5} and gpu.said == [] and session.details["graph"] == "off"


def test_a_graph_is_captured_once_and_replayed_with_each_input(tmp_path: Path, gpu: FakeCuda) -> None:
    session = opened(program(tmp_path / "m.pt2"), graph="on")
    session.run({"x": images(2, seed=1)})
    assert_right(session, 2)
    assert gpu.said == ["capture", "replay", "replay"] and session.details["graph"] == "on"


def test_requests_beside_each_other_have_graphs_of_their_own(tmp_path: Path, gpu: FakeCuda) -> None:
    first = opened(program(tmp_path / "m.pt2"), graph="on")
    second = first.another()
    assert gpu.said == ["capture", "capture"] and second is not first
    second.run({"x": images(2, seed=1)})
    assert_right(first, 2)


@pytest.mark.usefixtures("gpu")
def test_a_graph_has_one_batch_size_even_where_none_was_asked_for(tmp_path: Path) -> None:
    assert opened(program(tmp_path / "m.pt2"), None, graph="on").inputs[0].shape == (1, 3, 8, 8)
    assert opened(program(tmp_path / "m.pt2"), None).inputs[0].shape[1:] == (3, 8, 8)


@pytest.mark.usefixtures("gpu")
def test_a_script_is_proved_at_its_batch_before_its_graph_is_captured(tmp_path: Path) -> None:
    with pytest.raises(FixedBatch):
        opened(script(tmp_path / "m.ts", Mixing()), 3, graph="on", shape="3x8x8")


@pytest.mark.usefixtures("gpu")
def test_reduced_precision_is_told_and_the_outputs_keep_their_types(tmp_path: Path) -> None:
    session = opened(program(tmp_path / "m.pt2"), precision="bfloat16")
    assert session.details["precision"] == "bfloat16 (autocast)"
    got = session.run({"x": images(2)})
    assert {value.dtype.name for value in got.values()} == {"float32"}
    assert_right(session, 2, tolerance=2e-2)
    assert any((got[name] != value).any() for name, value in zip(got, expected(2), strict=True))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("option", [{"precision": "float8"}, {"graph": "yes"}, {"graf": "on"}])
def test_options_that_do_not_exist_are_refused(tmp_path: Path, option: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"torch-cuda"):
        opened(program(tmp_path / "m.pt2"), **option)


@pytest.mark.usefixtures("gpu")
def test_float32_says_that_its_convolutions_are_tf32_and_that_can_be_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / "m.pt2")
    assert opened(path).details["precision"] == "float32, convolutions in TF32"
    monkeypatch.setattr(library.backends.cudnn, "allow_tf32", False)
    assert opened(path).details["precision"] == "float32"


def test_too_little_memory_while_capturing_is_a_result_and_no_error_of_the_input(
    tmp_path: Path, gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object, **_more: object) -> None:
        raise library.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(library.cuda, "graph", refuse)
    with pytest.raises(library.OutOfMemoryError):
        opened(program(tmp_path / "m.pt2"), graph="on")
    assert gpu.said == []


def test_work_that_cannot_be_captured_says_so(tmp_path: Path, gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: object, **_more: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(library.cuda, "graph", refuse)
    with pytest.raises(InputError, match=r"graph \(operation not permitted when stream is capturing\); leave"):
        opened(program(tmp_path / "m.pt2"), graph="on")
    assert gpu.said == []


@pytest.mark.usefixtures("gpu")
def test_compiling_for_a_gpu_needs_triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_compile_cuda.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependency, match="needs Triton"):
        torch_compile_cuda.open_session(program(tmp_path / "m.pt2"), batch=2, threads=None)


@pytest.mark.usefixtures("gpu")
def test_a_compiled_program_has_the_time_of_the_gpu_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled for the CPU here, where the fake GPU computes, autocast and all."""
    monkeypatch.setattr(torch_compile_cuda.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(cuda, "require_cuda", lambda _name: None)
    monkeypatch.setattr(library.cuda, "is_available", lambda: False)  # Dynamo would ask the GPU for more
    options = {"precision": "bfloat16"}
    session = torch_compile_cuda.open_session(program(tmp_path / "m.pt2"), batch=2, threads=None, options=options)
    assert_right(session, 2, tolerance=2e-2)
    assert session.last_ms == {"device": 1.5} and session.details["precision"] == "bfloat16 (autocast)"
    assert (session.details["compiled"], session.details["graph"]) == (True, "off")
