"""Where a training runs, and in which precision (torch)."""

from __future__ import annotations

import torch

from deploytk import usage
from deploytk.errors import InputError


def device_of(wanted: str) -> torch.device:
    """The device of a profile: `auto` is the first GPU, or the CPU; "0" is the first GPU."""
    if wanted == "auto":
        wanted = "0" if torch.cuda.is_available() else "cpu"
    return torch.device(f"cuda:{wanted}" if wanted.isdigit() else wanted)


def precision_of(asked: str, device: torch.device) -> str:
    """fp32, bf16 or fp16: what `auto` is on a device.

    Raises:
        InputError: the device has no such precision.
    """
    gpu = device.type == "cuda"
    half = gpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    if asked == "auto":
        return "bf16" if half else "fp32"
    if (asked == "bf16" and not half) or (asked == "fp16" and not gpu):
        raise InputError(f"train.precision: {asked} is not to be had on device {device}; use auto or fp32")
    return asked


def peak_mb(device: torch.device) -> float | None:
    """The most memory that the training has taken so far: the GPU's, or this process's."""
    if device.type == "cuda":
        return round(float(torch.cuda.max_memory_reserved(device)) / 2**20, 1)
    return usage.peak_rss_mb()
