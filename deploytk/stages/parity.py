"""Compare a converted model with its source on real samples, and name the layer that went wrong first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.artifact import Artifact, sidecar, versions_of
from deploytk.budget import Verdict
from deploytk.errors import EXIT_PARITY, EXIT_PASS, InputError
from deploytk.files import sha256_of
from deploytk.graphs.identify import require_model
from deploytk.measurement import Machine
from deploytk.report import Report
from deploytk.stages import parity_verdict
from deploytk.stages.parity_models import KINDS
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener

_TIMEOUT_S = 1800.0
_LIBRARIES = ("deploytk", "onnxruntime", "openvino", "ai-edge-litert", "torch", "numpy")


def parity(
    source: Path,
    converted: Path,
    *,
    samples: Path | None = None,
    images: Sequence[Path] = (),
    imgsz: int | None = None,
    out: Path | None = None,
    listen: Listener | None = None,
) -> Report:
    """The report on whether `converted` does what `source` does: PASS, or FAIL (exit 8) with the layer at fault.

    Args:
        samples: an .npz with one array per input of the source; or `images`: files, folders or a data.yaml. Without
            either, the validation images of the run folder that one of the two stands in.
        imgsz: the side of the images where the source's image size is free.
        out: folder for the child's log; a temporary one where it is None.

    Raises:
        InputError: no model, no samples, or samples that do not fit.
    """
    for path in (source, converted):
        require_model(path, KINDS)
    given = [str(path) for path in images or ([] if samples else _own_images(source, converted))]
    model = _artifact(converted)
    task = {
        "source": str(source),
        "converted": str(converted),
        "samples": str(samples) if samples else None,
        "images": given,
        "imgsz": imgsz,
        "precision": model.precision,
    }
    with worker.log_folder(out, "parity") as logs:
        found = worker.call(
            "deploytk.stages.parity_steps:compare",
            task,
            logs=logs,
            name=f"parity-{converted.name}",
            timeout_s=_TIMEOUT_S,
            listen=listen,
        )
    return _report(_artifact(source), model, found)


def _own_images(source: Path, converted: Path) -> list[Path]:
    """The dataset of the run folder that one of the models stands in.

    Raises:
        InputError: neither does. A conversion is judged on real samples, never on noise.
    """
    for path in (source.absolute(), converted.absolute()):
        for folder in path.parents:
            if (folder / "profile.json").is_file():
                data = RunFolder(folder).profile().data.path
                if data is not None:
                    return [data]
    raise InputError(
        f"{source}: what are the two models compared on? Give --images FOLDER or --samples FILE.npz: real ones, as "
        "noise shows neither the ranges nor the boxes of a trained model"
    )


def _artifact(path: Path) -> Artifact:
    """The file with its lineage where it has one, else with its sha256 alone."""
    if sidecar(path).is_file():
        return Artifact.load(path)
    return Artifact(
        path=path, format=path.suffix.lstrip("."), precision="unknown", sha256=sha256_of(path), made_by="given"
    )


def _report(source: Artifact, converted: Artifact, found: dict[str, Any]) -> Report:
    names = source.path.name, converted.path.name
    bad = parity_verdict.wrong(found, *names)
    good = (
        f"{names[1]} does what {names[0]} does on {found['samples']} samples, within the limits of {found['precision']}"
    )
    return Report(
        command="parity",
        title=f"{names[0]} : {names[1]}",
        verdict=Verdict(status="fail" if bad else "pass", reasons=tuple(bad or [good, *found["notes"]])),
        exit_code=EXIT_PARITY if bad else EXIT_PASS,
        artifact=converted,
        chain=(source, converted),
        machine=Machine.this(),
        versions=versions_of(*_LIBRARIES),
        sections={"agreement": found},
    )
