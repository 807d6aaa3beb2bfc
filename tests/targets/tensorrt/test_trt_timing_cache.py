"""The kernel timings of a build are there for the next, of the same version and GPU alone (on a fake TensorRT)."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from deploytk.runtimes.gpu import Gpu
from deploytk.targets.tensorrt import timing_cache

H100 = Gpu(name="NVIDIA H100 80GB HBM3", compute_capability="9.0", memory_bytes=1, driver="570")


class Config:
    """Takes the timings that begin with `mine`, and has measured one more after the build."""

    def __init__(self) -> None:
        self.taken = b""

    def create_timing_cache(self, kept: bytes) -> bytes:
        return kept

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch  # timings of another version are not valid
        fits = not cache or cache.startswith(b"mine")
        self.taken = cache if fits else self.taken
        return fits

    def get_timing_cache(self) -> Any:
        return types.SimpleNamespace(serialize=lambda: (self.taken or b"mine") + b"+1")


@pytest.fixture
def trt() -> Any:
    fake: Any = types.ModuleType("tensorrt")
    fake.__version__ = "10.16.1.11"
    return fake


def test_each_version_and_gpu_has_a_file_of_its_own(tmp_path: Path, trt: Any) -> None:
    assert timing_cache.path_for(tmp_path, trt, H100).name == "tensorrt-10.16.1.11-NVIDIA-H100-80GB-HBM3.timing"
    assert timing_cache.path_for(tmp_path, trt, None).name == "tensorrt-10.16.1.11-no-gpu.timing"


def test_a_second_build_reads_what_the_first_has_timed(tmp_path: Path, trt: Any) -> None:
    path = tmp_path / "new" / "t.timing"
    first, second = Config(), Config()
    assert timing_cache.used(trt, first, path) == "new"
    timing_cache.keep(trt, first, path)
    assert timing_cache.used(trt, second, path) == "read"
    timing_cache.keep(trt, second, path)
    assert path.read_bytes() == b"mine+1+1"


def test_timings_of_another_version_are_not_used_and_not_an_error(tmp_path: Path, trt: Any) -> None:
    (tmp_path / "t.timing").write_bytes(b"other")
    config = Config()
    assert timing_cache.used(trt, config, tmp_path / "t.timing") == "not valid here"
    assert config.taken == b""


def test_tensorrt_rtx_keeps_none(tmp_path: Path, trt: Any) -> None:
    trt.__name__ = "tensorrt_rtx"
    assert timing_cache.used(trt, None, tmp_path / "t.timing") == "none"
    timing_cache.keep(trt, None, tmp_path / "t.timing")
    assert not list(tmp_path.iterdir())
