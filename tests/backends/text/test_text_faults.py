"""A text model's training in this process, with faults planted in it: NaN, and want of memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import segments_here

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from safetensors.torch import load_file  # noqa: E402
from tiny_text import tiny_text  # noqa: E402

from deploytk.backends import seq2seq as backend  # noqa: E402
from deploytk.backends.text import checks  # noqa: E402
from deploytk.backends.text.checkpoint import checkpoint_tensors  # noqa: E402
from deploytk.backends.text.trainer import SegmentTrainer  # noqa: E402
from deploytk.profile import Profile  # noqa: E402
from deploytk.training.state import State  # noqa: E402

pytestmark = pytest.mark.e2e


@pytest.fixture
def wanted(tmp_path: Path) -> Profile:
    table = tmp_path / "pairs.csv"
    words = ("apple", "sea", "sky", "tree")
    rows = [f"{a} {b} {c},{b}" for a in words for b in words for c in words]
    table.write_text("source,target\n" + "\n".join(rows) + "\n", encoding="utf-8")
    text = {"tiny": True, "config": {"model_type": "bart"}, "max_source": 16, "max_target": 8, "score": 4}
    rates = {"optimizer": "AdamW", "lr0": 0.003, "momentum": 0.9, "warmup_epochs": 0, "device": "cpu"}
    return Profile.model_validate(
        {
            **{"name": "tiny", "backend": "seq2seq", "text": text, "data": {"path": str(table)}},
            "train": {"epochs": 3, "batch": 8, **rates},
        }
    )


def endings(state: State) -> list[str]:
    return [step.outcome.ended for step in state.steps if step.outcome]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_want_of_memory_halves_the_batch_and_keeps_the_texts_per_step(
    wanted: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    plain = SegmentTrainer.training_step

    def step(self: Any, model: Any, inputs: Any, *more: Any) -> Any:
        if self.epoch_now == 2 and len(inputs["input_ids"]) > 4:
            raise error
        return plain(self, model, inputs, *more)

    monkeypatch.setattr(SegmentTrainer, "training_step", step)
    state = segments_here.trained(backend, wanted, tmp_path / "run")
    assert state.status == "done" and endings(state) == ["oom", "done"]
    before, after = (step.segment for step in state.steps)
    assert (before.batch, before.accumulate, after.batch, after.accumulate) == (8, 1, 4, 2)
    assert after.first_epoch == 2


def test_weights_that_are_no_numbers_go_back_to_the_last_healthy_ones(
    wanted: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, planted = SegmentTrainer.training_step, []

    def step(self: Any, model: Any, inputs: Any, *more: Any) -> Any:
        loss = plain(self, model, inputs, *more)
        if self.epoch_now == 2 and not planted:
            planted.append(True)
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))
        return loss

    monkeypatch.setattr(SegmentTrainer, "training_step", step)
    state = segments_here.trained(backend, wanted, tmp_path / "run")
    assert state.status == "done" and endings(state) == ["nan", "done"]
    assert state.steps[1].segment.first_epoch == 2
    assert state.steps[1].segment.lr_scale == pytest.approx(0.1)
    last = max((tmp_path / "run/training/checkpoints").glob("epoch_*.pt"))
    assert all(torch.isfinite(torch.as_tensor(t)).all() for t in checkpoint_tensors(last).values())


def test_weights_and_tokenizer_of_a_local_folder_are_trained_on(wanted: Profile, tmp_path: Path) -> None:
    tiny_text(tmp_path / "weights")
    assert wanted.text is not None
    config = json.loads((tmp_path / "weights" / "config.json").read_text(encoding="utf-8"))
    told = {
        "tiny": False,
        "folder": tmp_path / "weights",
        "config": {"model_type": "bart", "d_model": config["d_model"]},
    }
    train = wanted.train.model_copy(update={"epochs": 1, "lr0": 1e-6})
    local = wanted.model_copy(update={"text": wanted.text.model_copy(update=told), "train": train})
    assert [f.rule for f in checks.preflight(local) if f.severity == "error"] == []
    state = segments_here.trained(backend, local, tmp_path / "run")
    assert endings(state) == ["done"]
    before = load_file(tmp_path / "weights" / "model.safetensors")
    after = checkpoint_tensors(max((tmp_path / "run/training/checkpoints").glob("epoch_*.pt")))
    shared = [name for name in before if name in after]
    assert shared
    for name in shared:  # at this rate a step moves a weight by a millionth: it began with the folder's own
        assert abs(torch.as_tensor(after[name]) - before[name]).max() < 1e-3
