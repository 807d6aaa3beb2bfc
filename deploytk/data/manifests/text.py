"""What is wrong with a CSV file as text, as one sentence with its line: encoding, byte order marks, ragged rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from deploytk.errors import InputError

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: What spreadsheets outside the English-speaking world write: tried in this order, for the remedy alone.
_OTHERS = ("cp949", "cp932", "gb18030", "cp1252")
_SEPARATORS = (";", "\t", "|")


def content(path: Path) -> bytes:
    """The bytes of a manifest, UTF-8 without a byte order mark, lines ending with a newline.

    Raises:
        InputError: it cannot be read, or is no such text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: no readable manifest ({error.strerror})") from error
    if data.startswith(_BOM + _BOM):
        raise InputError(f"{path}:1: begins with two byte order marks; save it again as UTF-8 without one")
    if data.startswith(_UTF16):
        raise InputError(f"{path}:1: UTF-16 text; save it as UTF-8 ({_iconv('utf-16', path)})")
    if not data.removeprefix(_BOM).strip():
        raise InputError(f"{path}: empty; a manifest begins with a line like path,label")
    if data.removeprefix(_BOM)[:1] in b"\r\n":
        raise InputError(f"{path}:1: a blank line; a manifest begins with its header, like path,label")
    if b"\r" in data and b"\n" not in data:
        raise InputError(f"{path}:1: its lines end with a carriage return alone; save it with LF or CRLF line ends")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise InputError(f"{path}:{line}: a zero byte; no text file has one, copy it again from where it came from")
    return data.removeprefix(_BOM)


def encoding(path: Path, data: bytes) -> InputError:
    """The sentence on bytes that are no UTF-8: where, what they may be, and how to convert them."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        likely = next((name for name in _OTHERS if _is(data, name)), "")
        remedy = f"it reads as {likely}: {_iconv(likely, path)}" if likely else "save it again as UTF-8"
        return InputError(f"{path}:{line}: not UTF-8 text; {remedy}")
    return InputError(f"{path}: no CSV file that can be read")


def _is(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def _iconv(name: str, path: Path) -> str:
    return f"iconv -f {name} -t utf-8 {path.name} > {path.stem}-utf8.csv"


def ragged(path: Path, data: bytes) -> list[str]:
    """A sentence for each row that has more or fewer cells than the header; the first of each, and how many more."""
    rows = _cells(data)
    wanted = len(next(rows)[1])
    try:
        wrong = [(line, len(cells)) for line, cells in rows if cells and len(cells) != wanted]
    except csv.Error as error:
        return [f"{path}: {error}: a quotation mark that is not closed, or one within a cell that is not doubled"]
    if not wrong:
        return []
    line, cells = wrong[0]
    more = f" (and {len(wrong) - 1:,} more such rows)" if len(wrong) > 1 else ""
    remedy = "put cells that contain a comma in quotation marks" if cells > wanted else "give it all of them"
    return [f"{path}:{line}: {cells} cells, the header has {wanted}; {remedy}{more}"]


def lines(data: bytes) -> list[int]:
    """The line on which each row behind the header begins; blank rows count too."""
    return [line for line, _ in _cells(data)][1:]


def separator(header: str) -> str:
    """Another separator than the comma that the header seems to use, or the empty string."""
    return next((each for each in _SEPARATORS if each in header), "")


def _cells(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row. A cell in quotation marks may go on over lines."""
    reader = csv.reader(io.StringIO(data.decode("utf-8"), newline="\n"), strict=True)
    before = 0
    for cells in reader:
        yield before + 1, cells
        before = reader.line_num
