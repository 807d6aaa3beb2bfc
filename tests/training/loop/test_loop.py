"""The loop on a network of a few weights: exact resume, each technique, and what goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import points_training  # noqa: E402
from points_training import IMAGES, Points, distance, task, weights  # noqa: E402
from torch import nn  # noqa: E402

from deploytk.training.loop import rdrop  # noqa: E402
from deploytk.training.loop.loop import Loop  # noqa: E402
from deploytk.training.loop.task import Task  # noqa: E402
from deploytk.training.segments import Outcome, Segment  # noqa: E402
from deploytk.training.state import Folder  # noqa: E402
from deploytk.training.watch import Watch  # noqa: E402


def trained(
    run: Path, what: Task, first: int = 1, last: int = 4, batch: int = 4, accumulate: int = 1, **train: Any
) -> Outcome:
    profile = points_training.profile(**train)
    segment = Segment(
        first_epoch=first,
        last_epoch=last,
        total_epochs=4,
        imgsz=32,
        batch=batch,
        accumulate=accumulate,
        precision="fp32",
    )
    Folder(run=run).path.mkdir(parents=True, exist_ok=True)
    return Loop(profile, segment, Watch(profile, run, segment, precision="fp32"), what, torch.device("cpu")).run()


def test_it_learns_and_ends_done(tmp_path: Path) -> None:
    what = task()
    assert trained(tmp_path, what).ended == "done"
    assert what.validate(what.model).fitness > 0.85


@pytest.mark.parametrize("workers", [0, 1])
def test_two_and_two_epochs_are_four_to_the_last_bit(tmp_path: Path, workers: int) -> None:
    settings = {"optimizer": "AdamW", "lr0": 0.02, "ema": {"decay": 0.9, "warmup_updates": 4}, "workers": workers}
    trained(tmp_path / "whole", task(dropout=0.3), **settings)
    trained(tmp_path / "parts", task(dropout=0.3), last=2, **settings)
    trained(tmp_path / "parts", task(dropout=0.3), first=3, **settings)
    for part in ("ema", "model"):
        assert distance(weights(tmp_path / "whole", part=part), weights(tmp_path / "parts", part=part)) == 0.0


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    trained(tmp_path / "whole", task(), batch=8)
    trained(tmp_path / "halved", task(), batch=4, accumulate=2)
    trained(tmp_path / "other", task(), batch=4)
    assert distance(weights(tmp_path / "whole"), weights(tmp_path / "halved")) < 1e-6
    assert distance(weights(tmp_path / "whole"), weights(tmp_path / "other")) > 1e-3


def test_a_clipped_step_is_no_longer_than_rate_times_limit(tmp_path: Path) -> None:
    before = {name: t.clone() for name, t in task().model.state_dict().items()}
    trained(tmp_path, task(), last=1, batch=IMAGES, lr0=1.0, lrf=1.0, clip_norm=0.01)
    moved = torch.cat([(weights(tmp_path, 1)[name] - t).flatten() for name, t in before.items()])
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


def test_label_smoothing_keeps_the_network_from_being_sure(tmp_path: Path) -> None:
    def surest(smoothing: float) -> float:
        what = task(smoothing=smoothing)
        trained(tmp_path / str(smoothing), what, lr0=2.0)
        return float(what.model.eval()(Points().inputs).softmax(1).amax(1).mean().detach())

    assert surest(0.3) < surest(0.0) - 0.03


def test_r_drop_makes_the_passes_of_dropout_agree(tmp_path: Path) -> None:
    def disagreement(weight: float) -> float:
        what = task(dropout=0.5)
        trained(tmp_path / str(weight), what, lr0=0.5, rdrop=weight, dropout=0.5)
        inputs, model = Points().inputs, what.model.train()
        torch.manual_seed(0)
        with torch.no_grad():
            pairs = [rdrop.divergence(model(inputs), model(inputs)) for _ in range(50)]
        return float(torch.stack(pairs).mean())

    assert disagreement(5.0) < 0.7 * disagreement(0.0)


def test_want_of_memory_is_an_outcome_that_names_its_epoch(tmp_path: Path) -> None:
    def logits(network: nn.Module, batch: Any) -> torch.Tensor:
        logits.called += 1  # type: ignore[attr-defined]
        if logits.called > 7:  # type: ignore[attr-defined]
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return network(batch[0])

    logits.called = 0  # type: ignore[attr-defined]
    outcome = trained(tmp_path, task(logits=logits))
    assert (outcome.ended, outcome.reached) == ("oom", 1)
    assert "epoch 2" in outcome.reason


def test_infinite_losses_are_trouble_and_leave_no_checkpoint(tmp_path: Path) -> None:
    def logits(network: nn.Module, batch: Any) -> torch.Tensor:
        return network(batch[0]) * float("inf")

    outcome = trained(tmp_path, task(logits=logits))
    assert (outcome.ended, outcome.reached) == ("nan", 0)
    assert not list(Folder(run=tmp_path).checkpoints.glob("*.pt"))
