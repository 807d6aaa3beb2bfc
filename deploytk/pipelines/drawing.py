"""Boxes and names on an image (OpenCV; Pillow writes the letters, for names need not be ASCII)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deploytk import plugins
from deploytk.errors import InputError
from deploytk.pipelines.running import Recognised

#: Colours (RGB) that are told apart on most photos; one name has the same one everywhere.
_COLOURS = ((230, 60, 60), (50, 110, 235), (40, 160, 80), (200, 120, 0), (150, 70, 200), (0, 150, 170))


def drawn(pixels: np.ndarray, found: Recognised) -> np.ndarray:
    """A copy of an image (BGR) with each box, and above it what it is and how certain that is."""
    cv2 = plugins.import_or_explain("cv2")
    picture = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    pen = ImageDraw.Draw(picture)
    side = max(picture.size)
    font = ImageFont.load_default(max(11, side // 50))
    for number in reversed(range(len(found.scores))):  # the most certain one on top
        colour, words = _COLOURS[_hash(_name(found, number)) % len(_COLOURS)], _words(found, number)
        left, top, right, bottom = (float(x) for x in found.boxes[number])
        pen.rectangle(
            (left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=max(1, side // 300)
        )
        box = pen.textbbox((left, top), words, font=font)
        y = max(0.0, top - (box[3] - box[1]) - 4)
        pen.rectangle((left, y, left + box[2] - box[0] + 4, y + box[3] - box[1] + 4), fill=colour)
        pen.text((left + 2, y + 2 - (box[1] - top)), words, fill=(255, 255, 255), font=font)
    return np.ascontiguousarray(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR))


def write(path: Path, pixels: np.ndarray) -> None:
    """Write an image (BGR) as a PNG or JPEG.

    Raises:
        InputError: it cannot be written there.
    """
    cv2 = plugins.import_or_explain("cv2")
    done, data = cv2.imencode(path.suffix, pixels)
    if not done:
        raise InputError(f"{path}: OpenCV cannot write such a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def _name(found: Recognised, number: int) -> str:
    return found.names[number][0] if number < found.named else found.labels[number]


def _words(found: Recognised, number: int) -> str:
    """`advil 0.93`; where it was not classified what the detector says."""
    sure = found.probabilities[number, 0] if number < found.named else found.scores[number]
    return f"{_name(found, number)} {sure:.2f}"


def _hash(name: str) -> int:
    return sum((place + 1) * ord(letter) for place, letter in enumerate(name))
