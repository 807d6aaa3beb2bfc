"""The rules of the preflight: each a small class whose docstring is the sentence of the table in docs/preflight.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from deploytk.plugins import suggestion
from deploytk.profile import Data
from deploytk.profile_training import Train
from deploytk.training.preflight.context import Context
from deploytk.training.segments import smaller_batch

Severity = Literal["error", "warning", "info"]

_ADAM = frozenset({"Adam", "AdamW", "NAdam", "RAdam"})
_BATCH_1_LR = 0.005
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a rule has found: where in the profile, what is wrong, what to do."""

    where: str
    what: str
    fix: str = ""
    severity: Severity | None = None  # where it is another than the rule's


class Rule:
    """A rule of the preflight."""

    code: ClassVar[str]
    severity: ClassVar[Severity]

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """What is wrong."""
        raise NotImplementedError


class LearningRate(Rule):
    """The learning rate fits the optimizer: Adam's below 0.01, SGD's above 0.0001."""

    code, severity = "PRE010", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """A rate that is known to diverge, or to learn nothing."""
        train = context.profile.train
        if train.lr0 is None:
            return
        if train.optimizer in _ADAM and train.lr0 >= 0.01:
            worse: Severity | None = "error" if train.lr0 >= 0.1 else None
            what = (
                f"{train.optimizer} with lr0 {train.lr0:g} diverges more often than not: its steps are not scaled down"
            )
            yield Said(where="train.lr0", what=what, fix="use 0.001, or optimizer: SGD", severity=worse)
        if train.optimizer == "SGD" and train.lr0 <= 1e-4:
            what = f"SGD with lr0 {train.lr0:g} learns next to nothing"
            yield Said(where="train.lr0", what=what, fix="use 0.01, or optimizer: AdamW")


class WarmupBias(Rule):
    """The biases do not begin with a higher rate than everything else ends its warm-up with."""

    code, severity = "PRE011", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """Ultralytics' default of 0.1 beside an lr0 of 0.001 was part of a real collapse."""
        train = context.profile.train
        if train.lr0 is not None and train.warmup_bias_lr > train.lr0 and train.warmup_epochs:
            what = f"the biases warm up from {train.warmup_bias_lr:g} while lr0 is {train.lr0:g}"
            yield Said(where="train.warmup_bias_lr", what=what, fix="leave it at 0")


class BatchOfOne(Rule):
    """A batch of 1 has a low learning rate: its gradients and batch statistics are those of one image."""

    code, severity = "PRE012", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """Accumulation helps the gradients, not BatchNorm."""
        train = context.profile.train
        lr = train.lr0 if train.lr0 is not None else (0.01 if train.optimizer == "SGD" else 0.0)
        if train.batch == 1 and lr >= _BATCH_1_LR:
            fix = "use a smaller imgsz and batch 4 or more, or lr0 0.001"
            yield Said(where="train.batch", what=f"batch 1 with lr0 {lr:g}", fix=fix)


class Precision(Rule):
    """The device has the precision that is asked for: bf16 needs capability 8.0, fp16 a GPU and weights in float32."""

    code, severity = "PRE013", "error"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """What would fail in the first step, or be emulated slowly."""
        asked, gpu, text = context.profile.train.precision, context.gpu, context.profile.text
        if asked in {"auto", "fp32"}:
            return
        trained = "float32" if text is None else text.lora.dtype if text.lora else text.dtype
        if problem := scaler_problem(asked, frozenset({trained})):
            key = "text.lora.dtype" if text and text.lora else "text.dtype"
            yield Said(where="train.precision", what=problem, fix=f"use auto or bf16, or set {key}: float32")
        if gpu is None:
            yield Said(where="train.precision", what=f"{asked} without a GPU", fix="use auto or fp32")
        elif asked == "bf16" and gpu.capability < (8, 0):
            has = ".".join(map(str, gpu.capability))
            what = f"bf16 needs compute capability 8.0, {gpu.name} has {has}"
            yield Said(where="train.precision", what=what, fix="use fp16 or auto")


class Techniques(Rule):
    """The backend has every technique that the profile switches on, and each has what it needs."""

    code, severity = "PRE015", "error"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """A switch that nothing listens to (Ultralytics drops label_smoothing with a line in its log)."""
        train, data = context.profile.train, context.profile.data
        names = (
            "precision", "clip_norm", "ema", "label_smoothing", "rdrop", "dropout", "layer_lr", "resize", "mosaic",
            "close_mosaic", "fliplr", "warmup_bias_lr", "balance",
        )  # fmt: skip
        asked: list[tuple[str, Train | Data, str]] = [("train", train, name) for name in names]
        asked += [("data", data, name) for name in ("class_index", "margin", "square")]
        for section, given, name in asked:
            if getattr(given, name) != type(given).model_fields[name].default and name not in context.techniques:
                has = ", ".join(sorted(context.techniques)) or "none"
                what = f"the backend {context.profile.backend} does not have it"
                yield Said(where=f"{section}.{name}", what=what, fix=f"remove it; it has: {has}")
        if train.rdrop and not train.dropout and "rdrop" in context.techniques:
            what = "R-Drop compares two passes that differ by dropout, and dropout is 0"
            yield Said(where="train.rdrop", what=what, fix="set train.dropout: 0.1")


class Warmup(Rule):
    """The warm-up is over before the training is."""

    code, severity = "PRE017", "info"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """Only told: short trainings are made to try things."""
        train = context.profile.train
        if train.warmup_epochs >= train.epochs > 1:
            what = f"{train.warmup_epochs:g} epochs of warm-up in a training of {train.epochs}"
            yield Said(where="train.warmup_epochs", what=what, fix="use less, or train longer")


class Accumulation(Rule):
    """The effective batch is a multiple of the batch."""

    code, severity = "PRE018", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """Whole batches are accumulated: the number is rounded."""
        train = context.profile.train
        wanted = train.effective_batch
        if wanted is None or wanted % train.batch == 0:
            return
        made = train.batch * max(1, round(wanted / train.batch))
        what = f"{wanted} is not a multiple of batch {train.batch}: {made} images per step are used"
        yield Said(where="train.effective_batch", what=what, fix=f"use {made}")


class MetricNames(Rule):
    """Milestones and phase rules name metrics that there are, at epochs that there are."""

    code, severity = "PRE019", "error"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """A milestone on an unknown name would never be met, a rule never act."""
        profile, known = context.profile, context.metrics
        named = [(f"milestones[{i}].metric", m.metric) for i, m in enumerate(profile.milestones)]
        named += [(f"rules[{i}].metric", r.metric) for i, r in enumerate(profile.rules) if r.metric != "gap"]
        for where, name in named:
            if known and name not in known:
                what = f"unknown metric {name!r}{suggestion(name, known)}"
                yield Said(where=where, what=what, fix=f"one of {', '.join(sorted(known))}")
        for i, stone in enumerate(profile.milestones):
            if stone.epoch > profile.train.epochs:
                what = f"epoch {stone.epoch} of a training of {profile.train.epochs} epochs"
                yield Said(where=f"milestones[{i}].epoch", what=what, fix="it is never looked at", severity="warning")


class Memory(Rule):
    """A training step fits into the memory of the device (estimated: docs/preflight.md has the formula)."""

    code, severity = "PRE020", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """Above 90 % of what is free a warning, on a CPU above 150 % an error."""
        profile, train = context.profile, context.profile.train
        needed, free = context.step_mib(train.batch), context.device_free_mib
        if needed is None or not free or needed <= 0.9 * free:
            return
        batch, effective = train.batch, train.effective_batch or train.batch
        smaller: int | None = batch
        accumulate = max(1, round(effective / batch))
        while smaller and (context.step_mib(smaller) or 0.0) > 0.9 * free:
            following = smaller_batch(smaller, accumulate)
            accumulate = smaller * accumulate // following if following else accumulate
            smaller = following
        each = f"at {train.imgsz} px" if profile.text is None else f"of {profile.text.max_source} tokens"
        length = "imgsz" if profile.text is None else "max_source"
        fix = (
            f"train.batch: {smaller} with effective_batch: {effective}"
            if smaller
            else f"use a smaller {length} or model"
        )
        estimate = f"is estimated to need {needed / 1024:.1f} GiB, {free / 1024:.1f} are free"
        what = f"batch {batch} {each} {estimate}"
        # The estimate was made on a CPU in float32: on a GPU it may be twice too high, and refuses nothing.
        hopeless = context.gpu is None and needed > 1.5 * free
        yield Said(where="train.batch", what=what, fix=fix, severity="error" if hopeless else None)


class Disk(Rule):
    """The disk has room for the checkpoints and the copy of the data (estimated), or for `limits.disk_gb`."""

    code, severity = "PRE021", "error"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """At most `keep.at_most` checkpoints, the best, and one that is being written stand there."""
        asked, free = context.profile.limits.disk_gb, context.disk_free
        if free is None:
            return
        if asked is not None:
            if free < asked * 1e9:
                what = f"{free / 1e9:.1f} GB are free where the run is to be, {asked:g} are asked for"
                yield Said(where="limits.disk_gb", what=what, fix="free some, or use another --out")
        elif context.checkpoint_bytes is not None:
            needed = (context.profile.keep.at_most + 2) * context.checkpoint_bytes + context.data_bytes
            if free < needed:
                what = f"checkpoints and data are estimated to take {needed / 1e9:.1f} GB, {free / 1e9:.1f} are free"
                yield Said(where="keep.at_most", what=what, fix="free some, keep fewer, or use another --out")


class GpuInUse(Rule):
    """Nobody else computes on the GPU."""

    code, severity = "PRE022", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """Told, never ended: they may be somebody's night."""
        for pid, name, used in context.gpu.processes if context.gpu else ():
            what = f"{name} (pid {pid}) uses {used:.0f} MiB of {context.gpu.name}" if context.gpu else ""
            yield Said(where="train.device", what=what, fix="wait for it, or choose another device")


class Loaders(Rule):
    """The processes that load images have cores, and shared memory to hand them over."""

    code, severity = "PRE023", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """Only on a GPU: on a CPU images are loaded in the process that trains."""
        workers = context.profile.train.workers
        if context.gpu is None or not workers:
            return
        if workers > context.cores:
            what = f"{workers} loaders on {context.cores} cores"
            yield Said(where="train.workers", what=what, fix=f"use {context.cores}")
        if context.shm_free is not None and context.shm_free < 1 * _GIB:
            what = f"{context.shm_free / 2**20:.0f} MiB of shared memory for {workers} loaders"
            yield Said(where="train.workers", what=what, fix="mount a larger /dev/shm, or use workers: 0")


class Versions(Rule):
    """The libraries are of versions that deploytk was tried with, and that go together."""

    code, severity = "PRE024", "warning"

    @staticmethod
    def check(context: Context) -> Iterator[Said]:
        """What a plain resolve has been seen to bring."""
        has = context.versions
        tried = {"ultralytics": "8.4.190"}
        for name, version in tried.items():
            if name == context.profile.backend and has.get(name, version) != version:
                what = f"{name} {has[name]}; deploytk overrides parts of {version} that are not documented"
                yield Said(where="environment", what=what, fix=f"pip install {name}=={version}")
        if has.get("datasets", "4").startswith(("1.", "2.")) and "transformers" in has:
            what = f"datasets {has['datasets']} breaks the import of transformers' trainers with a newer pyarrow"
            yield Said(where="environment", what=what, fix="pip install 'datasets>=4,<5.2'")


RULES: tuple[type[Rule], ...] = (
    LearningRate, WarmupBias, BatchOfOne, Precision, Techniques, Warmup, Accumulation, MetricNames, Memory, Disk,
    GpuInUse, Loaders, Versions,
)  # fmt: skip


def scaler_problem(precision: str, trainable: frozenset[str]) -> str:
    """Why mixed precision cannot train parameters of these dtypes, or the empty string.

    fp16 scales the loss, and the scaler refuses gradients that are themselves half precision
    (`_amp_foreach_non_finite_check_and_unscale_cuda not implemented for 'BFloat16'`; on a CPU it passes, so that only
    this rule finds it before minutes of loading).

    Args:
        precision: fp32, bf16 or fp16.
        trainable: dtypes of the parameters with gradients: float32, bfloat16, float16.
    """
    half = sorted(trainable & {"bfloat16", "float16"})
    if precision == "fp16" and half:
        are = " and ".join(half)
        return f"precision fp16 scales the loss, and the trainable parameters are {are}: use bf16, or fp32 parameters"
    return ""
