"""The image files that stand before the clock of an end-to-end bench: their bytes, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploytk.data import classified, dataset
from deploytk.data.classified import FOLDERS
from deploytk.data.preparation import decode
from deploytk.errors import InputError

#: The bytes of all images stay in memory; more images than these tell nothing new about the time.
MOST_IMAGES = 64


class Photos:
    """The bytes of at most 64 of the given images, evenly over all of them."""

    def __init__(self, images: Sequence[Path]) -> None:
        """Read the bytes, and decode each image once.

        Raises:
            InputError: no images, or one that cannot be read or decoded.
        """
        self._given = len(images)
        self._images = [(path, _bytes_of(path)) for path in few(images)]
        if not self._images:
            raise InputError("the boundary end_to_end needs images: give --images with a folder, files or a data.yaml")
        self._sizes = sorted({decode(data, str(path)).shape[:2] for path, data in self._images})
        self.count = len(self._images)

    def __getitem__(self, number: int) -> bytes:
        return self._images[number][1]

    def turn(self, turn: int, batch: int) -> list[int]:
        """The numbers of a batch of consecutive images, beginning with image `turn`, the first after the last."""
        return [(turn + place) % self.count for place in range(batch)]

    @property
    def words(self) -> str:
        """The images in words."""
        sizes = [f"{width}x{height}" for height, width in self._sizes]
        told = sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes from {sizes[0]} to {sizes[-1]}"
        of = "" if self._given == self.count else f" of {self._given}"
        return f"{self.count}{of} image files, {told}"


def images_of(given: Sequence[str]) -> list[Path]:
    """The image files that files, folders, data.yaml files and manifests stand for; of a dataset its split "val".

    A folder with the folders train and val in it is a dataset; any other one stands for all of its images.

    Raises:
        InputError: one of them does not exist, or holds no images.
    """
    found: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = dataset.images_in(_validation_in(path))
        elif path.suffix in (".yaml", ".yml"):
            inside = [sample.image for sample in dataset.read(path).splits["val"]]
        elif path.suffix == ".csv":
            inside = [*map(Path, classified.read(path).splits["val"].paths())]
        else:
            inside = [path] if path.is_file() else []
        if not inside:
            known = ", ".join(sorted(dataset.SUFFIXES))
            raise InputError(f"{path}: {f'no images ({known}) in it' if path.exists() else 'no such file or folder'}")
        found += inside
    return found


def _validation_in(folder: Path) -> Path:
    """Where the validation images of a dataset with a folder per split are; any other folder as it is."""
    val = next((folder / name for name in FOLDERS["val"] if (folder / name).is_dir()), folder)
    return val if (folder / "train").is_dir() else folder


def few(images: Sequence[Path]) -> list[Path]:
    """At most 64 of the images, evenly over all of them."""
    if len(images) <= MOST_IMAGES:
        return list(images)
    return [images[place * len(images) // MOST_IMAGES] for place in range(MOST_IMAGES)]


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
