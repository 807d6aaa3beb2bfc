"""TensorRT behind the Session protocol, on a fake library and a fake GPU: the order of calls and what goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_tensorrt
import numpy as np
import pytest
from fake_tensorrt import FakeTensorRt, engine_file

from deploytk.errors import InputError, MissingDependency
from deploytk.runtimes import FixedBatch, tensorrt, tensorrt_library

TWO_PROFILES: dict[str, Any] = {"profiles": [[1, 1, 1], [2, 8, 64]]}


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    return fake_tensorrt.install(monkeypatch)


def opened(path: Path, batch: int | None = 1, **options: str) -> tensorrt.TensorRtSession:
    return tensorrt.open_session(path, batch=batch, threads=None, options=options)


def values(batch: int, start: float = 0) -> dict[str, np.ndarray]:
    return {"x": start + np.arange(3 * batch, dtype=np.float32).reshape(batch, 3)}


@pytest.mark.usefixtures("trt")
@pytest.mark.parametrize("header", [b"", (12).to_bytes(4, "little") + b'{"stride":8}'])
def test_an_engine_with_a_free_batch_runs_with_and_without_ultralytics_header(tmp_path: Path, header: bytes) -> None:
    session = opened(engine_file(tmp_path / "m.engine", header), 3)
    assert (session.inputs[0].shape, session.outputs[0].shape) == ((3, 3), (3, 3))
    np.testing.assert_array_equal(session.run(values(3))["y"], 2 * values(3)["x"])


@pytest.mark.usefixtures("trt")
def test_a_second_request_has_memory_of_its_own(tmp_path: Path) -> None:
    session = opened(engine_file(tmp_path / "m.engine"), 3)
    first, second = session.run(values(3)), session.another().run(values(3, 1))
    np.testing.assert_array_equal(first["y"], 2 * values(3)["x"])
    np.testing.assert_array_equal(second["y"], 2 * values(3, 1)["x"])


def test_the_profile_is_chosen_before_the_shapes_and_all_on_its_own_stream(tmp_path: Path, trt: FakeTensorRt) -> None:
    opened(engine_file(tmp_path / "m.engine", **TWO_PROFILES), 3).run(values(3))
    assert trt.said == ["profile 1 on 7", "shape x (3, 3)", "infer", "execute on 7"]


def test_a_graph_is_captured_after_one_run_and_replayed_in_each(tmp_path: Path, trt: FakeTensorRt) -> None:
    session = opened(engine_file(tmp_path / "m.engine"), 2, graph="on")
    assert trt.said[3:] == ["execute on 7", "capture", "execute on 7 in capture"]
    for start in (0, 5):
        np.testing.assert_array_equal(session.run(values(2, start))["y"], 2 * values(2, start)["x"])
    assert trt.said[6:] == ["replay", "replay"] and session.details["graph"] == "on"


def test_another_request_captures_a_graph_of_its_own(tmp_path: Path, trt: FakeTensorRt) -> None:
    first = opened(engine_file(tmp_path / "m.engine"), 2, graph="on")
    second = first.another()
    assert trt.said.count("capture") == 2
    given = first.run(values(2))
    second.run(values(2, 9))
    np.testing.assert_array_equal(given["y"], 2 * values(2)["x"])


@pytest.mark.usefixtures("trt")
def test_the_time_of_the_gpu_is_known_after_the_first_run(tmp_path: Path) -> None:
    session = opened(engine_file(tmp_path / "m.engine"))
    assert session.last_ms == {}
    session.run(values(1))
    assert session.last_ms == {"device": 1.5}


@pytest.mark.usefixtures("trt")
def test_the_details_say_which_profile_runs(tmp_path: Path) -> None:
    told = opened(engine_file(tmp_path / "m.engine", **TWO_PROFILES), 16).details
    assert (told["profile"], told["profile_batches"], told["profiles"]) == (1, "2 to 64", 2)
    assert (told["provider"], told["version"], told["graph"]) == ("tensorrt", "10.16.1.11", "off")


@pytest.mark.usefixtures("trt")
def test_batches_that_an_engine_was_not_built_for_are_a_fixed_batch(tmp_path: Path) -> None:
    with pytest.raises(FixedBatch, match=r"takes batches of 1, 2 to 64, not of 65"):
        opened(engine_file(tmp_path / "m.engine", **TWO_PROFILES), 65)
    fixed = engine_file(tmp_path / "f.engine", batch=2)
    assert opened(fixed, None).inputs[0].shape == (2, 3)
    with pytest.raises(FixedBatch, match="built for batch 2 alone, not for 1"):
        opened(fixed, 1)


@pytest.mark.usefixtures("trt")
@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"switches": False}, r"TensorRT 10\.16\.1\.11 cannot use its profile 0"),
        ({"unknown": ["y"]}, "shapes stay unknown for y"),
        ({"no shapes": "division by zero"}, "its shapes do not follow from its inputs: division by zero"),
        ({"data dependent": True}, "the size of its output 'y' depends on the data"),
        ({"location": "host"}, "its tensor 'x' holds sizes, on the CPU"),
        ({"dtype": "BF16"}, "its tensor 'x' is BF16, which NumPy does not have"),
        ({"no context": "no such tactic"}, "gives no execution context: no such tactic"),
        ({"rest": [3, -1], "limits": [[3, 8], [3, 16], [3, 32]]}, "dimension 2 of its input 'x' is free, from 8 to 32"),
    ],
)
def test_what_an_engine_cannot_do_is_one_sentence(tmp_path: Path, told: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        opened(engine_file(tmp_path / "m.engine", **told))
    assert "\n" not in caught.value.message and "m.engine" in caught.value.message


@pytest.mark.usefixtures("trt")
def test_a_dimension_that_the_profile_pins_is_not_free(tmp_path: Path) -> None:
    session = opened(engine_file(tmp_path / "m.engine", rest=[-1], limits=[[3], [3], [3]]), 2)
    assert session.inputs[0].shape == (2, 3)


@pytest.mark.usefixtures("trt")
def test_an_engine_that_fails_to_run_says_tensorrts_words(tmp_path: Path) -> None:
    session = opened(engine_file(tmp_path / "m.engine", runs=False))
    with pytest.raises(RuntimeError, match="could not run the engine: cudaErrorStreamCaptureUnsupported"):
        session.run(values(1))


@pytest.mark.usefixtures("trt")
def test_an_engine_that_cannot_be_captured_says_to_leave_the_graph_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"CUDA graph \(TensorRT could not run .*\); leave the option graph out"):
        opened(engine_file(tmp_path / "m.engine", captures=False), graph="on")


@pytest.mark.usefixtures("trt")
def test_too_little_memory_at_a_batch_size_is_a_result_and_no_error_of_the_input(tmp_path: Path) -> None:
    short = "Requested amount of GPU memory could not be allocated: OutOfMemory"
    with pytest.raises(MemoryError, match="OutOfMemory"):
        opened(engine_file(tmp_path / "m.engine", **{"no context": short}))


@pytest.mark.usefixtures("trt")
def test_options_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    path = engine_file(tmp_path / "m.engine")
    with pytest.raises(InputError, match="did you mean 'graph'"):
        opened(path, grahp="on")
    with pytest.raises(InputError, match="trust cannot be 'perhaps'"):
        opened(path, trust="perhaps")


@pytest.mark.usefixtures("trt")
def test_a_file_that_is_no_engine_is_refused_and_a_missing_library_is_exit_6(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.engine").write_bytes(b"no engine at all")
    with pytest.raises(InputError, match="no TensorRT engine"):
        opened(tmp_path / "m.engine")
    monkeypatch.setattr(tensorrt_library, "NAMES", ("tensorrt_of_nobody",))
    with pytest.raises(MissingDependency, match=r"pip install 'deploytk\[tensorrt\]'"):
        opened(engine_file(tmp_path / "m.engine"))
