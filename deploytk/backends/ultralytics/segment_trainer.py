"""Ultralytics' trainer as one segment of a guarded training: what it saves, judges and recovers is ours."""

from __future__ import annotations

import functools
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deploytk.backends.ultralytics import activations, drawing, results
from deploytk.backends.ultralytics.library import unwrap_model
from deploytk.backends.ultralytics.smoothing import SmoothedBce
from deploytk.backends.ultralytics.trainer import Trainer
from deploytk.profile import Profile, Section
from deploytk.training import tensors
from deploytk.training.guard import Facts
from deploytk.training.loop import devices, snapshots
from deploytk.training.loop.ema import decay_after
from deploytk.training.segments import Segment
from deploytk.training.watch import Watch

#: How many sections lie between one and the output: `layer_lr` to this power is its share of the learning rate.
_DEPTH: dict[Section, int] = {"head": 0, "neck": 1, "backbone": 2}


class SegmentTrainer(Trainer):
    """A Trainer for the epochs of one segment. `SegmentEnded` comes out of `train` where a Watch ends it."""

    def __init__(self, profile: Profile, overrides: dict[str, Any], segment: Segment, watch: Watch) -> None:
        self.segment, self.watch = segment, watch
        self.norms: list[torch.Tensor] = []
        self.mosaic_closed = False
        self.seen, self.began = 0, time.monotonic()
        super().__init__(profile, overrides)
        for event, answer in (
            ("on_train_start", _started),
            ("on_train_epoch_start", _epoch_began),
            ("on_train_batch_end", _batch_ended),
            ("on_val_batch_end", lambda _validator: self.watch.alive()),
        ):
            self.add_callback(event, answer)

    def check_resume(self, overrides: dict[str, Any]) -> None:  # noqa: ARG002
        """Have the curve of the epochs before kept; Ultralytics' own way of resuming is not used."""
        self.resume, self.args.resume = False, self.segment.first_epoch > 1

    def build_optimizer(self, model: nn.Module, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """The optimizer of the profile, its groups split by section where they learn at different rates."""
        optimizer = super().build_optimizer(model, *args, **kwargs)
        if self.profile.train.layer_lr < 1:
            _by_section(optimizer, unwrap_model(model), self.backbone, self.profile.train.layer_lr)
        return optimizer

    def resume_training(self, ckpt: Any) -> None:  # noqa: ARG002
        """Begin where the segment begins: from the checkpoint of the epoch before it."""
        self.ema.decay = functools.partial(decay_after, self.profile.train.ema)
        before = self.segment.first_epoch - 1
        if before:
            entry = next(e for e in self.watch.shelf.entries if e.epoch == before)
            self.ema.updates = snapshots.restore(
                self.watch.shelf.path(entry),
                model=unwrap_model(self.model),
                average=self.ema.ema,
                optimizer=self.optimizer,
                scaler=self.scaler,
            )
            self.grafted = entry.facts.get("pretrained") or {}
        self.start_epoch = before

    def optimizer_step(self) -> None:
        """Called after each batch: a step after every `accumulate` of them, and after an epoch's last."""
        self.seen += 1
        if self.seen % self.segment.accumulate and self.seen < len(self.train_loader):
            return
        self.scaler.unscale_(self.optimizer)
        limit = self.profile.train.clip_norm or math.inf
        # Kept where it is: looking at the number would make a GPU wait at each step.
        self.norms.append(torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=limit).detach())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.ema.update(self.model)

    def validate(self) -> Any:
        """The metrics and the fitness of the moving average."""
        self.watch.phase("validate")
        return super().validate()

    def save_model(self) -> bool:
        """Have the epoch judged, and its checkpoint written where it is healthy; stop after the segment's last."""
        done = self.watch.epoch(
            self._facts(),
            self._snapshot,
            lr=float(self.optimizer.param_groups[0]["lr"]),
            seconds=round(time.monotonic() - self.began, 3),
            memory_mb=devices.peak_mb(self.device),
            device=str(self.device),
            precision=self.watch.precision,
            optimizer=str(self.args.optimizer),
            lr0=float(self.args.lr0),
            accumulate=self.segment.accumulate,
            pretrained=self.grafted,
        )
        self.stop |= done
        return True

    def final_eval(self) -> None:
        """Nothing: `finish_training` measures the best epoch of all segments."""

    def _handle_nan_recovery(self, epoch: int) -> bool:  # noqa: ARG002
        """Never: the guard decides, and the next segment goes on from a healthy checkpoint."""
        return False

    def _facts(self) -> Facts:
        sick, dead = tensors.looked_at(
            {
                **{f"ema.{k}": v for k, v in self.ema.ema.state_dict().items()},
                **unwrap_model(self.model).state_dict(),
            }
        )
        norms = torch.stack(self.norms).cpu() if self.norms else torch.zeros(0)
        finite = norms[norms.isfinite()]
        return Facts(
            epoch=self.epoch + 1,
            losses={name: float(value) for name, value in (self.tloss or {}).items()},
            metrics=results.metrics_of(self.metrics),
            fitness=float(self.fitness),
            grad_norm=float(finite.max()) if len(finite) else None,
            steps=len(norms),
            bad_steps=len(norms) - len(finite),
            sick=tuple(sick),
            dead=tuple(dead),
            tensors=2 * len(self.ema.ema.state_dict()),
        )

    def _snapshot(self, path: Path) -> None:
        snapshots.save(
            path,
            model=unwrap_model(self.model),
            average=self.ema.ema,
            updates=self.ema.updates,
            optimizer=self.optimizer,
            scaler=self.scaler,
            epoch=self.epoch + 1,
        )


def _by_section(optimizer: torch.optim.Optimizer, model: nn.Module, backbone: int, share: float) -> None:
    """Split each group into one per section, whose learning rate is `share` of the next one's towards the head."""
    layers = len(model.model)
    section = {id(p): activations.section_of(name, backbone, layers) for name, p in model.named_parameters()}
    split = []
    for group in optimizer.param_groups:
        for name, depth in _DEPTH.items():
            chosen = [p for p in group["params"] if section[id(p)] == name]
            if chosen:
                split.append({**group, "params": chosen, "lr": group["lr"] * share**depth, "section": name})
    optimizer.param_groups[:] = split


def _started(trainer: SegmentTrainer) -> None:
    """After everything is loaded, before the first batch."""
    trainer.train_time_start -= results.seconds(trainer.csv)  # the clock of the curve runs on
    share = trainer.profile.train.label_smoothing
    if share:
        model = unwrap_model(trainer.model)
        model.criterion = model.init_criterion()
        model.criterion.bce = SmoothedBce(model.criterion.bce, share)
    trainer.watch.phase("first_step")


def _epoch_began(trainer: SegmentTrainer) -> None:
    # In its first epoch Ultralytics answers a lack of memory by itself; this makes no epoch the first one.
    trainer.start_epoch = -1
    trainer.began, trainer.seen, trainer.norms = time.monotonic(), 0, []
    train = trainer.profile.train
    if not trainer.mosaic_closed and trainer.epoch >= trainer.epochs - train.close_mosaic:
        # Not left to Ultralytics: it draws anew when it closes, which a resumed training would do at another epoch.
        trainer.mosaic_closed = True
        trainer._close_dataloader_mosaic()
    drawing.begin(trainer, trainer.epoch)


def _batch_ended(trainer: SegmentTrainer) -> None:
    trainer.watch.step(
        epoch=trainer.epoch + 1,
        step=trainer.seen,
        steps=len(trainer.train_loader),
        loss=lambda: sum(float(v) for v in trainer.loss_items.values()),
        lr=float(trainer.optimizer.param_groups[0]["lr"]),
    )
