"""OpenVINO behind the Session protocol: the same results as ONNX Runtime, and never another precision than it says."""

from __future__ import annotations

import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as library
import pytest
import tiny_onnx

from deploytk.errors import InputError
from deploytk.runtimes import FixedBatch, onnx, openvino

KWS = "mlperf_tiny_qdq_onnx/kws/K1_BOARD_V1.0/models/kws_ref_model.onnx"
EXACT = {"precision": "f32"}


def images(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, 3, 8, 8), dtype=np.float32)


def ir(path: Path, batch: int | str = "batch") -> Path:
    """An OpenVINO IR of the tiny convolution, weights in float16 as OpenVINO stores them."""
    library.save_model(library.Core().read_model(tiny_onnx.conv(path.with_suffix(".onnx"), batch=batch)), path)
    return path


@pytest.mark.parametrize("own", ["batch", 1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_what_onnx_runtime_gives(tmp_path: Path, own: int | str, batch: int) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx", batch=own)
    session = openvino.open_session(path, batch=batch, threads=1, options=EXACT)
    assert (session.inputs[0].shape, session.outputs[0].shape) == ((batch, 3, 8, 8), (batch, 4, 8, 8))
    assert session.details["rebatched"] is (own not in ("batch", batch))
    wanted = onnx.open_session(path, batch=batch, threads=1).run({"x": images(batch)})
    got = session.run({"x": images(batch)})
    assert list(got) == list(wanted) == ["y"]
    np.testing.assert_allclose(got["y"], wanted["y"], rtol=1e-4, atol=1e-5)


def test_an_ir_is_run_and_its_free_batch_filled_in(tmp_path: Path) -> None:
    path = ir(tmp_path / "m.xml")
    session = openvino.open_session(path, batch=2, threads=1, options=EXACT)
    wanted = onnx.open_session(path.with_suffix(".onnx"), batch=2, threads=1).run({"x": images(2)})["y"]
    np.testing.assert_allclose(session.run({"x": images(2)})["y"], wanted, rtol=1e-2, atol=1e-2)
    # The weights are stored as float16, and the convolution computes in float32 all the same.
    assert session.details["precision"] == "float32"


def test_without_a_batch_a_free_one_stays_free(tmp_path: Path) -> None:
    session = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=None, threads=1)
    assert session.inputs[0].shape == ("?", 3, 8, 8)
    assert [session.run({"x": images(n)})["y"].shape[0] for n in (3, 1)] == [3, 1]


def test_an_ir_without_its_weights_says_which_file_is_missing(tmp_path: Path) -> None:
    path = ir(tmp_path / "m.xml")
    path.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"m\.xml: its weights are missing; put m\.bin beside it"):
        openvino.open_session(path, batch=1, threads=1)


def test_an_ir_with_weights_of_another_model_is_one_sentence(tmp_path: Path) -> None:
    path = ir(tmp_path / "m.xml")
    path.with_suffix(".bin").write_bytes(b"123")
    with pytest.raises(InputError, match="OpenVINO cannot load it: Incorrect weights in bin file!") as caught:
        openvino.open_session(path, batch=1, threads=1)
    assert "\n" not in caught.value.message


def test_a_reshape_to_a_constant_batch_follows(tmp_path: Path) -> None:
    path = tiny_onnx.flattened(tmp_path / "m.onnx")
    session = openvino.open_session(path, batch=8, threads=1, options=EXACT)
    assert session.details["rebatched"] is True
    wanted = onnx.open_session(path, batch=8, threads=1).run({"x": images(8)})["y"]
    np.testing.assert_allclose(session.run({"x": images(8)})["y"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("make", "own"), [(tiny_onnx.mixing, 1), (tiny_onnx.summed, 2)])
def test_items_that_do_not_come_out_as_alone_are_a_fixed_batch(tmp_path: Path, make: object, own: int) -> None:
    assert callable(make)
    with pytest.raises(FixedBatch, match=rf"m\.onnx: fixed at batch {own}; at 4 its output y"):
        openvino.open_session(make(tmp_path / "m.onnx"), batch=4, threads=1)


def test_other_free_dimensions_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\[2\] \(\?\), x\[3\] \(\?\)"):
        openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx", size="side"), batch=1, threads=1)


def test_details_say_what_was_really_got(tmp_path: Path) -> None:
    session = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1)
    told = {key: session.details[key] for key in ("provider", "threads", "streams", "hint")}
    assert told == {"provider": "CPU", "threads": 1, "streams": 1, "hint": "latency"}
    free = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=None)
    assert free.details["threads"] >= 1


def test_the_throughput_hint_is_read_back(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    session = openvino.open_session(path, batch=1, threads=None, options={"hint": "throughput", "streams": "1"})
    assert (session.details["hint"], session.details["streams"]) == ("throughput", 1)


@pytest.mark.parametrize(
    ("threads", "options", "said"),
    [
        (4096, {}, r"OpenVINO uses \d+ threads, not the 4096"),
        (1, {"streams": "2"}, "OpenVINO uses 1 streams, not the 2"),
        (1, {"hint": "throughputs"}, "hint cannot be 'throughputs'; did you mean 'throughput'"),
        (1, {"presicion": "f32"}, "did you mean 'precision'"),
        (1, {"streams": "-1"}, "streams must be a whole number of 1 or more, not '-1'"),
        (1, {"precision": "bf61"}, "precision cannot be 'bf61'; did you mean 'bf16'"),
    ],
)
def test_what_openvino_would_not_do_is_refused(
    tmp_path: Path, threads: int, options: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=threads, options=options)


@pytest.mark.parametrize(("asked", "capability", "name"), [("bf16", "BF16", "bfloat16"), ("f16", "FP16", "float16")])
def test_a_precision_is_got_or_refused(tmp_path: Path, asked: str, capability: str, name: str) -> None:
    """OpenVINO takes both on any CPU, and computes in what that one has."""
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    if capability in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        got = openvino.open_session(path, batch=1, threads=1, options={"precision": asked})
        assert got.details["precision"] == name
        return
    with pytest.raises(InputError, match=rf"precision={asked} was asked for, and OpenVINO computes in \w+ on this CPU"):
        openvino.open_session(path, batch=1, threads=1, options={"precision": asked})


def test_a_kernel_that_is_float32_behind_a_bf16_hint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen on a CPU without bf16: the hint is taken and the kernels are float32."""
    monkeypatch.setattr(openvino, "_float", lambda _model: "bfloat16")
    monkeypatch.setattr(openvino, "_kind", lambda told: iter(["float32"] if "layerType" in told else []))
    with pytest.raises(InputError, match=r"precision=bf16 was asked for, and OpenVINO computes in float32"):
        openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1, options={"precision": "bf16"})


def test_the_precision_is_that_of_the_kernels(tmp_path: Path, data_dir: Path) -> None:
    exact = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1, options=EXACT)
    int8 = openvino.open_session(data_dir / KWS, batch=1, threads=1, options=EXACT)
    assert (exact.details["precision"], int8.details["precision"]) == ("float32", "int8")


def test_an_int8_model_is_rebatched_and_near_onnx_runtimes(data_dir: Path) -> None:
    path = data_dir / KWS
    session = openvino.open_session(path, batch=4, threads=1, options=EXACT)
    assert session.details["rebatched"] is True
    value = np.random.default_rng(1).normal(size=session.inputs[0].shape).astype(np.float32) * 10
    feed = {session.inputs[0].name: value}
    (got,), (wanted,) = (s.run(feed).values() for s in (session, onnx.open_session(path, batch=4, threads=1)))
    # Probabilities; the two round a few quantized values another way.
    np.testing.assert_allclose(got, wanted, atol=0.05)


def test_inputs_given_again_and_arrays_made_anew_are_told_apart(tmp_path: Path) -> None:
    session = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1)
    given = [images(1, seed=seed) for seed in (1, 2, 3)]
    expected = [session.run({"x": image.copy()})["y"].copy() for image in given]
    for turn in range(12):
        np.testing.assert_array_equal(session.run({"x": given[turn % 3]})["y"], expected[turn % 3])
        np.testing.assert_array_equal(session.run({"x": given[turn % 2].copy()})["y"], expected[turn % 2])
    given[0][:] = given[1]  # read in place, also where its tensor is kept
    np.testing.assert_array_equal(session.run({"x": given[0]})["y"], expected[1])


def test_arrays_that_are_made_anew_are_not_kept_in_memory(tmp_path: Path) -> None:
    session = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1)
    once = images(1, seed=1)
    alive = weakref.ref(once)
    session.run({"x": once})
    session.run({"x": images(1, seed=2)})
    del once
    assert alive() is None


def test_a_second_request_runs_beside_the_first(tmp_path: Path) -> None:
    first = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=1, threads=1)
    second = first.another()
    assert second._request is not first._request
    feeds = [{"x": images(1, seed=seed)} for seed in (1, 2)]
    alone = [first.run(feed)["y"].copy() for feed in feeds]
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(lambda s=s, f=f: [s.run(f)["y"].copy() for _ in range(50)])
            for s, f in zip((first, second), feeds, strict=True)
        ]
    for expected, job in zip(alone, jobs, strict=True):
        np.testing.assert_array_equal(job.result(), [expected] * 50)


def test_a_wrong_feed_is_named(tmp_path: Path) -> None:
    session = openvino.open_session(tiny_onnx.conv(tmp_path / "m.onnx"), batch=2, threads=1)
    with pytest.raises(InputError, match="'x' is missing; given: y"):
        session.run({"y": images(2)})
    for wrong in (images(3), images(2).astype(np.float64)):
        with pytest.raises(InputError, match=r"'x' must be float32 \[2, 3, 8, 8\]"):
            session.run({"x": wrong})


def test_operators_that_openvino_does_not_have_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"OpenVINO cannot load it: No conversion rule found .*Frobnicate"):
        openvino.open_session(tiny_onnx.custom(tmp_path / "m.onnx"), batch=1, threads=1)


#: Run apart: where the core goes with the session, in another thread, the next signal kills the process.
_SIGNALLED = """
import faulthandler, signal, subprocess, sys, threading
from pathlib import Path
faulthandler.enable()
signal.signal(signal.SIGCHLD, lambda *_: None)
from deploytk.runtimes import openvino
left = [openvino.open_session(Path(sys.argv[1]), batch=1, threads=1)]
thread = threading.Thread(target=left.clear)
thread.start()
thread.join()
subprocess.run(["true"], check=True)
"""


def test_a_session_that_goes_in_another_thread_leaves_this_one_its_signal_stack(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    argv = [sys.executable, "-c", _SIGNALLED, str(path)]
    assert subprocess.run(argv, timeout=120, check=False).returncode == 0
