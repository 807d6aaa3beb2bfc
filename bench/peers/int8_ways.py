"""The ways to run a model in INT8 and in float that `int8.py` compares: each file made once, in a child process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins, worker
from deploytk.backends.ultralytics import METRIC
from deploytk.data import dataset, samples
from deploytk.errors import ParityFailed
from deploytk.files import written_whole
from deploytk.recipe import Recipe
from deploytk.stages.export import export, with_overrides
from deploytk.stages.run_folder import RunFolder

_HERE = Path(__file__).parent
_TIMEOUT_S = 1800.0
#: Points of mAP50 that INT8 may lose.
MAX_DROP = 0.01
DEFAULT = "yolo export onnx, ONNX Runtime"


def is_kept(before: float, after: float) -> bool:
    """Whether an INT8 model lost no more than it may; up to the rounding of a difference."""
    return before - after <= MAX_DROP + 1e-9


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run a model."""

    name: str  # as the table calls it
    path: Path
    runtime: str
    peer: bool = False  # what somebody without deploytk gets
    ours: bool = False  # what deploytk may choose; a float model can be both
    inside_of: str = ""  # of which way it is the model with the normalisation inside: it takes pixels


def call(function: str, name: str, logs: Path, **kwargs: Any) -> Any:
    """What a function of this folder (or of deploytk) returns from a process of its own."""
    places = os.pathsep.join(filter(None, [str(_HERE), os.environ.get("PYTHONPATH")]))
    return worker.call(function, kwargs, logs=logs, name=name, timeout_s=_TIMEOUT_S, env={"PYTHONPATH": places})


def of_detector(run: RunFolder, folder: Path, say: Callable[[str], None] = print) -> list[Way]:
    """The trained detector as `yolo export` and as deploytk make it; the first is what all are compared with.

    An INT8 model that the ladder did not come to is not among them; the sentence says so.
    """
    say("yolo export: onnx, onnx int8, openvino, openvino int8")
    files = _of_ultralytics(run, folder)
    ways = [
        Way(name=DEFAULT, path=files["onnx"], runtime="onnx", peer=True, ours=True),
        Way(name="yolo export onnx int8, ONNX Runtime", path=files["onnx-int8"], runtime="onnx", peer=True),
        Way(name="yolo export openvino", path=files["openvino"], runtime="openvino", peer=True, ours=True),
        Way(name="yolo export openvino int8 (NNCF)", path=files["openvino-int8"], runtime="openvino", peer=True),
    ]
    for target in ("onnx", "openvino"):
        say(f"deploytk export --target {target} --precision int8 --max-drop {100 * MAX_DROP:g}")
        made = by_ladder(run, target, say)
        if made is None:
            continue
        plain = Way(name=f"deploytk int8, {target}", path=made, runtime=target, ours=True)
        ways.append(plain)
        inside = by_ladder(run, target, say, preprocess="normalise")
        if inside is not None:
            name = f"{plain.name}, normalised inside"
            ways.append(Way(name=name, path=inside, runtime=target, ours=True, inside_of=plain.name))
    return ways


def _of_ultralytics(run: RunFolder, folder: Path) -> dict[str, Path]:
    """By name the files of `yolo export`, made where they are not there yet."""
    names = {
        "onnx": "model.onnx",
        "onnx-int8": "model_int8.onnx",
        "openvino": "model.xml",
        "openvino-int8": "model.xml",
    }
    found = {name: next((folder / name).rglob(file), None) for name, file in names.items()}
    if any(path is None for path in found.values()):
        view = next((run.path / "data").glob("*/data.yaml"))
        told = call(
            "peer_ultralytics:exported",
            "yolo-export",
            folder / "logs",
            weights=str(run.path / "weights" / "best.pt"),
            data=str(view.absolute()),
            imgsz=run.profile().train.imgsz,
            folder=str(folder.absolute()),
        )
        return {name: Path(path) for name, path in told.items()}
    return {name: path for name, path in found.items() if path is not None}


def by_ladder(run: RunFolder, target: str, say: Callable[[str], None] = print, preprocess: str = "out") -> Path | None:
    """The INT8 model that `deploytk export` passes; None, its reasons said, where there is none."""
    profile = with_overrides(
        run.profile(),
        {
            ("export", "target"): target,
            ("export", "precision"): "int8",
            ("export", "preprocess"): preprocess,
            ("budget", "max_accuracy_drop"): MAX_DROP,
        },
    )
    report = export(run, profile)
    if report.exit_code or report.artifact is None:
        say(f"  none: {' '.join(report.verdict.reasons)}")
        return None
    return report.artifact.path


def of_drawn(model: Path, data: Path, folder: Path, say: Callable[[str], None] = print) -> list[Way]:
    """A classifier with drawn weights, for its speed only: no accuracy can be asked of it."""
    images, logs = folder / "images.npz", folder / "logs"
    if not images.is_file():
        _keep_images(data, images, 224)
    peers = {"onnxruntime": folder / "onnxruntime_int8.onnx", "nncf": folder / "nncf_int8.xml"}
    for tool, out in peers.items():
        if not out.is_file():
            say(f"{model.stem}: {tool} with its defaults")
            names = {"model": str(model), "images": str(images), "out": str(out)}
            call(f"peer_defaults:{tool}_int8", tool, logs, **names)
    ways = [
        Way(name="float, ONNX Runtime", path=model, runtime="onnx", peer=True, ours=True),
        Way(name="quantize_static, ONNX Runtime", path=peers["onnxruntime"], runtime="onnx", peer=True),
        Way(name="float, OpenVINO", path=model, runtime="openvino", peer=True, ours=True),
        Way(name="nncf.quantize, OpenVINO", path=peers["nncf"], runtime="openvino", peer=True),
    ]
    for target, suffix in (("onnx", ".onnx"), ("openvino", ".xml")):
        out = folder / f"deploytk_int8{suffix}"
        if out.is_file() or _quantized(target, model, images, out, logs, say):
            ways.append(Way(name=f"deploytk int8, {target}", path=out, runtime=target, ours=True))
    return ways


def _quantized(target: str, model: Path, images: Path, out: Path, logs: Path, say: Callable[[str], None]) -> bool:
    """Whether the target made an INT8 model at `out`; where it refused to, its reason is said."""
    say(f"{model.stem}: deploytk's INT8 for {target}")
    names = {"model": str(model), "images": str(images), "out": str(out)}
    try:
        call("int8_ways:quantize", f"deploytk-{target}", logs, target=target, **names)
    except ParityFailed as error:
        say(f"  refused: {error.message}")
        return False
    return True


def quantize(target: str, model: str, images: str, out: str) -> None:
    """Write the target's full INT8 version of a model, the first rung of the ladder."""
    from peer_defaults import one_by_one  # brings NNCF, for this child only

    made = plugins.load("targets", target)
    made.quantize_graph(Path(model), lambda: one_by_one(images), Path(out), Recipe())


def _keep_images(data: Path, out: Path, size: int) -> None:
    """Real images for the ranges, so that no tool calibrates on noise."""
    held = list(samples.stream(dataset.read(data), "train", size, 32, 0))
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as partial, partial.open("wb") as stream:
        np.savez(stream, images=np.concatenate(held))


def score(run: RunFolder, way: Way, logs: Path) -> float:
    """The mAP50 of one way on the validation split, by the code that scores the trained model."""
    told = {"profile": run.profile().model_dump(mode="json", by_alias=True), "run": str(run.path)}
    files = {"checkpoint": str(run.model), "model": str(way.path), "target": way.runtime}
    found = call("int8_ways:scored", f"score-{way.path.parent.name}-{way.path.stem}", logs, **told, **files)
    return float(found[METRIC])


def scored(profile: dict[str, Any], run: str, checkpoint: str, model: str, target: str) -> dict[str, float]:
    """The task metrics of a file, in this process."""
    predict = plugins.load("targets", target).predictor(Path(model))
    found: dict[str, float] = plugins.load("backends", profile["backend"]).score(
        predict, profile, Path(checkpoint), run
    )
    return found
