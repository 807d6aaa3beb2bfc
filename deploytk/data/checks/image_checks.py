"""What is wrong with image files, found out cheaply, each file read once (Pillow; simplejpeg where it is installed).

Nothing here knows of labels: it takes paths and gives, for each, a `Looked`.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deploytk.data.checks import jpeg_bytes, likeness
from deploytk.data.checks.jpeg_bytes import Headers
from deploytk.data.checks.rules import (
    Corrupt,
    Empty,
    Header,
    Hole,
    Missing,
    NoImage,
    Odd,
    Problem,
    Rule,
    Suffix,
    Tiny,
    Truncated,
    Turned,
)
from deploytk.data.images import FAULTS, FORMATS, SMALLEST, why

#: The first bytes of a file -> the format. WebP has its own test.
_JPEG = b"\xff\xd8\xff"
_MAGIC = {
    _JPEG: "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
#: What else is found under the name of an image, by how it begins (in lower case).
_IMPOSTORS = {
    b"version https://git-lfs": "a git-lfs pointer (run: git lfs pull)",
    b"\x00\x05\x16\x07": "a macOS `._` file, not the image of that name",
    b"<!doctype html": "an HTML page, most likely the error page of a download",
    b"<html": "an HTML page, most likely the error page of a download",
    b"<?xml": "an XML file",
    b"<svg": "an SVG drawing",
    b"gif8": "a GIF, which is not read",
    b"%pdf": "a PDF",
    b"{": "a JSON file, most likely the error message of a download",
}
_ORIENTATION = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})
#: Remarks of libjpeg that do not touch the picture: bytes between markers, odd headers of some cameras.
_HARMLESS = ("extraneous bytes before marker", "Invalid SOS parameters", "Unknown Adobe color")
#: JPEGs are decoded at 1/8 size, which still reads all of the file; small ones larger, to have something to compare.
_EIGHTH, _LEAST_SIDE = 8, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What an image file is, and what is wrong with it."""

    image: Path
    problems: tuple[Problem, ...] = ()
    digest: bytes = b""  # 16 bytes of its content (`digest_of`); empty where it could not be read
    size: tuple[int, int] | None = None  # width and height as the picture is shown: turned as EXIF says
    kind: str = ""  # "JPEG", "PNG", ...
    print: bytes = b""  # what it looks like: `likeness`; empty without a deep look, and for a picture of one colour

    @property
    def usable(self) -> bool:
        """Whether a training can read it."""
        return not any(problem.is_error for problem in self.problems)


def strict_decoder() -> bool:
    """Whether simplejpeg is installed, which alone finds a block of zeros within a JPEG."""
    return _simplejpeg() is not None


@cache
def digest_of() -> Callable[[bytes], bytes]:
    """What makes 16 bytes of a content: xxhash where it is installed, ten times as fast as sha256.

    It finds what is the same by accident; nobody's word is proved with it.
    """
    try:
        xxhash = importlib.import_module("xxhash")
    except ImportError:
        return _sha256
    made: Callable[[bytes], bytes] = xxhash.xxh3_128_digest
    return made


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def look(image: Path, *, deep: bool = False) -> Looked:
    """What stands in the file `image`; `deep`: decoded to its end, and with what it looks like."""
    return look_at_all([image], deep=deep)[0]


def look_at_all(images: Iterable[Path], *, deep: bool = False) -> list[Looked]:
    """What stands in each file. What they look like is told for all at once, several times as fast as one by one."""
    seen = [_looked(image, deep) for image in images]
    prints = iter(likeness.prints_of([picture for _, picture in seen if picture is not None]))
    return [found if picture is None else replace(found, print=next(prints)) for found, picture in seen]


def _looked(image: Path, deep: bool) -> tuple[Looked, np.ndarray | None]:
    """(what stands in a file, the small grey picture of it)."""
    try:
        with image.open("rb", buffering=0) as stream:
            data = stream.read()
    except FileNotFoundError:
        return _wrong(image, Missing, "is not there"), None
    except OSError as error:
        return _wrong(image, Missing, f"cannot be opened ({error.strerror})"), None
    if not data:
        return _wrong(image, Empty, "0 bytes"), None
    kind = kind_of(data)
    if not kind:
        return _wrong(image, NoImage, _impostor(data)), None
    return _look_at(image, data, kind, deep)


def kind_of(data: bytes) -> str:
    """The format of an image by its first bytes, or the empty string."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")


def _look_at(image: Path, data: bytes, kind: str, deep: bool) -> tuple[Looked, np.ndarray | None]:
    told = jpeg_bytes.headers(data) if kind == "JPEG" else None
    ended = _ended(image, data, kind, told)
    size, said = _header(image, data, told)
    if ended:  # whatever else is wrong comes from that
        said = [problem for problem in said if not problem.is_error]
    found = [*_named(image, kind), *ended, *said]
    picture = None
    if deep and not any(problem.is_error for problem in found):
        picture, said = _decoded(image, data, kind)
        found += said
    return Looked(image=image, problems=tuple(found), digest=digest_of()(data), size=size, kind=kind), picture


def _wrong(image: Path, rule: type[Rule], said: str) -> Looked:
    return Looked(image=image, problems=(Problem(rule=rule, file=image, said=said),))


def _impostor(data: bytes) -> str:
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    known = next((told for magic, told in _IMPOSTORS.items() if head.startswith(magic)), "")
    if known:
        return known
    if data[4:8] == b"ftyp":
        return f"a {data[8:12].decode('ascii', 'replace').strip()} file (HEIC, AVIF or video), which is not read"
    if not data.strip(b"\0"):
        return f"{len(data):,} zero bytes and nothing else"
    return f"none of {', '.join(FORMATS)}: it begins with {data[:8]!r}"


def _named(image: Path, kind: str) -> list[Problem]:
    named = _SUFFIXES.get(image.suffix.lower())
    if named in (kind, None):
        return []
    return [Problem(rule=Suffix, file=image, said=f"a {kind} named {image.suffix}")]


def _ended(image: Path, data: bytes, kind: str, told: Headers | None) -> list[Problem]:
    """Whether the file goes on to its end, and has no hole before it."""
    if not _ends(data, kind, told):
        return [Problem(rule=Truncated, file=image, said=f"cut off: no end marker in its {len(data):,} bytes")]
    hole = jpeg_bytes.hole(data, told) if told else None
    if hole is None:
        return []
    return [Problem(rule=Hole, file=image, said=f"{hole[1]:,} bytes from {hole[0]:,} on are zeros")]


def _ends(data: bytes, kind: str, told: Headers | None) -> bool:
    if kind == "JPEG":
        return jpeg_bytes.ends(data, told)
    ends = {"PNG": _png_ends, "WEBP": _webp_ends}.get(kind)
    return ends is None or ends(data)


def _png_ends(data: bytes) -> bool:
    return b"IEND\xaeB`\x82" in data


def _webp_ends(data: bytes) -> bool:
    return len(data) >= int(struct.unpack("<I", data[4:8])[0]) + 8


def _header(image: Path, data: bytes, told: Headers | None) -> tuple[tuple[int, int] | None, list[Problem]]:
    """Width and height as the picture is shown, and what the header says that is wrong."""
    try:
        width, height, turned, sideways = _usual_jpeg(told) or _opened(data)
    except FAULTS as error:
        return None, [Problem(rule=Header, file=image, said=f"the header cannot be read: {why(error)}")]
    found = []
    if min(width, height) < SMALLEST:
        found.append(Problem(rule=Tiny, file=image, said=f"{width}x{height} pixels"))
    if turned != 1:
        found.append(Problem(rule=Turned, file=image, said=f"EXIF orientation {turned}"))
    return ((height, width) if sideways else (width, height)), found


def _opened(data: bytes) -> tuple[int, int, int, bool]:
    """(width, height, EXIF orientation, whether width and height change places with it), by Pillow."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        turned = _orientation(opened.getexif)
        # Pillow gives the size of a TIFF as it is shown already.
        return *opened.size, turned, turned in _SIDEWAYS and opened.format != "TIFF"


def _usual_jpeg(told: Headers | None) -> tuple[int, int, int, bool] | None:
    """The same of a JPEG as most are, without the time that Pillow takes; None leaves it to Pillow."""
    if told is None or told.bits != 8 or not 0 < told.width * told.height <= (Image.MAX_IMAGE_PIXELS or 0):
        return None
    turned = _orientation(lambda: _exif(told.exif)) if told.exif else 1
    return told.width, told.height, turned, turned in _SIDEWAYS


def _exif(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(block)
    return exif


def _orientation(exif: Callable[[], Image.Exif]) -> int:
    """1 to 8; 1 where the file does not say it, or says nonsense, which every tool ignores."""
    try:
        told = exif().get(_ORIENTATION, 1)
    except (*FAULTS, struct.error, KeyError, TypeError):
        return 1
    return told if isinstance(told, int) and 1 <= told <= 8 else 1


def _decoded(image: Path, data: bytes, kind: str) -> tuple[np.ndarray | None, list[Problem]]:
    """The picture, small and grey, and what its decoder complains about."""
    found: list[Problem] = []
    small: np.ndarray | None = None
    library = _simplejpeg() if kind == "JPEG" else None
    if library is not None:
        small, found = _strictly(image, data, library)
    try:
        return _small(data) if small is None else small, found
    except FAULTS as error:
        if not any(problem.is_error for problem in found):
            found.append(Problem(rule=Corrupt, file=image, said=f"cannot be decoded: {why(error)}"))
        return None, found


def _small(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        width, height = opened.size
        opened.draft("L", (max(_LEAST_SIDE, width // _EIGHTH), max(_LEAST_SIDE, height // _EIGHTH)))
        return np.asarray(likeness.grey(opened))


def _strictly(image: Path, data: bytes, library: Any) -> tuple[np.ndarray | None, list[Problem]]:
    """The picture, small and grey, or what libjpeg warns of, which Pillow and OpenCV never tell."""
    try:
        height, width, space, _ = library.decode_jpeg_header(data)
        inks = space in ("CMYK", "YCCK")
        least = {"min_height": _eighth(height), "min_width": _eighth(width)}
        decoded = library.decode_jpeg(data, "CMYK" if inks else "GRAY", **least)
    except ValueError as error:
        said = why(error)
        harmless = any(remark in said for remark in _HARMLESS)
        return None, [Problem(rule=Odd if harmless else Corrupt, file=image, said=f"the decoder says: {said}")]
    return None if inks else decoded[:, :, 0], []


def _eighth(side: int) -> int:
    return max(min(_LEAST_SIDE, side), -(-side // _EIGHTH))


@cache
def _simplejpeg() -> Any:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None
