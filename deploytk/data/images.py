"""Whether images can be decoded, found out quickly (Pillow)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from deploytk.errors import InputError

#: The only decoders that untrusted files reach. Importing one registers it.
_PLUGINS = (BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
#: Ultralytics drops smaller images without an error.
_SMALLEST = 10
_FAULTS = (
    *(OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning),
    ImportError,  # where Ultralytics is imported too, it replaces Image.open, which then asks for pi_heif
)


def check(images: Iterable[Path]) -> None:
    """Nothing, where every image can be decoded to its end; JPEGs at 1/8 size, which reads all of the file.

    Raises:
        InputError: the first image that is truncated, broken, tiny or a decompression bomb.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with ThreadPoolExecutor(max_workers=4) as pool:
            for _ in pool.map(_check, images):
                pass


def size_of(image: Path) -> tuple[float, float]:
    """(width, height) of an image in pixels, from its header."""
    try:
        with Image.open(image, formats=FORMATS) as opened:
            return float(opened.width), float(opened.height)
    except _FAULTS as error:
        raise InputError(f"{image}: not a readable image ({_why(error)})") from error


def _check(image: Path) -> None:
    try:
        with Image.open(image, formats=FORMATS) as opened:
            width, height = opened.size
            opened.draft("L", (max(1, width // 8), max(1, height // 8)))
            opened.load()
    except _FAULTS as error:
        raise InputError(f"{image}: not a readable image ({_why(error)}); repair or remove it") from error
    if min(width, height) < _SMALLEST:
        raise InputError(f"{image}: only {width}x{height} pixels; at least {_SMALLEST} a side are needed")


def _why(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError | ImportError):
        return f"none of {', '.join(FORMATS)}"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
