"""What `deploytk optimize` runs in child processes: JSON-like in and out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.data import preparation_file
from deploytk.files import plain
from deploytk.profile import Profile
from deploytk.stages.bench_end_to_end import EndToEnd, image_input
from deploytk.stages.export import at_size, export
from deploytk.stages.export_steps import Steps
from deploytk.stages.run_folder import RunFolder


def classes(backend: str, checkpoint: str) -> list[str]:
    """The names of the classes of a checkpoint."""
    return [str(name) for name in plugins.load("backends", backend).describe(Path(checkpoint))["classes"]]


def trained(profile: dict[str, Any], run: str, imgsz: int) -> dict[str, float]:
    """The task metrics of the trained model itself at an image size."""
    folder, wanted = at_size(RunFolder(Path(run)), Profile.model_validate(profile), imgsz)
    with folder.alone():
        return dict(Steps(folder, wanted, _passed_on).source.metrics)


def exported(profile: dict[str, Any], run: str, imgsz: int) -> dict[str, Any]:
    """The report of `deploytk export` for this profile, run folder and image size, as JSON-like values."""
    report = export(RunFolder(Path(run)), Profile.model_validate(profile), _passed_on, imgsz=imgsz)
    told: dict[str, Any] = plain(report.as_dict())
    return told


def image_spec(model: str, runtime: str) -> dict[str, Any]:
    """The one image input of a model at batch 1."""
    session = plugins.load("runtimes", runtime).open_session(Path(model), batch=1, threads=None)
    return asdict(image_input(session))


def boxes(model: str, runtime: str, images: list[str], preparation: str) -> list[list[list[float]]]:
    """For each image the boxes [x1, y1, x2, y2, score, class] in its pixels, as the bench's boundary end_to_end."""
    session = plugins.load("runtimes", runtime).open_session(Path(model), batch=1, threads=None)
    prepared = preparation_file.load(preparation, image_input(session))
    whole = EndToEnd(session, [Path(image) for image in images], prepared, "auto", 1)
    found = []
    for turn in range(len(images)):
        told = whole.run(turn)
        rows = zip(told["boxes"][0], told["scores"][0], told["labels"][0], strict=True)
        every = [[*map(float, box), float(score), float(label)] for box, score, label in rows]
        found.append(every[: int(told["count"][0])])
    return found


def _passed_on(event: dict[str, Any]) -> None:
    worker.emit(**event)
