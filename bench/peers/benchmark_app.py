"""OpenVINO's benchmark_app and deploytk on the same model with the same options, in turn, one process each.

python bench/peers/benchmark_app.py [--rounds 12] [--seconds 3] [--model PATH ...]    # bench/results/benchmark_app.*

Both call one request synchronously at batch 1 in float32. The clocks differ: benchmark_app takes OpenVINO's own
latency of the request; deploytk's clock also holds handing over the input and copying the outputs. To tell the one
from the other, OpenVINO's latency is also read after each of deploytk's calls, outside its clock.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from results import MODELS, keep, parser

from deploytk import ratio, timing
from deploytk.artifact import versions_of
from deploytk.errors import DeploytkError
from deploytk.runtimes.openvino import open_session
from deploytk.stages.bench_child import ModelOnly
from deploytk.stages.bench_inputs import feeds_for

#: What benchmark_app prints of the compiled model -> what deploytk's runtime calls it.
SAME = {"NUM_STREAMS": "streams", "INFERENCE_NUM_THREADS": "threads", "PERFORMANCE_HINT": "hint"}
TARGET = 0.02


def shape_of(model: Path) -> str:
    """The inputs of the model at batch 1 as benchmark_app's -shape wants them: `images[1,3,320,320]`."""
    inputs = open_session(model, batch=1, threads=1).inputs
    return ",".join(f"{spec.name}[{','.join(map(str, spec.shape))}]" for spec in inputs)


def theirs(model: Path, shape: str, *, seconds: float, threads: int) -> tuple[float, dict[str, str]]:
    """(median latency in ms, properties of the compiled model) of one run of benchmark_app.

    Raises:
        DeploytkError: it failed; its last lines.
    """
    with tempfile.TemporaryDirectory() as folder:
        # -hint none is benchmark_app's own condition for -nthreads; OpenVINO then still chooses for latency, which
        # `require_same` sees to. Without -ip it would feed images as bytes and convert them inside the model.
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), "-shape", shape),
                *("-api", "sync", "-hint", "none", "-nthreads", str(threads), "-t", f"{seconds:.0f}"),
                *("-infer_precision", "f32", "-ip", "f32", "-op", "f32"),
                *("-json_stats", "-report_type", "no_counters", "-report_folder", folder),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        report = Path(folder) / "benchmark_report.json"
        if done.returncode or not report.is_file():
            told = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise DeploytkError(f"benchmark_app failed:\n{told}")
        told = json.loads(report.read_text(encoding="utf-8"))["execution_results"]
    return float(told["latency (ms)"]), dict(re.findall(r"\[ INFO \]   ([A-Z_]+): (.+)", done.stdout))


def require_same(properties: dict[str, str], details: dict[str, Any]) -> None:
    """Nothing, where both compiled the model with the same options.

    Raises:
        DeploytkError: they did not.
    """
    wrong = [
        f"{name}: benchmark_app {properties.get(name)}, deploytk {details[key]}"
        for name, key in SAME.items()
        if properties.get(name, "").lower() != str(details[key]).lower()
    ]
    precision = properties.get("INFERENCE_PRECISION_HINT", "")
    if "float32" not in precision or details["precision"] != "float32":
        wrong.append(f"precision: benchmark_app {precision}, deploytk {details['precision']}")
    if wrong:
        raise DeploytkError(f"not the same options: {'; '.join(wrong)}")


def sampled(model: Path, *, seconds: float, threads: int) -> dict[str, Any]:
    """What deploytk's loop gives in this process: median of its samples, of OpenVINO's latencies, and the details."""
    session = open_session(model, batch=1, threads=threads, options={"precision": "f32"})
    measured = ModelOnly(session, feeds_for(session.inputs, None)[0], 1)
    gc.freeze()  # as the child of a bench does
    warm = timing.warm_up(measured.run, limit_s=seconds / 2)
    latencies: list[float] = []
    calls = max(10, int(1000 * seconds / median(warm)))
    _, samples = timing.sample(
        measured.run, start=0, calls=calls, after=lambda: latencies.append(session._request.latency)
    )
    return {"deploytk": median(samples), "same clock": median(latencies), "details": session.details}


def ours(model: Path, *, seconds: float, threads: int) -> dict[str, Any]:
    """The same from a fresh process."""
    asked = ["--one", "--model", str(model), "--seconds", str(seconds), "--threads", str(threads)]
    done = subprocess.run([sys.executable, __file__, *asked], check=True, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def compared(model: Path, *, rounds: int, seconds: float, threads: int) -> dict[str, list[float]]:
    """The medians in ms of each round, the other tool first each time."""
    shape = shape_of(model)
    found: dict[str, list[float]] = {"benchmark_app": [], "deploytk": [], "same clock": []}
    for turn in range(rounds):
        if turn % 2:
            told = ours(model, seconds=seconds, threads=threads)
        value, properties = theirs(model, shape, seconds=seconds, threads=threads)
        if not turn % 2:
            told = ours(model, seconds=seconds, threads=threads)
        require_same(properties, told["details"])
        found["benchmark_app"].append(value)
        for name in ("deploytk", "same clock"):
            found[name].append(told[name])
    return found


def row(model: Path, found: dict[str, list[float]]) -> dict[str, Any]:
    """One model's row: medians over the rounds, and the median of the rounds' own ratios with its interval."""
    told = ratio.paired(found["benchmark_app"], found["deploytk"])
    engine = ratio.paired(found["benchmark_app"], found["same clock"])
    return {
        "model": model.stem,
        "benchmark_app median ms": round(median(found["benchmark_app"]), 2),
        "deploytk median ms": round(median(found["deploytk"]), 2),
        "deploytk / benchmark_app": round(told.value, 3),
        "95 % interval": f"{told.low:.3f} to {told.high:.3f}" if told.bounded else "too few rounds",
        "OpenVINO's own latency / benchmark_app": round(engine.value, 3),
    }


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("OpenVINO's benchmark_app and deploytk in turn.", "benchmark_app")
    asked.add_argument(
        "--model", type=Path, nargs="+", default=[MODELS / f"{m}.onnx" for m in ("yolov8n-320", "resnet18")]
    )
    asked.add_argument("--rounds", type=int, default=12)
    asked.add_argument("--seconds", type=float, default=3.0)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one:
        print(json.dumps(sampled(given.model[0], seconds=given.seconds, threads=given.threads)))
        return
    raw = {
        model: compared(model, rounds=given.rounds, seconds=given.seconds, threads=given.threads)
        for model in given.model
    }
    rows = [row(model, found) for model, found in raw.items()]
    far = [r["model"] for r in rows if abs(r["deploytk / benchmark_app"] - 1) > TARGET]
    keep(
        given.out,
        "benchmark_app",
        sentence=f"Within {TARGET:.0%}: {len(rows) - len(far)} of {len(rows)} models"
        + (f"; not: {', '.join(far)}." if far else "."),
        how=f"{given.rounds} rounds; in each, each tool alone for about {given.seconds:g} s in a fresh process, in "
        f"turn; {given.threads} threads, one stream, float32, batch 1, synchronous. The ratio is the median over the "
        "rounds of the ratio of the two medians; the last column compares OpenVINO's own clock on both sides.",
        rows=rows,
        versions=versions_of("deploytk", "openvino"),
        medians_ms={model.stem: found for model, found in raw.items()},
    )


if __name__ == "__main__":
    main()
