"""The budget a model must meet, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_OVER_BUDGET, EXIT_PASS

Status = Literal["pass", "fail", "inconclusive"]


class Budget(BaseModel):
    """What "fast enough" means. Every number a verdict is given on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_ms: float = Field(50.0, gt=0, description="the percentile below must stay under this, in ms")
    percentile: float = Field(95.0, gt=0, lt=100, description="which percentile of the latency is judged")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="one-sided confidence of pass and of fail")
    per: Literal["batch", "item"] = Field("batch", description="the budget holds for a whole batch, or per item in it")
    boundary: Literal["model", "end_to_end"] = Field(
        "model", description="what is inside the clock: the model's run alone, or from the image file to the result"
    )
    max_accuracy_drop: float = Field(
        0.02, ge=0, le=1, description="metric lost between float and INT8, absolute (0.02 = 2 points of mAP50 or top-1)"
    )
    max_size_mb: float | None = Field(None, gt=0, description="largest file of the deployed model, in MB")
    max_memory_mb: float | None = Field(None, gt=0, description="largest peak memory of a bench process, in MB")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Pass, fail or inconclusive, and one sentence for each reason."""

    status: Status
    reasons: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, 3 or 4; a broken rule or a lost accuracy has a code of its own (see `deploytk.errors`)."""
        return {"pass": EXIT_PASS, "fail": EXIT_OVER_BUDGET, "inconclusive": EXIT_INCONCLUSIVE}[self.status]
