"""`level=2,3,4 activation=relu,leaky` as variants of a profile, each checked before anything is started."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from deploytk.errors import InputError
from deploytk.plugins import suggestion
from deploytk.profile import SECTIONS, ActivationKind, Profile
from deploytk.report import Finding
from deploytk.strict_yaml import Loc

#: Makes the profile with some values set.
Load = Callable[[Mapping[Loc, Any]], Profile]

_LEVELS = {"2": SECTIONS[:1], "3": SECTIONS[:2], "4": SECTIONS}
_KINDS: tuple[str, ...] = get_args(ActivationKind)
#: Other spellings; `leaked` stood in the scripts that these profiles come from.
_SPELLINGS = {
    "leaky": "leaky_relu",
    "leaked": "leaky_relu",
    "leakyrelu": "leaky_relu",
    "hswish": "hardswish",
    "hard_swish": "hardswish",
    "swish": "silu",
}
_SECTIONS_KEY, _KIND_KEY = ("model", "activation", "sections"), ("model", "activation", "kind")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One value of an axis."""

    axis: str  # as the user wrote it: level, activation, train.lr0
    value: str
    name: str  # its part of a variant's name
    loc: Loc
    put: Any


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One training of a matrix."""

    name: str
    values: dict[str, str]  # axis -> value
    profile: Profile


def choices(words: Sequence[str]) -> list[list[Choice]]:
    """The values of each axis, in the order they were written.

    Raises:
        InputError: one reason for each axis or value that is wrong.
    """
    wrong: list[str] = []
    leaves = Counter(word.partition("=")[0].rpartition(".")[2] for word in words)
    axes = [_axis(word, wrong, leaves) for word in words]
    keys = Counter(axis[0].loc for axis in axes if axis)
    wrong += [f"--matrix: {'.'.join(map(str, loc))} is set by two axes" for loc, times in keys.items() if times > 1]
    if wrong:
        raise InputError("\n".join(wrong), reasons=tuple(wrong))
    return axes


def _axis(word: str, wrong: list[str], leaves: Mapping[str, int]) -> list[Choice]:
    """The values of one axis; what is wrong about it is added to `wrong`."""
    name, equals, told = word.partition("=")
    values = [value.strip() for value in told.split(",")]
    known = ["level", "activation", *_keys(Profile)]
    if not equals:
        wrong.append(f"--matrix: {word!r} is no axis; write it as level=2,3,4 or train.lr0=0.01,0.001")
    elif name not in known:
        ends_so = [key for key in known if key.endswith(f".{name}")]
        near = f"; did you mean {ends_so[0]!r}?" if ends_so else suggestion(name, known)
        wrong.append(f"--matrix: there is no axis {name!r}{near or '; level, activation, or a key of a profile'}")
    elif not all(values) or len(set(values)) < len(values):
        wrong.append(f"--matrix: {word}: a value is {'missing' if not all(values) else 'written twice'}")
    else:
        return _distinct([c for v in values if (c := _choice(name, v, wrong, leaves))], word, wrong)
    return []


def _distinct(found: list[Choice], word: str, wrong: list[str]) -> list[Choice]:
    for one, other in itertools.combinations(found, 2):
        if one.put == other.put:
            wrong.append(f"--matrix: {word}: {one.value} and {other.value} are the same")
    return found


def _choice(axis: str, value: str, wrong: list[str], leaves: Mapping[str, int]) -> Choice | None:
    if axis == "level":
        if value not in _LEVELS:
            wrong.append(f"--matrix: level={value}: there are the levels {', '.join(_LEVELS)}")
            return None
        return Choice(axis=axis, value=value, name=f"level{value}", loc=_SECTIONS_KEY, put=list(_LEVELS[value]))
    if axis == "activation":
        kind = value.lower().replace("-", "_")
        kind = _SPELLINGS.get(kind, kind)
        if kind not in _KINDS:
            near = suggestion(kind, [*_KINDS, *_SPELLINGS])
            wrong.append(f"--matrix: there is no activation {value!r}{near}; known: {', '.join(_KINDS)}")
            return None
        return Choice(axis=axis, value=value, name=kind.removesuffix("_relu"), loc=_KIND_KEY, put=kind)
    return _of_key(axis, value, wrong, leaves)


def _of_key(axis: str, value: str, wrong: list[str], leaves: Mapping[str, int]) -> Choice | None:
    """A value of a profile's key, read as YAML reads it."""
    try:
        put = yaml.safe_load(value)
    except yaml.YAMLError:
        wrong.append(f"--matrix: {axis}={value}: not a value that YAML can read")
        return None
    leaf = axis.rpartition(".")[2]
    named = leaf if leaves[leaf] == 1 else axis
    return Choice(axis=axis, value=value, name=_as_name(f"{named}-{value}"), loc=tuple(axis.split(".")), put=put)


def _as_name(told: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", told).strip("-")


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The dotted keys of a profile that hold a value and can be varied."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, f"{above}{name}.")
            continue
        if above:  # name, aliases ... of the profile itself make no training
            yield f"{above}{name}"
        for part in get_args(inner):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _keys(part, f"{above}{name}.")


def expanded(words: Sequence[str], load: Load) -> tuple[list[Variant], list[Finding]]:
    """(the variants, what is to be said about them); one that would be trained like an earlier one is left out.

    Raises:
        InputError: an axis, a value or a variant's profile is wrong, or the axes make no difference.
    """
    axes = choices(words)
    base = load({})
    variants: list[Variant] = []
    wrong: list[str] = []
    for chosen in itertools.product(*axes):
        name = "-".join([base.name, *(choice.name for choice in chosen)])
        try:
            profile = load({**{choice.loc: choice.put for choice in chosen}, ("name",): name})
        except InputError as error:
            wrong += error.reasons
            continue
        variants.append(Variant(name=name, values={c.axis: c.value for c in chosen}, profile=profile))
    if wrong:
        reasons = tuple(dict.fromkeys(wrong))
        raise InputError("\n".join(reasons), reasons=reasons)
    return _different(variants)


def _different(variants: Sequence[Variant]) -> tuple[list[Variant], list[Finding]]:
    """(the first of those that would be trained alike, a finding for each of the others)."""
    first: dict[str, Variant] = {}
    found = []
    for variant in variants:
        same = first.setdefault(_trained_as(variant.profile), variant)
        if same is not variant:
            what = f"is the same training as {same.name}: not trained twice"
            found.append(Finding(rule="MTX001", severity="info", where=variant.name, message=what))
    if len(first) == 1 and len(variants) > 1:
        raise InputError(
            "--matrix: these axes make no difference to the training: all variants are the same "
            "(level alone varies nothing where kind and rest are the same activation: add activation=relu)"
        )
    return list(first.values()), found


def _trained_as(profile: Profile) -> str:
    """What shapes the trained weights, as one text."""
    sections = {"model", "data", "train", "guard", "keep", "rules", "limits", "milestones"}
    told = profile.model_dump(mode="json", include=sections | {"backend"})
    activation = profile.model.activation
    slope = activation.negative_slope if "leaky_relu" in activation.expected().values() else None
    told["model"]["activation"] = [activation.expected(), slope]
    return repr(told)
