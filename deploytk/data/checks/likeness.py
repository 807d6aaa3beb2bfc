"""What a picture looks like, in 40 bytes: two difference hashes, 64 bits to find likely pairs and 256 to confirm them.

A bit says whether a place is brighter than the one left of it, in the picture scaled to 8 x 8 or 16 x 16 places. How
far apart the hashes of the same and of other pictures are was measured: docs/data-check.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


def pairs(prints: Sequence[bytes], groups: Sequence[int]) -> list[tuple[int, int, int]]:
    """(index, index, bits of 256 that differ) of pictures that look the same, of different groups, the likest first."""
    seen = [i for i, each in enumerate(prints) if each]
    if len({groups[i] for i in seen}) < 2:
        return []
    both = np.frombuffer(b"".join(prints[i] for i in seen), dtype=np.uint64).reshape(-1, 5)
    places, of = np.array(seen), np.array([groups[i] for i in seen])
    found: dict[tuple[int, int], int] = {}
    for one, other in _candidates(both[:, 0], of):
        bits = np.bitwise_count(both[one, 1:] ^ both[other, 1:]).sum(1)
        for a, b, far in zip(one[bits <= NEAR_256], other[bits <= NEAR_256], bits[bits <= NEAR_256], strict=True):
            found[tuple(sorted((int(places[a]), int(places[b]))))] = int(far)  # type: ignore[index]
    return sorted(((a, b, far) for (a, b), far in found.items()), key=lambda row: (row[2], row[:2]))


def _candidates(hashes: np.ndarray, groups: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Arrays of index pairs whose 64 bits differ in at most `NEAR_64`; a pair may come more than once."""
    for shift, width in _parts():
        part = (hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        order = np.argsort(part, kind="stable")
        ranked = part[order]
        for step in range(1, len(order)):
            same = np.flatnonzero(ranked[step:] == ranked[:-step])
            if not len(same):
                break  # ranks that far apart are never equal: no group is larger
            one, other = order[same], order[same + step]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= NEAR_64
            near &= groups[one] != groups[other]
            yield one[near], other[near]


def _parts() -> list[tuple[int, int]]:
    """(first bit, bits) of each part of the 64."""
    cuts = [64 * n // _PARTS for n in range(_PARTS + 1)]
    return [(low, high - low) for low, high in zip(cuts, cuts[1:], strict=False)]
