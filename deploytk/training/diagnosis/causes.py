"""The causes that fit a training, the likeliest first. Each cause is a small class; its docstring is the sentence."""

from __future__ import annotations

from dataclasses import dataclass

from deploytk.training.diagnosis import causes_course, causes_data, causes_optimizer
from deploytk.training.diagnosis.case import Case, Cause, Found

CAUSES: tuple[type[Cause], ...] = tuple(
    sorted((*causes_optimizer.CAUSES, *causes_course.CAUSES, *causes_data.CAUSES), key=lambda cause: cause.code)
)


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A cause that fits."""

    code: str
    sentence: str
    found: Found


def ranked(case: Case) -> list[Ranked]:
    """What fits the verdict of this training, the likeliest first; nothing for a healthy one."""
    told = []
    for cause in CAUSES:
        found = cause.look(case) if case.diagnosis.word in cause.words else None
        if found is not None:
            told.append(Ranked(code=cause.code, sentence=(cause.__doc__ or "").strip(), found=found))
    return sorted(told, key=lambda r: -r.found.score)
