"""The outputs of two models on the same samples, at several batch and image sizes, as rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from deploytk.artifact import TensorSpec
from deploytk.data import agreement
from deploytk.data.detections import Head, detections
from deploytk.errors import InputError
from deploytk.runtimes.rebatching import first_line
from deploytk.stages.parity_models import Model

BATCHES = (1, 2, 5)
#: The rows of boxes: the share of the source's that have a partner, and the share of the converted model's.
FOUND, HAD = "boxes found again", "boxes the source has"
#: Detectors halve an image five times, so its sides stay multiples of 32.
_STRIDE = 32

Rows = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One batch size at one image size (height, width); () for inputs that are no images."""

    batch: int
    size: tuple[int, ...]

    @property
    def words(self) -> str:
        """`batch 2` or `batch 1, 320x160`."""
        return f"batch {self.batch}" + (f", {self.size[0]}x{self.size[1]}" if self.size else "")


def settings(source: Model, converted: Model, samples: Rows) -> tuple[list[Setting], list[str]]:
    """(the settings at which both can run, sentences on what could not be tried).

    Raises:
        InputError: both hold a batch size, and not the same one.
    """
    size = _size(samples)
    held = [(m.path.name, m.batch) for m in (source, converted) if m.batch is not None]
    if len({batch for _, batch in held}) > 1:
        told = ", ".join(f"{name}: {batch}" for name, batch in held)
        raise InputError(f"the models hold different batch sizes ({told}); export one of them with a free batch")
    notes = [f"{name} holds batch size {batch}: other batch sizes were not compared" for name, batch in held[:1]]
    found = [Setting(batch=b, size=size) for b in ([held[0][1]] if held else BATCHES) if b is not None]
    if source.any_size and converted.any_size and size:
        found += [Setting(batch=found[0].batch, size=other) for other in _smaller(size)]
    return found, notes


def _size(samples: Rows) -> tuple[int, ...]:
    """(height, width) of the samples where they are images, channels first."""
    first = next(iter(samples.values()))
    return tuple(int(d) for d in first.shape[2:]) if first.ndim == 4 else ()


def _smaller(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """A half of the image, and one that is no square; parts of real images are real images."""
    height, width = (max(_STRIDE, side // 2 // _STRIDE * _STRIDE) for side in size)
    return [other for other in ((height, width), (size[0], width)) if other != size]


def cut(samples: Rows, setting: Setting) -> Iterator[Rows]:
    """The samples in batches of the setting, each image cut to its size; they begin again to fill the last batch."""
    count = len(next(iter(samples.values())))
    for start in range(0, count, setting.batch):
        chosen = [place % count for place in range(start, start + setting.batch)]
        yield {name: _part(values[chosen], setting.size) for name, values in samples.items()}


def _part(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return values[:, :, : size[0], : size[1]] if size and values.ndim == 4 else values


def compared(
    source: Model, converted: Model, samples: Rows, setting: Setting, most: int | None = None
) -> list[dict[str, Any]]:
    """One row for each output (boxes and scores apart), for the boxes found again, and for the classes; or the error.

    Args:
        most: no more batches than these; None for all samples.

    Each row says `output`, `batch`, `size`; then `max_abs`, `mean_abs`, `cosine`, `sqnr_db` of a tensor, `top1` of
    classes, `boxes`, `iou50`, `iou90`, `mean_iou` of boxes, or `error`.
    """
    told = _Told(source, converted, setting)
    for rows in islice(cut(samples, setting), most):
        expected = source.run(rows)
        try:
            got = converted.run(rows)
        except Exception as error:  # of whatever kind a runtime raises for a graph that cannot run at this size
            return [told.row("all", error=f"fails where {source.path.name} runs: {first_line(error)}")]
        told.add(expected, got)
    return told.rows()


class _Told:
    """What the batches of one setting add up to."""

    def __init__(self, source: Model, converted: Model, setting: Setting) -> None:
        self.source, self.converted, self.setting = source, converted, setting
        self.size = (setting.size[0], setting.size[1]) if setting.size else (0, 0)
        self.heads: tuple[Head | None, Head | None] = (None, None)
        self.distances: dict[str, agreement.Distance] = {}
        self.errors: dict[str, str] = {}
        self.matches: dict[str, agreement.Match] = {}
        self.top1 = [0, 0]

    def row(self, output: str, **told: Any) -> dict[str, Any]:
        return {"output": output, "batch": self.setting.batch, "size": list(self.setting.size), **told}

    def rows(self) -> list[dict[str, Any]]:
        found = [self.row(name, error=error) for name, error in self.errors.items()]
        found += [self.row(n, **d.as_dict()) for n, d in self.distances.items() if n not in self.errors]
        found += [self.row(name, **match.as_dict()) for name, match in self.matches.items()]
        if self.top1[1]:
            found.append(self.row("top-1", top1=self.top1[0] / self.top1[1]))
        return found

    def add(self, expected: list[np.ndarray], got: list[np.ndarray]) -> None:
        self.heads = self.source.head(self.size, expected), self.converted.head(self.size, got)
        for name, wanted, given in self._tensors(expected, got):
            error = agreement.wrong(wanted, given)
            if not error and name == "scores":
                error = agreement.collapsed(wanted, given)
            if error:
                self.errors.setdefault(name, error)
            else:
                far = agreement.distance(wanted, given)
                self.distances[name] = self.distances[name] + far if name in self.distances else far
        if not self.errors:
            self._add_meaning(expected, got)

    def _tensors(
        self, expected: list[np.ndarray], got: list[np.ndarray]
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """(name, expected, got) of each output; of decoded boxes and their scores apart."""
        if len(expected) != len(got):
            if None in self.heads:
                self.errors["all"] = f"{len(got)} outputs instead of {len(expected)}"
            return
        order = _order(self.source.session.outputs, self.converted.session.outputs)
        for place, (spec, wanted) in enumerate(zip(self.source.session.outputs, expected, strict=True)):
            given = _channels_first(got[order[place]], wanted)
            if self.heads[0] == "decoded" and wanted.shape == given.shape:
                both = zip(agreement.parts(wanted).items(), agreement.parts(given).values(), strict=True)
                yield from ((name, mine, theirs) for (name, mine), theirs in both)
            else:
                yield spec.name, wanted, given

    def _add_meaning(self, expected: list[np.ndarray], got: list[np.ndarray]) -> None:
        """Count the boxes that both have, or the rows with the same class."""
        if self.heads == ("classes", "classes"):
            self.top1[0] += agreement.top1(expected[0], got[0])
            self.top1[1] += len(expected[0])
        elif self.heads[0] not in (None, "classes") and self.heads[1] not in (None, "classes"):
            sides = zip((expected, got), (self.source, self.converted), self.heads, strict=True)
            mine, theirs = (self._boxes(outputs, model, head) for outputs, model, head in sides if head)
            for name, match in (
                (FOUND, agreement.match(mine, theirs)),
                (HAD, agreement.match(theirs, mine)),
            ):
                self.matches[name] = self.matches[name] + match if name in self.matches else match

    def _boxes(self, outputs: list[np.ndarray], model: Model, head: Head) -> Any:
        named = zip(model.session.outputs, outputs, strict=True)
        specs = [TensorSpec(name=spec.name, shape=made.shape, dtype="float32") for spec, made in named]
        return detections(outputs, specs, head, self.size, score=agreement.PARTNER_SCORE)


def _order(source: tuple[TensorSpec, ...], converted: tuple[TensorSpec, ...]) -> list[int]:
    """Where each output of the source stands in the converted model: by name where names are kept, else by place."""
    names = [spec.name for spec in converted]
    if {spec.name for spec in source} == set(names):
        return [names.index(spec.name) for spec in source]
    return list(range(len(source)))


def _channels_first(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """`got` with its channels where the source has them."""
    turned = np.moveaxis(got, -1, 1) if got.ndim == 4 else got
    return turned if got.shape != expected.shape and turned.shape == expected.shape else got
