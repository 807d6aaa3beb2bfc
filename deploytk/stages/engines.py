"""A TensorRT engine from an ONNX: built in a child process, found again under its key, described beside itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact, finished, sidecar, stage_key, versions_of
from deploytk.profile import Profile
from deploytk.runtimes import gpu

#: What builds engines, and shapes them.
DISTRIBUTIONS = ("tensorrt", "tensorrt-rtx")

#: `build(**what)`: runs `targets.tensorrt.build` in a child and gives its facts.
Build = Callable[..., dict[str, Any]]
#: `sweep(engine)`: the batch size that runs best of those the engine takes; None where none does.
Sweep = Callable[[Path], int | None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How an engine is to be built; see `targets.tensorrt.building.build`."""

    precision: str | None  # None: whatever the ONNX has
    batches: tuple[int, ...]
    best: int | None = None
    workspace_bytes: int | None = None
    level: int = 3
    timing_cache: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """What shapes the engine, as JSON-like values."""
        shaping = asdict(self)
        del shaping["timing_cache"]
        return {**shaping, "batches": list(self.batches)}


def wanted(profile: Profile, precision: str, batches: Sequence[int]) -> Wanted:
    """The engine that a profile asks for."""
    asked = profile.export.tensorrt
    gib = asked.workspace_gib
    return Wanted(
        precision=precision,
        batches=tuple(batches),
        best=asked.best_batch,
        workspace_bytes=None if gib is None else int(gib * 2**30),
        level=asked.level,
        timing_cache=str(asked.timing_cache) if asked.timing_cache else None,
    )


def engine_of(
    onnx: Artifact, out: Path, how: Wanted, build: Build, sweep: Sweep | None = None
) -> tuple[Artifact, bool]:
    """The engine of an ONNX at `out`, and whether it was there already.

    Args:
        sweep: finds the batch size that the engine is built best for, where there is a GPU and none is named: the
            engine is then built a second time, for that one.
    """
    device = gpu.found()
    versions = versions_of("deploytk", *DISTRIBUTIONS)
    settings = {**how.as_dict(), "gpu": device.name if device else None}
    key = stage_key("build-engine", [onnx.sha256], settings, versions)
    there = finished(out, key)
    if there is not None:
        return there, True
    sidecar(out).unlink(missing_ok=True)  # of another engine: it must not be taken for this one's
    facts = _built(onnx, out, how, build)
    if sweep is not None and device is not None and how.best is None and len(how.batches) > 1:
        found = sweep(out)
        if found is not None and found > 1 and found != facts["profiles"][-1][1]:
            facts = _built(onnx, out, replace(how, best=found), build)
        facts["best_by"] = "sweep"
    made = Artifact.record(
        out,
        format="tensorrt-engine",
        precision=how.precision or "as its ONNX",
        made_by="build-engine",
        key=key,
        made_from=[onnx],
        settings={**settings, "engine": facts, "classes": onnx.settings.get("classes", [])},
        versions=versions,
    )
    return made, False


def _built(onnx: Artifact, out: Path, how: Wanted, build: Build) -> dict[str, Any]:
    timings = how.timing_cache or str(out.parent / "timings")
    return build(model=str(onnx.path), out=str(out), timings=timings, **how.as_dict())


def in_words(facts: dict[str, Any]) -> str:
    """`built with TensorRT-RTX 1.7.1.116 in 2.4 s for batches 1 and 2..64, best at 8: float16`."""
    library = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}[facts["library"]]
    spans = [str(low) if low == high else f"{low}..{high}, best at {best}" for low, best, high in facts["profiles"]]
    built = f"built with {library} {facts['version']} in {facts['build_s']:.1f} s"
    return f"{built} for batches {' and '.join(spans)}: {facts['precision']}"
