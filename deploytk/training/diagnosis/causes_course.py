"""Causes in how the training went: memory, errors, epochs wasted after the fall, too few epochs, overfitting."""

from __future__ import annotations

import math
from typing import Any

from deploytk.training.diagnosis import shape
from deploytk.training.diagnosis.case import WENT_WRONG, Case, Cause, Found, memory_gib, seen
from deploytk.training.diagnosis.ending import stopped_by_patience
from deploytk.training.diagnosis.values import Evidence
from deploytk.training.diagnosis.verdict import Word

#: The driver and CUDA's context need the rest.
_USABLE = 0.97
#: Epochs after the best one that are worth a word.
_WASTED, _WASTED_SHARE = 8, 0.3


class DIA005(Cause):
    """More GPU memory was in use than the device has: it was swapped to the host's."""

    code = "DIA005"

    @staticmethod
    def look(case: Case) -> Found | None:
        used = case.curves.series("gpu_mem_gib").best()
        device = next((n for n in case.curves.said("device") if n.value), None)
        if used is None or device is None or device.value is None:
            return None
        total = memory_gib(device.value)
        if used.value <= _USABLE * total:
            return None
        said = f"{used.value:.3g} GiB of the {total:.3g} GiB that the device has"
        row = Evidence(where=used.where, text=f"epoch {used.epoch:g}: GPU_mem {used.value:.3g} GiB")
        return Found(said=said, evidence=(row, *seen(device)), score=0.65, patch=smaller(case))


class DIA015(Cause):
    """Memory ran out."""

    code = "DIA015"

    @staticmethod
    def look(case: Case) -> Found | None:
        notes = list(case.curves.said("oom"))
        if not notes:
            return None
        fatal = any(n.fatal for n in notes)
        patch = {**smaller(case), "guard": {"oom": "halve"}}
        said = f"{len(notes)} time{'s' if len(notes) > 1 else ''}" + (", and that ended it" if fatal else "")
        return Found(said=said, evidence=seen(*notes[:3]), score=0.9 if fatal else 0.4, patch=patch)


class DIA006(Cause):
    """The metric collapsed before the first NaN: NaN is the end of it, not the cause."""

    code = "DIA006"
    words = WENT_WRONG

    @staticmethod
    def look(case: Case) -> Found | None:
        broke, bad = case.diagnosis.broke, case.diagnosis.first_bad
        if broke is None or bad is None or not broke.epoch < bad.epoch or not math.isfinite(broke.value):
            return None
        said = f"the metric was at {broke.value:.3g} in epoch {broke.epoch:g}, the first NaN came in {bad.epoch:g}"
        shown = Evidence(where=broke.where, text=f"epoch {broke.epoch:g}: {broke.value:.4g}")
        evidence = (shown, Evidence(where=bad.where, text=f"epoch {bad.epoch:g}: the first that is not finite"))
        guard = {"collapse": "rollback", "nan": "rollback"}
        patch = {**case.slower(), "guard": guard}
        return Found(said=said + ": watch the metric too", evidence=evidence, score=0.6, patch=patch)


class DIA008(Cause):
    """Most of the training came after its best epoch."""

    code = "DIA008"
    words = WENT_WRONG

    @staticmethod
    def look(case: Case) -> Found | None:
        metric = case.curves.metric()
        best = metric.best() if metric else None
        if best is None or case.curves.unit == "step":
            return None
        last = case.curves.rows[-1]
        wasted = last.epoch - best.epoch
        if wasted < _WASTED or wasted < _WASTED_SHARE * len(case.curves.rows):
            return None
        patience = case.whole("patience")
        stopped = f"; patience {patience} ended it" if stopped_by_patience(case.curves) else ""
        said = f"best in epoch {best.epoch:g}, over in {last.epoch:g}: {wasted:g} epochs were wasted{stopped}"
        evidence = (Evidence(where=best.where, text=f"epoch {best.epoch:g}: {best.value:.4g}"),)
        train = {"patience": max(5, min(int(wasted) // 2, patience // 2 if patience else 50))}
        patch = {"train": train, "guard": {"collapse": "rollback"}}
        return Found(said=said, evidence=(*evidence, *case.told("patience")), score=0.25, patch=patch)


class DIA012(Cause):
    """The network learns the training images by heart: validation gets worse while training gets better."""

    code = "DIA012"
    words = frozenset[Word]({"degraded"})

    @staticmethod
    def look(case: Case) -> Found | None:
        val, train = shape.of(case.curves.loss("val")), shape.of(case.curves.loss("train"))
        if val is None or train is None or len(val.values) < 5 or not (val.peak < 0 and train.peak < 0):
            return None
        # Losses are turned round: both peaks are their lowest.
        if val.end / val.peak < 1.15 or train.end / train.peak > 1.05:
            return None
        said = f"validation loss {-val.peak:.3g} (epoch {val.best.epoch:g}) to {-val.end:.3g}, training still falls"
        best = Evidence(where=val.best.where, text=f"epoch {val.best.epoch:g}: val loss {-max(val.values):.4g}")
        last = Evidence(where=val.points[-1].where, text=f"epoch {val.points[-1].epoch:g}: {-val.values[-1]:.4g}")
        decay = 2 * (case.number("weight_decay") or 5e-4)
        patch = {"train": {"weight_decay": decay, "patience": 5, "mosaic": 1.0}}
        return Found(said=said, evidence=(best, last), score=0.85, patch=patch, advice="more data, or a smaller model")


class DIA013(Cause):
    """The training was over before it had learned what it could."""

    code = "DIA013"
    words = frozenset[Word]({"early_stop"})

    @staticmethod
    def look(case: Case) -> Found | None:
        last = case.curves.rows[-1] if case.curves.rows else None
        epochs = case.whole("epochs") or (int(last.epoch) + 1 if last and case.curves.unit == "epoch" else None)
        if last is None or epochs is None or not 1 <= epochs < 10**6:
            return None
        short = case.curves.planned is not None and last.epoch + 1 < case.curves.planned
        wanted = epochs if short else 2 * epochs
        said = f"ended with {case.curves.unit} {last.epoch:g} of {case.curves.planned:g}" if short else ""
        said = said or f"{epochs} epochs were too few"
        advice = "go on with: deploytk train PROFILE --resume --epochs N" if case.curves.kind == "run" else ""
        patch = {"train": {"epochs": wanted}}
        return Found(said=said, evidence=case.told("epochs"), score=0.8, patch=patch, advice=advice)


class DIA017(Cause):
    """The process ended with an error."""

    code = "DIA017"
    words = frozenset[Word]({"failed", "collapsed"})

    @staticmethod
    def look(case: Case) -> Found | None:
        wrong = [n for n in case.curves.said("error", "killed", "traceback") if n.fatal]
        named = [n for n in wrong if n.kind != "traceback"]
        if not wrong or (not named and any(case.curves.said("oom"))):
            return None
        said = (named or wrong)[-1].text
        return Found(said=said, evidence=seen(*wrong[-4:]), score=0.7, advice="mend what the error names")


def smaller(case: Case) -> dict[str, Any]:
    """A patch that needs about half of the memory: half the batch and as many images per step, or smaller images."""
    batch, imgsz = case.whole("batch"), case.whole("imgsz")
    if batch is not None and batch > 1:
        return {"train": {"batch": batch // 2, "effective_batch": max(batch, case.whole("effective_batch") or 0)}}
    size = max(32, int((imgsz or 640) * 0.7) // 32 * 32)
    return {"train": {"imgsz": size}}


CAUSES: tuple[type[Cause], ...] = (DIA005, DIA006, DIA008, DIA012, DIA013, DIA015, DIA017)
