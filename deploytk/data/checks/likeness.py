"""What a picture looks like, in 40 bytes: two difference hashes, 64 bits to find likely pairs and 256 to confirm them.

A bit says whether a place is brighter than the one left of it, in the picture scaled to 8 x 8 or 16 x 16 places. How
far apart the hashes of the same and of other pictures are was measured: docs/data-check.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image

#: Of 64 bits: pairs up to here are looked at. Of 256: up to here they are taken for the same picture.
NEAR_64, NEAR_256 = 6, 32
#: One more than the bits that may differ: of so many parts one is equal in both (the pigeonhole principle).
_PARTS = NEAR_64 + 1
#: So many pairs are compared at once: they stay in the cache.
_AT_ONCE = 1 << 18
#: Of so many pixels prints are made at once: as floats they stay in the cache, too.
_PIXELS_AT_ONCE = 1 << 15
#: In 256 grey levels. What varies less has no picture in it, and its bits are noise.
_LEAST_CONTRAST = 3.0


def grey(picture: Image.Image) -> Image.Image:
    """The picture in 256 greys; 16-bit and float ones from their darkest to their brightest value."""
    if picture.mode[0] not in "IF":
        return picture.convert("L")
    values = np.asarray(picture, dtype=np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if not high > low:
        return Image.new("L", picture.size)
    scaled = np.nan_to_num((values - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    return Image.fromarray((scaled * 255).astype(np.uint8))


def prints_of(pictures: Sequence[np.ndarray]) -> list[bytes]:
    """The 40 bytes of each grey picture, (height, width) uint8; nothing where it is of one colour."""
    found = [b""] * len(pictures)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        by_shape.setdefault(picture.shape, []).append(number)
    for (height, width), numbers in by_shape.items():
        step = max(1, _PIXELS_AT_ONCE // (height * width))
        for some in (numbers[i : i + step] for i in range(0, len(numbers), step)):
            for number, made in zip(some, _prints([pictures[n] for n in some]), strict=True):
                found[number] = made
    return found


def _prints(pictures: Sequence[np.ndarray]) -> list[bytes]:
    """The prints of pictures of one size."""
    rows, columns = _weights(pictures[0].shape[0], 0), _weights(pictures[0].shape[1], 1)
    # Whole greys: what is equally bright must be equal, whatever a sum of floats makes of it.
    places = np.rint(rows @ np.stack(pictures).astype(np.float32) @ columns.T).astype(np.int16)
    small, large = places[:, :8, :9], places[:, 8:, 9:]
    bits = np.concatenate([_brighter(small), _brighter(large)], axis=1)
    prints = np.packbits(bits, axis=1)
    drawn = large.std(axis=(1, 2)) >= _LEAST_CONTRAST
    return [made.tobytes() if is_drawn else b"" for made, is_drawn in zip(prints, drawn, strict=True)]


def mirrored(prints: np.ndarray) -> np.ndarray:
    """The prints of the same pictures turned left to right, of rows of 5 uint64; where two places are equally bright,
    a bit is wrong."""
    bits = np.unpackbits(np.ascontiguousarray(prints).view(np.uint8).reshape(-1, 40), axis=1)
    small, large = bits[:, :64].reshape(-1, 8, 8), bits[:, 64:].reshape(-1, 16, 16)
    turned = [1 - part[:, :, ::-1] for part in (small, large)]
    packed = np.packbits(np.concatenate([part.reshape(len(bits), -1) for part in turned], axis=1), axis=1)
    return np.ascontiguousarray(packed).view(np.uint64).reshape(-1, 5)


@lru_cache(maxsize=4096)
def _weights(pixels: int, more: int) -> np.ndarray:
    """(8 + 16 + 2 * more, pixels) float32: what each pixel of a side gives to its 8 and to its 16 places (Lanczos).

    They are Pillow's own, asked of a picture of the unit matrix; as a product of matrices its resize is ten times as
    fast.
    """
    unit = Image.fromarray(np.eye(pixels, dtype=np.float32))
    sides = (unit.resize((places + more, pixels), Image.Resampling.LANCZOS) for places in (8, 16))
    return np.ascontiguousarray(np.concatenate([np.asarray(side) for side in sides], axis=1).T)


def _brighter(places: np.ndarray) -> np.ndarray:
    """(pictures, bits)."""
    brighter: np.ndarray = places[:, :, 1:] > places[:, :, :-1]
    return brighter.reshape(len(places), -1)


def alike(train: Sequence[bytes], others: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """(index in `train`, index in `others`, bits of 256 that differ): for each of the others that looks the same as a
    picture of train, one such picture. Nothing is empty in either."""
    if not train or not others:
        return []
    prints = np.frombuffer(b"".join([*train, *others]), dtype=np.uint64).reshape(-1, 5)
    return nearest(prints, len(train))


def nearest(prints: np.ndarray, first: int) -> list[tuple[int, int, int]]:
    """As `alike`, of rows of 5 uint64: those of train, and from `first` on the others."""
    nobody = np.iinfo(np.int64).max
    best = np.full(len(prints) - first, nobody, dtype=np.int64)
    for shift, width in _parts():
        # One picture is enough: thousands of frames of one camera would otherwise be compared with each other.
        left = np.flatnonzero(best == nobody)
        looked_at = np.concatenate([np.arange(first), first + left])
        for one, other in _candidates(prints[looked_at, 0], first, shift, width):
            bits = np.bitwise_count(prints[one, 1:] ^ prints[looked_at[other], 1:]).sum(1, dtype=np.int64)
            near = bits <= NEAR_256
            # Bits first, then the place in train: the least of these numbers is the nearest picture.
            np.minimum.at(best, left[other[near] - first], bits[near] * first + one[near])
    return [(int(b % first), i, int(b // first)) for i, b in enumerate(best) if b != nobody]


def _candidates(hashes: np.ndarray, first: int, shift: int, width: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(places of train, places from `first` on) whose 64 bits are equal in a part and differ in `NEAR_64` at most."""
    part = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
    of_train, of_others = _by_part(part[:first]), _by_part(part[first:])
    for value, others in of_others.items():
        one = of_train.get(value, np.empty(0, dtype=np.int64))
        step = max(1, _AT_ONCE // max(1, len(one)))
        for begin in range(0, len(others) if len(one) else 0, step):
            some = first + others[begin : begin + step]
            bits = np.bitwise_count(hashes[one][:, None] ^ hashes[some][None, :])
            low, high = np.nonzero(bits <= NEAR_64)
            yield one[low], some[high]


def _by_part(part: np.ndarray) -> dict[int, np.ndarray]:
    """The value of a part -> the places that have it."""
    if not len(part):
        return {}
    order = np.argsort(part, kind="stable")
    ranked = part[order]
    starts = np.flatnonzero(np.diff(ranked, prepend=ranked[:1] + 1))
    return dict(zip(ranked[starts].tolist(), np.split(order, starts[1:]), strict=True))


def _parts() -> list[tuple[int, int]]:
    """(first bit, bits) of each part of the 64."""
    cuts = [64 * n // _PARTS for n in range(_PARTS + 1)]
    return [(low, high - low) for low, high in pairwise(cuts)]
