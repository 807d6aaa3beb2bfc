"""The image models of an ensemble, opened: each answers the pixels of an image with boxes or with probabilities."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.data import preparation_file
from deploytk.data.detections import Detections, Head, class_count, detections, head_of, reals, top_k
from deploytk.data.pixels import InsideModel, takes_any_size
from deploytk.data.preparation import Preparation, facts_of
from deploytk.errors import InputError
from deploytk.graphs.identify import RUNNABLE, identify, require_model
from deploytk.runtimes import FixedBatch, Session
from deploytk.stages.run_folder import RunFolder

Kind = Literal["detector", "classifier"]
#: Boxes above this are told, as in Ultralytics' validation: the average precision is over all of them.
SCORE = 0.001
Answer = Detections | np.ndarray
#: A TorchScript does not hold the size of its input, and nobody is asked for it here.
_KINDS = frozenset(RUNNABLE) - {"torchscript"}


@dataclass
class ImageModel:
    """A model that is ready; one call at a time."""

    name: str
    path: Path
    session: Session
    preparation: Preparation | InsideModel
    head: Head
    classes: int | None  # how many; None where the outputs do not tell
    names: tuple[str, ...] | None  # of the classes; None where the file does not tell
    crops: Mapping[str, Any] | None = None  # what a classifier was trained with
    assumed: bool = False  # whether nothing says how a classifier's images are prepared
    took_ms: list[float] = field(default_factory=list)  # of each answer: prepared, run and read

    @property
    def kind(self) -> Kind:
        """What it is."""
        return "classifier" if self.head == "classes" else "detector"

    @property
    def prepared(self) -> str:
        """In words."""
        return self.preparation.summary if isinstance(self.preparation, Preparation) else self.preparation.kind

    def answer(self, pixels: np.ndarray, *, flip: bool, image: str) -> Answer:
        """The boxes in pixels of the image, or the probabilities (classes,).

        Args:
            pixels: (height, width, 3) uint8 BGR.
            flip: look at it in a mirror; boxes are where they are in the image all the same.

        Raises:
            InputError: the outputs hold NaN or infinity.
        """
        began = time.perf_counter()
        seen = np.ascontiguousarray(pixels[:, ::-1]) if flip else pixels
        fed, placed = self.preparation.fit(seen)
        outputs = self.session.run({self.session.inputs[0].name: fed})
        specs = self.session.outputs
        for spec in specs:
            if not np.isfinite(reals(outputs[spec.name], spec)).all():
                raise InputError(f"{self.path}: its output {spec.name} for {image} holds NaN or infinity")
        if self.head == "classes":
            said: Answer = _probabilities(outputs[specs[0].name], specs[0])
        else:
            size = self.preparation.size
            (found,) = detections([outputs[s.name] for s in specs], specs, self.head, size, score=SCORE)
            found = found.on_image(placed, *pixels.shape[:2])
            said = flipped(found, pixels.shape[1]) if flip else found
        self.took_ms.append(1e3 * (time.perf_counter() - began))
        return said


def flipped(found: Detections, width: int) -> Detections:
    """The same objects in the mirror image of `width` pixels."""
    boxes = found.boxes.copy()
    boxes[:, 0], boxes[:, 2] = width - found.boxes[:, 2], width - found.boxes[:, 0]
    return Detections(boxes=boxes, scores=found.scores, labels=found.labels, candidates=found.candidates)


def file_of(path: Path) -> Path:
    """The model file that is given, or a run's ONNX.

    Raises:
        InputError: no model that is run here, or a run that was not exported.
    """
    if path.is_dir() and identify(path).name == "run":
        exported = RunFolder(path).onnx
        if not exported.is_file():
            raise InputError(
                f"{path}: not exported yet ({exported} is missing); run: deploytk export {path} --target onnx"
            )
        return exported
    if identify(path).name == "torch":
        raise InputError(
            f"{path}: is a checkpoint, which is not deployed; export its run: deploytk export RUN --target onnx"
        )
    return require_model(path, _KINDS).path


def opened(path: Path, name: str) -> ImageModel:
    """The model in a file, with the preparation that stands beside it or in it, otherwise the usual one for its kind.

    Raises:
        InputError: it cannot be loaded, or is neither a detector nor a classifier of one image at a time.
        MissingDependency: its runtime is not installed.
    """
    kind = require_model(path, RUNNABLE)
    runtime = plugins.load("runtimes", RUNNABLE[kind.name])
    # Idle threads of ONNX Runtime would take the cores from the next model (see pipelines.sessions).
    options = {"spin": "stop"} if kind.name == "onnx" else {}
    try:
        session: Session = runtime.open_session(path, batch=1, threads=None, options=options)
    except FixedBatch as error:
        raise InputError(f"{path}: {error}; an ensemble asks for one image at a time") from error
    if len(session.inputs) != 1:
        named = ", ".join(spec.name for spec in session.inputs)
        raise InputError(f"{path}: takes {named}; the models of an ensemble take one image each")
    facts = _facts(path)
    preparation, head = _read_how(path, session, facts)
    return ImageModel(
        name=name,
        path=path,
        session=session,
        preparation=preparation,
        head=head,
        classes=class_count(session.outputs, head, preparation.size),
        names=_names(facts),
        crops=facts.get("crops") or None,
        assumed=head == "classes" and not (facts.get("preparation") or path.with_name("preparation.yaml").is_file()),
    )


def require_alike(models: Sequence[ImageModel]) -> None:
    """Nothing, where all are of one kind and tell the same classes apart, in the same order.

    Raises:
        InputError: they are not.
    """
    if len({model.kind for model in models}) > 1:
        told = ", ".join(f"{model.name} is a {model.kind}" for model in models)
        raise InputError(f"an ensemble is of detectors or of classifiers, not of both: {told}")
    names = {model.names for model in models if model.names is not None}
    counts = {len(of) for of in names} | {model.classes for model in models if model.classes is not None}
    if len(names) > 1 or len(counts) > 1:
        told = "; ".join(f"{model.name}: {_told(model)}" for model in models)
        raise InputError(f"the models do not tell the same classes apart, in the same order: {told}")


def _told(model: ImageModel) -> str:
    names = model.names or ()
    count = model.classes if model.classes is not None else len(names) or "an unknown number of"
    shown = f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
    return f"{count} classes{shown}"


def _read_how(path: Path, session: Session, facts: Mapping[str, Any]) -> tuple[Preparation | InsideModel, Head]:
    """How an image becomes the input, and what the outputs are."""
    image = session.inputs[0]
    beside = path.with_name("preparation.yaml")
    try:
        if takes_any_size(image):
            return InsideModel(), _head(session, (0, 0))
        head = _head(session, facts_of(image)["size"])
        if beside.is_file():
            return preparation_file.load(str(beside), image), head
        if facts.get("preparation"):
            return Preparation.model_validate({**facts["preparation"], **facts_of(image)}), head
        return Preparation.for_input(image, "classifier" if head == "classes" else "detector"), head
    except InputError as error:
        raise InputError(error.message if str(path.parent) in error.message else f"{path}: {error.message}") from error
    except ValidationError as error:
        raise InputError(f"{path}: the preparation in its metadata is damaged: {error}") from error


def _head(session: Session, size: tuple[int, int]) -> Head:
    try:
        # How many anchors there are is known for images of one size only.
        head = head_of(session.outputs, size, "auto" if any(size) else "nms")
    except InputError:
        head = None
    if head is None:
        shapes = "; ".join(f"{o.name} {list(o.shape)}" for o in session.outputs)
        raise InputError(f"its outputs are neither boxes nor classes ({shapes})")
    return head


def _probabilities(output: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """(classes,) of one image."""
    labels, shares = top_k(output, spec, output[0].size)
    row = np.empty(output[0].size, np.float32)
    row[labels[0]] = shares[0]
    return row


def _facts(path: Path) -> dict[str, Any]:
    """What deploytk wrote into the ONNX, or into that of the export the file belongs to; labels.txt says more."""
    onnx = next((p for p in (path, *_exported_beside(path)) if p.is_file() and identify(p).name == "onnx"), None)
    facts = _metadata(onnx) if onnx else {}
    labels = path.with_name("labels.txt")
    # A pipeline's labels.txt is its classifier's; that of a deployed folder is its one model's.
    if labels.is_file() and path.with_name("deploy.json").is_file():
        facts["names"] = labels.read_text(encoding="utf-8").splitlines()
    return facts


def _exported_beside(path: Path) -> list[Path]:
    """RUN/export/onnx/model.onnx, of a file in RUN/export/TARGET or a folder in it."""
    return [parent / "onnx" / "model.onnx" for parent in path.absolute().parents[:3] if parent.name == "export"]


def _metadata(path: Path) -> dict[str, Any]:
    """deploytk's facts, and the names that Ultralytics writes."""
    model = plugins.import_or_explain("onnx").load(str(path), load_external_data=False)
    told = {entry.key: entry.value for entry in model.metadata_props}
    try:
        facts = {name: json.loads(told[f"deploytk.{name}"]) for name in _FACTS if f"deploytk.{name}" in told}
        if "names" not in facts and "names" in told:
            facts["names"] = ast.literal_eval(told["names"])
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{path}: its metadata (names, preparation) cannot be read: {error}") from error
    return facts


_FACTS = ("names", "preparation", "crops")


def _names(facts: Mapping[str, Any]) -> tuple[str, ...] | None:
    """In the order of their ids; Ultralytics' are a mapping from them."""
    names = facts.get("names")
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names)]
    return tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
