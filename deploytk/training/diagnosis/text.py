"""The text and the numbers of a log, however they are written."""

from __future__ import annotations

import math
import re
from pathlib import Path

from deploytk.errors import InputError

#: A training log of a thousand epochs is 1 MB; a console log with progress bars may be a hundred.
_LARGEST_BYTES = 512 * 1024 * 1024
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]")
_TENSOR = re.compile(r"^tensor\(\s*([^,)\s]+).*\)$")
#: How C libraries on Windows write them.
_WINDOWS = re.compile(r"^(-?)(?:1\.#(qnan|snan|ind|inf)\w*|nan\(\w*\))$", re.IGNORECASE)


def text_of(path: Path) -> str:
    """The text of a file: UTF-8 or UTF-16 with its mark; what is neither becomes question marks.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: not a file that can be read")
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"{path}: larger than {_LARGEST_BYTES >> 20} MB; give the results.csv of the training")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{path!r}: cannot be read ({error})") from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", errors="replace")
    return raw.decode("utf-8", errors="replace").lstrip("﻿")


def lines_of(text: str) -> list[str]:
    """The lines, without their ends; a lone carriage return ends none (progress bars write it)."""
    return text.replace("\r\n", "\n").split("\n")


def plain_line(line: str) -> str:
    """A line as a terminal would have shown it at last: without colours, the last of what overwrote itself."""
    shown = [part for part in _ANSI.sub("", line).split("\r") if part.strip()]
    return shown[-1] if shown else ""


def number(text: str) -> float | None:
    """The number that a text is, NaN and infinity among them; None where it is none."""
    text = text.strip().strip("\"'")
    if found := _TENSOR.match(text):
        text = found[1]
    if odd := _WINDOWS.match(text):
        return math.copysign(math.inf, -1 if odd[1] else 1) if (odd[2] or "").lower() == "inf" else math.nan
    try:
        return float(text)
    except (ValueError, OverflowError):
        return None
