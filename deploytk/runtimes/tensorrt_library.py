"""TensorRT or TensorRT-RTX: which is installed, and what it says (tensorrt, tensorrt_rtx: one API, a module parameter).

TensorRT raises nothing: a step that failed gives None, False or -1, and the reason stands in the logger alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

from deploytk.errors import MissingDependency

#: TensorRT first: an engine for it runs on every GPU; TensorRT-RTX knows none of compute capability 9.0 and 10.0.
NAMES = ("tensorrt", "tensorrt_rtx")
WORDS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
_MISSING = "TensorRT is not installed. Install it with: pip install 'deploytk[tensorrt]'"
#: What the logger was told since it was last asked: it is one for the process, as TensorRT ignores a second.
_SAID: list[str] = []


def libraries() -> Iterator[ModuleType]:
    """Each TensorRT that is installed: an engine of one cannot be read by the other.

    Raises:
        MissingDependency: none is.
    """
    found = 0
    for name in NAMES:
        try:
            module = importlib.import_module(name)
        except ImportError:  # the bindings without their libraries are no TensorRT either
            continue
        found += 1
        yield module
    if not found:
        raise MissingDependency(_MISSING)


def library(name: str | None = None) -> ModuleType:
    """The TensorRT of that name, or the first that is installed.

    Raises:
        MissingDependency: it is not.
    """
    for module in libraries():
        if name in (None, module.__name__):
            return module
    raise MissingDependency(f"{WORDS[str(name)]} is not installed here")


def is_rtx(trt: ModuleType) -> bool:
    """Whether it is TensorRT-RTX."""
    return trt.__name__ == "tensorrt_rtx"


def named(trt: ModuleType) -> str:
    """`TensorRT 10.16.1.11`."""
    return f"{WORDS.get(trt.__name__, trt.__name__)} {trt.__version__}"


@cache
def logger(trt: Any) -> Any:
    """The logger of this process, which keeps errors for the message."""

    class Keeping(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, said: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                _SAID.append(said)

    return Keeping()


def complaints() -> list[str]:
    """What went wrong since this was last asked, each once and on one line; the list is emptied."""
    said = list(dict.fromkeys(" ".join(text.split()) for text in _SAID))
    _SAID.clear()
    return said


def last_words() -> str:
    """The last complaint, which is left in the list."""
    return _SAID[-1].strip().splitlines()[0] if _SAID else "it does not say why"
