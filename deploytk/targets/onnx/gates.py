"""What no INT8 model may be: not quantized at all, run in float, or with outputs that say nothing any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.errors import ParityFailed
from deploytk.runtimes import onnx as runtime
from deploytk.targets.onnx import protos, qdq
from deploytk.targets.onnx.power import Power
from deploytk.targets.onnx.running import Feeds, values

#: How many images the two models are compared on, and how many of the worst layers are told.
_IMAGES, _TOLD = 4, 5
#: The float model's values vary when their spread is at least this share of the largest: for a score that is two or
#: three steps of the logits behind it.
_VARIES = 0.2
#: Sound kernels are within half a dB of what is written; saturating ones were 20 dB off (docs/int8.md).
_SATURATED_DB = 6.0


def require_integers(name: str, weighted: Sequence[str]) -> None:
    """Refuse a model without an operator in INT8."""
    if not weighted:
        raise ParityFailed(f"{name}: no operator is in INT8; keep fewer nodes in float, or deploy the float model")


def precision(path: Path) -> str:
    """What ONNX Runtime really computes in: "int8 (62 of 65 weighted operators), float32 (3)".

    Raises:
        ParityFailed: no operator runs in integers.
    """
    got = str(runtime.open_session(path, batch=None, threads=None).details["precision"])
    if not got.startswith("int8"):
        raise ParityFailed(f"{path.name}: INT8 was asked for, but ONNX Runtime runs it in {got}")
    return got


def compared(name: str, model: Any, made: Any, feeds: Feeds, *, exact: bool = False) -> dict[str, Any]:
    """How far the INT8 model is from the float one on the first images, and where.

    Args:
        exact: it is not this CPU's integer kernels that will run the model: they are not looked at.

    Returns:
        outputs_sqnr_db by output, as ONNX Runtime runs the model on this CPU; exact_sqnr_db, as it is written;
        worst_layers as it is written, the most distant first: node, tensor, sqnr_db.

    Raises:
        ParityFailed: an output with NaN or infinity, or one that holds a single value where the float model's vary;
            integer kernels that are far from what is written.
    """
    outputs = [o.name for o in model.graph.output]
    known = protos.makers(model)
    layers = {tensor: got for tensor, got in qdq.steps(made).items() if tensor in known and tensor not in outputs}
    powers = {tensor: Power() for tensor in (*outputs, *layers)}
    run, seen = {output: Power() for output in outputs}, {output: _Seen() for output in outputs}
    floats = values(model, list(powers), feeds, _IMAGES)
    written = values(made, [*outputs, *layers.values()], feeds, _IMAGES, exact=True)
    # Nothing but the outputs: a tensor that is looked at keeps its neighbours out of the integer kernels.
    ran_values = values(made, outputs, feeds, _IMAGES, exact=exact)
    for expected, as_written, got in zip(floats, written, ran_values, strict=True):
        for tensor, power in powers.items():
            power.take(expected[tensor], as_written[layers.get(tensor, tensor)])
        for output in outputs:
            run[output].take(expected[output], got[output])
            seen[output].take(expected[output], got[output])
    distances = {tensor: round(power.sqnr_db, 2) for tensor, power in powers.items()}
    worst = sorted(layers, key=lambda tensor: distances[tensor])[:_TOLD]
    told = [{"node": known[t].name, "tensor": t, "sqnr_db": distances[t]} for t in worst]
    for output in outputs:
        _require_alive(name, output, seen[output], run[output].sqnr_db, distances[output], told)
    ran = {output: round(power.sqnr_db, 2) for output, power in run.items()}
    return {"outputs_sqnr_db": ran, "exact_sqnr_db": {o: distances[o] for o in outputs}, "worst_layers": told}


@dataclass(kw_only=True)
class _Seen:
    """The extremes of each channel of an output, in float and in INT8."""

    finite: bool = True
    extremes: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, expected: np.ndarray, got: np.ndarray) -> None:
        """Count one more image."""
        self.finite = self.finite and bool(np.isfinite(got).all())
        for side, found in (("float", expected), ("int8", got)):
            rows = np.moveaxis(found, 1, 0).reshape(found.shape[1], -1) if found.ndim > 1 else found.reshape(1, -1)
            self._widen(f"{side} low", rows.min(axis=1), np.minimum)
            self._widen(f"{side} high", rows.max(axis=1), np.maximum)
            self.apart = found.ndim > 2

    def _widen(self, name: str, found: np.ndarray, by: Any) -> None:
        self.extremes[name] = by(self.extremes.get(name, found), found)

    def dead(self) -> list[int]:
        """The channels that are one value in INT8 though they vary in float; of a mere row only all or none."""
        low, high = self.extremes["float low"], self.extremes["float high"]
        varies = high - low > _VARIES * np.maximum(np.abs(low), np.abs(high))
        stuck = self.extremes["int8 low"] == self.extremes["int8 high"]
        if not self.apart and not stuck.all():
            return []
        return [int(channel) for channel in np.flatnonzero(varies & stuck)]


def _require_alive(
    name: str, output: str, seen: _Seen, run_db: float, exact_db: float, worst: list[dict[str, Any]]
) -> None:
    if not seen.finite:
        raise ParityFailed(f"{name}: output {output!r} holds NaN or infinity")
    require_unsaturated(name, output, run_db, exact_db)
    dead = seen.dead()
    if not dead:
        return
    told = ", ".join(str(channel) for channel in dead[:8]) + (", ..." if len(dead) > 8 else "")
    where = f"; the layer furthest off is {worst[0]['node']} ({worst[0]['sqnr_db']} dB)" if worst else ""
    raise ParityFailed(
        f"{name}: output {output!r} collapsed: channel {told} of {len(seen.extremes['int8 low'])} is one value where "
        f"the float model's vary{where}; keep it and what follows in float"
    )


def require_unsaturated(name: str, output: str, run_db: float, exact_db: float) -> None:
    """Refuse a model that ONNX Runtime's integer kernels compute much worse on this CPU than it is written."""
    if exact_db - run_db > _SATURATED_DB:
        raise ParityFailed(
            f"{name}: output {output!r} keeps {exact_db:.1f} dB as written, but {run_db:.1f} dB as ONNX Runtime runs "
            "it: sums of products saturate on this CPU; deploy the float model here"
        )
