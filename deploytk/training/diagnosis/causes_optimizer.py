"""Causes in how steps are taken: learning rate, optimizer, warm-up, batch, clipping, number format."""

from __future__ import annotations

import math

from deploytk.training.diagnosis.case import WENT_WRONG, Case, Cause, Found
from deploytk.training.diagnosis.values import Evidence
from deploytk.training.diagnosis.verdict import Word

#: Above these a learning rate is a fault for most networks trained for more than a few steps.
_TOO_HIGH_ADAM, _TOO_HIGH_SGD = 0.005, 0.05
#: Below these nothing is learned in the usual number of epochs.
_TOO_LOW_ADAM, _TOO_LOW_SGD = 1e-6, 1e-5
#: Ultralytics clips gradients to this norm, always (trainer.py, optimizer_step).
_ULTRALYTICS_CLIP = 10.0


class DIA001(Cause):
    """The learning rate is too high for the optimizer."""

    code = "DIA001"
    words = WENT_WRONG

    @staticmethod
    def look(case: Case) -> Found | None:
        limit = _TOO_HIGH_ADAM if case.adam else _TOO_HIGH_SGD
        lr = case.lr
        if lr is None or lr < limit or case.optimizer == "auto":
            return None
        name = case.optimizer or "the optimizer"
        why = "an adaptive optimizer takes steps of about that size" if case.adam else "even SGD"
        said = f"lr {lr:g} with {name} ({why}; usual: {'0.0005 to 0.002' if case.adam else '0.01'})"
        warm = max(5.0, case.number("warmup_epochs") or 0.0)
        patch = case.slower(warmup_epochs=warm, warmup_bias_lr=0.0)
        return Found(said=said, evidence=case.told("optimizer", "lr0"), score=0.95, patch=patch)


class DIA002(Cause):
    """`optimizer: auto` chooses its own learning rate and ignores lr0."""

    code = "DIA002"

    @staticmethod
    def look(case: Case) -> Found | None:
        notes = [*case.curves.said("auto_lr"), *case.curves.said("chosen_lr")]
        if case.optimizer != "auto" and not any(n.kind == "auto_lr" for n in notes):
            return None
        lr, asked = case.lr, case.number("lr0")
        said = f"lr0 {f'{asked:g} ' if asked else ''}was not used" + (f", {lr:g} was" if lr else "")
        evidence = (*case.told("optimizer", "lr0"), *(Evidence(where=n.where, text=n.text) for n in notes[:2]))
        return Found(said=said, evidence=evidence, score=0.35, patch=case.slower(by=1.0))


class DIA003(Cause):
    """The warm-up begins with a learning rate far above the rest (warmup_bias_lr)."""

    code = "DIA003"
    words = WENT_WRONG

    @staticmethod
    def look(case: Case) -> Found | None:
        if not case.curves.rows:
            return None
        first = case.curves.rows[0]
        rates = {n: v for n, v in first.values.items() if n.startswith("lr/") and math.isfinite(v)}
        bias = case.number("warmup_bias_lr") or 0.0
        top = max(rates, key=lambda n: rates[n], default="")
        if not (rates and rates[top] > max(0.02, 5 * min(rates.values()))) and bias < 0.05:
            return None
        broke = case.diagnosis.broke or case.diagnosis.first_bad
        soon = broke is not None and broke.epoch - first.epoch < 5
        if not (case.adam or soon):
            return None  # with SGD that is how YOLOv5 and YOLOv8 always begin
        logged = (Evidence(where=first.where, text=f"epoch {first.epoch:g}: {top} {rates[top]:g}"),) if rates else ()
        said = f"biases began with lr {max([bias, *rates.values()]):g}" + (f", with {case.optimizer}" * case.adam)
        patch = {"train": {"warmup_bias_lr": 0.0, "warmup_epochs": 5.0}}
        score = 0.7 if soon else 0.5
        return Found(said=said, evidence=(*case.told("warmup_bias_lr"), *logged), score=score, patch=patch)


class DIA004(Cause):
    """A batch of one or two images makes gradients and BatchNorm statistics of chance."""

    code = "DIA004"
    words = WENT_WRONG

    @staticmethod
    def look(case: Case) -> Found | None:
        batch = case.whole("batch")
        if batch is None or batch > 2:
            return None
        imgsz = case.whole("imgsz")
        size = {"imgsz": max(32, imgsz // 2 // 32 * 32)} if imgsz and imgsz >= 1024 else {}
        gathered = max(16, case.whole("nbs") or 0, case.whole("effective_batch") or 0)
        patch = {"train": {"batch": 4, "effective_batch": gathered, **size}}
        said = f"batch {batch}" + (f" at {imgsz} px: smaller images leave room for more of them" if size else "")
        return Found(said=said, evidence=case.told("batch", "imgsz", "nbs"), score=0.75, patch=patch)


class DIA007(Cause):
    """Gradient clipping cannot repair NaN: the norm is NaN too, and so is everything scaled by it."""

    code = "DIA007"
    words = WENT_WRONG

    @staticmethod
    def look(case: Case) -> Found | None:
        if not case.troubled_by_nan:
            return None
        told = case.curves.setting("clip_norm")
        guard = {"nan": "rollback", "collapse": "rollback"}
        if told == 0:
            patch = {"train": {"clip_norm": _ULTRALYTICS_CLIP}, "guard": guard}
            return Found(said="gradients were not clipped", evidence=case.told("clip_norm"), score=0.6, patch=patch)
        norm = case.number("clip_norm") or _ULTRALYTICS_CLIP
        whose = "" if told else " (Ultralytics always does)"
        if not told and not any(n.startswith("train/box") for n in case.curves.names("train/")):
            return None
        said = f"gradients were clipped to {norm:g} already{whose}: more clipping will not help, going back will"
        return Found(said=said, evidence=case.told("clip_norm"), score=0.2, patch={"guard": guard, **case.slower()})


class DIA014(Cause):
    """Half precision (AMP, fp16) overflows where fp32 does not."""

    code = "DIA014"
    words = WENT_WRONG

    @staticmethod
    def look(case: Case) -> Found | None:
        if not case.mixed or not (case.troubled_by_nan or any(case.curves.said("hidden_nan"))):
            return None
        evidence = case.told("amp", "fp16", "precision")
        return Found(said="trained in fp16", evidence=evidence, score=0.55, patch={"train": {"precision": "fp32"}})


class DIA016(Cause):
    """Losses of exactly 0.0 hide NaN (`logging_nan_inf_filter` of Hugging Face's Trainer)."""

    code = "DIA016"

    @staticmethod
    def look(case: Case) -> Found | None:
        hidden = list(case.curves.said("hidden_nan"))
        if not hidden:
            return None
        evidence = tuple(Evidence(where=n.where, text=n.text) for n in (hidden[0], hidden[-1]))
        patch = {"guard": {"nan": "rollback"}, **case.slower()}
        advice = "set logging_nan_inf_filter=False in TrainingArguments: deploytk's guard sees NaN at once"
        return Found(said=f"{len(hidden)} of them", evidence=evidence, score=0.8, patch=patch, advice=advice)


class DIA018(Cause):
    """The learning rate is too low to learn anything in so many epochs."""

    code = "DIA018"
    words = frozenset[Word]({"never_learned"})

    @staticmethod
    def look(case: Case) -> Found | None:
        lr, limit = case.lr, _TOO_LOW_ADAM if case.adam else _TOO_LOW_SGD
        if lr is None or lr > limit or case.troubled_by_nan:
            return None
        said = f"lr {lr:g} with {case.optimizer or 'the optimizer'}"
        return Found(said=said, evidence=case.told("optimizer", "lr0"), score=0.7, patch=case.slower(by=100.0))


class DIA019(Cause):
    """The steps were too large for this network and data: what a sudden fall most often means."""

    code = "DIA019"
    words = frozenset[Word]({"collapsed", "degraded", "never_learned"})

    @staticmethod
    def look(case: Case) -> Found | None:
        sudden = case.diagnosis.word == "collapsed" or case.troubled_by_nan
        if not sudden or DIA001.look(case) is not None:
            return None
        lr = f"lr {case.lr:g}" if case.lr else "the learning rate is not in the log"
        guard = {"nan": "rollback", "collapse": "rollback"}
        patch = {**case.slower(), "guard": guard}
        return Found(said=f"{lr}; nothing else explains it", evidence=case.told("lr0"), score=0.3, patch=patch)


CAUSES: tuple[type[Cause], ...] = (DIA001, DIA002, DIA003, DIA004, DIA007, DIA014, DIA016, DIA018, DIA019)
