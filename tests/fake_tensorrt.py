"""A TensorRT for tests: its engines double `x` into `y`, its failures are None and False with words in the logger.

A plan is `ftrt` and JSON: `{"batch": -1, "profiles": [[1, 1, 1], [2, 8, 64]]}`, with `says` for a complaint that it
cannot be read, `host_code` for one that brings code, `runs: false` and `captures: false` for engines that fail there.
"""

from __future__ import annotations

import ctypes
import json
import sys
import types
from pathlib import Path
from typing import Any

import fake_cuda
import numpy as np
import pytest

from deploytk.runtimes import tensorrt_library

VERSION = "10.16.1.11"


def plan(header: bytes = b"", **told: Any) -> bytes:
    """The bytes of an engine file; a free batch from 1 to 4, best at 2, unless told otherwise."""
    return header + b"ftrt" + json.dumps({"batch": -1, "profiles": [[1, 2, 4]], **told}).encode()


def engine_file(path: Path, header: bytes = b"", **told: Any) -> Path:
    """An engine file."""
    path.write_bytes(plan(header, **told))
    return path


class Engine:
    """A deserialized engine."""

    num_io_tensors = 2

    def __init__(self, told: dict[str, Any], fake: FakeTensorRt) -> None:
        self.told, self.fake = told, fake
        self.num_optimization_profiles = len(told["profiles"])

    def get_tensor_name(self, index: int) -> str:
        """`x`, then `y`."""
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> str:
        """Which of them is the input."""
        return "in" if name == "x" else "out"

    def get_tensor_shape(self, _name: str) -> tuple[int, ...]:
        """Three numbers for each item."""
        return (self.told["batch"], *self.told.get("rest", [3]))

    def get_tensor_profile_shape(self, _name: str, profile: int) -> list[tuple[int, ...]]:
        """Least, best and most."""
        limits = self.told.get("limits", [[3]] * 3)
        return [(batch, *rest) for batch, rest in zip(self.told["profiles"][profile], limits, strict=True)]

    def get_tensor_dtype(self, _name: str) -> str:
        """The name of its type."""
        return str(self.told.get("dtype", "FLOAT"))

    def get_tensor_location(self, _name: str) -> str:
        """Where its memory is."""
        return str(self.told.get("location", "device"))

    def create_execution_context(self) -> Context | None:
        """A context; None where the plan has it so, as where memory is short."""
        if "no context" in self.told:
            self.fake.complain(self.told["no context"])
            return None
        return Context(self)


class Context:
    """Computes in the addresses it was given, as TensorRT does."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.told = engine, engine.told
        self.shape: tuple[int, ...] = engine.get_tensor_shape("x")
        self.at: dict[str, int] = {}

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        """Choose a profile, on the private stream."""
        self._say(f"profile {profile} on {stream}")
        return bool(self.told.get("switches", True))

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Set the shape of an input."""
        self._say(f"shape {name} {shape}")
        self.shape = shape
        return True

    def infer_shapes(self) -> list[str]:
        """The tensors whose shape is still unknown."""
        self._say("infer")
        if "no shapes" in self.told:
            raise RuntimeError(self.told["no shapes"])
        return list(self.told.get("unknown", []))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """The shape in this context."""
        return (-1,) if name == "y" and self.told.get("data dependent") else self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Where a tensor is."""
        self.at[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """Compute, or be captured."""
        capturing = self.engine.fake.cuda.capturing
        self._say(f"execute on {stream}" + (" in capture" if capturing else ""))
        if not self.told.get("runs", True) or (capturing and not self.told.get("captures", True)):
            self.engine.fake.complain("cudaErrorStreamCaptureUnsupported")
            return False
        if capturing:
            capturing.work.append(self._compute)
        else:
            self._compute()
        return True

    def _compute(self) -> None:
        count = int(np.prod(self.shape))
        given, result = (
            np.ctypeslib.as_array(ctypes.cast(self.at[n], ctypes.POINTER(ctypes.c_float)), (count,)) for n in "xy"
        )
        result[:] = 2 * given

    def _say(self, what: str) -> None:
        self.engine.fake.cuda.said.append(what)


class FakeTensorRt:
    """The module with what it was asked: `said`, in order; `asked` whether a plan ever reached it."""

    def __init__(self, cuda: fake_cuda.FakeCuda) -> None:
        self.cuda = cuda
        self.asked = 0
        self.logger: Any = None
        self.module: Any = types.ModuleType("tensorrt")
        self.module.__version__ = VERSION
        self.module.ILogger = type("ILogger", (), {"Severity": types.SimpleNamespace(ERROR=1)})
        self.module.TensorIOMode = types.SimpleNamespace(INPUT="in")
        self.module.TensorLocation = types.SimpleNamespace(DEVICE="device")
        self.module.nptype = _nptype
        self.module.Runtime = self._runtime

    @property
    def said(self) -> list[str]:
        """What was asked of the contexts and the GPU."""
        return self.cuda.said

    def complain(self, what: str) -> None:
        """Say why, where TensorRT says it."""
        self.logger.log(1, what)

    def _runtime(self, logger: Any) -> Any:
        self.logger = logger
        runtime = types.SimpleNamespace(engine_host_code_allowed=False)
        runtime.deserialize_cuda_engine = lambda given: self._deserialized(given, runtime.engine_host_code_allowed)
        return runtime

    def _deserialized(self, given: bytes, allowed: bool) -> Engine | None:
        assert given[:4] == b"ftrt"
        self.asked += 1
        told = json.loads(given[4:])
        if told.get("host_code") and not allowed:
            told["says"] = "Engine deserialization refused: getEngineHostCodeAllowed() is false."
        if "says" in told:
            self.complain(told["says"])
            return None
        return Engine(told, self)


def _nptype(kind: str) -> type:
    if kind != "FLOAT":
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return np.float32


def install(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    """Put the fake, and a fake GPU, in the place of the real ones until the test ends."""
    fake = FakeTensorRt(fake_cuda.install(monkeypatch))
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module)
    monkeypatch.setattr(tensorrt_library, "NAMES", ("tensorrt",))
    return fake
