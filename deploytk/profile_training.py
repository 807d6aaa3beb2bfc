"""How a profile says that a model is trained: rates, guard, limits, checkpoints, milestones and phase rules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from deploytk.strict_yaml import Strict


class Ema(Strict):
    """The moving average of the weights that is validated and deployed."""

    decay: float = Field(0.9999, gt=0, lt=1)
    warmup_updates: int = Field(
        2000, ge=0, description="the decay after u updates is decay * (1 - exp(-u / warmup_updates)); 0: at once"
    )


class Resize(Strict):
    """Small images first: the size grows from `start` in equal steps and reaches `train.imgsz` at epoch `until`."""

    start: int = Field(ge=32, multiple_of=32, description="image size of the first epochs")
    until: int = Field(ge=2, description="the first epoch (counted from 1) with the full size")
    steps: int = Field(2, ge=1, description="how many smaller sizes there are")


class Train(Strict):
    """How it is trained."""

    epochs: int = Field(100, ge=1)
    imgsz: int = Field(640, ge=32, multiple_of=32, description="square input size in pixels")
    batch: int = Field(16, ge=1)
    effective_batch: int | None = Field(
        None, ge=1, description="gradients are accumulated up to this many images; the batch by default"
    )
    optimizer: Literal["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSProp", "auto"] = "SGD"
    lr0: float | None = Field(None, gt=0, description="initial learning rate; must be left out with optimizer: auto")
    lrf: float = Field(0.01, gt=0, le=1, description="final learning rate as a fraction of lr0")
    momentum: float = Field(0.937, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    warmup_epochs: float = Field(3.0, ge=0)
    warmup_bias_lr: float = Field(0.0, ge=0)
    patience: int = Field(50, ge=0, description="epochs without a better one before training stops; 0: never")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it, fp32 elsewhere"
    )
    clip_norm: float | None = Field(10.0, gt=0, description="largest norm of the gradients; null: not clipped")
    ema: Ema | None = Ema()
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    balance: Literal["none", "weights", "sampler"] = Field(
        "none", description="a classifier's rare classes count more in the loss, or are drawn more often"
    )
    rdrop: float = Field(0.0, ge=0, description="weight of R-Drop's divergence of two passes; needs dropout")
    dropout: float = Field(0.0, ge=0, lt=1, description="before the last layer, where the backend has one")
    layer_lr: float = Field(
        1.0, gt=0, le=1, description="learning rate of each section as a fraction of the next one's, head first"
    )
    resize: Resize | None = None
    mosaic: float = Field(1.0, ge=0, le=1, description="how many of a detector's images are made of four")
    fliplr: float = Field(0.5, ge=0, le=1, description="how many images are mirrored; 0 for letters and signs")
    close_mosaic: int = Field(10, ge=0)
    workers: int = Field(2, ge=0)
    seed: int = 0
    device: str = Field("auto", description='"auto", "cpu", "0"; one process for each of several: "0,1", "cpu,cpu"')
    timeout_s: float = Field(7 * 24 * 3600.0, gt=0)

    @model_validator(mode="after")
    def _auto_decides_lr0(self) -> Train:
        if self.optimizer == "auto" and self.lr0 is not None:
            raise ValueError(
                "optimizer: auto chooses its own learning rate and ignores lr0; "
                "name an optimizer (SGD, AdamW) or remove lr0"
            )
        return self

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each process of a training."""
        return tuple(name.strip() for name in self.device.split(","))

    @model_validator(mode="after")
    def _grows(self) -> Train:
        if self.resize is not None and self.resize.start >= self.imgsz:
            raise ValueError(f"resize.start: {self.resize.start} is not below imgsz {self.imgsz}")
        return self


class Guard(Strict):
    """What is done when a training goes wrong."""

    nan: Literal["rollback", "fail"] = "rollback"
    collapse: Literal["rollback", "fail", "ignore"] = "rollback"
    lr_factor: float = Field(0.1, gt=0, lt=1, description="the learning rate is multiplied by it at each rollback")
    max_rollbacks: int = Field(3, ge=0)
    fp32: bool = Field(True, description="after the last rollback, once more in fp32 where it was not")
    collapse_ratio: float = Field(0.5, gt=0, lt=1, description="collapsed: the metric is below this share of the best")
    collapse_epochs: int = Field(2, ge=1, description="... for so many epochs in a row")
    loss_ratio: float = Field(10.0, gt=1, description="collapsed: the loss is above so many times its running median")
    oom: Literal["halve", "retry", "fail"] = Field(
        "halve", description="out of memory: half the batch and twice the accumulation, the same again, or the end"
    )
    max_oom: int = Field(5, ge=1, description="how often memory may run out")
    min_batch: int = Field(1, ge=1)


class Limits(Strict):
    """How long each phase of a training may take without a sign of life, and what it needs."""

    load_s: float = Field(900.0, gt=0, description="from the start of the process to the first batch")
    first_step_s: float = Field(900.0, gt=0)
    step_s: float = Field(900.0, gt=0, description="between two signs of life after that")
    disk_gb: float | None = Field(None, gt=0, description="free disk that is needed; estimated where left out")


class Keep(Strict):
    """Which checkpoints stay. The best, the last and the picks of sweet spots always do."""

    every: int = Field(1, ge=1, description="of every so many epochs one")
    at_most: int = Field(5, ge=1)


class Milestone(Strict):
    """What a metric must have reached at an epoch; told where it has not."""

    epoch: int = Field(ge=1)
    metric: str
    at_least: float


class PhaseRule(Strict):
    """When something holds after an epoch, what to change: advised, or done with `auto: true`."""

    after: int = Field(1, ge=1, description="the first epoch it is looked at")
    metric: str = Field(description="a metric or a loss by name, or gap: validation loss over training loss, minus 1")
    below: float | None = None
    above: float | None = None
    plateau: int | None = Field(None, ge=2, description="no better for so many epochs")
    lr: float = Field(1.0, gt=0, description="the learning rate is multiplied by it")
    weight_decay: float = Field(1.0, gt=0, description="the weight decay is multiplied by it")
    times: int = Field(1, ge=1, description="how often it may act")
    auto: bool = False

    @model_validator(mode="after")
    def _asks_something(self) -> PhaseRule:
        if [self.below, self.above, self.plateau].count(None) != 2:
            raise ValueError("a rule has one of below, above and plateau")
        return self


class Track(Strict):
    """Where each epoch of a training is told too, beside RUN/training/events.jsonl."""

    tensorboard: bool = Field(False, description="TensorBoard's files in RUN/tensorboard")
    mlflow: str | None = Field(None, description="URI of an MLflow server (http://...) or store (sqlite:///...)")
