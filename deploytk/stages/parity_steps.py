"""The child's side of a comparison: both models opened, run on the same samples, and looked into layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import worker
from deploytk.artifact import TensorSpec
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.stages import parity_layers, parity_models, parity_outputs, parity_verdict
from deploytk.stages.bench_photos import images_of
from deploytk.stages.parity_limits import row_for
from deploytk.stages.parity_models import Model
from deploytk.stages.parity_outputs import Setting

#: As many samples are compared; more tell the same.
MOST_SAMPLES = 16
#: Beyond the first setting: what breaks at another batch or image size is broken in any batch.
MOST_BATCHES = 2


def compare(
    source: str, converted: str, samples: str | None, images: Sequence[str], imgsz: int | None, precision: str
) -> dict[str, Any]:
    """What two model files do on the same samples.

    Args:
        samples: an .npz with one array per input of the source, samples along its first axis.
        images: image files, folders or a data.yaml, prepared as the source takes them, where there is no `samples`.
        imgsz: the side of the images where the source's image size is free.
        precision: what the lineage of the converted model says, or the empty string.

    Returns:
        precision (the row of the table of thresholds) and limits, computed_in (what the runtime says), samples (how
        many), rows (see `parity_outputs.compared`, with `ok`), layers (the worst, see `parity_layers.compared`),
        layers_compared, layers_at, first_wrong_layer, notes.
    """
    reference = parity_models.opened(Path(source))
    other = parity_models.decoded(parity_models.opened(Path(converted)), reference)
    rows = _from_npz(Path(samples), reference) if samples else _from_images(images, reference, other, imgsz)
    return agreement(reference, other, rows, precision)


def agreement(source: Model, converted: Model, rows: Mapping[str, np.ndarray], precision: str = "") -> dict[str, Any]:
    """What `compare` returns, for two open models and samples by the name of the source's input."""
    kept = {name: values[:MOST_SAMPLES] for name, values in rows.items()}
    wanted, notes = parity_outputs.settings(source, converted, kept)
    outputs: list[dict[str, Any]] = []
    for done, setting in enumerate(wanted):
        worker.emit(done=done, total=len(wanted) + 1, text=setting.words)
        outputs += parity_outputs.compared(source, converted, kept, setting, MOST_BATCHES if done else None)
    computed = str(converted.session.details["precision"])
    worker.emit(done=len(wanted), total=len(wanted) + 1, text="layer by layer")
    layers = _layers(source, converted, kept, wanted[0])
    if not layers:
        notes.append(f"{source.path.name} and {converted.path.name} have no layers that can be compared by their names")
    found = {
        "precision": row_for(precision, computed),
        "computed_in": computed,
        "samples": len(next(iter(kept.values()))),
        "rows": outputs,
        "layers": layers,
        "layers_at": wanted[0].words,
        "notes": notes,
    }
    return parity_verdict.brief(found)


def _layers(source: Model, converted: Model, rows: Mapping[str, np.ndarray], setting: Setting) -> list[dict[str, Any]]:
    batches = islice(parity_outputs.cut(rows, setting), parity_layers.MOST_BATCHES)
    return parity_layers.compared(source, converted, batches)


def _from_npz(path: Path, source: Model) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no readable .npz of samples ({error})") from error
    names = [spec.name for spec in source.session.inputs]
    if len(arrays) == len(names) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    lacking = [name for name in names if not arrays.get(name, np.empty(0)).size]
    if lacking:
        raise InputError(f"{path}: no samples for the inputs {', '.join(lacking)}; it holds {', '.join(arrays)}")
    return {name: _channels_first(arrays[name]) for name in names}


def _channels_first(values: np.ndarray) -> np.ndarray:
    """Images as (N, channels, height, width), which is how the comparison cuts them to other sizes."""
    last = values.ndim == 4 and values.shape[1] not in (1, 3) and values.shape[3] in (1, 3)
    return np.ascontiguousarray(np.moveaxis(values, -1, 1)) if last else values


def _from_images(images: Sequence[str], source: Model, converted: Model, imgsz: int | None) -> dict[str, np.ndarray]:
    """The images as the source takes them: a letterbox for boxes, a centre crop for classes; channels first."""
    sides = (imgsz, imgsz) if imgsz else converted.sides or source.sides
    if not source.channels:
        raise InputError(f"{source.path}: takes no single image; give --samples FILE.npz with its inputs")
    if sides is None:
        raise InputError(f"{source.path}: its image size is free; say --imgsz")
    name = source.session.inputs[0].name
    spec = TensorSpec(name=name, shape=("batch", source.channels, *sides), dtype="float32")
    how = Preparation.for_input(spec, "classifier" if source.head(sides) == "classes" else "detector")
    paths = images_of(images)
    count = min(MOST_SAMPLES, len(paths))
    files = [paths[place * len(paths) // count] for place in range(count)]  # evenly over all of them
    return {name: np.concatenate([how.prepare(path.read_bytes(), str(path)) for path in files])}
