"""A two-stage pipeline beside the sum of its parts and beside two default sessions, all in turns in one run.

python bench/peers/pipeline.py [--rounds 40] [--crops 1] [--seconds 60] # writes bench/results/pipeline.{json,md}

The pipeline: YOLOv8n with ReLU at 320 px, exactly so many crops, ResNet-18 or MobileNetV3 at 224 px, all with drawn
weights. Each contender is a process of its own that is stopped while it waits; what stands before and after the models
is measured alone in this process, which never opens a session.

    default   the same code around two ONNX Runtime sessions as they come: each with its own pool of spinning threads
    parts     the detector alone + the classifier alone (default sessions, each in its own process) + all the rest alone
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Self

import numpy as np
from int8_turns import interval
from int8_ways import _keep_images, call
from PIL import Image
from results import MODELS, keep, parser

from deploytk import plugins, ratio, timing
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

CALLS, SIZE, CROP = 4, 320, 224
DETECTOR, CLASSIFIERS = "yolov8n-relu-320", ("resnet18", "mobilenetv3-small")
OURS, PEER = "deploytk fp32, onnx", "two default sessions"
#: The pipeline over the sum of its parts; and how many times as fast as two default sessions, in float and INT8. These
#: were set by sessions in turn, nothing decoded or prepared between them (69 to 77 ms, 37 to 41 and 21 to 23).
MOST_OF_PARTS, LEAST_FP32, LEAST_INT8 = 1.10, 1.7, 3.0
#: So many boxes are above the threshold, as a trained detector has them: one with drawn weights finds thousands.
_CANDIDATES = 10
_BUDGET = Budget(latency_ms=50.0, boundary="end_to_end")


class Remembered:
    """A session that runs nothing: it says what the model said."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.inputs, self.outputs = _specs(told["inputs"]), _specs(told["outputs"])
        with np.load(told["said"]) as held:
            self._said = {name: held[name] for name in held.files}
        self.details: dict[str, Any] = {"precision": "none"}

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The remembered outputs, as many rows as are fed."""
        count = len(next(iter(feed.values())))
        return {name: value[:count] for name, value in self._said.items()}

    def another(self) -> Self:
        """Itself."""
        return self


def _specs(told: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in told)


def remember(model: str, runtime: str, images: Sequence[str], rows: int, out: str, task: str) -> dict[str, Any]:
    """In a child: what a model says of images, kept in `out`; of a detector the threshold that leaves ten boxes."""
    session = plugins.load("runtimes", runtime).open_session(Path(model), batch=rows, threads=None)
    how = Preparation.for_input(session.inputs[0], "detector" if task == "detector" else "classifier")
    name, photos = session.inputs[0].name, Photos(images_of(images))
    prepared = [how.prepare(photos[i % photos.count]) for i in range(max(rows, photos.count))]
    said = session.run({name: np.concatenate(prepared[:rows])})
    np.savez(out, **said)
    told = {kind: [vars(spec) for spec in getattr(session, kind)] for kind in ("inputs", "outputs")}
    if task != "detector":
        return {**told, "said": out}
    output = session.outputs[0].name
    tenth = [np.sort(session.run({name: one})[output][0, 4:].max(0))[-_CANDIDATES] for one in prepared]
    return {**told, "said": out, "score_above": min(float(max(tenth)), 0.999)}


def calmed(model: str, out: str) -> None:
    """In a child: a detector with drawn weights, its class scores spread out: as drawn, thousands are 1."""
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
    crop = TensorSpec(name="images", shape=(1, 3, CROP, CROP), dtype="float32")
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

    def __init__(
        self,
        described: Described,
        detector: Mapping[str, Any],
        classifier: Mapping[str, Any],
        images: Sequence[Path],
        crops: int,
    ) -> None:
        sessions = Opened(detector=Remembered(detector), classifier=Rows({None: Remembered(classifier)}, 8))
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
    sides = {PEER: found[PEER], "sum of the parts alone": parts} | {
        name: values for name, values in found.items() if name.startswith("deploytk")
    }
    told = []
    for name, values in sides.items():
        faster, of_parts = ratio.paired(values, found[PEER]), ratio.paired(parts, values)
        inside = ratio.paired(_models(values, found), _models(found[PEER], found))
        alone = name in (OURS, PEER)
        told.append(
            {
                "models": pair,
                "crops": crops,
                "contender": name,
                "median ms": round(median(values), 2),
                "times as fast as default": round(faster.value, 2),
                "interval": interval(faster),
                "in the models alone": round(inside.value, 2),
                " interval": interval(inside),
                "over the sum of its parts": round(of_parts.value, 3) if alone else None,
                "interval ": interval(of_parts) if alone else None,
            }
        )
    return told


def _models(values: Sequence[float], found: Mapping[str, list[float]]) -> list[float]:
    """What of each round was spent in the two models, in ms: all but what the rest takes alone."""
    return [value - rest for value, rest in zip(values, found["rest"], strict=True)]


def main() -> None:
    """Make the models, measure in turns, judge the small one, and keep the table."""
    asked = parser("A two-stage pipeline beside the sum of its parts and two default sessions.", "pipeline")
    asked.add_argument("--rounds", type=int, default=40)
    asked.add_argument("--crops", type=int, default=1)
    asked.add_argument("--seconds", type=float, default=60.0, help="for the verdict on the small pipeline")
    asked.add_argument("--models", type=Path, default=MODELS)
    given = asked.parse_args()
    work = given.models / "pipelines"
    pairs = [Pair(name, given.models, work) for name in CLASSIFIERS]
    rows, raw = [], {}
    for pair in pairs:
        raw[pair.name] = in_turns(
            pair.specs(given.crops), pair.rest(given.crops), given.rounds, work / "logs" / pair.name
        )
        rows += rows_of(f"{DETECTOR} + {pair.name}", given.crops, raw[pair.name])
    ways = (OURS, _best_int8(rows))
    verdicts = {way: judged(pairs[-1].pipelines[way], pairs[-1].photos, given, work) for way in ways}
    keep(
        given.out,
        "pipeline",
        sentence=sentence(rows, verdicts),
        how=f"{given.rounds} rounds of {CALLS} calls of each in turn, each in its own process; drawn JPEGs of 640 px, "
        f"about {_CANDIDATES} candidates, {given.crops} crop(s) in every image; medians of the rounds' medians.",
        rows=rows,
        versions=versions_of("deploytk", "onnxruntime", "openvino", "opencv-python", "pillow"),
        verdicts=verdicts,
        rounds_ms=raw,
    )


def _best_int8(rows: Sequence[Mapping[str, Any]]) -> str:
    """The faster of the INT8 pipelines of the small models."""
    mine = [r for r in rows if CLASSIFIERS[-1] in r["models"] and "int8" in r["contender"]]
    return str(min(mine, key=lambda r: r["median ms"])["contender"])


class Pair:
    """The detector and one classifier: their files in every precision and runtime, and the pipelines of them."""

    def __init__(self, name: str, models: Path, work: Path) -> None:
        self.name, self._work = name, work
        self._data = make_dataset(work / "data", train=8, val=16, imgsz=640)
        self.photos = [_as_jpeg(path, work / "photos") for path in images_of([str(self._data)])]
        self.files = {DETECTOR: work / f"{DETECTOR}.onnx", name: models / f"{name}.onnx"}
        call(
            "pipeline:calmed",
            "calmed",
            work / "logs",
            model=str(models / f"{DETECTOR}.onnx"),
            out=str(self.files[DETECTOR]),
        )
        self.told: dict[str, Any] = {name: self._said(self.files[name], "onnx", 8, "classifier")}
        self.pipelines: dict[str, Described] = {}
        for runtime in ("onnx", "openvino"):
            int8 = {part: self._int8(part, runtime) for part in self.files}
            for precision, files in (("fp32", self.files), ("int8", int8)):
                self._pipeline(precision, runtime, files)

    def _pipeline(self, precision: str, runtime: str, files: Mapping[str, Path]) -> None:
        way = f"deploytk {precision}, {runtime}"
        said = self._said(files[DETECTOR], runtime, 1, "detector")
        if way == OURS:
            self.told[DETECTOR] = said
        out = self._work / f"{self.name}-{runtime}-{precision}"
        self.pipelines[way] = pipeline_of(out, files[DETECTOR], files[self.name], said["score_above"], runtime)

    def _said(self, model: Path, runtime: str, rows: int, task: str) -> dict[str, Any]:
        """What a model says of the photos, in a child."""
        paths, out = [str(path) for path in self.photos], str(self._work / f"{model.stem}-{runtime}.npz")
        names = {"model": str(model), "runtime": runtime, "images": paths, "rows": rows, "out": out, "task": task}
        told: dict[str, Any] = call("pipeline:remember", f"said-{model.stem}", self._work / "logs", **names)
        return told

    def _int8(self, part: str, runtime: str) -> Path:
        """The INT8 file of a model for a runtime, made once."""
        out = self._work / f"{part}-int8.{'onnx' if runtime == 'onnx' else 'xml'}"
        size = SIZE if part == DETECTOR else CROP
        images = self._work / f"images-{size}.npz"
        if out.is_file():
            return out
        if not images.is_file():
            _keep_images(self._data, images, size)
        print(f"{part}: INT8 for {runtime}")
        names = {"model": str(self.files[part]), "images": str(images), "out": str(out)}
        call("int8_ways:quantize", f"int8-{part}-{runtime}", self._work / "logs", target=runtime, **names)
        return out

    def specs(self, crops: int) -> dict[str, dict[str, Any]]:
        """What each contender's process is told."""
        asked = Asked(images=[str(path) for path in self.photos])
        told = {name: spec_of_pipeline(each, asked) | {"crops": crops} for name, each in self.pipelines.items()}
        default = replace(asked, options={"spin": "on"})
        told[PEER] = spec_of_pipeline(self.pipelines[OURS], default) | {"crops": crops}
        alone = {"detector alone": (DETECTOR, 1), "classifier alone": (self.name, max(1, crops))}
        return told | {
            name: spec_of(artifact_of(self.files[part])) | {"rows": rows} for name, (part, rows) in alone.items()
        }

    def rest(self, crops: int) -> Rest:
        """All but the models."""
        return Rest(self.pipelines[OURS], self.told[DETECTOR], self.told[self.name], self.photos, crops)


def _as_jpeg(image: Path, out: Path) -> Path:
    """A drawn image as cameras keep theirs."""
    made = out / f"{image.stem}.jpg"
    made.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(image) as opened:
        opened.convert("RGB").save(made, quality=90)
    return made


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
        name, inside, whole = row["contender"], row["in the models alone"], row["times as fast as default"]
        if name == OURS:
            part = row["over the sum of its parts"]
            words.append(f"{row['models']}: {part:g} times the sum of its parts ({_met(part <= MOST_OF_PARTS)})")
        if name == OURS or "int8" in name:
            least = LEAST_FP32 if name == OURS else LEAST_INT8
            words.append(f"{name} {inside:g} times in the models ({_met(inside >= least)}), {whole:g} in all")
    for name, told in verdicts.items():
        tails = ", ".join(f"{r['p95_ms']:.1f} with {r['crops']}" for r in told["crops"] if r["p95_ms"])
        words.append(f"{DETECTOR} + {CLASSIFIERS[-1]}, {name}: {told['verdict']}, p95 in ms by crops: {tails}")
    faster = f"{LEAST_FP32:g} and {LEAST_INT8:g} (INT8) times as fast in the models"
    aims = f"at most {MOST_OF_PARTS:g} times the parts, {faster}, p95 below {_BUDGET.latency_ms:g} ms"
    return f"{'; '.join(words)} (beside {PEER}; aims: {aims})."


def _met(good: bool) -> str:
    return "reached" if good else "**not reached**"


if __name__ == "__main__":
    main()
