"""Images that are in two splits: the same content under whatever name, or nearly the same picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploytk.data.checks import likeness
from deploytk.data.checks.image_checks import Looked
from deploytk.data.checks.label_checks import Labels
from deploytk.data.checks.rules import Copied, Leaked, NearlyLeaked, Problem, Rule, Shared

#: Of two copies in different splits, the one in the split that comes first is the one too many.
ORDER = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two images that are the same, or look it; `image` is the one too many."""

    kind: Literal["same", "alike"]
    image: Path
    split: str
    other: Path
    other_split: str
    bits: int = 0  # of 256 that differ in what they look like


def exact(splits: Mapping[str, Sequence[Path]], looks: Mapping[Path, Looked]) -> list[Pair]:
    """Images with the same content: each but the last of its kind, paired with that one."""
    places: dict[bytes, list[tuple[int, Path]]] = {}
    for split, images in splits.items():
        for image in images:
            if digest := looks[image].digest:
                places.setdefault(digest, []).append((ORDER.index(split), image))
    pairs = []
    for found in places.values():
        (kept_in, kept), *others = sorted(found, key=lambda place: -place[0])
        for place, image in others:
            pairs.append(_same(ORDER[place], image, ORDER[kept_in], kept))
    return pairs


def _same(split: str, image: Path, other_split: str, other: Path) -> Pair:
    return Pair(kind="same", image=image, split=split, other=other, other_split=other_split)


def alike(splits: Mapping[str, Sequence[Path]], looks: Mapping[Path, Looked]) -> list[Pair]:
    """For each image of val and test, the one of train that looks the same, where there is one; not exact copies."""
    train = [image for image in splits.get("train", ()) if looks[image].print]
    others = [(split, image) for split in ORDER[1:] for image in splits.get(split, ()) if looks[image].print]
    found = likeness.alike([looks[i].print for i in train], [looks[i].print for _, i in others])
    pairs = []
    for of_train, of_other, bits in found:
        image, (split, other) = train[of_train], others[of_other]
        if looks[image].digest != looks[other].digest:
            pairs.append(Pair(kind="alike", image=image, split="train", other=other, other_split=split, bits=bits))
    return pairs


def check(pairs: Sequence[Pair], labels: Mapping[Path, Labels], root: Path) -> list[Problem]:
    """Each pair as a problem of the image that is one too many."""
    return [
        Problem(rule=rule_of(pair.kind, pair.split, pair.other_split), file=pair.image, said=_said(pair, labels, root))
        for pair in pairs
    ]


def rule_of(kind: Literal["same", "alike"], split: str, other_split: str) -> type[Rule]:
    """The rule that is broken by an image of `split` that is the same as one of `other_split`, or looks it."""
    if split == other_split:
        return Copied
    if kind == "alike":
        return NearlyLeaked
    return Leaked if split == "train" else Shared


def _said(pair: Pair, labels: Mapping[Path, Labels], root: Path) -> str:
    other = pair.other.relative_to(root) if pair.other.is_relative_to(root) else pair.other
    where = f"{other} in {pair.other_split}" if pair.split != pair.other_split else str(other)
    if pair.kind == "alike":
        return f"looks like {where} ({pair.bits} of 256 bits differ)"
    return f"the same as {where}{'' if _same_labels(pair, labels) else ', with other labels'}"


def _same_labels(pair: Pair, labels: Mapping[Path, Labels]) -> bool:
    one, other = (
        sorted((str(line.label), line.box) for line in labels[image].lines) if image in labels else []
        for image in (pair.image, pair.other)
    )
    return one == other
