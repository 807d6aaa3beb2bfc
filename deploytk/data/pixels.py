"""What stands before a model that prepares its images itself: the pixels of one image of any size, as RGB (OpenCV)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.data.preparation import Placed
from deploytk.errors import InputError
from deploytk.files import sha256_of_value


class InsideModel(BaseModel):
    """The preparation that is left to do: RGB instead of OpenCV's BGR. See `deploytk.data.preparation.Preparation`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["inside the model"] = "inside the model"
    colour: Literal["rgb"] = "rgb"
    size: tuple[int, int] = (0, 0)  # of no fixed size

    @property
    def sha256(self) -> str:
        """Of all of the settings."""
        return sha256_of_value(self.model_dump(mode="json"))

    def require_fit(self, spec: TensorSpec) -> None:
        """Nothing, where the model takes an image of any size.

        Raises:
            InputError: it does not.
        """
        if not takes_any_size(spec):
            raise InputError(f"the input {spec.name} takes {spec.dtype} {list(spec.shape)}, not an image of any size")

    def fit(self, pixels: np.ndarray) -> tuple[np.ndarray, Placed]:
        """Decoded pixels (BGR) as the input, (1, height, width, 3), and where the image stands in it: everywhere."""
        cv2 = plugins.import_or_explain("cv2")
        height, width = pixels.shape[:2]
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)[None], Placed(width=width, height=height, left=0, top=0)


def takes_any_size(spec: TensorSpec) -> bool:
    """Whether an input takes the pixels of one image whatever its size: uint8 (1, height, width, 3)."""
    one, *sides, channels = spec.shape if len(spec.shape) == 4 else (0, 0, 0)
    return spec.dtype == "uint8" and (one, channels) == (1, 3) and all(isinstance(side, str) for side in sides)
