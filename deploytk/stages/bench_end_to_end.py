"""What stands inside the clock at the boundary "end_to_end": from the bytes of image files to plain results.

    decode    the bytes of each image of the batch to pixels (they were read from disk before)
    prepare   to the model's size, layout and numbers, put together to one batch
    infer     the model
    after     boxes above the threshold, suppressed and moved back onto the image; or the most probable classes
    copy      the results as arrays of their own

The next part begins in the same instant as the one before ends, so the parts sum up to the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any, get_args

import numpy as np

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.data import dataset, preparation_file
from deploytk.data.classified import FOLDERS
from deploytk.data.detections import (
    AFTER,
    MOST_BOXES,
    OVERLAP,
    SCORE,
    After,
    Detections,
    Head,
    detections,
    head_of,
    top_k,
)
from deploytk.data.pixels import InsideModel, takes_any_size
from deploytk.data.preparation import Placed, Preparation, Task, decode, facts_of
from deploytk.errors import InputError
from deploytk.runtimes import Session
from deploytk.timing import wrong_outputs

PARTS = ("decode", "prepare", "infer", "after", "copy")
#: The bytes of all images stay in memory; more images than these tell nothing new about the time.
MOST_IMAGES = 64
#: A trained model has some ten candidates per object; thousands are the mark of random weights.
_MANY_CANDIDATES = 1000

Results = dict[str, np.ndarray]


class EndToEnd:
    """A model with all that stands before and after it, over several images in turn."""

    parts: tuple[str, ...] = PARTS

    def __init__(
        self,
        session: Session,
        images: Sequence[Path],
        preparation: Preparation | InsideModel,
        after: After,
        batch: int,
    ) -> None:
        """Read the bytes of the images, of at most 64 evenly over all, and decode each once.

        Raises:
            InputError: no images, one that cannot be decoded, an input they do not fit, or outputs that `after`
                cannot read.
        """
        spec = image_input(session)
        preparation.require_fit(spec)
        self.session, self.preparation, self.batch = session, preparation, batch
        self.head: Head | None = head_of(session.outputs, preparation.size, after)
        self._input = spec.name
        self._given = len(images)
        self._images = [(path, _bytes_of(path)) for path in few(images)]
        if not self._images:
            raise InputError("the boundary end_to_end needs images: give --images with a folder, files or a data.yaml")
        self._sizes = sorted({decode(data, str(path)).shape[:2] for path, data in self._images})
        self._found: dict[int, tuple[int, int]] = {}  # image -> (boxes, candidates)
        #: How many turns differ from each other.
        self.count = len(self._images)
        #: The split of the last run in ms.
        self.last_ms: dict[str, float] = {}
        #: What the model itself gave in the last run: where NaN can be seen.
        self.last_outputs: Mapping[str, np.ndarray] = {}

    @property
    def inputs(self) -> str:
        """The images in words."""
        sizes = [f"{width}x{height}" for height, width in self._sizes]
        told = sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes from {sizes[0]} to {sizes[-1]}"
        of = "" if self._given == self.count else f" of {self._given}"
        return f"{self.count}{of} image files, {told}"

    def run(self, turn: int) -> Results:
        """The results for one batch of consecutive images, beginning with image `turn`, the first after the last.

        Boxes: `boxes` (N, 300, 4) corners in pixels of each image, `scores` and `labels` (N, 300), of which the
        first `count` (N,) are boxes and the rest zeros. Classes: `labels` and `scores` (N, at most 5). Otherwise the
        outputs by name.
        """
        chosen = [(turn + place) % self.count for place in range(self.batch)]
        marks = [perf_counter_ns()]
        pixels = [decode(self._images[i][1]) for i in chosen]
        marks.append(perf_counter_ns())
        fitted = [self.preparation.fit(image) for image in pixels]
        feed = {self._input: fitted[0][0] if self.batch == 1 else np.concatenate([made for made, _ in fitted])}
        marks.append(perf_counter_ns())
        outputs = self.session.run(feed)
        marks.append(perf_counter_ns())
        said = self._read(outputs, pixels, [placed for _, placed in fitted])
        marks.append(perf_counter_ns())
        results = _plain(said)
        marks.append(perf_counter_ns())
        took = (1e-6 * (end - begin) for begin, end in pairwise(marks))
        self.last_ms, self.last_outputs = dict(zip(PARTS, took, strict=True)), outputs
        if isinstance(said, list):
            self._found |= {i: (len(one.scores), one.candidates) for i, one in zip(chosen, said, strict=True)}
        return results

    def wrong(self) -> str:
        """Why the model's own outputs in the last run cannot be right, as a sentence, or the empty string.

        The results do not show it: NaN is above no threshold.
        """
        return wrong_outputs(self.last_outputs, self.batch)

    @property
    def details(self) -> dict[str, Any]:
        """What was inside the clock, and what was found in the images seen so far."""
        cv2 = plugins.import_or_explain("cv2")
        told: dict[str, Any] = {
            "boundary": "end_to_end",
            "inside": list(PARTS),
            "images": self.inputs,
            "preparation": self.preparation.model_dump(mode="json"),
            "preparation_sha256": self.preparation.sha256,
            "opencv": cv2.__version__,
            "opencv_threads": cv2.getNumThreads(),
            "pillow": metadata.version("pillow"),
            "after": {None: "none", "classes": "top-k"}.get(self.head, f"nms of {self.head} outputs"),
        }
        if self.head in ("decoded", "end-to-end", "maps"):
            told |= {"score_above": SCORE, "overlap_at_most": OVERLAP, "most_boxes": MOST_BOXES} | self._counts()
        return told

    def _counts(self) -> dict[str, Any]:
        if not self._found:
            return {}
        boxes, candidates = (list(column) for column in zip(*self._found.values(), strict=True))
        note = _note(boxes, candidates)
        return {
            "boxes_per_image": _spread(boxes),
            "candidates_per_image": _spread(candidates),
            **({"note": note} if note else {}),
        }

    def _read(
        self, outputs: Mapping[str, np.ndarray], pixels: Sequence[np.ndarray], placed: Sequence[Placed]
    ) -> list[Detections] | Results:
        specs = self.session.outputs
        if self.head is None:
            return dict(outputs)
        if self.head == "classes":
            labels, scores = top_k(outputs[specs[0].name], specs[0])
            return {"labels": labels, "scores": scores}
        found = detections([outputs[s.name] for s in specs], specs, self.head, self.preparation.size)
        each = zip(found, placed, pixels, strict=True)
        return [one.on_image(where, *image.shape[:2]) for one, where, image in each]


def open_end_to_end(spec: Mapping[str, Any], session: Session) -> EndToEnd:
    """What the spec of a bench child asks for.

    Args:
        spec: "batch"; "images": paths of files, folders or a data.yaml, one or a list; "prepare": "detector",
            "classifier" or a YAML file, by default what the outputs call for; "after": see `detections.head_of`.

    Raises:
        InputError: as `EndToEnd`, or no preparation can be chosen.
    """
    after = _after(str(spec.get("after") or "auto"))
    image = image_input(session)
    name = spec.get("prepare")
    preparation = _inside(name) if takes_any_size(image) else _outside(session, image, name, after)
    if after == "auto" and takes_any_size(image):
        after = "nms"  # how many anchors there are is known for images of one size only
    given = spec.get("images") or []
    paths = images_of([given] if isinstance(given, str) else given)
    return EndToEnd(session, paths, preparation, after, int(spec["batch"]))


def _inside(name: str | None) -> InsideModel:
    if name is not None:
        raise InputError(f"the model prepares its images itself; leave --prepare {name} out")
    return InsideModel()


def _outside(session: Session, image: TensorSpec, name: str | None, after: After) -> Preparation:
    """The preparation called `name`, or what the outputs call for."""
    name = name or _usual(head_of(session.outputs, facts_of(image)["size"], after))
    if name is None:
        raise InputError(
            "--after none does not tell how images are prepared: say --prepare "
            f"{', '.join(get_args(Task))} or FILE.yaml"
        )
    return preparation_file.load(str(name), image)


def image_input(session: Session) -> TensorSpec:
    """The one image input of a model.

    Raises:
        InputError: it has several inputs, or one that takes no image.
    """
    if len(session.inputs) != 1:
        named = ", ".join(s.name for s in session.inputs)
        raise InputError(f"the boundary end_to_end is for models with one image input; this one takes {named}")
    image = session.inputs[0]
    if not takes_any_size(image):
        facts_of(image)
    return image


def images_of(given: Sequence[str]) -> list[Path]:
    """The image files that files, folders and data.yaml files stand for; of a dataset its split "val".

    A folder with the folders train and val in it is a dataset; any other one stands for all of its images.

    Raises:
        InputError: one of them does not exist, or holds no images.
    """
    found: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = dataset.images_in(_validation_in(path))
        elif path.suffix in (".yaml", ".yml"):
            inside = [sample.image for sample in dataset.read(path).splits["val"]]
        else:
            inside = [path] if path.is_file() else []
        if not inside:
            known = ", ".join(sorted(dataset.SUFFIXES))
            raise InputError(f"{path}: {f'no images ({known}) in it' if path.exists() else 'no such file or folder'}")
        found += inside
    return found


def _validation_in(folder: Path) -> Path:
    """Where the validation images of a dataset with a folder per split are; any other folder as it is."""
    val = next((folder / name for name in FOLDERS["val"] if (folder / name).is_dir()), folder)
    return val if (folder / "train").is_dir() else folder


def few(images: Sequence[Path]) -> list[Path]:
    """At most 64 of the images, evenly over all of them."""
    if len(images) <= MOST_IMAGES:
        return list(images)
    return [images[place * len(images) // MOST_IMAGES] for place in range(MOST_IMAGES)]


def _after(name: str) -> After:
    for known in AFTER:
        if name == known:
            return known
    raise InputError(plugins.unknown("way to read the outputs (--after)", name, AFTER))


def _usual(head: Head | None) -> Task | None:
    if head is None:
        return None
    return "classifier" if head == "classes" else "detector"


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _plain(said: list[Detections] | Results) -> Results:
    """Arrays that belong to nobody else, with the batch as their first dimension."""
    if isinstance(said, dict):
        return {name: np.array(value) for name, value in said.items()}
    results: Results = {
        "boxes": np.zeros((len(said), MOST_BOXES, 4), np.float32),
        "scores": np.zeros((len(said), MOST_BOXES), np.float32),
        "labels": np.zeros((len(said), MOST_BOXES), np.int64),
        "count": np.array([len(one.scores) for one in said], np.int64),
    }
    for item, one in enumerate(said):
        end = len(one.scores)
        results["boxes"][item, :end] = one.boxes
        results["scores"][item, :end] = one.scores
        results["labels"][item, :end] = one.labels
    return results


def _spread(counts: Sequence[int]) -> dict[str, float]:
    return {"least": min(counts), "median": median(counts), "most": max(counts), "images": len(counts)}


def _note(boxes: Sequence[int], candidates: Sequence[int]) -> str:
    """What makes the time after the model unlike that of a trained one, as a sentence, or the empty string."""
    if not any(boxes):
        return (
            f"The model found nothing in {len(boxes)} images, so the time after it is that of empty results: "
            "give images of what it was trained on."
        )
    if max(boxes) >= MOST_BOXES or max(candidates) > _MANY_CANDIDATES:
        return (
            f"Up to {max(candidates)} candidates and {max(boxes)} boxes in an image (at most {MOST_BOXES} are kept): "
            "the suppression takes its time for them. Random weights do that, a trained model seldom does."
        )
    return ""
