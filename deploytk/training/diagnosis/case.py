"""A training that is looked at for causes: its curves, its verdict, its settings in plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from deploytk.training.diagnosis.data_facts import DataFacts
from deploytk.training.diagnosis.values import Curves, Evidence, Note, Row
from deploytk.training.diagnosis.verdict import Diagnosis, Word

_MIB = 1024.0
#: No setting of a training is so large.
_ABSURD = 1e12
#: What an optimizer begins with where nothing else is known.
_USUAL = {"SGD": 0.01, "RMSProp": 0.001}
_NAMES = {
    "sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "nadam": "NAdam", "radam": "RAdam", "rmsprop": "RMSProp",
    "auto": "auto", "adamw_torch": "AdamW", "adamw_torch_fused": "AdamW", "adamw_hf": "AdamW",
}  # fmt: skip
BAD: frozenset[Word] = frozenset({"degraded", "collapsed", "never_learned", "failed"})
WENT_WRONG: frozenset[Word] = frozenset({"degraded", "collapsed", "never_learned"})


@dataclass(frozen=True, kw_only=True)
class Found:
    """A cause that fits: the sentence with its numbers, what shows it, how likely, what to change."""

    said: str
    evidence: tuple[Evidence, ...] = ()
    score: float  # 0 to 1: for the order
    patch: Mapping[str, Any] = field(default_factory=dict)  # of a profile, nested
    advice: str = ""  # what no profile can change


class Cause:
    """What one cause has: a code, the verdicts it can explain, and `look`. The docstring is the sentence."""

    code: ClassVar[str]
    words: ClassVar[frozenset[Word]] = BAD

    @staticmethod
    def look(case: Case) -> Found | None:
        """The cause with its evidence, None where nothing speaks for it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything a cause may look at."""

    curves: Curves
    diagnosis: Diagnosis
    data: DataFacts | None = None

    @property
    def optimizer(self) -> str:
        """SGD, AdamW ..., auto, or "" where it is not known."""
        told = str(self.curves.setting("optimizer") or "")
        return _NAMES.get(told.lower(), "")

    @property
    def adam(self) -> bool:
        """Whether steps are scaled by the gradients' size, so that lr0 is the size of a step itself."""
        return self.optimizer in ("Adam", "AdamW", "NAdam", "RAdam", "RMSProp")

    @property
    def lr(self) -> float | None:
        """The learning rate that was in effect: lr0, or what `auto` chose; the highest logged where neither is known.

        The first group alone: others (biases) warm up from above.
        """
        if self.optimizer != "auto" and (told := self.number("lr0")):
            return told
        chosen = next((n.value for n in self.curves.said("chosen_lr") if n.value), None)
        logged = [p.value for p in self.curves.series("lr/0").finite()]
        return chosen or max(logged, default=None)

    def number(self, name: str) -> float | None:
        """A setting that is a finite number above zero."""
        value = self.curves.setting(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if 0 < value < _ABSURD else None  # also where it is NaN

    def whole(self, name: str) -> int | None:
        """A setting that is a whole number above zero, of at most six digits."""
        value = self.number(name)
        return int(value) if value is not None and value == int(value) and value < 1e6 else None

    @property
    def mixed(self) -> bool:
        """Whether it was trained with fp16 on a GPU, as far as is known."""
        if str(self.curves.setting("device") or "") == "cpu":
            return False
        told = self.curves.setting("precision")
        return told == "fp16" or self.curves.setting("fp16") is True or self.curves.setting("amp") is True

    @property
    def not_finite(self) -> list[Row]:
        """The rows with NaN or infinity."""
        return [row for row in self.curves.rows if row.bad()]

    @property
    def troubled_by_nan(self) -> bool:
        """Whether NaN is part of the story."""
        return bool(self.not_finite) or any("nan" in n.text.lower() for n in self.curves.said("trouble", "error"))

    def told(self, *names: str) -> tuple[Evidence, ...]:
        """The settings of these names, as evidence."""
        found = [(name, self.curves.settings[name]) for name in names if name in self.curves.settings]
        return tuple(Evidence(where=s.where, text=f"{name}: {s.value}") for name, s in found)

    def slower(self, by: float = 0.1, **more: Any) -> dict[str, Any]:
        """A patch with a lower learning rate and an optimizer that takes it; `auto` would ignore it."""
        optimizer = self.optimizer if self.optimizer not in ("", "auto") else "SGD"
        lr = self.lr if self.lr is not None and self.optimizer == optimizer else _USUAL.get(optimizer, 0.001)
        if self.optimizer in ("", "auto") and self.lr is not None:
            lr = min(lr, self.lr)
        return {"train": {"optimizer": optimizer, "lr0": float(f"{lr * by:.3g}"), **more}}


def seen(*notes: Note) -> tuple[Evidence, ...]:
    """Notes as evidence."""
    return tuple(Evidence(where=n.where, text=n.text) for n in notes)


def memory_gib(mib: float) -> float:
    """MiB as GiB."""
    return mib / _MIB
