"""Float beside INT8 on every target: accuracy, latency ratio, size.

python bench/peers/omniglot.py                  # first, once: trains the classifier, some minutes
python bench/peers/int8_table.py [--make]       # writes bench/results/int8_table.{json,md}

The BCCD detector by `deploytk export`, the classifier of omniglot.py by the same ladder, and the float and INT8 files
of MLPerf Tiny as they come. `--make` makes the INT8 models of the detector and measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from int8_classifier import Classifier, climbed
from int8_turns import Timed, in_turns, interval, times_as_fast
from int8_ways import MAX_DROP, Way, by_ladder, call, is_kept
from results import keep, parser

from deploytk.artifact import Artifact, versions_of
from deploytk.backends.ultralytics import METRIC
from deploytk.data.preparation import Preparation
from deploytk.files import size_of
from deploytk.runtimes import Session
from deploytk.runtimes.litert import open_session
from deploytk.stages import ladder
from deploytk.stages.real_inputs import real_inputs
from deploytk.stages.run_folder import RunFolder, opened

#: Of MLPerf Tiny: name -> (float, INT8), below benchmark/training.
TINY = {
    "image classification": ("pretrainedResnet.tflite", "pretrainedResnet_quant.tflite"),
    "keyword spotting": ("kws_ref_model_float32.tflite", "kws_ref_model.tflite"),
}
_DRAWN = 200


def row(
    model: str, target: str, accuracy: tuple[str, float | None, float | None], pair: tuple[Timed, Timed], what: str
) -> dict[str, Any]:
    """A model on a target: the float one, the INT8 one, and what the second costs and brings."""
    before, after = pair
    metric, old, new = accuracy
    told = {"model": model, "target": target, "metric": metric, "float": _rounded(old), "INT8": _rounded(new)}
    found = times_as_fast(before, after)
    if found:
        told |= {"INT8 / float latency": round(found.value, 3), "interval": interval(found)}
    return told | sizes(before.way.path, after.way.path) | {"INT8 is": what}


def sizes(before: Path, after: Path) -> dict[str, float]:
    """What both files take, in MB."""
    old, new = (size_of(path) / 1e6 for path in (before, after))
    return {"float MB": round(old, 3), "INT8 MB": round(new, 3), "INT8 / float size": round(new / old, 2)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def missed(model: str, target: str, metric: str, old: float) -> dict[str, Any]:
    """The row of a model for which the ladder came back to float."""
    return {"model": model, "target": target, "metric": metric, "float": round(old, 3), "INT8 is": "none: float stays"}


def both(
    before: Path, after: Path, runtime: str, logs: Path, seconds: float, feeds: Path | None
) -> tuple[Timed, Timed]:
    """The float and the INT8 model in turns."""
    ways = [Way(name=what, path=path, runtime=runtime) for what, path in (("float", before), ("INT8", after))]
    first, second = in_turns(ways, seconds=seconds, logs=logs, feeds=feeds)
    return first, second


def of_detector(run: RunFolder, seconds: float) -> Iterator[dict[str, Any]]:
    """The trained detector, as `deploytk export` leaves it."""
    feeds = real_inputs(run.profile(), run, None)
    for target, rival in (("onnx", run.onnx), ("openvino", run.openvino / "model_fp32.xml")):
        made = by_ladder(run, target)
        before = Artifact.load(rival).metrics[METRIC]
        if made is None:
            yield missed(run.path.name, target, METRIC, before)
            continue
        after = Artifact.load(made)
        rung = after.settings["ladder"]["attempts"][-1]["what"]
        pair = both(rival, made, target, run.logs, seconds, feeds)
        yield row(run.path.name, target, (METRIC, before, after.metrics[METRIC]), pair, rung)


def of_npu(run: RunFolder) -> Iterator[dict[str, Any]]:
    """The trained detector's INT8 model for an NPU: it stands there also where it lost too much; no host times it."""
    by_ladder(run, "npu")
    before, after = (Artifact.load(run.npu / f"model_{precision}.tflite") for precision in ("fp32", "int8"))
    old, new = before.metrics[METRIC], after.metrics[METRIC]
    attempts = [a for a in after.settings["ladder"]["attempts"] if a["drop"] is not None]
    what = min(attempts, key=lambda a: a["drop"])["what"]
    yield {
        "model": run.path.name,
        "target": "npu",
        "metric": METRIC,
        "float": round(old, 3),
        "INT8": round(new, 3),
        **sizes(before.path, after.path),
        "INT8 is": what if is_kept(old, new) else f"{what}: lost too much, exit code 8",
    }


def of_classifier(which: Classifier, seconds: float) -> Iterator[dict[str, Any]]:
    """The classifier, by the ladder."""
    intermediate = which.folder / "openvino" / "float.xml"
    named = {"onnx": str(which.model), "out": str(intermediate), "precision": "fp32"}
    call("deploytk.stages.steps:ir_from_onnx", "convert", which.folder / "logs", **named)
    for target, rival in (("onnx", which.model), ("openvino", intermediate)):
        before = which.top_1(target, rival)
        attempts = climbed(which, target, rival, before)
        for one in attempts:
            print(f"omniglot, {target}: {one.rung.what}: {one.outcome}, {one.reason}", flush=True)
        chosen = ladder.taken(attempts)
        if chosen is None or chosen.artifact is None:
            yield missed("omniglot", target, "top-1", before)
            continue
        pair = both(rival, chosen.artifact.path, target, which.folder / "logs", seconds, which.inputs())
        yield row("omniglot", target, ("top-1", before, chosen.metric), pair, chosen.rung.what)


def of_tiny(folder: Path, logs: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """MLPerf Tiny's own files: no labelled inputs are there, so agreement stands for accuracy."""
    for name, files in TINY.items():
        before, after = (next(folder.rglob(file)) for file in files)
        share = agreement(open_session(before, batch=1, threads=1), open_session(after, batch=1, threads=1))
        pair = both(before, after, "litert", logs, seconds, None)
        yield row(f"MLPerf Tiny, {name}", "litert", ("same top-1 as float", None, share), pair, "as published")


def agreement(before: Session, after: Session) -> float:
    """The share of drawn inputs for which both models name the same class."""
    rng, taken = np.random.default_rng(0), after.inputs[0]
    assert taken.scale is not None and taken.zero_point is not None
    limits = np.iinfo(taken.dtype)
    same = 0
    for _ in range(_DRAWN):
        integers = drawn(rng, tuple(int(d) for d in taken.shape), limits.min, limits.max).astype(taken.dtype)
        real = ((integers.astype(np.float32) - taken.zero_point) * taken.scale).astype(np.float32)
        answers = [
            next(iter(session.run({session.inputs[0].name: value.reshape(session.inputs[0].shape)}).values())).argmax()
            for session, value in ((before, real), (after, integers))
        ]
        same += int(answers[0] == answers[1])
    return same / _DRAWN


def drawn(rng: np.random.Generator, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers between the limits around a level and with a contrast of their own, so that the answers differ."""
    level, contrast = rng.uniform(low, high), rng.uniform(0.05, 0.5) * (high - low)
    return np.clip(np.round(rng.normal(level, contrast, shape)), low, high)


def sentence(rows: list[Mapping[str, Any]]) -> str:
    """How many INT8 models lost no more than allowed; what agreement stands for."""
    scored = [r for r in rows if r["float"] is not None]
    kept = [r for r in scored if r.get("INT8") is not None and is_kept(r["float"], r["INT8"])]
    return (
        f"Within {100 * MAX_DROP:g} point of float, and where a host runs it not slower: {len(kept)} of {len(scored)} "
        "pairs of model and target. MLPerf Tiny's files come without labelled inputs: told is how often the INT8 file "
        f"names the class that the float one names, over {_DRAWN} drawn inputs, which says little about real ones."
    )


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("Float beside INT8 on every target.", "int8_table")
    asked.add_argument("--run", type=Path, default=Path("runs/bccd-relu"), help="a trained detector")
    asked.add_argument("--classifier", type=Path, default=Path("runs/omniglot"), help="what omniglot.py made")
    asked.add_argument("--tiny", type=Path, default=Path("../shared/data/mlperf_tiny"))
    asked.add_argument("--seconds", type=float, default=10.0, help="at most, for each pair")
    asked.add_argument("--make", action="store_true", help="make the detector's INT8 models and measure nothing")
    given = asked.parse_args()
    run = opened(given.run.absolute())
    if given.make:
        for target in ("onnx", "openvino", "npu"):
            print(f"{target}: {by_ladder(run, target)}")
        return
    folder = given.classifier.absolute()
    preparation = Preparation(kind="resize", size=(64, 64))  # as omniglot.py trains
    which = Classifier(
        model=folder / "model.onnx", pictures=folder / "data", preparation=preparation, max_drop=MAX_DROP
    )
    told = []
    for part in (
        of_detector(run, given.seconds),
        of_npu(run),
        of_classifier(which, given.seconds),
        of_tiny(given.tiny, folder / "logs", given.seconds),
    ):
        for one in part:
            print(one, flush=True)
            told.append(one)
    keep(
        given.out,
        "int8_table",
        sentence=sentence(told),
        how=f"Batch 1, default threads; float and INT8 in turns for at most {given.seconds:g} s; the interval is that "
        f"of the ratio. INT8 by deploytk's ladder with {100 * MAX_DROP:g} point allowed.",
        rows=told,
        versions=versions_of("deploytk", "onnxruntime", "openvino", "nncf", "ai-edge-litert"),
    )


if __name__ == "__main__":
    main()
