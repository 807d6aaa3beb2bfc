"""What Ultralytics' ProfileModels reports of an ONNX, what deploytk does, and what its sigma clipping leaves out.

python bench/peers/ultralytics_benchmark.py [--rounds 4] [--seconds 5]   # writes bench/results/ultralytics_benchmark.*

ProfileModels gives mean and deviation after clipping at two sigma, up to five times, and sets 8 threads whatever the
machine has. The clipping is applied here to deploytk's samples of the same rounds too, with Ultralytics' own function.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import ours
from results import MODELS, keep, parser

from deploytk.artifact import versions_of
from deploytk.measurement import percentile

Clip = Callable[[np.ndarray], np.ndarray]


def profiler(seconds: float, imgsz: int) -> Any:
    """Ultralytics' profiler for ONNX files on the CPU, as it is but for the least time it takes."""
    from deploytk.backends.ultralytics import library  # noqa: F401  offline, before anything of Ultralytics

    with contextlib.redirect_stdout(sys.stderr):
        from ultralytics.utils.benchmarks import ProfileModels

        return ProfileModels([], num_timed_runs=100, min_time=seconds, imgsz=imgsz, trt=False, device="cpu")


def clip() -> Clip:
    """Its clipping, as profile_onnx_model calls it."""
    function = type(profiler(1.0, 32)).iterative_sigma_clipping
    return lambda samples: np.asarray(function(np.asarray(samples), sigma=2, max_iters=5))


def profiled(model: Path, seconds: float, imgsz: int) -> dict[str, Any]:
    """What it reports of the model, and the samples that it clipped, in ms; in this process."""
    made = profiler(seconds, imgsz)
    seen: list[list[float]] = []
    function = made.iterative_sigma_clipping

    def noted(samples: np.ndarray, **how: Any) -> np.ndarray:
        seen.append([float(s) for s in samples])
        return np.asarray(function(samples, **how))

    made.iterative_sigma_clipping = noted
    with contextlib.redirect_stdout(sys.stderr):
        reported, deviation = made.profile_onnx_model(str(model))
    return {"mean_ms": float(reported), "std_ms": float(deviation), "samples_ms": seen[-1]}


def compared(given: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """What each tool gave in each round, another one first each time, a process each."""
    found: dict[str, list[dict[str, Any]]] = {"ProfileModels": [], "deploytk": []}
    for turn in range(given.rounds):
        for name in sorted(found, reverse=bool(turn % 2)):
            if name == "deploytk":
                samples, _ = ours.samples_of(given.model, "onnx", seconds=given.seconds, threads=given.threads)
                found[name].append({"samples_ms": samples})
            else:
                asked = ["--one", "--model", str(given.model), "--seconds", str(given.seconds)]
                argv = [sys.executable, __file__, *asked, "--imgsz", str(given.imgsz)]
                done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def row(name: str, threads: int, series: Sequence[Sequence[float]], clipped: Clip, reports: str) -> dict[str, Any]:
    """One tool's samples, whole and clipped: medians over the rounds of each round's own figures."""
    kept = [clipped(np.asarray(samples)).tolist() for samples in series]
    p95 = [percentile(samples, 95) for samples in series]
    after = [percentile(samples, 95) for samples in kept]
    return {
        "samples of": name,
        "threads": threads,
        "it reports": reports,
        "median ms": round(median(median(s) for s in series), 2),
        "p95 ms": round(median(p95), 2),
        "clipped away, %": round(100 * (1 - sum(map(len, kept)) / sum(map(len, series))), 1),
        "p95 after clipping ms": round(median(after), 2),
        "p95 too low by, %": round(100 * median(1 - b / a for a, b in zip(p95, after, strict=True)), 1),
    }


def main() -> None:
    """Measure, print and keep the table; with `--one` print what ProfileModels gives once."""
    asked = parser("Ultralytics' ProfileModels and deploytk in turn.", "ultralytics_benchmark")
    asked.add_argument("--model", type=Path, default=MODELS / "yolov8n-320.onnx")
    asked.add_argument("--imgsz", type=int, default=320)
    asked.add_argument("--rounds", type=int, default=4)
    asked.add_argument("--seconds", type=float, default=5.0)
    asked.add_argument("--threads", type=int, default=2, help="of deploytk's side")
    asked.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one:
        print(json.dumps(profiled(given.model, given.seconds, given.imgsz)))
        return
    raw, clipped = compared(given), clip()
    reported = [r["mean_ms"] for r in raw["ProfileModels"]], [r["std_ms"] for r in raw["ProfileModels"]]
    said = f"{median(reported[0]):.2f} +- {median(reported[1]):.2f} ms"
    series = {name: [r["samples_ms"] for r in rounds] for name, rounds in raw.items()}
    tail = median(percentile(s, 95) for s in series["deploytk"])
    rows = [
        row("ProfileModels", 8, series["ProfileModels"], clipped, said),
        row("deploytk", given.threads, series["deploytk"], clipped, f"p95 {tail:.2f} ms"),
    ]
    unclipped = mean(mean(s) for s in series["ProfileModels"])
    keep(
        given.out,
        "ultralytics_benchmark",
        sentence=f"ProfileModels reports {said}; the mean of all its samples is {unclipped:.2f} ms.",
        how=f"{given.model.name}, {given.rounds} rounds, each tool alone for about {given.seconds:g} s in a fresh "
        "process, in turn; medians over the rounds.",
        rows=rows,
        versions=versions_of("deploytk", "onnxruntime", "ultralytics"),
        rounds_ms=raw,
    )


if __name__ == "__main__":
    main()
