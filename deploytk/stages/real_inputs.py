"""Validation images as a model gets them: what it is fed while it is measured, made once for each trained model."""

from __future__ import annotations

from pathlib import Path

from deploytk import worker
from deploytk.files import sha256_of
from deploytk.profile import Profile
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener

#: How many images.
INPUTS = 16


def real_inputs(profile: Profile, folder: RunFolder, listen: Listener | None) -> Path:
    """The .npz of prepared validation images in the run folder (images: (N, 3, S, S) float32 0..1)."""
    path = folder.path / "bench" / f"validation-{profile.train.imgsz}-{sha256_of(folder.model)[:12]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        worker.call(
            "deploytk.stages.steps:real_inputs",
            {
                "profile": profile.model_dump(mode="json", by_alias=True),
                "run": str(folder.path),
                "count": INPUTS,
                "out": str(path),
            },
            logs=folder.logs,
            name="bench-inputs",
            timeout_s=600.0,
            listen=listen,
        )
    return path
