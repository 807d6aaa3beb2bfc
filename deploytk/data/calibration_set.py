"""A calibration set: real training images, fixed and hashed, prepared exactly as at inference, streamed one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploytk.artifact import TensorSpec
from deploytk.data import calibration_file, labelled
from deploytk.data.calibration_file import FILE, Sample, SetFile
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError

_AGAIN = "or make the set again with: deploytk calibrate make"


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """The samples of one set, and all that is known of them. `feeds` is what a quantization takes."""

    folder: Path  # where its set.yaml stands
    told: SetFile

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.told.name

    @property
    def sha256(self) -> str:
        """Of its content: equal for the same samples, prepared in the same way, wherever they lie."""
        return self.told.sha256

    @property
    def images(self) -> int:
        """How many samples it has."""
        return len(self.told.samples)

    @property
    def preparation(self) -> Preparation:
        """How the samples become inputs."""
        return self.told.preparation

    @property
    def dataset(self) -> Path:
        """The data.yaml or the folder that the samples were drawn from."""
        return self.folder / self.told.dataset

    def feeds(self) -> Iterator[np.ndarray]:
        """A new pass over the samples: one (1, C, H, W) float32 input at a time, each file checked as it is read.

        Raises:
            InputError: a sample is missing, has changed, or cannot be decoded; its file is named.
        """
        for sample in self.told.samples:
            yield self.preparation.prepare(self.bytes_of(sample), str(self.path_of(sample)))

    def save(self) -> CalibrationSet:
        """This set, its set.yaml written."""
        calibration_file.write(self.folder / FILE, self.told)
        return self

    def path_of(self, sample: Sample) -> Path:
        """Where the image of a sample lies."""
        return labelled.root_of(self.dataset) / sample.path

    def bytes_of(self, sample: Sample) -> bytes:
        """The bytes of a sample's image file.

        Raises:
            InputError: it is missing or has changed since the set was made.
        """
        path, whose = self.path_of(sample), f"a sample of the calibration set {self.name}"
        try:
            image = path.read_bytes()
        except OSError as error:
            hint = f"put it back, correct `dataset` in {self.folder / FILE}"
            raise InputError(f"{path}: {whose}, cannot be read ({error.strerror}); {hint}, {_AGAIN}") from error
        if hashlib.sha256(image).hexdigest() != sample.sha256:
            raise InputError(f"{path}: {whose}, changed since that was made (sha256); put it back, {_AGAIN}")
        return image

    def require_fit(self, spec: TensorSpec) -> None:
        """Nothing, where the samples are prepared to what the input of a model takes.

        Raises:
            InputError: another size, layout or dtype.
        """
        try:
            self.preparation.require_fit(spec)
        except InputError as error:
            raise InputError(f"calibration set {self.name}: {error.message}; {_AGAIN.removeprefix('or ')}") from error
