"""An ONNX that is to be benched in TensorRT: its engine, built first, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.artifact import Artifact
from deploytk.errors import MissingDependency
from deploytk.runtimes import gpu
from deploytk.stages import engines
from deploytk.worker import Listener

RUNTIME = "tensorrt"
#: As long as an engine may take to be built; with many batch sizes and the highest level it is most of an hour.
TIMEOUT_S = 3600.0
#: The precisions that a lineage tells; a file without one is built as it is.
_KNOWN = ("fp32", "fp16", "bf16", "int8")


def runnable(
    artifact: Artifact, runtime: str | None, batches: Sequence[int], out: Path, listen: Listener | None = None
) -> Artifact:
    """What is really run: the engine of an ONNX where the runtime is TensorRT, else `artifact` itself.

    Args:
        out: the bench's folder; the engine stands in `out/engines`.

    Raises:
        MissingDependency: no TensorRT, or no GPU to run the engine on: the message says what was built all the same.
        InputError: TensorRT does not take or build it.
    """
    if runtime != RUNTIME or artifact.format != "onnx":
        return artifact
    precision = artifact.precision if artifact.precision in _KNOWN else None

    def build(**what: Any) -> dict[str, Any]:
        facts: dict[str, Any] = worker.call(
            "deploytk.targets.tensorrt:build",
            what,
            logs=out / "logs",
            name=f"build-{artifact.path.stem}",
            timeout_s=TIMEOUT_S,
            listen=listen,
        )
        return facts

    how = engines.Wanted(precision=precision, batches=tuple(batches))
    made, _ = engines.engine_of(artifact, out / "engines" / f"{artifact.path.stem}.engine", how, build)
    missing = gpu.lacking()
    if missing:
        told = engines.in_words(made.settings["engine"])
        raise MissingDependency(
            f"{artifact.path}: {told}; not executed: the runtime {RUNTIME} needs an NVIDIA GPU, and {missing}"
        )
    return made
