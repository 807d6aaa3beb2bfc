"""How large a text model is and what training it takes, from its configuration alone, on PyTorch's meta device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.profile_text import Text

_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
#: A parameter in nf4: half a byte, and its part of the twice quantized scales (arXiv 2305.14314: 0.127 bits).
_NF4 = 0.5 + 0.127 / 8
#: Values that a layer keeps for the way back, for each token and unit of its width (Korthikanti et al. 2022,
#: arXiv 2205.05198, without attention's squares: these are not stored by PyTorch's fused attention).
_KEPT = 34


@dataclass(frozen=True, kw_only=True)
class Size:
    """Parameters: of the model, those in linear layers (which 4 bits hold), and those that are trained."""

    parameters: int
    linear: int
    trained: int
    layers: int
    width: int
    vocabulary: int


def of(profile: Profile) -> Size:
    """The size of a profile's network.

    Raises:
        InputError: its configuration is wrong, or its adapters find no layer.
    """
    assert profile.text is not None
    return _of(profile.backend, profile.text.model_dump_json())


@lru_cache(maxsize=16)
def _of(task: str, told: str) -> Size:
    import torch
    import transformers
    from torch import nn

    from deploytk.backends.text import sources

    text = Text.model_validate_json(told)
    config = sources.config_of(text)
    with torch.device("meta"):
        network = getattr(transformers, sources.CLASSES[task]).from_config(config)
    every = sum(p.numel() for p in network.parameters())
    linear = {name: m for name, m in network.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in name}
    trained = every
    if text.lora is not None:
        hit = [m for name, m in linear.items() if name.rpartition(".")[2] in text.lora.targets]
        if not hit:
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise InputError(
                f"text.lora.targets: no layer is called {', '.join(text.lora.targets)}; it has {', '.join(known)}"
            )
        trained = sum(text.lora.rank * (m.in_features + m.out_features) for m in hit)
    has = config.to_dict()
    return Size(
        parameters=every,
        linear=sum(m.weight.numel() for m in linear.values()),
        trained=trained,
        layers=sum(int(has.get(key) or 0) for key in ("num_hidden_layers", "decoder_layers")),
        width=int(has.get("hidden_size") or has.get("d_model") or 0),
        vocabulary=int(config.vocab_size),
    )


def checkpoint_bytes(profile: Profile) -> int | None:
    """What one epoch's checkpoint takes: what is trained, and Adam's two values for each of it."""
    assert profile.text is not None
    try:
        size = of(profile)
    except InputError:
        return None  # told by the preflight itself
    each = _BYTES[profile.text.lora.dtype if profile.text.lora else profile.text.dtype]
    return int(size.trained * each * 3)


def step_mib(profile: Profile, batch: int) -> float | None:
    """What a training step with that batch takes, in MiB.

    Weights, gradients, Adam's values, what the layers keep for the way back, and the logits of the answers twice.
    """
    text = profile.text
    assert text is not None
    try:
        size = of(profile)
    except InputError:
        return None
    each = _BYTES[text.dtype]
    weights = size.parameters * each
    if text.quantize == "nf4":
        weights = size.linear * _NF4 + (size.parameters - size.linear) * each
    trained = size.trained * _BYTES[text.lora.dtype if text.lora else text.dtype]
    tokens = batch * (text.max_source + text.max_target)
    kept = tokens * size.width * size.layers * _KEPT * (2.0 if each < 4 else 4.0) / 2
    logits = 2 * batch * (text.max_target if profile.backend == "seq2seq" else text.max_source + text.max_target)
    return (weights + 3 * trained + kept + logits * size.vocabulary * 4) / 2**20
