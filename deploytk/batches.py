"""Batch sizes as a user writes them: `1..64`, `1..64:8`, `1,2,4`."""

from __future__ import annotations

import re

from deploytk.errors import InputError

_RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?$")
#: A slip of the finger should not run for a day, or fill the memory with batch sizes.
LARGEST = 65536


def parse_batches(text: str) -> list[int]:
    """The batch sizes meant by `text`, ascending and without repeats.

    `1..64` doubles from 1 and always ends with 64; `1..64:8` is 1, 8, 16 ... 64 (multiples of 8 and both ends).

    Raises:
        InputError: not readable, zero, huge, or a range that runs backwards.
    """
    asked = text.strip()
    found = _RANGE.fullmatch(asked)
    if found:
        low, high, step = int(found[1]), int(found[2]), int(found[3]) if found[3] else None
        if low < 1 or step == 0:
            raise InputError(f"batches {asked}: batch sizes and steps start at 1")
        if high < low:
            raise InputError(f"batches {asked}: the range runs backwards; did you mean {high}..{low}?")
        _require_possible(asked, high)
        sizes = {low, high}
        if step:
            sizes |= set(range(-(-low // step) * step, high + 1, step))
        else:
            size = low
            while size < high:
                sizes.add(size)
                size *= 2
        return sorted(sizes)
    try:
        sizes = {int(part) for part in asked.split(",")}
    except ValueError:
        raise InputError(f"batches {asked!r}: write 1..64, 1..64:8 or 1,2,4") from None
    if min(sizes) < 1:
        raise InputError(f"batches {asked}: a batch size is at least 1")
    _require_possible(asked, max(sizes))
    return sorted(sizes)


def may_go_between(text: str) -> bool:
    """Whether batch sizes between the listed ones are meant too: `1..64` names a range, `1,2,4` and a step do not."""
    found = _RANGE.fullmatch(text.strip())
    return found is not None and not found[3]


def _require_possible(asked: str, largest: int) -> None:
    if largest > LARGEST:
        raise InputError(f"batches {asked}: the largest batch size that deploytk tries is {LARGEST}")
