"""Pictures that are there twice: in a split, in two splits, under two labels; half a million rows at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploytk.data.checks import leakage
from deploytk.data.checks.rules import Conflict, Copied, Listed, Shared, TwoSplits
from deploytk.data.dataset import SPLITS
from deploytk.data.manifests.looks import Looks
from deploytk.data.manifests.manifest import NONE, Manifest
from deploytk.data.manifests.remarks import Remark, at, name_of, split_of

Numbers = NDArray[np.int64]
_TRAIN = SPLITS.index("train")


def of_rows(told: Manifest, shown: Sequence[str]) -> Iterator[Remark]:
    """Rows that say what another row says already, or something else of the same path."""
    rows = np.flatnonzero(told.image != NONE)
    columns: list[NDArray[Any]] = [told.image[rows], told.split[rows]]
    if told.boxes is not None:
        # An image may have many objects: what is listed twice is the same object.
        columns += [told.label[rows], *np.nan_to_num(told.boxes[rows], nan=-1.0).T]
    first = first_of(columns)
    for place in np.flatnonzero(first != np.arange(len(rows))).tolist():
        row, other = int(rows[place]), int(rows[first[place]])
        if told.label[row] == told.label[other]:
            said = f"{name_of(told, row, shown)} is listed in {at(told, other)} already"
            yield Remark(row, Listed, said, rejects=told.split[row] == _TRAIN)
        elif NONE not in (told.label[row], told.label[other]):
            yield Remark(row, Conflict, _labels(told, row, other))


def of_content(told: Manifest, looks: Looks, shown: Sequence[str]) -> Iterator[Remark]:
    """Images with the content of another: of each kind, all but the one in the last split."""
    for group in _groups(told, looks):
        kept, *others = sorted(group, key=lambda row: -told.split[row])
        for row in others:
            yield _copy(told, row, kept, shown)
            if told.boxes is None and _differ(told, row, kept):
                yield Remark(row, Conflict, _labels(told, row, kept))


def _groups(told: Manifest, looks: Looks) -> Iterator[list[int]]:
    """The rows of each content that is in more than one place: (image, split); of each place the first row."""
    rows = np.flatnonzero(told.image != NONE)
    places = rows[first_of([told.image[rows], told.split[rows]]) == np.arange(len(rows))]
    content = _contents(looks)[told.image[places]]
    several = np.bincount(content, minlength=1)[content] > 1
    ranked = sorted(zip(content[several].tolist(), places[several].tolist(), strict=True))
    for _, same in groupby(ranked, key=lambda each: each[0]):
        yield [row for _, row in same]


def _contents(looks: Looks) -> Numbers:
    """A number for each image, equal for equal content; an image that could not be read is like no other."""
    numbers = first_of([looks.digests[:, 0], looks.digests[:, 1]])
    unread = ~looks.digests.any(1)
    numbers[unread] = np.flatnonzero(unread)
    return numbers


def first_of(columns: Sequence[NDArray[Any]]) -> Numbers:
    """For each row the first row that is equal to it in all columns."""
    order = np.lexsort(columns[::-1])
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for column in columns:
        ranked = column[order]
        new[1:] |= ranked[1:] != ranked[:-1]
    found = np.empty(len(order), dtype=np.int64)
    # The sort is stable: of equal rows the first comes first.
    found[order] = order[new][np.cumsum(new) - 1]
    return found


def _copy(told: Manifest, row: int, kept: int, shown: Sequence[str]) -> Remark:
    split, other = split_of(told, row), split_of(told, kept)
    in_train = told.split[row] == _TRAIN
    if told.image[row] == told.image[kept]:
        rule = TwoSplits if in_train else Shared
        return Remark(row, rule, f"{name_of(told, row, shown)} in {split} is {at(told, kept)} in {other}", in_train)
    found = leakage.rule_of("same", split, other)
    where = f"{name_of(told, kept, shown)} ({at(told, kept)}{f', {other}' if split != other else ''})"
    # Of two copies in train with other labels a person has to say which is right.
    rejects = in_train and not (found is Copied and _differ(told, row, kept))
    return Remark(row, found, f"{name_of(told, row, shown)} is the same as {where}", rejects)


def _differ(told: Manifest, row: int, other: int) -> bool:
    return NONE not in (told.label[row], told.label[other]) and bool(told.label[row] != told.label[other])


def _labels(told: Manifest, row: int, other: int) -> str:
    one, two = (told.classes[told.label[each]] for each in (row, other))
    return f"labelled {one!r}, the same picture in {at(told, other)} {two!r}"
