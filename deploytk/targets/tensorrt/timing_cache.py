"""How long each kernel took, kept from one build to the next: a file for each TensorRT version and GPU."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk.files import written_whole
from deploytk.runtimes import tensorrt_library as library
from deploytk.runtimes.gpu import Gpu


def path_for(folder: Path, trt: ModuleType, gpu: Gpu | None) -> Path:
    """The cache of this version on this GPU: timings of another are not valid."""
    name = f"{trt.__name__}-{trt.__version__}-{gpu.name if gpu else 'no-gpu'}"
    return folder / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}.timing"


def used(trt: ModuleType, config: Any, path: Path) -> str:
    """Give a builder's configuration the timings at `path`; what came of it: "read", "new", "not valid here", "none".

    TensorRT-RTX chooses its kernels on the machine that runs them and keeps no timings ("none").
    """
    if library.is_rtx(trt):
        return "none"
    kept = path.read_bytes() if path.is_file() else b""
    if config.set_timing_cache(config.create_timing_cache(kept), False):
        return "read" if kept else "new"
    config.set_timing_cache(config.create_timing_cache(b""), False)
    library.complaints()  # it complained of the version: said by the word that is given back
    return "not valid here"


def keep(trt: ModuleType, config: Any, path: Path) -> None:
    """Write what the build has timed to `path`, whole."""
    cache = None if library.is_rtx(trt) else config.get_timing_cache()
    if cache is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_bytes(bytes(cache.serialize()))
