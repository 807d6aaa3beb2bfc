"""deploytk's side of a comparison: the child that `deploytk bench` measures in, kept busy for some seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from deploytk.errors import DeploytkError
from deploytk.stages.bench import artifact_of, spec_of
from deploytk.stages.bench_process import BatchProcess

_PATIENCE_S = 300.0


def samples_of(
    model: Path, runtime: str, *, seconds: float, threads: int, batch: int = 1, options: Mapping[str, str] | None = None
) -> tuple[list[float], dict[str, Any]]:
    """(latencies in ms, details of the runtime) of a fresh process, warmed up, then sampled for about `seconds`.

    Raises:
        DeploytkError: the model could not be measured; the reason.
    """
    spec = spec_of(artifact_of(model), runtime=runtime, threads=threads, options=options) | {"batch": batch}
    block, details = block_of(spec, seconds)
    return block["samples_ms"], details


def block_of(spec: Mapping[str, Any], seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the child's answer for one block of about `seconds`, details of the runtime); errors as for `samples_of`."""
    with tempfile.TemporaryDirectory() as logs:
        process = BatchProcess(dict(spec), Path(logs))
        try:
            details = _asked(process, do="open")["details"]
            warm = _asked(process, do="warm", limit_s=seconds / 2)["warmup_ms"]
            calls = max(10, int(1000 * seconds / median(warm)))
            return _asked(process, do="block", calls=calls), details
        finally:
            process.close()


def _asked(process: BatchProcess, **command: Any) -> dict[str, Any]:
    said = process.ask(command, timeout_s=_PATIENCE_S)
    if "status" in said:
        raise DeploytkError(f"{said['status']}: {said['reason']}")
    return said
