"""What is wrong before a text model's training is started, and before any of its weights are loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from deploytk.backends import checks
from deploytk.errors import InputError, MissingDependency
from deploytk.profile import SECTIONS, Profile
from deploytk.profile_text import Text
from deploytk.report import Finding
from deploytk.text import pairs
from deploytk.text.pairs import Pairs

_LIBRARIES = ("torch", "transformers", "accelerate", "peft", "rouge_score")
#: So many texts are looked at for their length.
_LOOKED_AT = 500
#: A share of cut texts that is worth a word.
_MANY = 0.05


def preflight(profile: Profile) -> list[Finding]:
    """What is wrong with a profile, its data and this machine. No weight is loaded and nothing is written."""
    text = profile.text
    assert text is not None
    missing = checks.libraries(_LIBRARIES, "text")
    if text.quantize == "nf4" and importlib.util.find_spec("bitsandbytes") is None:
        missing += checks.libraries(("bitsandbytes",), "text")
    found = [*missing, *_model(profile), *checks.learning_rate(profile), *checks.device(profile)]
    try:
        data = pairs.read(profile)
    except (InputError, MissingDependency) as error:
        rule = "PRE001" if isinstance(error, MissingDependency) else "PRE004"
        return [*found, checks.error(rule, "data", error.message)]
    found += [*_data(data), *checks.batch(profile, len(data.train))]
    if missing:
        return found
    return [*found, *_architecture(profile), *_source(text, profile, data)]


def data_fingerprint(profile: Profile) -> str:
    """The sha256 of the profile's pairs and how they are split."""
    return pairs.read(profile).fingerprint()


def _model(profile: Profile) -> list[Finding]:
    """What of a profile is for images."""
    found = []
    model = profile.model
    if (model.scale, model.pretrained, set(model.activation.sections)) != ("n", None, set(SECTIONS)):
        fix = "remove model: text.config is the network, text.hub or text.folder its weights"
        found.append(checks.error("PRE003", "model", "a text model is described by text", fix))
    if profile.train.optimizer == "auto":
        found.append(checks.error("PRE003", "train.optimizer", "auto is Ultralytics' own choice", "name one: AdamW"))
    return found


def _data(data: Pairs) -> list[Finding]:
    if not data.left_out:
        return []
    message = f"{data.left_out} rows have no source or no target and are left out"
    return [Finding(rule="PRE031", severity="warning", where="data", message=message)]


def _architecture(profile: Profile) -> list[Finding]:
    """Whether transformers can make the network, and peft finds its layers: on the meta device."""
    from deploytk.backends.text import sizes

    try:
        sizes.of(profile)
    except InputError as error:
        where, _, what = error.message.partition(": ")
        return [checks.error("PRE030", where, what)]
    return []


def _source(text: Text, profile: Profile, data: Pairs) -> list[Finding]:
    """Whether weights and tokenizer are to be had, and whether the texts fit."""
    if text.tiny:
        return []
    from deploytk.backends.text import sources

    try:
        place = sources.place_of(text)
        if text.folder is not None and not (Path(place) / "config.json").is_file():
            raise InputError(f"{place}: no config.json in it")
        tokenizer = sources.tokenizer_of(profile, Path(), ())
        config = sources.kept_config(text)
    except InputError as error:
        fix = "check the name and the network, download it into text.folder, or try all else with --tiny"
        return [checks.error("PRE032", "text.folder" if text.folder else "text.hub", error.message, fix)]
    return [*_same(text, config), *_lengths(text, data, tokenizer)]


def _same(text: Text, config: dict[str, Any]) -> list[Finding]:
    """Whether the weights are of the architecture that the profile names."""
    differ = [
        f"{key} is {config[key]!r} there and {value!r} in the profile"
        for key, value in text.config.items()
        if key in config and config[key] != value and not isinstance(value, dict)
    ]
    if not differ:
        return []
    worse: Any = "error" if config.get("model_type") != text.config["model_type"] else "warning"
    message = f"its config.json is another: {'; '.join(differ[:5])}"
    return [Finding(rule="PRE033", severity=worse, where="text.config", message=message, fix="correct the profile")]


def _lengths(text: Text, data: Pairs, tokenizer: Any) -> list[Finding]:
    from deploytk.backends.text import encoding

    some = pairs.drawn(data.train, _LOOKED_AT)
    found = []
    for what, key, many in zip(
        ("prompts", "answers"), ("max_source", "max_target"), encoding.cut(some, text, tokenizer), strict=True
    ):
        if many > _MANY * len(some):
            message = f"{many} of {len(some)} {what} are longer and are cut"
            found.append(
                Finding(rule="PRE034", severity="warning", where=f"text.{key}", message=message, fix="raise it")
            )
    return found
