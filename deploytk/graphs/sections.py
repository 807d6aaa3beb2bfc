"""Which section of a detector each node belongs to: backbone, neck or head; told from names, else from the wiring."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

BACKBONE, NECK, HEAD, UNKNOWN = "backbone", "neck", "head", ""

_UPSAMPLES = frozenset({"Resize", "Upsample", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"})
#: `/model.22/cv2.0/act/Relu`, `model.22.cv2.0.act`: the number of the layer in the list that the network is built from.
_LAYER = re.compile(r"(?<!\w)model\.(\d+)(?!\w)")


@dataclass(frozen=True, kw_only=True)
class Step:
    """What this file needs to know of a node of any graph format, in topological order."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def layer(name: str) -> int | None:
    """The number of the layer that stands in a node's or module's name; None where there is none."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


def by_layer(number: int | None, first_upsample: int, last: int) -> str:
    """The section of a layer: the neck begins where the network first upsamples, the head is the last layer."""
    if number is None:
        return UNKNOWN
    if number == last:
        return HEAD
    return BACKBONE if number < first_upsample else NECK


def sections(steps: Sequence[Step], ends: Sequence[str]) -> list[str]:
    """The section of each node; UNKNOWN for all where the network does not upsample (it is no detector with a neck).

    Args:
        ends: the names of the model's outputs.
    """
    first = next((i for i, s in enumerate(steps) if s.op in _UPSAMPLES), None)
    if first is None:
        return [UNKNOWN] * len(steps)
    numbers = [layer(s.name) for s in steps]
    start = numbers[first]
    if start is not None:
        last = max(n for n in numbers if n is not None)
        return [by_layer(n, start, last) for n in numbers]
    return _by_wiring(steps, ends, first) if len(ends) > 1 else [UNKNOWN] * len(steps)


def _by_wiring(steps: Sequence[Step], ends: Sequence[str], first: int) -> list[str]:
    """The backbone is what the first upsampling is computed from; the head is what leads to one output only.

    A box and a class branch leave each feature map, so that every node of the neck leads to two outputs or more.
    """
    backbone = _ancestors(steps, first)
    reached = _outputs_reached(steps, ends)
    found = []
    for index in range(len(steps)):
        if index in backbone:
            found.append(BACKBONE)
        else:
            found.append(HEAD if len(reached[index]) == 1 else NECK)
    return found


def _ancestors(steps: Sequence[Step], index: int) -> set[int]:
    makers = {o: i for i, s in enumerate(steps) for o in s.outputs}
    found: set[int] = set()
    todo = [makers[t] for t in steps[index].inputs if t in makers]
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            todo += [makers[t] for t in steps[at].inputs if t in makers]
    return found


def _outputs_reached(steps: Sequence[Step], ends: Sequence[str]) -> list[set[str]]:
    """The outputs of the model that each node leads to."""
    leads: dict[str, set[str]] = {end: {end} for end in ends}
    reached: list[set[str]] = [set() for _ in steps]
    for index in reversed(range(len(steps))):
        for tensor in steps[index].outputs:
            reached[index] |= leads.get(tensor, set())
        for tensor in steps[index].inputs:
            leads.setdefault(tensor, set()).update(reached[index])
    return reached
