"""How a calibration set is made: drawn from the training split only, for coverage, apart from the evaluation splits."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from deploytk.artifact import TensorSpec
from deploytk.data import choice, images
from deploytk.data.calibration_file import Coverage, Evaluation, Sample, SetFile, Spread
from deploytk.data.calibration_set import CalibrationSet
from deploytk.data.images import Look
from deploytk.data.labelled import Labelled, Pool
from deploytk.data.preparation import Preparation, Task
from deploytk.errors import InputError
from deploytk.files import sha256_of, sha256_of_value

Pair = tuple[Labelled, Look]

#: How many files a message names.
_NAMED = 8
_UNKNOWN = "0" * 64


def usual(task: Task, side: int) -> Preparation:
    """The preparation of a detector's or a classifier's square input of `side` pixels, as at inference."""
    return Preparation.for_input(TensorSpec(name="images", shape=("batch", 3, side, side), dtype="float32"), task)


def drawn(pool: Pool, folder: Path, *, name: str, samples: int, seed: int, preparation: Preparation) -> CalibrationSet:
    """A calibration set of `samples` training images (all, where there are fewer) for `folder`; not written yet.

    Raises:
        InputError: fewer than 8 different images, one that cannot be decoded, samples that are in an evaluation split
            too (by content), or a preparation that makes other inputs than float32 NCHW.
    """
    if (preparation.dtype, preparation.layout) != ("float32", "nchw"):
        raise InputError(
            f"the preparation makes {preparation.dtype} {preparation.layout}; a calibration set feeds the float model: "
            "dtype float32, layout nchw"
        )
    different = _different(pool)
    chosen = _chosen(different, samples, seed, pool.source)
    evaluation = evaluated(pool)
    refuse_overlap([(each.image, look.sha256) for each, look in chosen], evaluation)
    draft = SetFile(
        schema=1,
        name=name,
        sha256=_UNKNOWN,
        dataset=_place(pool.source, folder.resolve()),
        split="train",
        seed=seed,
        asked=samples,
        preparation=preparation,
        preparation_sha256=preparation.sha256,
        evaluation=evaluation_of(pool, evaluation),
        coverage=_coverage(pool, chosen, different),
        samples=tuple(_sample(pool, *pair) for pair in chosen),
    )
    return CalibrationSet(folder=folder, told=draft.model_copy(update={"sha256": draft.content_sha256()}))


def evaluated(pool: Pool) -> dict[Path, str]:
    """The sha256 of each image of the evaluation splits."""
    return {image: sha256_of(image) for split in pool.evaluation.values() for image in split}


def evaluation_of(pool: Pool, sums: Mapping[Path, str]) -> Evaluation:
    """The evaluation splits as a set.yaml tells them."""
    counts = {split: len(of) for split, of in pool.evaluation.items()}
    return Evaluation(images=counts, sha256=sha256_of_value(sorted(sums.values())))


def refuse_overlap(samples: Iterable[tuple[Path, str]], evaluation: Mapping[Path, str]) -> None:
    """Nothing, where none of the samples (path, sha256) has the content of an evaluation image.

    Raises:
        InputError: the files that do, and what they are in the evaluation split.
    """
    known = {sha: image for image, sha in evaluation.items()}
    both = [f"{path} is {known[sha]}" for path, sha in samples if sha in known]
    if both:
        more = f" and {len(both) - _NAMED} more" if len(both) > _NAMED else ""
        raise InputError(
            f"{len(both)} calibration samples are evaluation images too, so the accuracy of an INT8 model would say "
            f"nothing about new images: {'; '.join(both[:_NAMED])}{more}. Take them out of one of the splits"
        )


def _different(pool: Pool) -> list[Pair]:
    """The training images and what they look like; of images with the same bytes the first."""
    looks = images.looks(each.image for each in pool.train)
    kept: dict[str, Pair] = {}
    for each, look in zip(pool.train, looks, strict=True):
        kept.setdefault(look.sha256, (each, look))
    return list(kept.values())


def _chosen(different: Sequence[Pair], asked: int, seed: int, source: Path) -> list[Pair]:
    count = min(asked, len(different))
    if count < choice.LEAST_TRAIN:
        least = f"at least {choice.LEAST_TRAIN} are needed to find INT8 ranges"
        raise InputError(f"{source}: {count} different training images; {least}")
    order = list(range(len(different)))
    random.Random(seed).shuffle(order)
    first = choice.covering([each.classes for each, _ in different], order)
    return [different[i] for i in choice.spread([look.brightness for _, look in different], first, count, order)]


def _sample(pool: Pool, each: Labelled, look: Look) -> Sample:
    inside = each.image.is_relative_to(pool.root)
    return Sample(
        path=each.image.relative_to(pool.root) if inside else each.image,
        sha256=look.sha256,
        classes=tuple(pool.classes[i] for i in sorted(each.classes)),
        brightness=look.brightness,
    )


def _coverage(pool: Pool, chosen: Sequence[Pair], different: Sequence[Pair]) -> Coverage:
    images_of = Counter(i for each, _ in chosen for i in each.classes)
    return Coverage(
        classes={name: images_of[i] for i, name in enumerate(pool.classes)},
        brightness=_spread(chosen),
        brightness_of_train=_spread(different),
    )


def _spread(pairs: Sequence[Pair]) -> Spread:
    values = [look.brightness for _, look in pairs]
    return Spread(lowest=min(values), median=round(median(values), 1), highest=max(values))


def _place(source: Path, folder: Path) -> Path:
    """Relative to the set's folder where both lie in one project (the folder that holds calibration/NAME)."""
    if source.is_relative_to(folder.parent.parent):
        return Path(os.path.relpath(source, folder))
    return source
