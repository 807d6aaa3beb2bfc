"""The checkpoint of a detector: tensors and plain values only, so that opening it runs no code (torch).

`{"format": "deploytk-detector-1", "arch", "scale", "nc", "names", "imgsz", "activation", "negative_slope",
"cls_channels", "state_dict", "ultralytics", "torch", ...}`. The network is rebuilt from arch, scale and nc with the
YAML that Ultralytics ships, never with one from the file.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploytk.backends.ultralytics import activations, network
from deploytk.backends.ultralytics.library import __version__
from deploytk.errors import InputError, ParityFailed
from deploytk.files import written_whole
from deploytk.graphs.pickles import DETECTOR, require_loadable
from deploytk.profile import SECTIONS

#: What a rebuilt network may differ from the trained one, relative to the largest output: float32 rounding.
_TOLERANCE = 1e-4


def describe(checkpoint: Path, trust: bool = False) -> dict[str, Any]:
    """What a checkpoint is: arch, scale, classes, imgsz, activation per section, head; read without unpickling.

    Args:
        trust: a foreign Ultralytics .pt may be unpickled, which can run code from the file.

    Raises:
        InputError: no checkpoint, a damaged one, or a pickle that is not trusted.
    """
    told = dict(payload(checkpoint, trust=trust))
    model = rebuild(told)
    head, backbone = model.model[-1], network.backbone_layers(told["arch"], told["scale"])
    last = len(model.model) - 1
    told.pop("state_dict")
    return {
        **told,
        "classes": list(told["names"]),
        "strides": [int(s) for s in head.stride],
        "reg_max": int(head.reg_max),
        "head": {"strides": [int(s) for s in head.stride], "reg_max": int(head.reg_max)},
        "sections": {"backbone": [0, backbone - 1], "neck": [backbone, last - 1], "head": [last, last]},
        "activation_counts": activations.counts(activations.audit(model, backbone)),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def adopt(checkpoint: Path, out: Path) -> dict[str, Any]:
    """The description of `out`, our checkpoint made from a foreign Ultralytics detector that the user trusts.

    Raises:
        InputError: not an Ultralytics detector of a known architecture, or a pickle that would run other code.
    """
    told = payload(checkpoint, trust=True)
    write(told, out)
    return describe(out)


def payload(checkpoint: Path, *, trust: bool = False) -> dict[str, Any]:
    """Everything in a checkpoint, its tensors included, checked for type and range."""
    path = Path(checkpoint)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    stat = path.stat()
    return _read(path.resolve(), trust, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, trust: bool, _changed: int, _size: int) -> dict[str, Any]:
    kind = require_loadable(path, trust=trust)
    if kind == "deploytk-classifier":
        raise InputError(f"{path}: a classifier's checkpoint, no detector's")
    if kind == "deploytk-detector":
        try:
            told = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever a damaged file makes it stumble over
            raise InputError(f"{path}: damaged checkpoint ({_first_line(error)}); train again") from error
        _check(path, told)
        return dict(told)
    from deploytk.backends.ultralytics.foreign import payload_of

    return payload_of(path)


def rebuild(told: dict[str, Any]) -> nn.Module:
    """The network of a checkpoint's payload: float32, eval, not fused, activations asserted.

    Raises:
        InputError: the tensors are not those of the architecture it names.
    """
    try:
        model = network.build(
            told["arch"],
            told["scale"],
            told["nc"],
            told["activation"],
            told["negative_slope"],
            cls_channels=told["cls_channels"],
        )
        model.load_state_dict(told["state_dict"], strict=True)
    except (RuntimeError, InputError) as error:
        raise InputError(
            f"the checkpoint's tensors are not those of {told['arch']}{told['scale']} with {told['nc']} classes "
            f"({_first_line(error)}); it was made with ultralytics {told.get('ultralytics')}, this is {__version__}"
        ) from error
    model.names = dict(enumerate(told["names"]))
    return model.float().eval()


def pack(model: nn.Module, *, arch: str, scale: str, imgsz: int, names: list[str], **more: Any) -> dict[str, Any]:
    """The payload of a trained network. Its activations are read off the network itself.

    Raises:
        InputError: a section mixes activations, or has one that deploytk cannot rebuild.
    """
    kinds, slope = _uniform(model, network.backbone_layers(arch, scale))
    return {
        "format": DETECTOR,
        "arch": arch,
        "scale": scale,
        "nc": len(names),
        "names": [str(n) for n in names],
        "imgsz": int(imgsz),
        "activation": kinds,
        "negative_slope": slope,
        "cls_channels": network.hidden_class_channels(model),
        "ultralytics": __version__,
        "torch": str(torch.__version__),
        **more,
        "state_dict": tensors(model),
    }


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a network as a checkpoint holds them: on the CPU, what is floating point as float32."""
    return {k: v.detach().float().cpu() if v.is_floating_point() else v.cpu() for k, v in model.state_dict().items()}


def write(told: dict[str, Any], out: Path, like: nn.Module | None = None) -> None:
    """Write a payload, proved: reopened weights-only and rebuilt, it gives the outputs of `like`.

    Raises:
        ParityFailed: the rebuilt network does something else.
    """
    with written_whole(out) as temporary:
        torch.save(told, temporary)
        back = torch.load(temporary, map_location="cpu", weights_only=True)
        rebuilt = rebuild(back)
        if like is not None:
            same_outputs(like, rebuilt, f"{out.name} rebuilt")


def same_outputs(expected: nn.Module, got: nn.Module, what: str, imgsz: int = 64) -> None:
    """Nothing, where the heads of two networks give the same for the same (random) images.

    Raises:
        ParityFailed: they do not.
    """
    images = torch.rand(2, 3, imgsz, imgsz, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # Decoded boxes and scores hide differences: pixels are large, and a sigmoid is flat where it is near 0.
        a, b = (m.float().eval()(images)[1] for m in (expected, got))
    for part in ("boxes", "scores"):
        _same(a[part], b[part], f"{what}: raw {part}")


def _same(a: torch.Tensor, b: torch.Tensor, what: str) -> None:
    if a.shape != b.shape:
        raise ParityFailed(f"{what} have shape {tuple(b.shape)} instead of {tuple(a.shape)}")
    worst, scale = float((a - b).abs().max()), float(a.abs().max())
    if not worst <= _TOLERANCE * max(scale, 1.0):
        raise ParityFailed(f"{what} differ from the trained network's by {worst:.3g} (the largest is {scale:.3g})")


def _uniform(model: nn.Module, backbone: int) -> tuple[dict[str, str], float]:
    """(the one activation of each section, the slope of leaky_relu)."""
    counted = activations.counts(activations.audit(model, backbone))
    mixed = [f"{s}: {', '.join(k) or 'none'}" for s, k in counted.items() if len(k) != 1]
    if mixed:
        raise InputError(f"mixed activations, which deploytk cannot rebuild: {'; '.join(mixed)}")
    kinds, slope = {}, 0.1
    for section, counts in counted.items():
        kind, _, parameter = next(iter(counts)).rstrip(")").partition("(")
        slope = float(parameter) if parameter else slope
        kinds[section] = kind
    unknown = sorted(set(kinds.values()) - set(_KNOWN))
    if unknown:
        raise InputError(f"activations that deploytk does not know: {', '.join(unknown)}")
    return kinds, slope


_KNOWN = ("relu", "relu6", "leaky_relu", "hardswish", "silu")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "arch": str, "scale": str, "nc": int, "names": list, "imgsz": int, "activation": dict,
    "negative_slope": float, "cls_channels": int, "state_dict": dict,
}  # fmt: skip


def _check(path: Path, told: Any) -> None:
    wrong = ""
    if not isinstance(told, dict) or told.get("format") != DETECTOR:
        wrong = f"its format is not {DETECTOR}"
    elif bad := [k for k, kind in _TYPES.items() if not isinstance(told.get(k), kind)]:
        wrong = f"{', '.join(bad)}: missing or of the wrong type"
    elif told["arch"] not in network.ARCHS or told["scale"] not in network.SCALES:
        wrong = f"unknown network {told['arch']!r} {told['scale']!r}"
    elif told["nc"] != len(told["names"]) or not 0 < told["nc"] <= 10000:
        wrong = f"{told['nc']} classes and {len(told['names'])} names"
    elif not 32 <= told["imgsz"] <= 8192 or told["imgsz"] % 32:
        wrong = f"input size {told['imgsz']}"
    elif set(told["activation"]) != set(SECTIONS) or not set(told["activation"].values()) <= set(_KNOWN):
        wrong = f"activation {told['activation']}"
    if wrong:
        raise InputError(f"{path}: damaged checkpoint: {wrong}; train again")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
