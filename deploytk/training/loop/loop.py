"""The epochs of one segment: steps of one or more batches, the average, validation, told to a Watch (torch)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader

from deploytk.errors import DeploytkError, InputError
from deploytk.profile import Profile
from deploytk.training import tensors
from deploytk.training.guard import Facts
from deploytk.training.loop import batches, devices, optimizers, pace, rdrop, schedule, seeds, snapshots
from deploytk.training.loop.ema import Average
from deploytk.training.loop.group import ALONE, Group
from deploytk.training.loop.task import Measured, Task
from deploytk.training.segments import Outcome, Segment
from deploytk.training.watch import Watch

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Loop:
    """One process's training of one segment, alone or with the others of its group."""

    def __init__(
        self,
        profile: Profile,
        segment: Segment,
        watch: Watch,
        task: Task,
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        self.train, self.segment, self.watch, self.task, self.device = profile.train, segment, watch, task, device
        self.epoch, self.group = segment.first_epoch, group
        self.model = task.model
        self.net = group.wrapped(task.model, device)
        self.average = Average(self.model, self.train.ema)
        self.optimizer = optimizers.build(self.train, segment, task.sections)
        self.scaler = torch.amp.GradScaler(device.type, enabled=watch.precision == "fp16")
        self.lr0 = optimizers.learning_rate(self.train) * segment.lr_scale
        self.waited_s = 0.0  # for images, in this epoch
        self.start = pace.Start() if group.first and segment.first_epoch == 1 else None
        self.order = batches.Order([])
        self.loader: DataLoader[Any] = DataLoader(
            task.dataset,
            batch_sampler=self.order,  # type: ignore[arg-type, unused-ignore]
            collate_fn=task.collate,
            num_workers=self.train.workers,
            persistent_workers=self.train.workers > 0,
            pin_memory=device.type == "cuda",
            # Its own: it draws once for each process, which would shift what dropout draws in a resumed training.
            generator=torch.Generator(),
        )

    def run(self) -> Outcome:
        """How the segment ended."""
        return self.watch.outcome_of(self._epochs, lambda: self.epoch)

    def _epochs(self) -> None:
        self._go_on()
        self.watch.phase("first_step")
        while not self._one():
            self.epoch += 1

    def _go_on(self) -> None:
        """Begin where the segment begins: from the checkpoint of the epoch before it."""
        before = self.segment.first_epoch - 1
        if before:
            entry = next(e for e in self.watch.shelf.entries if e.epoch == before)
            self.average.updates = snapshots.restore(
                self.watch.shelf.path(entry),
                model=self.model,
                average=self.average.model,
                optimizer=self.optimizer,
                scaler=self.scaler,
            )

    def _one(self) -> bool:
        """Train, validate and tell one epoch; whether it was the segment's last."""
        began = time.monotonic()
        torch.manual_seed(seeds.draw(self.train.seed, self.epoch, *([self.group.rank] if self.group.rank else [])))
        steps = batches.plan(
            self.task.images,
            batch=self.segment.batch,
            accumulate=self.segment.accumulate,
            seed=self.train.seed,
            epoch=self.epoch,
            weights=self.task.weights,
        )
        self.order.steps = [[self.group.part(batch) for batch in step] for step in steps]
        self.start = pace.Start() if self.start else None  # once told it is over
        self.waited_s, started = 0.0, time.monotonic()
        loss, norms = self._steps(steps)
        trained_s = time.monotonic() - started
        self.watch.phase("validate")
        self.group.same(self.average.model)
        with torch.no_grad(), self._autocast():
            measured = self.task.validate(self.average.model)
        return self.watch.epoch(
            self._facts(loss, norms, measured),
            self._save,
            lr=self.optimizer.param_groups[0]["lr"],
            seconds=round(time.monotonic() - began, 3),
            memory_mb=devices.peak_mb(self.device),
            device=str(self.device),
            precision=self.watch.precision,
            optimizer=self.train.optimizer,
            lr0=self.lr0,
            accumulate=self.segment.accumulate,
            processes=self.group.size,
            images=sum(map(len, chain.from_iterable(self.order.steps))),
            trained_s=round(trained_s, 3),
            waited_s=round(self.waited_s, 3),
            **self.task.notes,
        )

    def _steps(self, steps: list[batches.Step]) -> tuple[float, torch.Tensor]:
        """(the mean loss of an epoch, the norm of each step's gradients)."""
        self.model.train()
        given = iter(self.loader)
        losses, norms = [], []
        for number, step in enumerate(steps, start=1):
            at = self.epoch - 1 + number / len(steps)
            optimizers.set_rate(self.optimizer, self.lr0 * schedule.share(self.train, at, self.segment.total_epochs))
            loss = self._gathered(step, given)
            norms.append(self._stepped())
            losses.append(loss)
            self.watch.step(
                epoch=self.epoch,
                step=number,
                steps=len(steps),
                loss=lambda loss=loss: float(loss),  # type: ignore[misc]
                lr=self.optimizer.param_groups[0]["lr"],
            )
            self._tell_pace(sum(len(self.group.part(batch)) for batch in step))
        # On a GPU looking at a number waits for it: here, once an epoch.
        return float(torch.stack(losses).mean()), torch.stack(norms).cpu()

    def _tell_pace(self, images: int) -> None:
        """Say, once, that the loader is too slow."""
        found = self.start.after(images, waited_s=self.waited_s) if self.start else None
        if found is None:
            return
        self.start = None
        for finding in pace.findings(found, self.train):
            self.watch.events.tell("warning", epoch=self.epoch, reason=str(finding))

    def _gathered(self, step: batches.Step, given: Iterator[Any]) -> torch.Tensor:
        """The loss of a step, its gradients gathered batch by batch, each by its share of the step's images.

        Gradients of several processes become their mean: each part counts by its share times the processes.
        """
        images, size = sum(map(len, step)), self.group.size
        total = torch.zeros((), device=self.device)
        for number, keys in enumerate(step, start=1):
            batch, share = self._next(given), len(self.group.part(keys)) * size / images
            with self.group.silent(self.net, silent=number < len(step)):
                with self._autocast():
                    loss = self._loss(batch) * share
                self.scaler.scale(loss).backward()
            total += loss.detach()
        return self.group.added(total) / size

    def _next(self, given: Iterator[Any]) -> Any:
        """The next batch. Waiting for it is time lost on a GPU too, once its queue of work is empty."""
        began = time.monotonic()
        try:
            batch = next(given)
        except DeploytkError as error:  # an image that cannot be read; a worker sends its whole traceback
            said = error.message.strip().splitlines()[-1].removeprefix(f"deploytk.errors.{type(error).__name__}: ")
            # Refused is what nothing was lost by. Later on it is tried again from the last checkpoint.
            raise (InputError if self.watch.shelf.last is None else RuntimeError)(said) from error
        self.waited_s += time.monotonic() - began
        return batch

    def _loss(self, batch: Any) -> torch.Tensor:
        def logits() -> torch.Tensor:
            return self.task.logits(self.net, batch)

        def of(found: torch.Tensor) -> torch.Tensor:
            return self.task.loss(found, batch)

        return rdrop.loss(logits, of, self.train.rdrop) if self.train.rdrop else of(logits())

    def _stepped(self) -> torch.Tensor:
        """The norm of the gradients, after a step with them, clipped, and with the average moved."""
        self.scaler.unscale_(self.optimizer)
        limit = self.train.clip_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=limit).detach()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.average.update(self.model)
        return norm

    def _autocast(self) -> torch.autocast:
        half = _DTYPES.get(self.watch.precision)
        return torch.autocast(self.device.type, dtype=half or torch.bfloat16, enabled=half is not None)

    def _facts(self, loss: float, norms: torch.Tensor, measured: Measured) -> Facts:
        average = {f"ema.{name}": t for name, t in self.average.model.state_dict().items()}
        looked_at = {**average, **self.model.state_dict()}
        sick, dead = tensors.looked_at(looked_at)
        finite = norms[norms.isfinite()]
        return Facts(
            epoch=self.epoch,
            losses={"loss": loss},
            metrics=dict(measured.metrics),
            fitness=measured.fitness,
            grad_norm=float(finite.max()) if len(finite) else None,
            steps=len(norms),
            bad_steps=len(norms) - len(finite),
            sick=tuple(sick),
            dead=tuple(dead),
            tensors=len(looked_at),
        )

    def _save(self, path: Any) -> None:
        snapshots.save(
            path,
            model=self.model,
            average=self.average.model,
            updates=self.average.updates,
            optimizer=self.optimizer,
            scaler=self.scaler,
            epoch=self.epoch,
        )
