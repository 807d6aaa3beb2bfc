"""What a picture looks like, in 40 bytes: two difference hashes, 64 bits to find likely pairs and 256 to confirm them.

A bit says whether a place is brighter than the one left of it, in the picture scaled to 8 x 8 or 16 x 16 places. How
far apart the hashes of the same and of other pictures are was measured: docs/data-check.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

#: Of 64 bits: pairs up to here are looked at. Of 256: up to here they are taken for the same picture.
NEAR_64, NEAR_256 = 6, 32
#: One more than the bits that may differ: of so many parts one is equal in both (the pigeonhole principle).
_PARTS = NEAR_64 + 1
#: In 256 grey levels. What varies less has no picture in it, and its bits are noise.
_LEAST_CONTRAST = 3.0


def print_of(picture: Image.Image) -> bytes:
    """The 40 bytes of a grey picture; nothing where it is of one colour."""
    small = _places(picture, 16)
    if small.std() < _LEAST_CONTRAST:
        return b""
    return np.packbits(_brighter(_places(picture, 8))).tobytes() + np.packbits(_brighter(small)).tobytes()


def _places(picture: Image.Image, side: int) -> np.ndarray:
    return np.asarray(picture.resize((side + 1, side), Image.Resampling.LANCZOS), dtype=np.int16)


def _brighter(places: np.ndarray) -> np.ndarray:
    brighter: np.ndarray = places[:, 1:] > places[:, :-1]
    return brighter


def nearest(train: Sequence[bytes], others: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """(index in `train`, index in `others`, bits of 256 that differ): for each of the others the picture of train that
    looks most like it, where one looks the same. Nothing is empty in either."""
    if not train or not others:
        return []
    both = np.frombuffer(b"".join([*train, *others]), dtype=np.uint64).reshape(-1, 5)
    nobody = np.iinfo(np.int64).max
    best = np.full(len(others), nobody, dtype=np.int64)
    for of_train, of_other in _candidates(both[:, 0], len(train)):
        bits = np.bitwise_count(both[of_train, 1:] ^ both[of_other, 1:]).sum(1, dtype=np.int64)
        near = bits <= NEAR_256
        # Bits first, then the place in train: the least of these numbers is the nearest picture.
        np.minimum.at(best, of_other[near] - len(train), bits[near] * len(train) + of_train[near])
    return [(int(b % len(train)), i, int(b // len(train))) for i, b in enumerate(best) if b != nobody]


def _candidates(hashes: np.ndarray, first_other: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(indices of train, indices of others) that differ in at most `NEAR_64` bits; a pair may come more than once."""
    for shift, width in _parts():
        part = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(part, kind="stable")  # of equal parts, those of train come first
        ranked = part[order]
        for step in range(1, len(order)):
            same = np.flatnonzero(ranked[step:] == ranked[:-step])
            if not len(same):
                break  # no group of equal parts is larger than this step
            low, high = order[same], order[same + step]
            near = (low < first_other) & (high >= first_other)
            near[near] = np.bitwise_count(hashes[low[near]] ^ hashes[high[near]]) <= NEAR_64
            yield low[near], high[near]


def _parts() -> list[tuple[int, int]]:
    """(first bit, bits) of each part of the 64."""
    cuts = [64 * n // _PARTS for n in range(_PARTS + 1)]
    return [(low, high - low) for low, high in pairwise(cuts)]
