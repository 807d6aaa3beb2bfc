"""The layers of a model by name, and which layers of two models are the same one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: What converters fold into the operator before it: it then gives what these gave.
_ABSORBED = frozenset({"Relu", "Clip", "BatchNormalization"})


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operator of a model whose values can be looked at."""

    name: str
    op: str
    reads: tuple[str, ...] = ()  # the names of the layers whose values it reads, where they are known
    reader: str = ""  # the name of the one layer that reads it; empty where there are several or none

    @property
    def place(self) -> str:
        """The name without what formats differ in: `/model.0/conv/Conv` and `model.0.conv.Conv` are one place."""
        return self.name.replace("/", ".").strip(".")


def pairs(source: Sequence[Layer], converted: Sequence[Layer]) -> Iterator[tuple[Layer, Layer]]:
    """(source, converted) layers whose values must be alike, in the order in which the source computes them."""
    known = {layer.place: layer for layer in converted}
    named = {layer.name: layer for layer in source}
    for layer in source:
        if layer.place in known:
            yield _last(layer, named, known), known[layer.place]


def _last(layer: Layer, named: Mapping[str, Layer], known: Mapping[str, Layer]) -> Layer:
    """What the converted layer stands for: `layer`, or the last of what was folded into it."""
    following = named.get(layer.reader)
    if following is None or following.place in known or following.op not in _ABSORBED:
        return layer
    return _last(following, named, known)
