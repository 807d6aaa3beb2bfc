"""What the bytes of a JPEG say without decoding it: whether it goes on to its end, and whether a piece was lost."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_EOI = b"\xff\xd9"
_SOS = 0xDA
#: What file systems and disks lose at once is so many bytes, or a multiple.
_BLOCK = 512
_ZEROS = bytes(_BLOCK)


def ends(data: bytes) -> bool:
    """Whether the end marker is there, behind the picture itself and not only behind its thumbnail."""
    if data.endswith(_EOI):
        return True
    start = _scan(data)
    # Cameras write more behind the end; within a scan 0xFF is never followed by 0xD9.
    return start > 0 and data.find(_EOI, start) >= 0


def hole(data: bytes) -> tuple[int, int] | None:
    """(first byte, bytes) of a lost piece: whole blocks of zeros within the coded picture; None where there is none.

    A white sheet may be coded as many zeros too, but they neither begin nor end where a block does.
    """
    start = _scan(data)
    for first, end in _runs(data, start) if start else ():
        # The byte before or behind may have been zero by itself.
        if first % _BLOCK in (0, _BLOCK - 1) and end % _BLOCK in (0, 1):
            return first, end - first
    return None


def _runs(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """(first byte, the one behind the last) of each run of zeros that is a block long or longer."""
    # bytes.find goes through a photo twenty times as fast as a regular expression.
    while (first := data.find(_ZEROS, start)) >= 0:
        start = first + _BLOCK
        while data.startswith(_ZEROS, start):
            start += _BLOCK
        while data.startswith(b"\0", start):
            start += 1
        yield first, start


def _scan(data: bytes) -> int:
    """Where the coded picture begins; 0 where the headers before it are broken or cut off."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        place += 2 + int(struct.unpack(">H", data[place + 2 : place + 4])[0])
        if marker == _SOS:
            return place
    return 0
