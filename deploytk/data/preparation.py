"""How the bytes of an image file become a model's input: decoded, fitted to the size, normalised (OpenCV, Pillow).

A `Preparation` is a value with a sha256 of its own: INT8 ranges hold for the inputs they were found with and no others.
Letterboxes are those of Ultralytics' validation (OpenCV, bilinear), the other two kinds those of torchvision (Pillow,
over the whole area that becomes a pixel). OpenCV is imported when the first image is decoded, and not before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.files import sha256_of_value

Task = Literal["detector", "classifier"]
Colour = Literal["rgb", "bgr", "gray"]
Layout = Literal["nchw", "nhwc"]

#: What torchvision's and timm's classifiers were trained with, in RGB.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The part of the short side that a centre crop keeps: 224 of 256.
_KEPT = 0.875
_GREY = 114
_DTYPES = Literal["float32", "float16", "uint8", "int8"]
#: Where the channels of an input stand in what OpenCV decodes, which is BGR.
_FROM_BGR: dict[Colour, tuple[int, ...]] = {"rgb": (2, 1, 0), "bgr": (0, 1, 2), "gray": (0,)}

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(gt=0, le=16384)]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where the whole image stands in the input, in pixels of the input; what a crop cuts off stands outside it."""

    width: int
    height: int
    left: int
    top: int


class Quantization(BaseModel):
    """Of an integer input: integer = round(real / scale) + zero_point."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    scale: Positive
    zero_point: int = 0


class Preparation(BaseModel):
    """All that shapes an input: (pixels / divide_by - mean) / std, after fitting the image to the size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: letterbox: whole image on grey. resize: stretched. center-crop: short side to `short_side`, then its middle.
    kind: Literal["letterbox", "resize", "center-crop"]
    size: tuple[Side, Side]  # height, width of the input in pixels
    short_side: Side | None = None  # of a center-crop, in pixels; None: the input's larger side / 0.875
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    colour: Colour = "rgb"
    layout: Layout = "nchw"
    divide_by: Positive = 255.0
    mean: tuple[Finite, ...] = ()  # one number per channel, or none
    std: tuple[Positive, ...] = ()
    dtype: _DTYPES = "float32"
    quantization: Quantization | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} numbers; {self.colour} has {self.channels} channels")
        if self.kind == "letterbox" and self.interpolation != "bilinear":
            raise ValueError("a letterbox is bilinear, as Ultralytics' validation")
        if self.short_side is not None and self.kind != "center-crop":
            raise ValueError(f"short_side is for center-crop, not for {self.kind}")
        if self.short_side is not None and self.short_side < max(self.size):
            raise ValueError(f"short_side {self.short_side} is smaller than the input ({self.size[0]}x{self.size[1]})")
        if self.quantization and self.dtype not in ("int8", "uint8"):
            raise ValueError(f"quantization is for int8 and uint8, not for {self.dtype}")
        if self.dtype == "int8" and not self.quantization:
            raise ValueError("an int8 input needs a quantization (scale, zero_point)")
        if self.dtype == "uint8" and not self.quantization and (self.divide_by != 1 or self.mean or self.std):
            raise ValueError("a uint8 input without quantization takes plain pixels: divide_by 1, no mean, no std")
        return self

    @property
    def channels(self) -> int:
        """1 for gray, otherwise 3."""
        return len(_FROM_BGR[self.colour])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one input, without the batch."""
        return (self.channels, *self.size) if self.layout == "nchw" else (*self.size, self.channels)

    @property
    def sha256(self) -> str:
        """Of all of the settings: equal where equal inputs come out."""
        return sha256_of_value(self.model_dump(mode="json"))

    @property
    def summary(self) -> str:
        """In a few words: `letterbox 320x640 rgb, float32 nchw` (height x width)."""
        return f"{self.kind} {self.size[0]}x{self.size[1]} {self.colour}, {self.dtype} {self.layout}"

    @staticmethod
    def for_input(spec: TensorSpec, task: Task) -> Preparation:
        """The usual preparation for an image input of a model.

        A detector's is a letterbox, RGB, 0..1 (Ultralytics). A classifier's is a centre crop of 0.875 of the short
        side, RGB, with the mean and deviation of ImageNet (torchvision), 0..1 where it is gray.

        Raises:
            InputError: it takes no image of a fixed size, or integers of unknown meaning.
        """
        facts = facts_of(spec)
        plain = facts["dtype"] == "uint8" and facts["quantization"] is None
        if plain:
            facts["divide_by"] = 1.0
        elif task == "classifier" and facts["colour"] == "rgb":
            facts |= {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        return Preparation(kind="letterbox" if task == "detector" else "center-crop", **facts)

    def require_fit(self, spec: TensorSpec) -> None:
        """Nothing, where the inputs this makes are those the model takes.

        Raises:
            InputError: shape or dtype differ.
        """
        made, wanted = (*self.shape, self.dtype), (*spec.shape[1:], spec.dtype)
        if made != wanted:
            raise InputError(
                f"the preparation makes {self.dtype} {list(self.shape)}; the input {spec.name} takes {spec.dtype} "
                f"{list(spec.shape[1:])}: correct size, layout, colour or dtype"
            )

    def prepare(self, image: bytes, name: str = "image") -> np.ndarray:
        """The bytes of an image file as one input, (1, ...).

        Raises:
            InputError: OpenCV cannot decode it; `name` is in the message.
        """
        return self.fit(decode(image, name))[0]

    def fit(self, pixels: np.ndarray) -> tuple[np.ndarray, Placed]:
        """Decoded pixels as one input, (1, ...), and where the image stands in it."""
        made = np.empty((1, *self.shape), np.dtype(self.dtype))
        return made, self.fit_into(pixels, made[0])

    def fit_into(self, pixels: np.ndarray, place: np.ndarray) -> Placed:
        """Write decoded pixels as one input to `place` (of `shape` and `dtype`); where the image stands in it."""
        fitted, placed = self._fitted(pixels)
        if self.colour == "gray":
            cv2 = _cv2()
            fitted = cv2.cvtColor(fitted, cv2.COLOR_BGR2GRAY)[:, :, None]
        self._normalise_into(fitted, place)
        return placed

    def _fitted(self, pixels: np.ndarray) -> tuple[np.ndarray, Placed]:
        """(height, width, 3) pixels of the input's size."""
        if self.kind == "letterbox":
            return letterbox(pixels, self.size)
        rows, columns = self.size
        if self.kind == "resize":
            return self._resized(pixels, rows, columns), Placed(width=columns, height=rows, left=0, top=0)
        height, width = pixels.shape[:2]
        short = self.short_side or round(max(self.size) / _KEPT)
        # The long side is cut to whole pixels, not rounded (torchvision, _compute_resized_output_size).
        new_height, new_width = (int(short * side / min(height, width)) for side in (height, width))
        top, left = round((new_height - rows) / 2.0), round((new_width - columns) / 2.0)
        middle = self._resized(pixels, new_height, new_width)[top : top + rows, left : left + columns]
        return middle, Placed(width=new_width, height=new_height, left=-left, top=-top)

    def _resized(self, pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """As torchvision resizes a PIL image: each new pixel is made of all the old ones that it covers."""
        from PIL import Image

        if pixels.shape[:2] == (rows, columns):
            return pixels
        how = Image.Resampling.BILINEAR if self.interpolation == "bilinear" else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((columns, rows), how))

    def _normalise_into(self, fitted: np.ndarray, place: np.ndarray) -> None:
        """Write the input: channel by channel through a table, for a pixel has only 256 values."""
        cv2 = _cv2()
        if self.layout == "nhwc" and self._takes_pixels:
            place[...] = cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB) if self.colour == "rgb" else fitted
            return
        planes = cv2.split(fitted)
        for index, (source, table) in enumerate(zip(_FROM_BGR[self.colour], _tables(self), strict=True)):
            channel = place[index] if self.layout == "nchw" else place[:, :, index]
            straight = self.layout == "nchw" and table.dtype == channel.dtype == np.float32
            made = cv2.LUT(planes[source], table, dst=channel if straight else None)
            if made is not channel:  # OpenCV made an array of its own
                channel[...] = made

    @property
    def _takes_pixels(self) -> bool:
        """Whether the input's numbers are those of the pixels."""
        return self.dtype == "uint8" and self.quantization is None


def decode(image: bytes | np.ndarray, name: str = "image") -> np.ndarray:
    """The bytes of an image file as pixels: (height, width, 3) uint8 BGR, turned as the file's EXIF says.

    Raises:
        InputError: OpenCV cannot decode it; `name` is in the message.
        MissingDependency: OpenCV is not installed.
    """
    cv2 = _cv2()
    try:
        pixels: np.ndarray | None = cv2.imdecode(np.frombuffer(image, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"{name}: cannot be read as an image") from error
    if pixels is None:
        raise InputError(f"{name}: OpenCV cannot decode this image; repair or remove it")
    return pixels


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, Placed]:
    """The image on a grey rectangle of `size` (height, width) pixels, and where it stands there.

    The side that fills the rectangle gets its size, the other one is rounded up (Ultralytics, BaseDataset.load_image).
    """
    cv2 = _cv2()
    rows, columns = size
    height, width = image.shape[:2]
    scale = min(rows / height, columns / width)
    new_height, new_width = min(math.ceil(height * scale), rows), min(math.ceil(width * scale), columns)
    if (new_height, new_width) != (height, width):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    # An odd rest goes to the right and the bottom.
    top, left = (rows - new_height) // 2, (columns - new_width) // 2
    square = np.full((rows, columns, image.shape[2]), _GREY, dtype=image.dtype)
    square[top : top + new_height, left : left + new_width] = image
    return square, Placed(width=new_width, height=new_height, left=left, top=top)


def facts_of(spec: TensorSpec) -> dict[str, Any]:
    """What a model's image input says of itself: size, layout, colour, dtype and quantization.

    Raises:
        InputError: it takes no image of a fixed size, or another dtype.
    """
    numbers = [d for d in spec.shape[1:] if isinstance(d, int)]
    first, last = (numbers[0], numbers[-1]) if len(numbers) == 3 else (0, 0)
    if len(spec.shape) != 4 or (first not in (1, 3) and last not in (1, 3)):
        raise InputError(
            f"the input {spec.name} {list(spec.shape)} takes no image of a fixed size: neither (N, channels, height, "
            "width) nor (N, height, width, channels) with 1 or 3 channels"
        )
    if spec.dtype not in _DTYPES.__args__:  # type: ignore[attr-defined]
        raise InputError(f"the input {spec.name} takes {spec.dtype}; images can be made in {_listed(_DTYPES)}")
    nchw = first in (1, 3)
    quantized = spec.scale is not None and spec.dtype in ("int8", "uint8")
    if spec.dtype == "int8" and not quantized:
        raise InputError(f"the input {spec.name} takes int8 without a scale; nobody knows what its numbers mean")
    return {
        "size": tuple(numbers[1:] if nchw else numbers[:2]),
        "layout": "nchw" if nchw else "nhwc",
        "colour": "rgb" if (first if nchw else last) == 3 else "gray",
        "dtype": spec.dtype,
        "quantization": {"scale": spec.scale, "zero_point": spec.zero_point or 0} if quantized else None,
    }


@lru_cache(maxsize=16)
def _tables(how: Preparation) -> tuple[np.ndarray, ...]:
    """For each channel, the input's value of each of the 256 values of a pixel."""
    pixels = np.arange(256, dtype=np.float32) / np.float32(how.divide_by)
    means = how.mean or (0.0,) * how.channels
    deviations = how.std or (1.0,) * how.channels
    reals = [(pixels - np.float32(m)) / np.float32(s) for m, s in zip(means, deviations, strict=True)]
    return tuple(_as_integers(real, how) if how.dtype in ("int8", "uint8") else real for real in reals)


def _as_integers(real: np.ndarray, how: Preparation) -> np.ndarray:
    limits = np.iinfo(how.dtype)
    if how.quantization is not None:
        real = np.round(real / how.quantization.scale) + how.quantization.zero_point
    integers: np.ndarray = np.clip(real, limits.min, limits.max).astype(how.dtype)
    return integers


def _listed(choices: Any) -> str:
    return ", ".join(choices.__args__)


def _cv2() -> Any:
    return plugins.import_or_explain("cv2")
