"""transformers' Trainer for one segment of a guarded training: it tells a Watch each step and each epoch.

Rates, order and randomness depend on the seed and the epoch alone, so that segments go on exactly where the one before
them ended; nothing of transformers' own checkpoints is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from deploytk.backends.text.encoding import Features, Padded
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.training import tensors
from deploytk.training.guard import Facts
from deploytk.training.loop import devices, optimizers, schedule, seeds
from deploytk.training.preflight.rules import scaler_problem
from deploytk.training.segments import Segment
from deploytk.training.watch import Watch

#: Gradients are never clipped at it, but their norm is measured.
_UNCLIPPED = 1e30
#: What validation tells: metrics and val_loss.
Validate = Callable[[], Mapping[str, float]]


class Order(Sampler[int]):  # type: ignore[misc, unused-ignore]
    """The pairs of an epoch in the order that its number and the seed give."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed, self.epoch = count, seed, 1

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng([self._seed, self.epoch]).permutation(self._count).tolist()

    def __len__(self) -> int:
        return self._count


class SegmentTrainer(Trainer):  # type: ignore[misc, unused-ignore]
    """Trains one segment."""

    def __init__(
        self,
        profile: Profile,
        segment: Segment,
        watch: Watch,
        network: Any,
        features: list[Features],
        padded: Padded,
        validate: Validate,
        out: str,
    ) -> None:
        """Everything is ready to be trained.

        Raises:
            InputError: the precision cannot train parameters of these dtypes.
        """
        self.profile, self.segment, self.watch, self.validate = profile, segment, watch, validate
        self.device = next(network.parameters()).device
        train = profile.train
        self.order = Order(len(features), train.seed)
        self.steps = steps_of(len(features), segment)
        self.trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
        optimizer = optimizers.build(train, segment, [list(self.trainable.values())])
        super().__init__(
            model=network,
            args=_arguments(profile, segment, watch.precision, self.device, out),
            train_dataset=features,
            data_collator=padded,
            optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, self._share)),
            callbacks=[_Teller(self)],
        )
        problem = scaler_problem(
            "fp16" if self.accelerator.scaler is not None else watch.precision,
            frozenset(str(p.dtype).removeprefix("torch.") for p in self.trainable.values()),
        )
        if problem:
            raise InputError(f"train.precision: {problem}")
        self.epoch_now = segment.first_epoch
        self.losses: list[torch.Tensor] = []
        self.norms: list[torch.Tensor] = []
        self._parts: list[torch.Tensor] = []
        self._clip, self.accelerator.clip_grad_norm_ = self.accelerator.clip_grad_norm_, self._clipped

    def get_train_dataloader(self) -> Any:
        """The batches of an epoch, in our order."""
        batch = self.segment.batch
        loader = DataLoader(self.train_dataset, batch_size=batch, sampler=self.order, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def training_step(self, *args: Any, **more: Any) -> Any:
        """The loss of a batch, kept until its step is made."""
        loss = super().training_step(*args, **more)
        self._parts.append(loss)
        return loss

    def _clipped(self, *args: Any, **more: Any) -> Any:
        norm = self._clip(*args, **more)
        self.norms.append(norm.detach() if isinstance(norm, torch.Tensor) else torch.tensor(float(norm)))
        return norm

    def stepped(self) -> torch.Tensor:
        """The loss of the optimizer step that was just made: the sum of its batches' shares."""
        loss = torch.stack(self._parts).sum()
        self._parts = []
        self.losses.append(loss)
        return loss

    def _share(self, done: int) -> float:
        """The learning rate of the step after `done` of them, as a fraction of lr0."""
        at = self.segment.first_epoch - 1 + (done + 1) / self.steps
        return schedule.share(self.profile.train, at, self.segment.total_epochs)

    def facts(self, metrics: Mapping[str, float]) -> Facts:
        """What is known of the epoch that was trained."""
        norms = torch.stack([n.float().cpu() for n in self.norms]) if self.norms else torch.zeros(0)
        finite = norms[norms.isfinite()]
        state = {**self.trainable, **{f"buffer.{name}": b for name, b in self.model.named_buffers()}}
        sick, dead = tensors.looked_at(state)
        return Facts(
            epoch=self.epoch_now,
            losses={"loss": float(torch.stack(self.losses).mean())},
            metrics=dict(metrics),
            fitness=metrics["rouge1"],
            grad_norm=float(finite.max()) if len(finite) else None,
            steps=len(self.losses),
            bad_steps=len(norms) - len(finite),
            sick=tuple(sick),
            dead=tuple(dead),
            tensors=len(state),
        )

    def kept(self, path: Any) -> None:
        """Write the checkpoint of an epoch: what is trained, and the optimizer's state; tensors and plain values."""
        model = {name: p.detach() for name, p in self.trainable.items()}
        scaler = self.accelerator.scaler
        told = {"model": model, "optimizer": self.optimizer.state_dict(), "epoch": self.epoch_now}
        torch.save(told | {"scaler": scaler.state_dict() if scaler else {}}, path)


def steps_of(pairs: int, segment: Segment) -> int:
    """Optimizer steps of an epoch: what `pairs`, the batch and the accumulation say there must be."""
    return math.ceil(math.ceil(pairs / segment.batch) / segment.accumulate)


def _arguments(profile: Profile, segment: Segment, precision: str, device: torch.device, out: str) -> Any:
    train = profile.train
    return TrainingArguments(
        output_dir=out,
        num_train_epochs=segment.last_epoch - segment.first_epoch + 1,
        per_device_train_batch_size=segment.batch,
        gradient_accumulation_steps=segment.accumulate,
        learning_rate=optimizers.learning_rate(train) * segment.lr_scale,
        max_grad_norm=train.clip_norm or _UNCLIPPED,
        label_smoothing_factor=train.label_smoothing,
        fp16=precision == "fp16",
        bf16=precision == "bf16",
        use_cpu=device.type == "cpu",
        seed=train.seed,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
    )


class _Teller(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Tells the Watch of a trainer what happens; what it raises ends the training."""

    def __init__(self, trainer: SegmentTrainer) -> None:
        self._trainer, self._began = trainer, 0.0

    def on_train_begin(self, *_args: Any, **_more: Any) -> None:
        """The first step takes longest."""
        self._trainer.watch.phase("first_step")

    def on_epoch_begin(self, _args: Any, state: Any, _control: Any, **_more: Any) -> None:
        """Everything random begins anew from the seed and the epoch."""
        trainer = self._trainer
        trainer.epoch_now = trainer.segment.first_epoch + round(state.epoch or 0)
        trainer.order.epoch = trainer.epoch_now
        trainer.losses, trainer.norms, self._began = [], [], time.monotonic()
        torch.manual_seed(seeds.draw(trainer.profile.train.seed, trainer.epoch_now))

    def on_step_end(self, *_args: Any, **_more: Any) -> None:
        """A sign of life."""
        trainer = self._trainer
        loss = trainer.stepped()
        trainer.watch.step(
            epoch=trainer.epoch_now,
            step=len(trainer.losses),
            steps=trainer.steps,
            loss=lambda: float(loss),
            lr=trainer.optimizer.param_groups[0]["lr"],
        )

    def on_epoch_end(self, _args: Any, _state: Any, control: Any, **_more: Any) -> Any:
        """Validate, judge, keep."""
        trainer = self._trainer
        trainer.watch.phase("validate")
        trainer.model.eval()
        metrics = trainer.validate()
        trainer.model.train()
        segment = trainer.segment
        last = trainer.watch.epoch(
            trainer.facts(metrics),
            trainer.kept,
            lr=trainer.optimizer.param_groups[0]["lr"],
            seconds=round(time.monotonic() - self._began, 3),
            memory_mb=devices.peak_mb(trainer.device),
            device=str(trainer.device),
            precision=trainer.watch.precision,
            optimizer=trainer.profile.train.optimizer,
            lr0=optimizers.learning_rate(trainer.profile.train) * segment.lr_scale,
            accumulate=segment.accumulate,
            effective_batch=segment.batch * segment.accumulate,
            steps=len(trainer.losses),
            steps_expected=trainer.steps,
        )
        control.should_training_stop = last
        return control
