"""The report on an ensemble: each model alone, all as one, and whether that is worth what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from deploytk.budget import Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PARITY, EXIT_PASS
from deploytk.files import write_json
from deploytk.measurement import Machine
from deploytk.report import Report

T = TypeVar("T")
_EXITS = {"pass": EXIT_PASS, "fail": EXIT_PARITY, "inconclusive": EXIT_INCONCLUSIVE}
_STATUS = {"better": "pass", "worse": "fail", "not told apart": "inconclusive"}
#: Fewer samples show nothing.
_FEW = 10


def once(found: Sequence[T], sha256: Callable[[T], str], where: Callable[[T], str]) -> tuple[list[T], list[str]]:
    """(the models, each once; what is to be said of those that came twice)."""
    first: dict[str, T] = {}
    notes = []
    for one in found:
        kept = first.setdefault(sha256(one), one)
        if kept is not one:
            notes.append(f"{where(one)} is the same model as {where(kept)}, and counts once")
    return list(first.values()), notes


def report_of(told: dict[str, Any], title: str, out: Path | None) -> Report:
    """The report on what `ensemble_text.combined` or `ensemble_images.combined` found; OUT/ensemble.json says it too.

    Better than the best single model passes, worse fails; what cannot be told apart, and one model alone, is
    inconclusive: the same is to be had for less.
    """
    if out is not None:
        write_json(out / "ensemble.json", {"schema": 1, **told})
    verdict = _verdict(told)
    return Report(
        command="ensemble",
        title=title,
        verdict=verdict,
        exit_code=_EXITS[verdict.status],
        machine=Machine.this(),
        sections={"ensemble": told},
    )


def _verdict(told: Mapping[str, Any]) -> Verdict:
    systems: Sequence[Mapping[str, Any]] = told["systems"]
    notes = tuple(f"{note[0].upper() if note[1].islower() else note[0]}{note[1:]}." for note in told["notes"])
    if told["passthrough"]:
        alone = (
            f"One model: {systems[0]['name']}. Its answers are passed through unchanged, nothing was combined; "
            "an ensemble needs two different models, or --tta."
        )
        return Verdict(status="inconclusive", reasons=(alone, *notes))
    apart, whole = told["difference"], told["ensemble"]
    best = next(one for one in systems if one["name"] == apart["to"])
    reason = (
        f"{told['metric']} {whole['score']:.3f} on {told['samples']} samples, {apart['mean']:+.3f} "
        f"({apart['low']:+.3f} to {apart['high']:+.3f}) beside the best single model, {best['name']} "
        f"({best['score']:.3f}): {apart['told']}"
    )
    if told["samples"] < _FEW:
        return Verdict(status="inconclusive", reasons=(f"{reason}; fewer than {_FEW} samples show nothing.", *notes))
    status: Any = _STATUS[apart["told"]]
    return Verdict(status=status, reasons=(f"{reason}.", *_cost(whole, best), *notes))


def _cost(whole: Mapping[str, Any], best: Mapping[str, Any]) -> tuple[str, ...]:
    if not (whole["ms_per_sample"] and best["ms_per_sample"]):
        return ()
    times = whole["ms_per_sample"] / best["ms_per_sample"]
    return (
        f"A sample takes {whole['ms_per_sample']:.3g} ms, {times:.2f} times what {best['name']} takes alone "
        f"({best['ms_per_sample']:.3g} ms).",
    )
