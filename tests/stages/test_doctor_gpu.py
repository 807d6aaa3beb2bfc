"""The doctor says what the GPU is, and what each TensorRT can do here, whatever crashes when it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from deploytk.errors import MissingDependency, StepFailed
from deploytk.runtimes import gpu
from deploytk.stages import doctor as stage
from deploytk.stages import doctor_gpu

NO_GPU = {"gpu": "none", "lacking": "there is no NVIDIA driver on this machine"}
H200 = {"gpu": "NVIDIA H200", "driver": "570.86", "compute capability": "9.0", "memory": "140.0 GiB", "lacking": ""}
TENSORRT = {"library": "TensorRT 10.16.1.11", "problem": "", "capabilities": []}
RTX = {"library": "TensorRT-RTX 1.7.1.116", "problem": "", "capabilities": ["7.5", "8.6", "8.9", "12.0"]}
REFUSED = {**TENSORRT, "problem": "CUDA initialization failure with error: 35"}


def rows(monkeypatch: pytest.MonkeyPatch, device: dict[str, Any], *libraries: dict[str, Any]) -> list[dict[str, Any]]:
    monkeypatch.setattr(doctor_gpu, "_asked", lambda: libraries)
    return doctor_gpu.tensorrt_rows(device, installed=True)


@pytest.mark.parametrize(
    ("library", "device", "usable", "words"),
    [
        (RTX, NO_GPU, True, "reads models and builds engines, cannot run them: there is no NVIDIA driver"),
        (REFUSED, NO_GPU, False, "without a GPU that it can use (there is no NVIDIA driver on this machine)"),
        (REFUSED, H200, False, "(CUDA initialization failure with error: 35)"),
        (TENSORRT, H200, True, "builds engines and runs them on NVIDIA H200"),
        (RTX, H200, True, "its engines are for other GPUs than compute capability 9.0"),
        (RTX, {**H200, "compute capability": "8.9"}, True, "runs them on NVIDIA H200"),
        (RTX, {**H200, "compute capability": "12.1"}, True, "runs them on NVIDIA H200"),
    ],
    ids=["rtx", "driverless", "refused", "tensorrt", "rtx on hopper", "rtx on ada", "newer than all"],
)
def test_what_a_library_can_do_here(
    library: dict[str, Any], device: dict[str, Any], usable: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [row] = rows(monkeypatch, device, library)
    assert row["usable"] is usable
    assert words in row["here"]


def test_a_library_that_crashes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies() -> None:
        raise StepFailed("available crashed (SIGSEGV)", kind="crash", cause="crashed (SIGSEGV)")

    monkeypatch.setattr(doctor_gpu, "_asked", dies)
    [row] = doctor_gpu.tensorrt_rows(NO_GPU, installed=True)
    assert (row["usable"], row["here"]) == (False, "cannot be used: it crashed (SIGSEGV)")


def test_bindings_without_libraries_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise MissingDependency("no")

    monkeypatch.setattr(doctor_gpu, "_asked", none)
    missing = doctor_gpu.tensorrt_rows(NO_GPU, installed=False)
    assert doctor_gpu.tensorrt_rows(NO_GPU, installed=True) == missing
    assert missing[0]["install"] == "pip install 'deploytk[tensorrt]'"


def test_a_gpu_is_told_with_driver_capability_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu.Gpu(name="NVIDIA H200", compute_capability="9.0", memory_bytes=140 * 2**30, driver="570.86")
    monkeypatch.setattr(gpu, "found", lambda: found)
    assert doctor_gpu.gpu_row() == H200
    assert "lacking" not in doctor_gpu.shown(H200)


def test_where_there_is_no_gpu_the_reason_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "found", lambda: None)
    monkeypatch.setattr(gpu, "lacking", lambda: NO_GPU["lacking"])
    assert doctor_gpu.gpu_row() == NO_GPU
    assert doctor_gpu.shown(NO_GPU) == {"gpu": "none: there is no NVIDIA driver on this machine"}


def test_the_target_tensorrt_is_as_good_as_the_best_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    monkeypatch.setattr(stage, "_clashing", lambda: False)
    best = stage._target("tensorrt", rows(monkeypatch, NO_GPU, REFUSED, RTX))
    assert (best["usable"], best["here"]) == (True, rows(monkeypatch, NO_GPU, RTX)[0]["here"])
    assert not stage._target("tensorrt", rows(monkeypatch, NO_GPU, REFUSED))["usable"]


def test_the_target_tensorrt_without_a_library_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda library: not library.startswith("tensorrt"))
    told = stage._target("tensorrt", [])
    assert (told["usable"], told["install"]) == (False, "pip install 'deploytk[tensorrt]'")
    assert "tensorrt or tensorrt_rtx not installed" in told["here"]
