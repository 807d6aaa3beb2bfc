"""Shared fixtures: where the real inputs are."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import warm

import deploytk  # noqa: F401 (before any library: it switches off what ONNX Runtime tells its makers)
from deploytk import worker

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_finish() -> None:
    """Leave what collecting has imported (torch, JAX, ...) out of every later collection of garbage.

    What is tested collects before each block of samples: with millions of objects looked through each time, the tests
    of that alone took minutes.
    """
    gc.collect()
    gc.freeze()


class _SignalStack(ctypes.Structure):
    """stack_t of <signal.h>."""

    _fields_ = [("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


_ROOM = ctypes.create_string_buffer(1 << 20)


@pytest.fixture(autouse=True)
def _a_signal_stack_that_is_there() -> None:
    """The main thread's signals have a stack of ours before each test.

    OpenVINO's plugin sets one and unmaps it when it goes, in whatever thread: then the next signal (the end of a child)
    killed the process of the tests. Our own code keeps its plugin (runtimes/openvino.py); NNCF's does not.
    """
    if sys.platform.startswith("linux"):
        stack = _SignalStack(ctypes.addressof(_ROOM), 0, len(_ROOM))
        ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)


@pytest.fixture(scope="module", autouse=True)
def _warm_children(request: pytest.FixtureRequest) -> Iterator[None]:
    """Steps begin with the heavy libraries imported (warm.py), but in files that say `COLD_CHILDREN = True`."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform.startswith("linux") and not getattr(request.module, "COLD_CHILDREN", False):
            patch.setattr(worker, "Popen", warm.Popen)
        yield


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_of_a_file() -> Iterator[None]:
    """What the tests of a file leave goes here, in the main thread; what they have imported is looked through once."""
    yield
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say how a process of the tests died: xdist itself says only that it did."""
    if error:
        code = node.gateway._io.popen.wait(timeout=10)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        print(f"\n{node.gateway.id}: {how}", file=sys.stderr)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real inputs; tests that need it are skipped where it does not exist."""
    folder = Path(os.environ.get("DEPLOYTK_TEST_DATA", _BESIDE))
    if not folder.is_dir():
        pytest.skip("no real inputs: set DEPLOYTK_TEST_DATA to a copy of shared/data")
    return folder


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The backend `toy` is there for this process and its children; called, it sets the faults that come."""
    folder = str(Path(__file__).parent / "toy_backend")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("TOY_FAULTS", "")
    return lambda faults: monkeypatch.setenv("TOY_FAULTS", faults)
