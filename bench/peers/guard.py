"""What a training epoch costs under the guard, beside plain Ultralytics on the same data.

python bench/peers/guard.py [--data ../shared/data/bccd_voc] [--epochs 24]        # writes bench/results/guard.{json,md}

Both train the same network with the same settings (YOLOv8n, SiLU, square validation) in one process and take turns
epoch by epoch. Plain Ultralytics saves last.pt and best.pt and looks for NaN in its own way; deploytk looks at losses,
gradients, weights and buffers, writes its checkpoint, its table and its events.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from results import keep, parser

from deploytk import ratio
from deploytk.artifact import versions_of
from deploytk.backends.ultralytics import training
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.segment_trainer import SegmentTrainer
from deploytk.backends.ultralytics.trainer import Trainer
from deploytk.profile import Profile
from deploytk.training import segments
from deploytk.training.watch import Watch

TARGET = 1.03
#: The first epochs of both load what is loaded once.
_WARM = 2


class Turns:
    """Lets two threads run one after the other, an epoch at a time, and keeps how long each epoch took."""

    def __init__(self) -> None:
        self.free = {"plain": threading.Semaphore(1), "guarded": threading.Semaphore(0)}
        self.seconds: dict[str, list[float]] = {"plain": [], "guarded": []}
        self.began = 0.0

    def take(self, side: str) -> None:
        """Wait for one's turn."""
        self.free[side].acquire()
        self.began = time.perf_counter()

    def give(self, side: str) -> None:
        """Note the epoch and let the other one run."""
        self.seconds[side].append(time.perf_counter() - self.began)
        self.free["guarded" if side == "plain" else "plain"].release()


def compared(data: Path, *, epochs: int, imgsz: int, batch: int) -> dict[str, list[float]]:
    """Seconds of each epoch of both sides, in turn; the first ones left out."""
    turns = Turns()
    with tempfile.TemporaryDirectory() as folder:
        trainers = {side: trainer_of(side, data, Path(folder) / side, epochs, imgsz, batch) for side in turns.free}
        failed: list[BaseException] = []
        threads = [threading.Thread(target=_run, args=(side, t, turns, failed)) for side, t in trainers.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
    return {side: told[_WARM:] for side, told in turns.seconds.items()}


def trainer_of(side: str, data: Path, folder: Path, epochs: int, imgsz: int, batch: int) -> Trainer:
    """A trainer of one side, ready to train into `folder`."""
    settings = {
        "epochs": epochs, "imgsz": imgsz, "batch": batch, "optimizer": "AdamW", "lr0": 0.002, "patience": 0,
        "workers": 0, "close_mosaic": 0, "device": "cpu",
    }  # fmt: skip
    wanted = Profile.model_validate({"name": side, "data": {"path": data}, "train": settings})
    part = segments.first(wanted)
    view = view_of(wanted.model_dump(mode="json", by_alias=True), folder)
    overrides = {**training.overrides(wanted, folder, view, part), "amp": False}
    if side == "plain":
        return Trainer(wanted, overrides)
    return SegmentTrainer(wanted, overrides, part, Watch(wanted, folder, part, precision="fp32"))


def _run(side: str, trainer: Trainer, turns: Turns, failed: list[BaseException]) -> None:
    def began(_trainer: Any) -> None:
        turns.take(side)

    def ended(told: Any) -> None:
        if len(turns.seconds[side]) < told.epochs:  # it fires once more after the last validation
            turns.give(side)

    # First of all the callbacks at the beginning, last of all at the end: theirs are in the time.
    trainer.callbacks["on_train_epoch_start"].insert(0, began)
    trainer.add_callback("on_fit_epoch_end", ended)
    try:
        trainer.train()
    except BaseException as error:  # the other thread must not wait for ever
        failed.append(error)
        for semaphore in turns.free.values():
            semaphore.release(10_000)


def main() -> None:
    """Measure, print and keep the table."""
    asked = parser("A training epoch under the guard beside plain Ultralytics.", "guard")
    asked.add_argument("--data", type=Path, default=Path("../shared/data/bccd_voc"))
    asked.add_argument("--epochs", type=int, default=24)
    asked.add_argument("--imgsz", type=int, default=320)
    asked.add_argument("--batch", type=int, default=8)
    given = asked.parse_args()
    raw = compared(given.data.absolute(), epochs=given.epochs, imgsz=given.imgsz, batch=given.batch)
    found = ratio.paired(raw["plain"], raw["guarded"])
    reached = "at most" if found.high <= TARGET else "not shown to be at most"
    keep(
        given.out,
        "guard",
        sentence=f"An epoch under the guard takes {found.value:.3f} times as long as plain Ultralytics' "
        f"({found.low:.3f} to {found.high:.3f}, {found.confidence:.0%}): {reached} {TARGET:g}.",
        how=f"{len(raw['plain'])} epochs of each in turn ({_WARM} before them left out), {given.imgsz} px, batch "
        f"{given.batch}, {torch.get_num_threads()} threads, validation and saving included; the ratio is the median of "
        "the pairs' own.",
        rows=[
            {"side": side, "median s": round(median(told), 3), "fastest s": round(min(told), 3)}
            for side, told in raw.items()
        ],
        versions=versions_of("deploytk", "ultralytics", "torch"),
        seconds=raw,
    )


if __name__ == "__main__":
    main()
