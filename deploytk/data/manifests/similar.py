"""Pictures of val and test that look like one of train: saved again, resized, brightened, mirrored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deploytk.data.checks import leakage, likeness
from deploytk.data.dataset import SPLITS
from deploytk.data.manifests.looks import Looks
from deploytk.data.manifests.manifest import NONE, Manifest
from deploytk.data.manifests.remarks import Remark, at, name_of, split_of


def check(told: Manifest, looks: Looks, shown: Sequence[str]) -> Iterator[Remark]:
    """For each picture of val and test the one of train that looks the same, where there is one; no exact copies."""
    rows = _with_print(told, looks)
    in_train = told.split[rows] == SPLITS.index("train")
    train, others = rows[in_train], rows[~in_train]
    if not len(train) or not len(others):
        return
    prints = looks.prints[told.image[train]]
    seen = np.zeros(len(others), dtype=bool)
    for turned in (False, True):
        left = np.flatnonzero(~seen)
        compared = looks.prints[told.image[others[left]]]
        if turned:
            compared = likeness.mirrored(compared)
        for one, other, bits in likeness.nearest(np.concatenate([prints, compared]), len(train)):
            row, like = int(train[one]), int(others[left[other]])
            seen[left[other]] = True
            if (looks.digests[told.image[row]] != looks.digests[told.image[like]]).any():
                yield _remark(told, row, like, bits, shown, turned)


def _with_print(told: Manifest, looks: Looks) -> NDArray[np.int64]:
    """The first row of each image in each split, where it is known what the image looks like."""
    rows = np.flatnonzero(told.image != NONE)
    rows = rows[looks.prints[told.image[rows]].any(1)]
    _, first = np.unique(told.image[rows].astype(np.int64) * len(SPLITS) + told.split[rows], return_index=True)
    found: NDArray[np.int64] = rows[np.sort(first)]
    return found


def _remark(told: Manifest, row: int, like: int, bits: int, shown: Sequence[str], turned: bool) -> Remark:
    split = split_of(told, like)
    how = "looks like the mirrored" if turned else "looks like"
    said = (
        f"{name_of(told, row, shown)} {how} {name_of(told, like, shown)} ({at(told, like)}, {split}; "
        f"{bits} of 256 bits differ)"
    )
    return Remark(row, leakage.rule_of("alike", split_of(told, row), split), said)
