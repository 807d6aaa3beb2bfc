"""An engine from an ONNX file that has its precision in it: parsed, guarded, built. Runs in a child process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from deploytk import worker
from deploytk.errors import InputError
from deploytk.files import sha256_of, written_whole
from deploytk.runtimes import gpu
from deploytk.runtimes import tensorrt_library as library
from deploytk.targets.tensorrt import network as networks
from deploytk.targets.tensorrt import timing_cache
from deploytk.targets.tensorrt.network import Parsed
from deploytk.targets.tensorrt.spans import Span, spans


def build(
    model: str,
    out: str,
    *,
    precision: str | None,
    batches: Sequence[int],
    best: int | None = None,
    workspace_bytes: int | None = None,
    level: int = 3,
    timings: str,
) -> dict[str, Any]:
    """Write the engine of an ONNX file for batch sizes, and what is to be known of it before it is loaded.

    Args:
        precision: "fp32", "fp16", "bf16" or "int8": what the network must compute in, or nothing is built; None:
            whatever the file has.
        batches: the sizes that it must take.
        best: the one that it is built for (`spans`).
        workspace_bytes: the GPU memory that a kernel may use beside its tensors; TensorRT's own choice where None.
        level: builder_optimization_level, 0 (quick to build) to 5 (tries all).
        timings: folder of the timing caches, or the file of one.

    Returns:
        library, version, gpu, compute_capability, driver (None without a GPU), onnx_sha256, profiles, precision (in
        words), computes (type -> layers with weights), host_code, tf32, timing_cache, level, workspace_bytes, build_s,
        bytes.

    Raises:
        MissingDependency: no TensorRT, or one that builds nothing without a GPU.
        InputError: TensorRT does not take or build it; another dimension than the batch is free.
        ParityFailed: it would not compute in that precision.
    """
    worker.emit(text=f"reading {Path(model).name}")
    made, device = networks.parsed(Path(model)), gpu.found()
    trt, computes = made.trt, networks.computes(made.trt, made.network)
    if precision is not None:
        networks.require_precision(Path(model).name, precision, computes)
    wanted = spans(batches, best)
    config = _config(made, workspace_bytes, level)
    for span in _of_network(Path(model), made.network, wanted):
        _add_profile(Path(model), made, config, span)
    cache = Path(timings)
    cache = cache if cache.is_file() or cache.suffix else timing_cache.path_for(cache, trt, device)
    timed = timing_cache.used(trt, config, cache)
    began = time.monotonic()
    plan = _built(Path(model), made, config)
    build_s = round(time.monotonic() - began, 2)
    timing_cache.keep(trt, config, cache)
    with written_whole(Path(out)) as temporary:
        temporary.write_bytes(plan)
    return {
        "library": trt.__name__,
        "version": trt.__version__,
        "gpu": device.name if device else None,
        "compute_capability": device.compute_capability if device else None,
        "driver": device.driver if device else None,
        "onnx_sha256": sha256_of(Path(model)),
        "profiles": [span.as_list() for span in wanted],
        "precision": networks.in_words(computes),
        "computes": computes,
        "host_code": False,
        "tf32": _tf32(trt, config),
        "timing_cache": timed,
        "level": level,
        "workspace_bytes": workspace_bytes,
        "build_s": build_s,
        "bytes": len(plan),
    }


def _config(made: Parsed, workspace_bytes: int | None, level: int) -> Any:
    trt, config = made.trt, made.builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.builder_optimization_level = level
    config.progress_monitor = _monitor(trt)
    if workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    return config


def _of_network(model: Path, network: Any, wanted: Sequence[Span]) -> Sequence[Span]:
    """The spans that the network needs a profile for: none where its batch is fixed, and is the one asked for.

    Raises:
        InputError: another dimension than the batch is free, or its fixed batch is not what is asked for.
    """
    inputs = [network.get_input(place) for place in range(network.num_inputs)]
    for tensor in inputs:
        if -1 in tuple(tensor.shape)[1:]:
            raise InputError(
                f"{model}: input {tensor.name!r} is {_shape(tensor)}: an engine is for one image size; "
                "export the ONNX with a fixed one"
            )
    if any(tuple(tensor.shape)[:1] == (-1,) for tensor in inputs):
        return wanted
    sizes = {int(tensor.shape[0]) for tensor in inputs if len(tensor.shape)}
    if [(span.least, span.most) for span in wanted] != [(size, size) for size in sizes]:
        told = ", ".join(str(span) for span in wanted)
        fixed = " and ".join(map(str, sorted(sizes)))
        raise InputError(f"{model}: its batch size is fixed at {fixed}, and the engine is asked for batches {told}")
    return ()


def _shape(tensor: Any) -> str:
    return "[" + ", ".join("free" if side == -1 else str(side) for side in tensor.shape) + "]"


def _add_profile(model: Path, made: Parsed, config: Any, span: Span) -> None:
    """Add the profile of a span; TensorRT refuses one by giving -1 and no exception."""
    profile = made.builder.create_optimization_profile()
    for place in range(made.network.num_inputs):
        tensor = made.network.get_input(place)
        rest = tuple(tensor.shape)[1:]
        if tuple(tensor.shape)[:1] == (-1,):
            profile.set_shape(tensor.name, *((size, *rest) for size in span.as_list()))
    if not profile or config.add_optimization_profile(profile) < 0:
        said = "; ".join(library.complaints()) or "it does not say why"
        raise InputError(f"{model}: {library.named(made.trt)} refuses the batches {span}: {said}")


def _built(model: Path, made: Parsed, config: Any) -> bytes:
    """The plan; TensorRT gives None where it could not build it, and tells only its logger why."""
    plan = made.builder.build_serialized_network(made.network, config)
    if plan is None:
        said = "; ".join(library.complaints()) or "it does not say why"
        raise InputError(f"{model}: {library.named(made.trt)} cannot build it: {said}")
    return bytes(plan)


def _tf32(trt: ModuleType, config: Any) -> bool:
    """Whether float32 convolutions may be computed in TF32, which has ten bits."""
    return bool(config.get_flag(trt.BuilderFlag.TF32))


def _monitor(trt: Any) -> Any:
    """What tells the parent how far a build is: the outermost phase, step by step."""

    class Telling(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.outermost, self.steps = "", 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase:
                self.outermost, self.steps = phase_name, num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self.outermost:
                worker.emit(done=step + 1, total=self.steps, text=phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            del phase_name

    return Telling()
