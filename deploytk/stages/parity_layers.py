"""Which layer of a converted model went wrong first: the values inside both models, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deploytk import plugins
from deploytk.data import agreement
from deploytk.graphs.layers import Layer, pairs
from deploytk.runtimes import Feed, Options
from deploytk.stages.parity_models import Model

#: As many samples show which layer is wrong; the values of all layers are in memory at once.
MOST_BATCHES = 4
#: kind of file -> the class that looks into it.
_READERS = {
    "onnx": "deploytk.runtimes.onnx_layers:OnnxLayers",
    "openvino-xml": "deploytk.runtimes.openvino_layers:OpenVinoLayers",
    "tflite": "deploytk.runtimes.litert_layers:LiteRtLayers",
}


class Layers(Protocol):
    """A model whose layers can be looked at."""

    layers: tuple[Layer, ...]

    def run(self, feed: Feed, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of the wanted layers, by layer name; those that are no real numbers are left out."""
        ...


def opened(path: Path, kind: str, backend: str = "", options: Options | None = None) -> Layers | None:
    """The layers of a model file; None for a kind that cannot be looked into.

    Args:
        backend: of a checkpoint.
        options: of the runtime; whether ONNX Runtime optimises the graph is heeded.
    """
    if kind == "torch":
        layers = plugins.import_or_explain("deploytk.runtimes.torch_layers")
        made: Layers = layers.TorchLayers(plugins.load("backends", backend).torch_module(path))
        return made
    exact = {"exact": True} if kind == "onnx" and (options or {}).get("optimization") == "off" else {}
    module, _, name = _READERS.get(kind, "").partition(":")
    return getattr(plugins.import_or_explain(module), name)(path, **exact) if module else None


def compared(source: Model, converted: Model, batches: Iterable[Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """A row for each layer that both models have by name, in the order of computing; empty where they share none.

    Each row says `layer`, `op`, `before_db` (the worst SQNR among the layers it reads, None at the beginning) and
    `max_abs`, `mean_abs`, `cosine`, `sqnr_db`.
    """
    mine, theirs = (opened(model.path, model.kind, model.backend, model.options) for model in (source, converted))
    both = list(pairs(mine.layers, theirs.layers)) if mine and theirs else []
    if not mine or not theirs or not both:
        return []
    distances: dict[str, agreement.Distance] = {}
    for rows in batches:
        expected = mine.run(source.feed(rows), [layer.name for layer, _ in both])
        got = theirs.run(converted.feed(rows), [layer.name for _, layer in both])
        for layer, partner in both:
            far = _distance(expected.get(layer.name), got.get(partner.name))
            if far is not None:
                kept = distances.get(partner.name)
                distances[partner.name] = far if kept is None else kept + far
    return _rows([partner for _, partner in both if partner.name in distances], theirs.layers, distances)


def _distance(expected: np.ndarray | None, got: np.ndarray | None) -> agreement.Distance | None:
    """None where the two are no tensors of one shape: a converter may compute the same by other operators."""
    if expected is None or got is None:
        return None
    if got.ndim == 4 and got.shape != expected.shape:
        got = np.moveaxis(got, -1, 1)
    if got.shape != expected.shape or not np.isfinite(expected).all():
        return None
    return agreement.distance(expected, np.nan_to_num(got))


def _rows(
    layers: Sequence[Layer], every: Sequence[Layer], distances: Mapping[str, agreement.Distance]
) -> list[dict[str, Any]]:
    reads = {layer.name: layer.reads for layer in every}
    found = []
    for layer in layers:
        before = [distances[name].sqnr_db for name in _compared_before(layer.name, reads, distances)]
        told: dict[str, Any] = {"layer": layer.name, "op": layer.op, "before_db": min(before, default=None)}
        found.append(told | distances[layer.name].as_dict())
    return found


def _compared_before(
    name: str, reads: Mapping[str, tuple[str, ...]], distances: Mapping[str, agreement.Distance]
) -> set[str]:
    """The nearest layers before one that were compared."""
    found: set[str] = set()
    left, seen = list(reads.get(name, ())), set[str]()
    while left:
        one = left.pop()
        if one in distances:
            found.add(one)
        elif one not in seen:
            seen.add(one)
            left += reads.get(one, ())
    return found


def first_wrong(rows: Sequence[Mapping[str, Any]], limit_db: float) -> Mapping[str, Any] | None:
    """The first layer, in the order of computing, that is further off than the limit."""
    return next((row for row in rows if row["sqnr_db"] < limit_db), None)


def worst(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The layers that are furthest off, the worst first."""
    return sorted(rows, key=lambda row: row["sqnr_db"])[:count]
