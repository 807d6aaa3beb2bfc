"""A backend, a target or a runtime by its name: a literal table, and entry points for other packages."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from types import ModuleType
from typing import Any

from deploytk.errors import InputError, MissingDependency

#: name -> module; other packages add theirs through the entry points `deploytk.backends`, `.targets`, `.runtimes`.
TABLES: dict[str, dict[str, str]] = {
    "backends": {
        "ultralytics": "deploytk.backends.ultralytics",
        "classifier": "deploytk.backends.classifier",
        "seq2seq": "deploytk.backends.seq2seq",
        "causal_lm": "deploytk.backends.causal_lm",
    },
    "targets": {
        "onnx": "deploytk.targets.onnx",
        "openvino": "deploytk.targets.openvino",
        "npu": "deploytk.targets.npu",
        "tensorrt": "deploytk.targets.tensorrt",
    },
    "runtimes": {
        "onnx": "deploytk.runtimes.onnx",
        "onnx-cuda": "deploytk.runtimes.onnx_cuda",
        "onnx-tensorrt": "deploytk.runtimes.onnx_tensorrt",
        "litert": "deploytk.runtimes.litert",
        "openvino": "deploytk.runtimes.openvino",
        "torch": "deploytk.runtimes.torch",
        "torch-compile": "deploytk.runtimes.torch_compile",
        "torch-cuda": "deploytk.runtimes.torch_cuda",
        "torch-compile-cuda": "deploytk.runtimes.torch_compile_cuda",
        "tensorrt": "deploytk.runtimes.tensorrt",
    },
}

#: Which extra of deploytk brings a library: the import name of the library -> the extra.
EXTRAS = {
    "ultralytics": "yolo",
    "torch": "yolo",
    "torchvision": "yolo",
    "cv2": "yolo",
    "timm": "classifier",
    "safetensors": "classifier",
    "polars": "data",
    "simplejpeg": "data",
    "ray": "ray",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxslim": "onnx",
    "ai_edge_litert": "litert",
    "ethosu": "npu",
    "litert_torch": "npu",
    "ai_edge_quantizer": "npu",
    "flatbuffers": "npu",
    "openvino": "openvino",
    "nncf": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt",
    "tensorboardX": "tensorboard",
    "mlflow": "mlflow",
    "transformers": "text",
    "accelerate": "text",
    "peft": "text",
    "bitsandbytes": "text",
    "optimum": "text",
    "rouge_score": "text",
    "httpx": "text",
    "tenacity": "text",
    "sklearn": "text",
}


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the empty string where nothing is close."""
    close = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(what: str, wrong: str, known: Iterable[str]) -> str:
    """`there is no target 'npo'; did you mean 'npu'? Known: npu, onnx`."""
    known = sorted(known)
    near = suggestion(wrong, known)
    return f"there is no {what} {wrong!r}{near or '.'} Known: {', '.join(known)}"


def names(table: str) -> list[str]:
    """The names known in a table ("backends", "targets", "runtimes"), sorted."""
    found = {point.name for point in metadata.entry_points(group=f"deploytk.{table}")}
    return sorted(found | set(TABLES[table]))


def missing(error: ModuleNotFoundError, extra: str | None = None) -> MissingDependency:
    """The one line that says which extra brings the library that could not be imported; `extra` where that is known."""
    library = (error.name or "").split(".")[0]
    extra = extra or EXTRAS.get(library)
    how = f"pip install 'deploytk[{extra}]'" if extra else f"pip install {library}"
    return MissingDependency(f"{library} is not installed. Install it with: {how}")


def load(table: str, name: str) -> ModuleType:
    """The module behind `name` in a table.

    Raises:
        InputError: no such name.
        MissingDependency: the library it is about is not installed.
    """
    path = TABLES[table].get(name)
    if path is None:
        points = metadata.entry_points(group=f"deploytk.{table}", name=name)
        if not points:
            raise InputError(unknown(table[:-1], name, names(table)))
        path = next(iter(points)).value
    return import_or_explain(path)


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package whose functions are each imported when they are first asked for.

    Args:
        package: its `__name__`.
        modules: name of a function -> the module inside the package that has it. The two are named differently: a
            submodule, once imported, takes its name in the package.
    """

    def attribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return attribute


def import_or_explain(module: str) -> ModuleType:
    """Import `module`; a library that is missing becomes one sentence about the extra to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("deploytk"):
            raise
        raise missing(error) from error
