"""What a pipeline recognises in image files, with boxes drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.budget import Verdict
from deploytk.data import dataset
from deploytk.errors import InputError
from deploytk.files import write_json
from deploytk.measurement import Machine
from deploytk.pipelines import description as descriptions
from deploytk.pipelines import lineage
from deploytk.pipelines.running import from_described, pixels_of
from deploytk.report import Finding, Report
from deploytk.runtimes import FixedBatch
from deploytk.worker import Listener

_TIMEOUT_S = 24 * 3600.0
#: Of a picture with boxes: what a photo was is still one, everything else keeps its pixels.
_SUFFIXES = {".jpg": ".jpg", ".jpeg": ".jpg"}


def predict(
    pipeline: Path, images: Sequence[Path], *, out: Path | None = None, listen: Listener | None = None
) -> Report:
    """What is in each image; those that cannot be read are findings.

    Args:
        images: files, and folders of them.
        out: where the images with their boxes and predictions.json are written; nowhere where it is None.

    Raises:
        InputError: no pipeline, or not one image could be read.
        MissingDependency: its runtime is not installed.
    """
    described = descriptions.read(pipeline)
    artifact = lineage.artifact_of(described)
    paths = _files(images)
    kwargs = {"pipeline": str(described.path), "images": [str(p) for p in paths], "out": str(out) if out else None}
    with worker.log_folder(None, "predict") as folder:
        told: list[dict[str, Any]] = worker.call(
            "deploytk.stages.predict:recognised",
            kwargs,
            logs=folder,
            name="predict",
            timeout_s=_TIMEOUT_S,
            listen=listen,
        )
    good, bad = [t for t in told if "error" not in t], [t for t in told if "error" in t]
    if not good:
        reasons = tuple(t["error"] for t in bad)
        raise InputError("; ".join(reasons), reasons=reasons)
    if out is not None:
        write_json(out / "predictions.json", {"pipeline_sha256": artifact.sha256, "images": good})
    objects, named = (sum(len(_objects(t, named=with_name)) for t in good) for with_name in (False, True))
    summary = f"{len(good)} of {len(told)} images read, {objects} objects found, {named} of them named"
    return Report(
        command="predict",
        title=described.path.parent.absolute().name,
        verdict=Verdict(status="pass", reasons=(summary,)),
        exit_code=0,
        artifact=artifact,
        chain=(*lineage.models_of(described), artifact),
        findings=tuple(_finding(t) for t in bad),
        machine=Machine.this(),
        sections={"predict": {"images": good, "out": str(out) if out else None}},
    )


def recognised(pipeline: str, images: Sequence[str], out: str | None) -> list[dict[str, Any]]:
    """In a child: for each image what is in it, or `error`; with `out` the image with its boxes is written there."""
    from deploytk.pipelines import drawing

    try:
        run = from_described(descriptions.read(Path(pipeline)))
    except FixedBatch as error:
        raise InputError(f"{pipeline}: {error}") from error
    told: list[dict[str, Any]] = []
    names = _names([Path(image) for image in images])
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        worker.emit(done=number, total=len(images), text=name)
        try:
            pixels = pixels_of(image)
        except InputError as error:
            told.append({"image": image, "error": error.message})
            continue
        found = run(pixels)
        if out is not None:
            drawing.write(Path(out) / name, drawing.drawn(pixels, found))
        told.append({"image": image, **found.as_dict()})
    return told


def _files(images: Sequence[Path]) -> list[Path]:
    """The files that are given; of a folder the images in it."""
    found = [inside for path in images for inside in (dataset.images_in(path) if path.is_dir() else [path])]
    if not found:
        raise InputError(f"{', '.join(map(str, images))}: no images in it")
    return found


def _names(images: Sequence[Path]) -> list[str]:
    """What the drawn images are called: as the images, with a number where two would be called the same."""
    names: list[str] = []
    for image in images:
        name = f"{image.stem}{_SUFFIXES.get(image.suffix.lower(), '.png')}"
        names.append(name if name not in names else f"{len(names)}-{name}")
    return names


def _objects(told: dict[str, Any], *, named: bool) -> list[Any]:
    return [found for found in told["objects"] if found["names"] or not named]


def _finding(told: dict[str, Any]) -> Finding:
    message, _, fix = told["error"].removeprefix(f"{told['image']}: ").partition("; ")
    return Finding(
        rule="PRE001",
        severity="warning",
        where=told["image"],
        message=f"left out: {message}",
        fix=fix or "check the path",
    )
