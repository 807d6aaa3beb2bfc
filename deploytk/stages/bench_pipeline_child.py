"""What stands inside the clock of a pipeline's bench: from the bytes of images to boxes with names.

The parts of a call are those of `pipelines.running.PARTS`; they sum up to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from deploytk import plugins
from deploytk.data.detections import Detections
from deploytk.errors import InputError
from deploytk.pipelines import description as descriptions
from deploytk.pipelines.running import PARTS, Pipeline, Recognised, from_described
from deploytk.pipelines.sessions import probabilities_wrong
from deploytk.stages.bench_end_to_end import odd_counts, spread
from deploytk.stages.bench_photos import Photos, images_of
from deploytk.timing import wrong_outputs


class Exactly:
    """So many crops in every image: its most certain boxes, and drawn ones where it has fewer (the same every time)."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.drawn = 0  # boxes that were drawn, in all calls so far
        self.made = 0  # boxes, drawn or not, in all calls so far
        self._shares = np.random.default_rng(0).random((count, 4), dtype=np.float32)

    def __call__(self, found: Detections, height: int, width: int) -> np.ndarray:
        """(count, 4) corners: those that were drawn have sides of a tenth to four tenths of the image."""
        kept = found.boxes[: self.count]
        shares = self._shares[len(kept) :]
        sides = 0.1 + 0.3 * shares[:, 2:]
        low = shares[:, :2] * (1 - sides)
        drawn = np.concatenate([low, low + sides], 1) * np.array([width, height] * 2, np.float32)
        self.drawn += len(drawn)
        self.made += self.count
        return np.concatenate([kept, drawn.astype(np.float32)])


class Whole:
    """A pipeline over several images in turn."""

    parts: tuple[str, ...] = PARTS

    def __init__(
        self, pipeline: Pipeline, photos: Photos, batch: int, forced: Exactly | None, load_ms: float = 0.0
    ) -> None:
        self.pipeline, self.photos, self.batch, self._forced = pipeline, photos, batch, forced
        self.load_ms = load_ms
        self.count = photos.count
        self._seen: dict[int, tuple[int, int, int]] = {}  # image -> (boxes, candidates, crops)

    @property
    def inputs(self) -> str:
        """The images in words."""
        return self.photos.words

    @property
    def last_ms(self) -> dict[str, float]:
        """The split of the last run in ms."""
        return self.pipeline.last_ms

    @property
    def last_outputs(self) -> Mapping[str, np.ndarray]:
        """What the detector gave in the last run."""
        return self.pipeline.last_outputs

    def run(self, turn: int) -> dict[str, np.ndarray]:
        """The results for one batch of consecutive images, beginning with image `turn`, the first after the last."""
        chosen = self.photos.turn(turn, self.batch)
        found = self.pipeline.many([self.photos[i] for i in chosen])
        for number, one in zip(chosen, found, strict=True):
            self._seen.setdefault(number, _counts(one))
        return {"boxes": found[0].boxes}

    def wrong(self) -> str:
        """Why the outputs of the last run cannot be right, as a sentence, or the empty string."""
        told = wrong_outputs(self.last_outputs, self.batch)
        for classes in self.pipeline.last_classes:
            told = told or probabilities_wrong(classes, self.pipeline.classifier.output)
        return told

    @property
    def session_details(self) -> dict[str, Any]:
        """What both models really got; the classifier's where it differs from the detector's."""
        detector, classifier = self.pipeline.detector.details, self.pipeline.classifier.details
        same = detector.get("precision") == classifier.get("precision")
        both = detector["precision"] if same else f"{detector['precision']}, {classifier['precision']}"
        other = {name: value for name, value in classifier.items() if detector.get(name) != value}
        return {**detector, "precision": both, "classifier": {**other, "batches": self.pipeline.classifier.sizes}}

    @property
    def details(self) -> dict[str, Any]:
        """What was inside the clock, and what was found in the images."""
        cv2 = plugins.import_or_explain("cv2")
        told = self.pipeline.told
        return {
            "boundary": "end_to_end",
            "inside": list(PARTS),
            "images": self.inputs,
            "preparation": told.detector.preparation.model_dump(mode="json"),
            "preparation_sha256": told.detector.preparation.sha256,
            "crops": told.crops.model_dump(mode="json"),
            "opencv": cv2.__version__,
            "opencv_threads": cv2.getNumThreads(),
            "pillow": metadata.version("pillow"),
            **self.counts,
        }

    @property
    def counts(self) -> dict[str, Any]:
        """Boxes and crops in the images seen so far, and which share of the crops was drawn."""
        said: dict[str, Any] = {}
        if self._seen:
            boxes, candidates, crops = (list(column) for column in zip(*self._seen.values(), strict=True))
            note = odd_counts(boxes, candidates)
            said |= {"boxes_per_image": spread(boxes), "candidates_per_image": spread(candidates)}
            said |= {"crops_per_image": spread(crops), **({"note": note} if note else {})}
        if self._forced is not None and self._forced.made:
            said["drawn_share"] = self._forced.drawn / self._forced.made
        return said


def open_whole(spec: Mapping[str, Any]) -> Whole:
    """What the spec of a bench child asks for: "model" (the pipeline), batch, images, crops, threads, options.

    Raises:
        InputError: no pipeline, no images, or more crops than it allows.
        FixedBatch: the detector's file cannot be run with so many images.
    """
    described = descriptions.read(Path(spec["model"]))
    update = {"threads": spec.get("threads"), "options": spec.get("options") or {}}
    described = replace(described, description=described.description.model_copy(update=update))
    count = spec.get("crops")
    if count is not None and count > 300:
        raise InputError(f"--crops {count}: at most 300 for one image")
    forced = None if count is None else Exactly(int(count))
    photos = Photos(images_of(spec["images"]))
    batch, began = int(spec["batch"]), perf_counter_ns()
    pipeline = from_described(described, images=batch, choose=forced)
    return Whole(pipeline, photos, batch, forced, (perf_counter_ns() - began) / 1e6)


def _counts(one: Recognised) -> tuple[int, int, int]:
    return len(one.scores), one.candidates, one.named
