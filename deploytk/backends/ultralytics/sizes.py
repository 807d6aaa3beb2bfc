"""What a training of a detector is estimated to take: memory of a step, size of a checkpoint. Imports no library.

Measured on a CPU in float32 (YOLOv8 n, s and m; docs/preflight.md has the numbers); nothing here was measured on a GPU.
"""

from __future__ import annotations

from deploytk.profile import Profile

#: Millions of parameters with 80 classes, as Ultralytics' YAML says of each architecture and scale.
_PARAMETERS = {
    "yolov8": {"n": 3.16, "s": 11.17, "m": 25.90, "l": 43.69, "x": 68.23},
    "yolo11": {"n": 2.62, "s": 9.46, "m": 20.11, "l": 25.37, "x": 56.97},
}
#: MiB of a process that has loaded torch and Ultralytics.
_PROCESS_MIB = 830.0
#: MiB of activations for an image of 320 x 320 pixels, with ReLU.
_ACTIVATIONS_MIB = {"n": 51.0, "s": 88.0, "m": 134.0}
#: SiLU and Hardswish keep their input for the way back, ReLU works in place.
_NOT_IN_PLACE = 1.3
_MOMENTS = {"SGD": 1, "RMSProp": 2}


def checkpoint_bytes(profile: Profile) -> int | None:
    """Bytes of an epoch's checkpoint: network, moving average, and the optimizer's moments, float32."""
    millions = _millions(profile)
    if millions is None:
        return None
    return int(millions * 1e6 * 4 * (2 + _MOMENTS.get(profile.train.optimizer, 2)))


def step_mib(profile: Profile, batch: int) -> float | None:
    """MiB of a training with this batch; None for a network of which nothing was measured."""
    millions, image = _millions(profile), _ACTIVATIONS_MIB.get(profile.model.scale)
    if millions is None or image is None or profile.model.arch != "yolov8":
        return None
    kinds = set(profile.model.activation.expected().values())
    factor = _NOT_IN_PLACE if kinds & {"silu", "hardswish"} else 1.0
    # Weights, gradients, average, moments: up to five numbers of four bytes for each parameter.
    return _PROCESS_MIB + millions * 20 + image * factor * batch * (profile.train.imgsz / 320) ** 2


def _millions(profile: Profile) -> float | None:
    return _PARAMETERS.get(profile.model.arch, {}).get(profile.model.scale)
