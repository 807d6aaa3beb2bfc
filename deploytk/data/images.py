"""Whether images can be decoded, and how bright they are, found out quickly (Pillow)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import (
    BmpImagePlugin,
    Image,
    ImageStat,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from deploytk.errors import InputError
from deploytk.files import sha256_of

#: The only decoders that untrusted files reach. Importing one registers it.
_PLUGINS = (BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
#: Ultralytics drops smaller images without an error.
SMALLEST = 10
#: What a decoder raises for a broken file.
FAULTS = (
    *(OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning),
    ImportError,  # where Ultralytics is imported too, it replaces Image.open, which then asks for pi_heif
)

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Look:
    """What an image holds and how bright it is."""

    sha256: str
    brightness: float  # mean luminance, 0 (black) to 255 (white)


def check(images: Iterable[Path]) -> None:
    """Nothing, where every image can be decoded to its end; JPEGs at 1/8 size, which reads all of the file.

    Raises:
        InputError: the first image that is truncated, broken, tiny or a decompression bomb.
    """
    _each(_check, images)


def looks(images: Iterable[Path]) -> list[Look]:
    """The content and the brightness of each image; JPEGs are decoded at 1/8 size.

    Raises:
        InputError: the first image that is truncated, broken or a decompression bomb.
    """
    return _each(_look, images)


def size_of(image: Path) -> tuple[float, float]:
    """(width, height) of an image in pixels, from its header."""
    try:
        with Image.open(image, formats=FORMATS) as opened:
            return float(opened.width), float(opened.height)
    except FAULTS as error:
        raise InputError(f"{image}: not a readable image ({why(error)})") from error


def _each(function: Callable[[Path], Found], images: Iterable[Path]) -> list[Found]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(function, images))


def _check(image: Path) -> None:
    with _decoded(image) as (_, (width, height)):
        if min(width, height) < SMALLEST:
            raise InputError(f"{image}: only {width}x{height} pixels; at least {SMALLEST} a side are needed")


def _look(image: Path) -> Look:
    with _decoded(image) as (opened, _):
        brightness = round(ImageStat.Stat(opened.convert("L")).mean[0], 1)
        return Look(sha256=sha256_of(image), brightness=brightness)


@contextmanager
def _decoded(image: Path) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """The image, decoded to its end (a JPEG at 1/8 size), and its whole size."""
    try:
        with Image.open(image, formats=FORMATS) as opened:
            width, height = opened.size
            opened.draft("L", (max(1, width // 8), max(1, height // 8)))
            opened.load()
            yield opened, (width, height)
    except FAULTS as error:
        raise InputError(f"{image}: not a readable image ({why(error)}); repair or remove it") from error


def why(error: BaseException) -> str:
    """What a decoder's error says, on one line."""
    if isinstance(error, UnidentifiedImageError | ImportError):
        return f"none of {', '.join(FORMATS)}"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
