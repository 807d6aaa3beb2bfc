"""The loop on a network of a few weights: exact resume, each technique, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from deploytk.profile import Profile  # noqa: E402
from deploytk.training.loop import rdrop, snapshots  # noqa: E402
from deploytk.training.loop.loop import Loop  # noqa: E402
from deploytk.training.loop.task import Measured, Task  # noqa: E402
from deploytk.training.segments import Outcome, Segment  # noqa: E402
from deploytk.training.state import Folder  # noqa: E402
from deploytk.training.watch import Watch  # noqa: E402

_IMAGES = 20


class Points(torch.utils.data.Dataset):  # type: ignore[type-arg, misc, unused-ignore]
    """Points of two classes, on either side of a line."""

    def __init__(self) -> None:
        self.inputs = torch.randn(_IMAGES, 4, generator=torch.Generator().manual_seed(5))
        self.labels = (self.inputs[:, 0] + 0.5 * self.inputs[:, 1] > 0).long()

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[key[1]], self.labels[key[1]]


def collate(items: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])


def task(dropout: float = 0.0, smoothing: float = 0.0, logits: Callable[..., Any] | None = None) -> Task:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))
    points = Points()

    def validate(average: nn.Module) -> Measured:
        found = average(points.inputs)
        right = float((found.argmax(1) == points.labels).float().mean())
        return Measured(fitness=right, metrics={"top1": right})

    return Task(
        model=model,
        sections=[list(model[3].parameters()), list(model[0].parameters())],
        images=_IMAGES,
        dataset=points,
        collate=collate,
        logits=logits or (lambda network, batch: network(batch[0])),
        loss=lambda found, batch: functional.cross_entropy(found, batch[1], label_smoothing=smoothing),
        validate=validate,
    )


def trained(
    run: Path, what: Task, first: int = 1, last: int = 4, batch: int = 4, accumulate: int = 1, **train: Any
) -> Outcome:
    settings = {
        "epochs": 4, "imgsz": 32, "batch": 4, "optimizer": "SGD", "lr0": 0.2, "momentum": 0.0, "warmup_epochs": 0,
        "workers": 0, "device": "cpu", "ema": None, "weight_decay": 0.0, **train,
    }  # fmt: skip
    profile = Profile.model_validate({"name": "points", "train": settings})
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


def weights(run: Path, epoch: int = 4, part: str = "ema") -> dict[str, torch.Tensor]:
    file = next(Folder(run=run).checkpoints.glob(f"*{epoch:04d}*"))
    told: dict[str, torch.Tensor] = snapshots.load(file)[part]
    return told


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


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
    trained(tmp_path, task(), last=1, batch=_IMAGES, lr0=1.0, lrf=1.0, clip_norm=0.01)
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
