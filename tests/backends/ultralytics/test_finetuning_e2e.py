"""A trained detector, trained on with INT8's rounding in it: what is won back, what stays, and what diverges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends import ultralytics as backend  # noqa: E402
from deploytk.backends.ultralytics import checkpoint, finetuning, rounding  # noqa: E402
from deploytk.errors import TrainingFailed  # noqa: E402
from deploytk.files import sha256_of  # noqa: E402
from deploytk.profile import Profile  # noqa: E402
from deploytk.stages.train import train  # noqa: E402

pytestmark = pytest.mark.e2e


class Run:
    """A detector that knows its few images well, and what is made of it."""

    def __init__(self, data: Path, folder: Path) -> None:
        settings = {"epochs": 40, "imgsz": 64, "batch": 5, "mosaic": 0.0, "optimizer": "AdamW", "lr0": 0.003}
        told = {"name": "tiny", "data": {"path": data}, "train": {**settings, "warmup_epochs": 0}}
        profile = Profile.model_validate({**told, "model": {"activation": {"kind": "relu"}}})
        self.profile = profile.model_dump(mode="json", by_alias=True)
        self.folder, self.model, self.out = folder, folder / "model.pt", folder / "export" / "qat.pt"
        train(profile, folder)
        self.out.parent.mkdir()

    def feeds(self) -> Iterator[np.ndarray]:
        return backend.samples(self.profile, "train", 8, 0, self.folder)

    def finetuned(self, **given: Any) -> dict[str, Any]:
        told: dict[str, Any] = backend.finetune_quantized(
            self.profile, self.folder, self.model, self.feeds, self.out, **given
        )
        return told


def rounded_loss(facts: dict[str, Any]) -> float:
    """The validation loss of the last epoch, with the rounding."""
    return sum(value for name, value in facts["epochs"][-1].items() if name.startswith("val"))


@pytest.fixture
def run(small_dataset: Path, tmp_path: Path) -> Run:
    return Run(small_dataset, tmp_path / "run")


def test_a_few_epochs_win_back_what_coarse_weights_lost_and_change_nothing_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding, "_LARGEST_WEIGHT", 1)
    trained = sha256_of(run.model)
    monkeypatch.setitem(finetuning._SETTINGS, "lr0", 1e-9)
    before = rounded_loss(run.finetuned(epochs=1, float_nodes=()))
    monkeypatch.setitem(finetuning._SETTINGS, "lr0", 1e-3)
    facts = run.finetuned(epochs=12, float_nodes=())
    # mAP of six images is too coarse to tell: here 0.39 -> 0.51, the loss 8.3 -> 4.0.
    assert rounded_loss(facts) < 0.75 * before
    assert (len(facts["epochs"]), facts["rounded_ops"]) == (12, 63)
    assert sha256_of(run.model) == trained
    old, new = (checkpoint.payload(path) for path in (run.model, run.out))
    assert {k: v for k, v in old.items() if k != "state_dict"} == {k: v for k, v in new.items() if k != "state_dict"}
    statistics = [name for name in old["state_dict"] if name.endswith(("running_mean", "running_var"))]
    for name in statistics:
        torch.testing.assert_close(new["state_dict"][name], old["state_dict"][name], rtol=1e-3, atol=1e-5)


def test_a_training_that_diverges_fails_and_writes_nothing(run: Run) -> None:
    told = checkpoint.payload(run.model)
    name = "model.0.conv.weight"
    huge = torch.full_like(told["state_dict"][name], 3e38)  # finite, what it gives is not
    checkpoint.write({**told, "state_dict": {**told["state_dict"], name: huge}}, run.model)
    with pytest.raises(TrainingFailed):
        run.finetuned(epochs=1, float_nodes=())
    assert not run.out.exists()
