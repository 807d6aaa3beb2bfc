"""The ways to run a model on an NVIDIA GPU side by side, by batch size, each beside what the GPU could do at best.

python bench/peers/gpu.py [--seconds 2] [--models resnet18 yolov8n-640]     # writes bench/results/gpu.{json,md}

Wall clock: inputs start and outputs end in the memory of the CPU. Device: the GPU's own clock around the model alone.
On a machine without a GPU it says so and ends with exit code 6.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from results import MODELS as FOLDER
from results import keep, parser
from roofline import Model, Roof

from deploytk.artifact import versions_of
from deploytk.errors import DeploytkError, MissingDependency
from deploytk.measurement import percentile
from deploytk.runtimes.gpu import require_gpu

BUDGET_MS = 50.0
BYTES = {"fp32": 4, "fp16": 2}
_LIBRARIES = ("deploytk", "torch", "triton", "onnxruntime-gpu", "tensorrt")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One way to run a model: which file of it, on which runtime, with which options."""

    name: str
    file: str  # "program", "onnx", "engine"
    runtime: str
    options: Mapping[str, str] = field(default_factory=dict)


ROUTES = (
    Route(name="PyTorch, operator by operator", file="program", runtime="torch-cuda"),
    Route(name="PyTorch, CUDA graph", file="program", runtime="torch-cuda", options={"graph": "on"}),
    Route(
        name="torch.compile, CUDA graphs",
        file="program",
        runtime="torch-compile-cuda",
        options={"mode": "reduce-overhead"},
    ),
    Route(name="ONNX Runtime, CUDA", file="onnx", runtime="onnx-cuda"),
    Route(name="ONNX Runtime, TensorRT", file="onnx", runtime="onnx-tensorrt"),
    Route(name="TensorRT", file="engine", runtime="tensorrt"),
    Route(name="TensorRT, CUDA graph", file="engine", runtime="tensorrt", options={"graph": "on"}),
)


def row(batch: int, block: Mapping[str, Any], taken: Model, precision: str, roof: Roof) -> dict[str, Any]:
    """One batch size of one route: its latencies, whether p95 is within the budget, and both beside the roofline."""
    samples, device = block["samples_ms"], block["parts_ms"].get("device")
    work = taken.work(batch, BYTES[precision])
    wall_ms, device_ms = median(samples), median(device) if device else None
    p95_ms = percentile(samples, 95)
    return {
        "batch": batch,
        "p50 ms": round(wall_ms, 3),
        "p95 ms": round(p95_ms, 3),
        f"p95 within {BUDGET_MS:g} ms": "yes" if p95_ms <= BUDGET_MS else "no",
        "items/s": round(1e3 * batch / wall_ms),
        "device ms": _rounded(device_ms),
        "roofline ms": _rounded(work.floor_ms(roof)),
        "bound by": work.bound(roof),
        "wall / roofline": _rounded(work.ratio(wall_ms, roof), 1),
        "device / roofline": _rounded(work.ratio(device_ms, roof), 1),
    }


def sentence(rows: list[dict[str, Any]], failed: Mapping[str, str]) -> str:
    """The largest batch size within the budget and the fastest route of each model and precision; what was not run."""
    told = []
    for model, precision in dict.fromkeys((r["model"], r["precision"]) for r in rows):
        mine = [r for r in rows if (r["model"], r["precision"]) == (model, precision)]
        within = [r for r in mine if r["p95 ms"] <= BUDGET_MS]
        if not within:
            told.append(f"{model} {precision}: nothing within {BUDGET_MS:g} ms.")
            continue
        quick, large = min(mine, key=lambda r: (r["batch"], r["p50 ms"])), max(within, key=lambda r: r["items/s"])
        told.append(
            f"{model} {precision}: at batch {quick['batch']} {quick['route']} is fastest ({quick['p50 ms']:.3g} ms); "
            f"the best throughput with p95 within {BUDGET_MS:g} ms is {large['items/s']} items/s "
            f"({large['route']}, batch {large['batch']})."
        )
    return " ".join([*told, *(f"Not run: {what}: {why}." for what, why in failed.items())])


def measured(given: Any) -> Iterator[tuple[dict[str, Any] | None, str, str]]:
    """(row, what it is about, why there is none) of each batch size of each route of each model and precision."""
    import gpu_models
    import gpu_rates

    roofs = {precision: gpu_rates.roof(precision) for precision in BYTES}
    gpu_rates.give_back()
    for name in given.models:
        side = gpu_models.MODELS[name][0]
        taken = gpu_models.taken(gpu_models.module(name), side)
        for precision, roof in roofs.items():
            for route in ROUTES:
                about = {"model": name, "precision": precision, "route": route.name}
                label = f"{name} {precision}, {route.name}"
                try:
                    path = _file(route.file, name, precision, given.folder)
                    for batch in given.batches:
                        block = _block(route, path, batch, given.seconds)
                        yield about | row(batch, block, taken, precision, roof) | {"roof": asdict(roof)}, label, ""
                except DeploytkError as error:  # what cannot be had, or does not fit, is told and is not the end
                    yield None, label, error.message


def _file(kind: str, name: str, precision: str, folder: Path) -> Path:
    """The file that a route runs, made now where it does not exist."""
    import gpu_models

    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{precision}"
    if kind == "program":
        return gpu_models.program(name, precision, folder / f"{stem}.pt2")
    onnx = gpu_models.onnx_file(name, precision, folder / f"{stem}.onnx")
    return onnx if kind == "onnx" else gpu_models.engine(onnx, precision, folder / f"{stem}.engine")


def _block(route: Route, path: Path, batch: int, seconds: float) -> dict[str, Any]:
    from ours import block_of

    from deploytk.stages.bench import artifact_of, spec_of

    spec = spec_of(artifact_of(path), runtime=route.runtime, options=route.options)
    return block_of(spec | {"batch": batch}, seconds)[0]


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("The ways to run a model on a GPU, beside the roofline.", "gpu")
    asked.add_argument("--seconds", type=float, default=2.0, help="of samples for each batch size")
    asked.add_argument("--models", nargs="+", default=["resnet50", "yolov8n-640"])
    asked.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    asked.add_argument("--folder", type=Path, default=FOLDER / "gpu", help="for the files of the models")
    given = asked.parse_args()
    try:
        require_gpu("torch-cuda")
    except MissingDependency as error:
        print(f"not run: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
    import torch

    rows, failed = [], {}
    for found, label, why in measured(given):
        print(found or f"not run: {label}: {why}", file=sys.stderr)
        if found:
            rows.append(found)
        else:
            failed[label] = why
    device = torch.cuda.get_device_properties(0)
    keep(
        given.out,
        "gpu",
        sentence=f"On one {device.name}. {sentence(rows, failed)}",
        how=f"Each batch size in a process of its own, {given.seconds:g} s of calls in a closed loop after a warm-up; "
        "wall clock with the copies to the GPU and back, device by CUDA events around the model. Roofline: FLOPs over "
        "the rate of a large matmul (fp32: TF32), or weights, inputs and outputs over the bandwidth of a large copy, "
        "whichever is longer; both rates measured in this run.",
        rows=[{name: value for name, value in found.items() if name != "roof"} for found in rows],
        versions={**versions_of(*_LIBRARIES), "CUDA": str(torch.version.cuda)},
        roofs={found["precision"]: found["roof"] for found in rows},
        gpu={"name": device.name, "memory_gib": round(device.total_memory / 2**30, 1)},
        failed=failed,
    )


if __name__ == "__main__":
    main()
