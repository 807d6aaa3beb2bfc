"""Whether `deploytk report diff` tells a planted slowdown of 10 % from none, in fresh benches again and again.

python bench/peers/regression.py [--tries 20]        # writes bench/results/regression.{json,md}

Each try benches A, A again and B (22 instead of 20 equal convolutions), each from the start, and asks `report diff`
about (A, A again) and (A, B): of the two runs alone, and with `--remeasure`. The order of the last two runs changes
with each try.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from results import keep, parser

from deploytk.artifact import versions_of
from deploytk.budget import Budget
from deploytk.errors import DeploytkError
from deploytk.files import write_text
from deploytk.report import render
from deploytk.stages.bench import bench
from deploytk.stages.diff import diff

SAYS = {"pass": "nothing slower", "fail": "slower", "inconclusive": "undecided"}
CHANNELS = 32
ALONE, AGAIN = "the two runs alone", "--remeasure"


def convolutions(path: Path, count: int, size: int) -> Path:
    """An ONNX of `count` equal 3x3 convolutions, each with a ReLU, on 32 maps of size x size."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for number in range(count):
        drawn = rng.standard_normal((CHANNELS, CHANNELS, 3, 3), dtype=np.float32) * np.sqrt(2 / (9 * CHANNELS))
        weights.append(numpy_helper.from_array(drawn.astype(np.float32), f"w{number}"))
        nodes.append(helper.make_node("Conv", [f"x{number}", f"w{number}"], [f"y{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"y{number}"], [f"x{number + 1}"]))
    shape = ["batch", CHANNELS, size, size]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", f"x{count}")]
    graph = helper.make_graph(nodes, "convolutions", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def benched(model: Path, out: Path, given: argparse.Namespace) -> float:
    """The median in ms of a fresh bench of the model at batch 1, its report left in `out`.

    Raises:
        DeploytkError: the model could not be measured.
    """
    report = bench(
        model,
        budget=Budget(latency_ms=given.budget),
        batches=[1],
        runtime="onnx",
        threads=given.threads,
        time_limit_s=given.seconds,
        min_samples=given.samples,
        out=out,
    )
    [measurement] = report.measurements
    if measurement.status != "ok":
        raise DeploytkError(f"{model}: {measurement.status}: {measurement.reason}")
    write_text(out / "report.json", render.as_json(report))
    return median(measurement.samples_ms)


def tried(folder: Path, number: int, given: argparse.Namespace) -> dict[str, Any]:
    """What report diff says of a re-run and of the slower model, in fresh runs."""
    same = convolutions(folder / "a.onnx", given.convolutions, given.size)
    slower = convolutions(folder / "b.onnx", given.convolutions + given.more, given.size)
    models = {"A": same, "A again": same, "B": slower}
    order = ["A", *(["A again", "B"] if number % 2 else ["B", "A again"])]
    runs = {name: folder / f"{number}-{name.replace(' ', '-')}" for name in order}
    medians = {name: benched(models[name], runs[name], given) for name in order}
    found: dict[str, Any] = {"medians_ms": medians}
    for question, name in (("unchanged", "A again"), ("planted", "B")):
        for how, logs in ((ALONE, None), (AGAIN, folder / f"{number}-{question}")):
            verdict = diff(runs["A"], runs[name], remeasure=logs, time_limit_s=given.seconds).verdict
            found[f"{question}, {how}"] = SAYS[verdict.status]
            found[f"{question}, {how}, reasons"] = list(verdict.reasons)
    print(number, {name: said for name, said in found.items() if isinstance(said, str)}, flush=True)
    return found


def row(question: str, how: str, name: str, tries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How often report diff said what, and how far the medians of the runs really were apart."""
    said = Counter(t[f"{question}, {how}"] for t in tries)
    ratios = sorted(t["medians_ms"][name] / t["medians_ms"]["A"] for t in tries)
    return {
        "second run": question,
        "decided by": how,
        "tries": len(tries),
        **{word: said[word] for word in SAYS.values()},
        "ratio of the medians": f"{median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
    }


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("What report diff says of a planted slowdown and of none.", "regression")
    asked.add_argument("--tries", type=int, default=20)
    asked.add_argument("--seconds", type=float, default=30.0, help="time limit of each bench")
    asked.add_argument("--samples", type=int, default=150, help="at least, of each bench (--min-samples)")
    asked.add_argument("--budget", type=float, default=50.0, help="of each bench, in ms")
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--convolutions", type=int, default=20)
    asked.add_argument("--more", type=int, default=2, help="convolutions that the slower model has more")
    asked.add_argument("--size", type=int, default=64, help="height and width of the maps")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tries = [tried(Path(folder), number, given) for number in range(given.tries)]
    rows = [
        row(question, how, name, tries)
        for how in (AGAIN, ALONE)
        for question, name in (("unchanged", "A again"), ("planted", "B"))
    ]
    keep(
        given.out,
        "regression",
        sentence=f"With {AGAIN}: caught {rows[1]['slower']} of {given.tries} planted slowdowns, falsely called slower "
        f"{rows[0]['slower']} of {given.tries} unchanged re-runs.",
        how=f"{given.convolutions} and {given.convolutions + given.more} equal 3x3 convolutions of {CHANNELS} maps of "
        f"{given.size} x {given.size}; ONNX Runtime, {given.threads} thread(s), batch 1, budget {given.budget:g} ms, "
        f"at least {given.samples} samples of each bench; `report diff` with its defaults.",
        rows=rows,
        versions=versions_of("deploytk", "onnxruntime"),
        tries=tries,
    )


if __name__ == "__main__":
    main()
