"""What `deploytk optimize` chooses among, and what it knows of each: plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict

#: Targets that no host can run: their time is a compiler's estimate, and never ranked with measured ones.
ESTIMATED = frozenset({"npu"})
#: What a user has without any of this: the float ONNX in ONNX Runtime.
DEFAULT = ("onnx", "fp32")

#: open: still in the race. The others say why it is not, or how far it came.
Status = Literal[
    "open", "chosen", "over budget", "slower", "estimated", "lost accuracy", "too slow", "refused", "not tried"
]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model that can be deployed: for a target, in a precision, at an image size in pixels.

    `preprocess` is what of the preparation is inside the graph.
    """

    target: str
    precision: str
    imgsz: int
    preprocess: Literal["out", "normalise"] = "out"

    @property
    def name(self) -> str:
        """`openvino int8 320 px, normalised inside`."""
        inside = "" if self.preprocess == "out" else ", normalised inside"
        return f"{self.target} {self.precision} {self.imgsz} px{inside}"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a runtime is asked to run a model. None and no options: as the runtime itself chooses."""

    threads: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`2 threads, hint=throughput`, or the empty string."""
        threads = [f"{self.threads} thread{'' if self.threads == 1 else 's'}"] if self.threads else []
        return ", ".join([*threads, *(f"{name}={value}" for name, value in self.options.items())])


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of a variant: the artifact with its history, and its metric.

    `artifact` is None where none is good enough: then `reason` says why, and the rest is of the attempt that lost
    least.
    """

    artifact: Artifact | None
    metric: float | None = None
    size_bytes: int | None = None
    chain: tuple[Artifact, ...] = ()
    how: str = ""  # of INT8: "3 layers in float"
    reason: str = ""
    p50_ms: float | None = None  # of an attempt that was not taken


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a clock (or a compiler) says of one candidate, in ms per call of its batch.

    `ratio` is how many times as long it takes per item as the default, within the same rounds, with its interval.
    """

    p50_ms: float
    judged_ms: float  # the percentile of the budget
    samples: int = 0
    kind: Literal["look", "final", "estimated"] = "look"
    verdict: Verdict | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    word: str = ""  # slower, faster, undecided
    tied: bool = False  # cannot be told from the fastest one that may be chosen


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A variant at one batch size, with the setting it runs best with, and what is known of it so far."""

    variant: Variant
    batch: int = 1
    setting: Setting = field(default_factory=Setting)
    status: Status = "open"
    why: str = ""
    look_ms: float | None = None  # of the float model of this target and size, per call
    metric: float | None = None  # of the model, or of the trained one at this image size
    drop: float | None = None
    made: Made | None = None
    timing: Timing | None = None

    @property
    def key(self) -> str:
        """`openvino int8 320 px, batch 4`: unique among the candidates before their settings are chosen."""
        return self.variant.name + (f", batch {self.batch}" if self.batch > 1 else "")

    @property
    def name(self) -> str:
        """`openvino int8 320 px, batch 4, 2 threads`: what differs from a batch of one as the runtime chooses."""
        return ", ".join([self.key, *([self.setting.name] if self.setting.name else [])])

    @property
    def is_estimated(self) -> bool:
        """Whether only a compiler knows its time."""
        return self.variant.target in ESTIMATED

    @property
    def per_item_ms(self) -> float:
        """The typical time of one item; infinite where nothing is known."""
        return self.timing.p50_ms / self.batch if self.timing else float("inf")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is searched, and for what. `allowed` of `metric`, 0..1, may be lost; `imgsz` is the trained size."""

    budget: Budget
    allowed: float
    targets: Sequence[str]
    precisions: Sequence[str]
    sizes: Sequence[int]
    batches: Sequence[int]
    threads: int | Literal["auto"] | None
    time_limit_s: float
    imgsz: int
    metric: str

    def limit_ms(self, batch: int) -> float:
        """What a call of this batch size may take."""
        return self.budget.latency_ms * (batch if self.budget.per == "item" else 1)

    @property
    def only_estimates(self) -> bool:
        """Whether no target that was asked for can be measured."""
        return set(self.targets) <= ESTIMATED

    @property
    def default(self) -> Variant:
        """What every other one is compared with; always among the candidates."""
        target, precision = DEFAULT
        return Variant(target=target, precision=precision, imgsz=self.imgsz)

    def variants(self, known: Mapping[str, Sequence[str]]) -> list[Variant]:
        """The default, then every other combination that exists.

        Args:
            known: target -> the precisions it has.
        """
        every = [
            Variant(target=target, precision=precision, imgsz=size, preprocess=preprocess)
            for preprocess in self.graphs
            for target in self.targets
            for precision in self.precisions
            for size in self.sizes
            if precision in known[target] and (preprocess == "out" or target not in ESTIMATED)
        ]
        return list(dict.fromkeys([self.default, *every]))

    @property
    def graphs(self) -> tuple[Literal["out", "normalise"], ...]:
        """What of the preparation is tried inside the graph: what stands before the model counts end to end only."""
        return ("out", "normalise") if self.budget.boundary == "end_to_end" else ("out",)
