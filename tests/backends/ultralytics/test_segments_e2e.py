"""A detector trained in segments: gone on with exactly, and brought back from NaN, collapse and want of memory."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import segments_here
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends import ultralytics as backend  # noqa: E402
from deploytk.backends.ultralytics.segment_trainer import SegmentTrainer  # noqa: E402
from deploytk.profile import Profile  # noqa: E402
from deploytk.training.loop import snapshots  # noqa: E402
from deploytk.training.segments import Segment, as_dict  # noqa: E402
from deploytk.training.shelf import Shelf  # noqa: E402
from deploytk.training.state import Folder, State  # noqa: E402

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of 12 training and 4 validation images with one bright rectangle each."""
    root = tmp_path_factory.mktemp("shapes")
    for split, count in (("train", 12), ("val", 4)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", (64, 64), (15 * i, 60, 90))
            image.paste((250, 240, 230), (8 + i, 12, 40 + i, 44))
            image.save(root / "images" / split / f"{i}.png")
            (root / "labels" / split / f"{i}.txt").write_text(f"{i % 2} {(24 + i) / 64} {28 / 64} 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b]\n")
    return root / "data.yaml"


def profile(data: Path, **sections: Any) -> Profile:
    train = {
        "epochs": 4, "imgsz": 64, "batch": 4, "optimizer": "SGD", "lr0": 0.01, "warmup_epochs": 2, "mosaic": 1.0,
        "close_mosaic": 1, "device": "cpu", **sections.pop("train", {}),
    }  # fmt: skip
    return Profile.model_validate({"name": "shapes", "data": {"path": data}, "train": train, **sections})


def trained(wanted: Profile, run: Path) -> State:
    """The state at the end of a training in this process."""
    return segments_here.trained(backend, wanted, run)


def endings(state: State) -> list[str]:
    return [step.outcome.ended for step in state.steps if step.outcome]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def last_checkpoint(run: Path, wanted: Profile) -> dict[str, Any]:
    shelf = Shelf(Folder(run=run).checkpoints, wanted.keep)
    assert shelf.last is not None
    return snapshots.load(shelf.path(shelf.last))


def alive(told: dict[str, Any]) -> bool:
    """Whether every tensor is finite, and none that must not be is all zero."""
    state = {**told["model"], **{f"ema.{k}": v for k, v in told["ema"].items()}}
    return all(
        bool(t.isfinite().all()) and (not name.endswith(("conv.weight", "running_var")) or bool(t.any()))
        for name, t in state.items()
        if t.is_floating_point()
    )


def at_epoch(epoch: int, times: int, fault: Callable[[SegmentTrainer, dict[str, Any]], None]) -> Any:
    """A `preprocess_batch` in which something goes wrong in the first batches of an epoch, `times` times."""
    real, left = SegmentTrainer.preprocess_batch, [times]

    def batch(self: SegmentTrainer, told: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = real(self, told)
        if self.epoch + 1 == epoch and left[0]:
            left[0] -= 1
            fault(self, made)
        return made

    return batch


def test_two_and_two_epochs_are_bit_for_bit_four(shapes: Path, tmp_path: Path) -> None:
    """Mosaic, its closing, warm-up, accumulation, moving average: nothing may tell where the process changed."""
    wanted = profile(shapes, train={"effective_batch": 8})
    trained(wanted, tmp_path / "whole")
    two = wanted.model_dump(mode="json", by_alias=True)
    whole = Segment(first_epoch=1, last_epoch=2, total_epochs=4, imgsz=64, batch=4, accumulate=2, precision="auto")
    for first, last in ((1, 2), (3, 4)):
        part = {**as_dict(whole), "first_epoch": first, "last_epoch": last}
        assert backend.train_segment(two, str(tmp_path / "parts"), part)["ended"] == "done"
    one, other = (last_checkpoint(tmp_path / name, wanted) for name in ("whole", "parts"))
    assert one["ema_updates"] == other["ema_updates"]
    for kind in ("model", "ema"):
        for name, tensor in one[kind].items():
            assert torch.equal(tensor, other[kind][name]), f"{kind} {name}"
    whole_curve, parts = (rows(tmp_path / name) for name in ("whole", "parts"))
    times = [float(row.pop("time")) for row in parts]
    assert [{k: v for k, v in row.items() if k != "time"} for row in whole_curve] == parts and len(parts) == 4
    assert times == sorted(times)


@pytest.mark.parametrize("epoch", [1, 3])
def test_nan_is_rolled_back_and_the_learning_rate_lowered(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    def fault(_self: SegmentTrainer, told: dict[str, Any]) -> None:
        told["img"][:] = float("nan")

    monkeypatch.setattr(SegmentTrainer, "preprocess_batch", at_epoch(epoch, 1, fault))
    wanted = profile(shapes)
    state = trained(wanted, tmp_path)
    assert state.status == "done" and endings(state) == ["nan", "done"]
    again = state.steps[1].segment
    assert (again.first_epoch, again.lr_scale) == (epoch, pytest.approx(0.1))
    assert alive(last_checkpoint(tmp_path, wanted))
    curve = rows(tmp_path)
    assert [int(row["epoch"]) for row in curve] == [1, 2, 3, 4]
    assert float(curve[epoch - 1]["lr/pg0"]) < 0.002, "the rate of the epoch that was trained again is a tenth"


def test_batch_statistics_that_are_nan_are_found_though_the_loss_is_fine(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a guard that only skips non-finite steps leaves behind."""
    real, left = SegmentTrainer.optimizer_step, [1]

    def step(self: SegmentTrainer) -> None:
        real(self)
        if self.epoch == 1 and left[0]:
            left[0] -= 1
            for module in self.ema.ema.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean[0] = float("nan")
                    break

    monkeypatch.setattr(SegmentTrainer, "optimizer_step", step)
    wanted = profile(shapes, train={"epochs": 2})
    state = trained(wanted, tmp_path)
    assert endings(state) == ["nan", "done"]
    assert "bn.running_mean" in state.steps[0].outcome.reason  # type: ignore[union-attr]
    assert alive(last_checkpoint(tmp_path, wanted))


@pytest.mark.parametrize(
    ("epoch", "error"),
    [
        (1, RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")),
        (3, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")),
        (2, MemoryError("Unable to allocate 3 GiB")),
    ],
)
def test_want_of_memory_halves_the_batch_at_any_epoch_and_keeps_the_images_per_step(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, error: Exception
) -> None:
    def fault(_self: SegmentTrainer, _told: dict[str, Any]) -> None:
        raise error

    monkeypatch.setattr(SegmentTrainer, "preprocess_batch", at_epoch(epoch, 1, fault))
    state = trained(profile(shapes, train={"epochs": 3}), tmp_path)
    assert state.status == "done" and endings(state) == ["oom", "done"]
    before, after = (step.segment for step in state.steps)
    assert (before.batch, before.accumulate, after.batch, after.accumulate) == (4, 1, 2, 2)
    assert after.first_epoch == epoch


def test_another_error_of_the_library_is_a_crash(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(_self: SegmentTrainer, _told: dict[str, Any]) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(SegmentTrainer, "preprocess_batch", at_epoch(1, 1, fault))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        trained(profile(shapes), tmp_path)


def test_sizes_grow_and_each_batch_has_that_of_its_epoch(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, set[int]] = {}
    real = SegmentTrainer.preprocess_batch

    def batch(self: SegmentTrainer, told: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = real(self, told)
        seen.setdefault(self.epoch + 1, set()).add(made["img"].shape[-1])
        return made

    monkeypatch.setattr(SegmentTrainer, "preprocess_batch", batch)
    wanted = profile(shapes, train={"epochs": 3, "imgsz": 96, "resize": {"start": 32, "until": 3, "steps": 2}})
    assert endings(trained(wanted, tmp_path)) == ["done", "done", "done"]
    assert seen == {1: {32}, 2: {64}, 3: {96}}


def test_sections_learn_at_rates_of_their_own_and_gradients_are_clipped(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: dict[str, set[float]] = {}
    real = SegmentTrainer.optimizer_step

    def step(self: SegmentTrainer) -> None:
        for group in self.optimizer.param_groups:
            rates.setdefault(group["section"], set()).add(round(group["initial_lr"], 9))
        real(self)

    monkeypatch.setattr(SegmentTrainer, "optimizer_step", step)
    switches = {"epochs": 1, "layer_lr": 0.5, "clip_norm": 1e-9, "weight_decay": 0.0, "momentum": 0.0}
    wanted = profile(shapes, train={**switches, "warmup_epochs": 0})
    trained(wanted, tmp_path / "clipped")
    assert rates == {"head": {0.01}, "neck": {0.005}, "backbone": {0.0025}}
    monkeypatch.setattr(SegmentTrainer, "optimizer_step", real)
    trained(profile(shapes, train={**switches, "clip_norm": None, "warmup_epochs": 0}), tmp_path / "free")
    moved = [
        sum(float((a["model"][n] - b).abs().sum()) for n, b in start.items() if n.endswith("conv.weight"))
        for start in [last_checkpoint(tmp_path / "clipped", wanted)["model"]]
        for a in [last_checkpoint(tmp_path / "free", wanted)]
    ]
    assert moved[0] > 0.01, "with its gradients clipped to nothing, the network did not move; without, it did"


def test_the_moving_average_follows_its_formula_or_the_weights_themselves(shapes: Path, tmp_path: Path) -> None:
    plain = profile(shapes, train={"epochs": 1, "ema": None})
    trained(plain, tmp_path / "none")
    told = last_checkpoint(tmp_path / "none", plain)
    assert all(torch.equal(t, told["ema"][n]) for n, t in told["model"].items() if t.is_floating_point())
    slow = profile(shapes, train={"epochs": 1, "ema": {"decay": 0.9999, "warmup_updates": 0}})
    trained(slow, tmp_path / "slow")
    told = last_checkpoint(tmp_path / "slow", slow)
    assert any(not torch.equal(t, told["ema"][n]) for n, t in told["model"].items() if t.is_floating_point())
