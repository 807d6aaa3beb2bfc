"""A two-stage pipeline beside the sum of its parts and beside two default sessions, all in turns in one run.

python bench/peers/pipeline.py [--rounds 40] [--crops 1] [--seconds 60] # writes bench/results/pipeline.{json,md}

The pipeline: YOLOv8n at 320 px (drawn weights), exactly so many crops, ResNet-18 or MobileNetV3 at 224 px. Each contender
is a process of its own that is stopped while it waits; what stands before and after the models is measured alone in this
process, which never opens a session.

    default   the same code around two ONNX Runtime sessions as they come: each with its own pool of spinning threads
    parts     the detector alone + the classifier alone (default sessions, each in its own process) + all the rest alone
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from int8_turns import interval
from int8_ways import call, quantize  # noqa: F401 - quantize is called by its name
from results import MODELS, keep, parser

from deploytk import ratio, timing
from deploytk.artifact import TensorSpec, versions_of
from deploytk.budget import Budget
from deploytk.data.crops import Crops
from deploytk.data.preparation import Preparation
from deploytk.data.synthetic import make_dataset
from deploytk.pipelines import folder
from deploytk.pipelines.description import Described
from deploytk.pipelines.running import Pipeline
from deploytk.pipelines.sessions import Opened, Rows
from deploytk.stages.bench import artifact_of, spec_of
from deploytk.stages.bench_photos import Photos, images_of
from deploytk.stages.bench_pipeline import Asked, bench
from deploytk.stages.bench_pipeline import spec_of as spec_of_pipeline
from deploytk.stages.bench_pipeline_child import Exactly
from deploytk.stages.bench_point import Point, in_turn

CALLS, SIZE = 4, 320
DETECTOR, CLASSIFIERS = "yolov8n-320", ("resnet18", "mobilenetv3-small")
#: The pipeline over the sum of its parts; and how many times as fast as two default sessions, in float and INT8.
MOST_OF_PARTS, LEAST_FP32, LEAST_INT8 = 1.10, 1.7, 3.0
#: So many boxes are above the threshold, as a trained detector has them: one with drawn weights finds thousands.
_CANDIDATES = 10
_BUDGET = Budget(latency_ms=50.0, boundary="end_to_end")


class Remembered:
    """A session that runs nothing: it says what the model said."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.inputs, self.outputs = (tuple(TensorSpec(**{**s, "shape": tuple(s["shape"])}) for s in told[k]) for k in ("inputs", "outputs"))  # fmt: skip
        with np.load(told["said"]) as held:
            self._said = {name: held[name] for name in held.files}
        self.details: dict[str, Any] = {"precision": "none"}

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The remembered outputs, as many rows as are fed."""
        count = len(next(iter(feed.values())))
        return {name: value[:count] for name, value in self._said.items()}

    def another(self) -> Remembered:
        """Itself."""
        return self


def remember(model: str, images: Sequence[str], size: Sequence[int], rows: int, out: str, task: str) -> dict[str, Any]:
    """In a child: what a model says of real images, kept in `out`, and for a detector the threshold for ten boxes."""
    from deploytk.runtimes import onnx

    session = onnx.open_session(Path(model), batch=rows, threads=None)
    spec = session.inputs[0]
    how = Preparation.for_input(TensorSpec(name=spec.name, shape=(rows, 3, *size), dtype="float32"), task)  # type: ignore[arg-type]
    photos = Photos(images_of(images))
    fed = np.concatenate([how.prepare(photos[i % photos.count]) for i in range(rows)])
    said = session.run({spec.name: fed})
    np.savez(out, **said)
    specs = {k: [vars(s) for s in getattr(session, k)] for k in ("inputs", "outputs")}
    every = [session.run({spec.name: how.prepare(photos[i])})["output0"][0, 4:].max(0) for i in range(photos.count)] if task == "detector" else []  # fmt: skip
    scores = [float(np.sort(scores)[-_CANDIDATES]) for scores in every]
    return {**specs, "said": out, "score_above": max(scores) if scores else None}


def calmed(model: str, out: str) -> None:
    """In a child: a detector with drawn weights whose class scores are spread out: as drawn, thousands of them are 1."""
    import onnx
    from onnx import numpy_helper

    held = onnx.load(model)
    for weights in held.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.shape[:1] == (80,):  # the last convolutions of the classes
            calm = values * np.float32(0.02) if values.ndim == 4 else np.full_like(values, -2)
            weights.CopyFrom(numpy_helper.from_array(calm.astype(values.dtype), weights.name))
    onnx.save(held, out)


def pipeline_of(out: Path, detector: Path, classifier: Path, score: float, runtime: Any) -> Described:
    """The pipeline of two model files."""
    square = TensorSpec(name="images", shape=(1, 3, SIZE, SIZE), dtype="float32")
    crop = TensorSpec(name="images", shape=(1, 3, 224, 224), dtype="float32")
    return folder.write(
        out,
        detector=folder.Model(
            file=detector,
            labels=[f"class {n}" for n in range(80)],
            preparation=Preparation.for_input(square, "detector"),
            settings={"score_above": score},
        ),
        classifier=folder.Model(
            file=classifier,
            labels=[f"{n:04d}" for n in range(1000)],
            preparation=Preparation.for_input(crop, "classifier").model_copy(update={"kind": "resize"}),
        ),
        runtime=runtime,
        crops=Crops(most=8, margin=0.1, square=True),
    )


class Rest:
    """Everything but the two models, in this process."""

    def __init__(self, described: Described, told: Mapping[str, Any], images: Sequence[Path], crops: int) -> None:
        sessions = Opened(
            detector=Remembered(told["detector"]), classifier=Rows({None: Remembered(told["classifier"])}, 8)
        )
        self._run = Pipeline(described.description, sessions, choose=Exactly(crops))
        self._photos = Photos(images)
        self.blocks: list[list[float]] = []
        self._turn = 0

    def block(self) -> None:
        """A block of calls."""
        lead, took = timing.sample(self._once, start=self._turn, calls=CALLS, lead=1)
        self._turn += len(lead) + len(took)
        self.blocks.append(took)

    def _once(self, turn: int) -> Mapping[str, np.ndarray]:
        self._run.many([self._photos[turn % self._photos.count]])
        return {}


def in_turns(specs: Mapping[str, dict[str, Any]], rest: Rest, rounds: int, logs: Path) -> dict[str, list[float]]:
    """The median of each round by contender, in ms."""
    points = {
        name: Point(spec={**spec, "name": f"c{number}"}, batch=spec.get("rows", 1), budget=_BUDGET)
        for number, (name, spec) in enumerate(specs.items())
    }
    try:
        for name, point in points.items():
            if not point.start(logs, timeout_s=300.0, warm_s=5.0):
                raise RuntimeError(f"{name}: {point.reason}")
        for number in range(rounds):
            for point in in_turn(list(points.values()), number, until=time.monotonic() + 600):
                point.block(timeout_s=60.0, calls=CALLS)
            rest.block()
    finally:
        for point in points.values():
            point.close()
    return {name: [median(block) for block in p.in_blocks] for name, p in points.items()} | {
        "rest": [median(block) for block in rest.blocks]
    }


def rows_of(pair: str, crops: int, found: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """A row for each way to run the pair."""
    parts = [sum(each) for each in zip(found["detector alone"], found["classifier alone"], found["rest"], strict=True)]
    sides = {"two default sessions": found["two default sessions"], "sum of the parts alone": parts} | {
        name: values for name, values in found.items() if name.startswith("deploytk")
    }
    told = []
    for name, values in sides.items():
        faster, of_parts = ratio.paired(values, found["two default sessions"]), ratio.paired(parts, values)
        alone = name == "deploytk fp32, onnx" or name == "two default sessions"
        told.append(
            {
                "models": pair,
                "crops": crops,
                "contender": name,
                "median ms": round(median(values), 2),
                "times as fast as default": round(faster.value, 2),
                "interval": interval(faster),
                "over the sum of its parts": round(of_parts.value, 3) if alone else None,
                "interval ": interval(of_parts) if alone else None,
            }
        )
    return told


def main() -> None:
    """Make the models, measure in turns, judge the small one, and keep the table."""
    asked = parser("A two-stage pipeline beside the sum of its parts and two default sessions.", "pipeline")
    asked.add_argument("--rounds", type=int, default=40)
    asked.add_argument("--crops", type=int, default=1)
    asked.add_argument("--seconds", type=float, default=60.0, help="for the verdict on the small pipeline")
    asked.add_argument("--models", type=Path, default=MODELS)
    given = asked.parse_args()
    work = given.models / "pipelines"
    prepared = {name: _prepared(name, given.models, work) for name in CLASSIFIERS}
    rows, raw = [], {}
    for name, made in prepared.items():
        raw[name] = measured(made, given.crops, given.rounds, work / "logs" / name)
        rows += rows_of(f"{DETECTOR} + {name}", given.crops, raw[name])
    small = prepared["mobilenetv3-small"]
    verdicts = {way: judged(small["pipelines"][way], small["images"], given, work) for way in ("deploytk fp32, onnx", *_best_int8(rows))}  # fmt: skip
    keep(
        given.out,
        "pipeline",
        sentence=sentence(rows, verdicts),
        how=f"{given.rounds} rounds of {CALLS} calls of each in turn, each in a process of its own; drawn JPEGs of 640 "
        f"px, {_CANDIDATES} candidates at most, {given.crops} crop(s) in every image; medians of the rounds' medians.",
        rows=rows,
        versions=versions_of("deploytk", "onnxruntime", "openvino", "opencv-python", "pillow"),
        verdicts=verdicts,
        rounds_ms=raw,
    )


def _best_int8(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The faster of the INT8 pipelines of the small models."""
    mine = [r for r in rows if "mobilenet" in r["models"] and "int8" in r["contender"]]
    return [min(mine, key=lambda r: r["median ms"])["contender"]] if mine else []


def _prepared(name: str, models: Path, work: Path) -> dict[str, Any]:
    """The pipelines of the detector and one classifier, and what both models say of the images."""
    data = make_dataset(work / "data", train=8, val=16, imgsz=640)
    images = [_as_jpeg(path, work / "photos") for path in images_of([str(data)])]
    paths = [str(path) for path in images]
    logs = work / "logs"
    files = {DETECTOR: work / f"{DETECTOR}.onnx", name: models / f"{name}.onnx"}
    call("pipeline:calmed", "calmed", logs, model=str(models / f"{DETECTOR}.onnx"), out=str(files[DETECTOR]))
    told = {
        "detector": call("pipeline:remember", "detector", logs, model=str(files[DETECTOR]), images=paths, size=[SIZE, SIZE], rows=1, out=str(work / "detector.npz"), task="detector"),
        "classifier": call("pipeline:remember", name, logs, model=str(files[name]), images=paths, size=[224, 224], rows=8, out=str(work / f"{name}.npz"), task="classifier"),
    }  # fmt: skip
    score, made = told["detector"]["score_above"], {}
    for runtime in ("onnx", "openvino"):
        made[f"deploytk fp32, {runtime}"] = pipeline_of(work / f"{name}-{runtime}", files[DETECTOR], files[name], score, runtime)  # fmt: skip
        small = [_int8(part, files[part], runtime, work, data) for part in (DETECTOR, name)]
        made[f"deploytk int8, {runtime}"] = pipeline_of(work / f"{name}-{runtime}-int8", small[0], small[1], score, runtime)  # fmt: skip
    return {"pipelines": made, "told": told, "images": images, "files": files, "name": name}


def _as_jpeg(image: Path, folder: Path) -> Path:
    """A drawn image as cameras keep theirs."""
    from PIL import Image

    out = folder / f"{image.stem}.jpg"
    out.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(image) as opened:
        opened.convert("RGB").save(out, quality=90)
    return out


def _int8(part: str, model: Path, runtime: str, work: Path, data: Path) -> Path:
    """The INT8 file of a model for a runtime, made once."""
    from int8_ways import _keep_images

    out = work / f"{part}-int8.{'onnx' if runtime == 'onnx' else 'xml'}"
    if not out.is_file():
        size = SIZE if part == DETECTOR else 224
        images = work / f"images-{size}.npz"
        if not images.is_file():
            _keep_images(data, images, size)
        print(f"{part}: INT8 for {runtime}")
        call("int8_ways:quantize", f"int8-{part}-{runtime}", work / "logs", target=runtime, model=str(model), images=str(images), out=str(out))  # fmt: skip
    return out


def measured(made: Mapping[str, Any], crops: int, rounds: int, logs: Path) -> dict[str, list[float]]:
    """All contenders of one pair in turns."""
    photos = [str(path) for path in made["images"]]
    fp32 = made["pipelines"]["deploytk fp32, onnx"]
    specs = {
        name: spec_of_pipeline(d, Asked(images=photos)) | {"crops": crops} for name, d in made["pipelines"].items()
    }
    specs["two default sessions"] = spec_of_pipeline(fp32, Asked(images=photos, options={"spin": "on"})) | {"crops": crops}  # fmt: skip
    for name, part, rows in (("detector alone", DETECTOR, 1), ("classifier alone", made["name"], crops)):
        specs[name] = spec_of(artifact_of(made["files"][part])) | {"rows": max(1, rows)}
    return in_turns(specs, Rest(fp32, made["told"], made["images"], crops), rounds, logs)


def judged(described: Described, images: Sequence[Path], given: Any, work: Path) -> dict[str, Any]:
    """The verdict of `deploytk bench` on one pipeline, with the table of where the time goes."""
    asked = Asked(images=[str(path) for path in images], crops=(0, given.crops, 4), time_limit_s=given.seconds)
    report = bench(described.path, asked, budget=_BUDGET, out=work / "bench" / described.path.parent.name)
    told = report.sections["pipeline"]
    return {
        "verdict": report.verdict.status,
        "reasons": list(report.verdict.reasons),
        "stages": told["stages"],
        "crops": [{k: v for k, v in row.items() if k not in ("samples_ms", "blocks")} for row in told["crops"]],
    }


def sentence(rows: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Mapping[str, Any]]) -> str:
    """What the rows say, goal by goal."""
    words = []
    for row in rows:
        value, name = row["times as fast as default"], row["contender"]
        if name == "deploytk fp32, onnx":
            part = row["over the sum of its parts"]
            words.append(f"{row['models']}: {part:g} times the sum of its parts ({_met(part <= MOST_OF_PARTS)}, at most {MOST_OF_PARTS:g})")  # fmt: skip
            words.append(
                f"{value:g} times as fast as two default sessions ({_met(value >= LEAST_FP32)}, {LEAST_FP32:g})"
            )
        elif "int8" in name:
            words.append(f"{name} {value:g} times ({_met(value >= LEAST_INT8)}, {LEAST_INT8:g})")
    for name, told in verdicts.items():
        tail = [f"{r['crops']} crops {r['p95_ms']:.1f}" for r in told["crops"] if r["p95_ms"]]
        words.append(f"small pipeline, {name}, p95 below {_BUDGET.latency_ms:g} ms: {told['verdict']} (p95 ms: {', '.join(tail)})")  # fmt: skip
    return "; ".join(words) + "."


def _met(good: bool) -> str:
    return "reached" if good else "**not reached**"


if __name__ == "__main__":
    main()
