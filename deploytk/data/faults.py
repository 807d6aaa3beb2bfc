"""What is wrong with one labelled object, as a value: strict readers raise its sentence, the data check lists it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "count", "class", "outside", "area"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a label line or an object of an annotation cannot be used; `said` names neither file nor line."""

    kind: Kind
    said: str
