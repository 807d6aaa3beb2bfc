"""Two runs whose models are still there, measured again side by side: what two runs apart cannot tell, pairs can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploytk.budget import Budget, Verdict
from deploytk.errors import InputError
from deploytk.files import sha256_of
from deploytk.report import Report
from deploytk.report.points import Point
from deploytk.stages.bench import artifact_of, spec_of
from deploytk.stages.bench_compare import Contender, compare, status_of
from deploytk.worker import Listener

Row = dict[str, Any]


def measured_again(
    runs: tuple[Report, Report],
    pairs: Sequence[tuple[Point, Point]],
    *,
    tolerance: float,
    confidence: float,
    time_limit_s: float,
    out: Path,
    listen: Listener | None = None,
) -> list[Row]:
    """The rows of `bench --compare` for each pair of points, the second run's model over the first one's.

    Args:
        runs: the reports of the first and the second run.
        confidence: of all intervals together (Bonferroni).
        time_limit_s: for all pairs together.
        out: folder for the logs of the children.

    Raises:
        InputError: a model's file is not there any more or is another one, or what was measured is not a model's run
            alone.
    """
    budget = (runs[1].budget or Budget()).model_copy(update={"confidence": 1 - (1 - confidence) / len(pairs)})
    if any((r.budget or budget).boundary != "model" for r in runs):
        raise InputError("only what was measured at the boundary model can be measured again; bench both anew")
    found = []
    for number, pair in enumerate(pairs):
        contenders = [_contender(run, point) for run, point in zip(runs, pair, strict=True)]
        told = compare(
            contenders,
            budget=budget,
            batches=[pair[0].batch],
            tolerance=tolerance,
            time_limit_s=time_limit_s / len(pairs),
            out=out / f"pair{number}",
            listen=listen,
        )
        [row] = told.sections["ratio"]["rows"]
        found.append(row | {"series": pair[1].series, "batch": pair[1].batch, "what": "side by side"})
    return found


def _contender(run: Report, point: Point) -> Contender:
    """The model of a point, if its file is still what was measured then."""
    measured = point.measurement
    sha256 = measured.artifact_sha256 if measured else ""
    known = {a.sha256: a.path for a in (*run.chain, *([run.artifact] if run.artifact else []))}
    path = known.get(sha256)
    if path is None or not path.is_file() or sha256_of(path) != sha256:
        raise InputError(
            f"{path or point.artifact}: not there any more as it was measured; it cannot be measured again"
        )
    artifact = artifact_of(path)
    return Contender(artifact=artifact, spec=spec_of(artifact, runtime=point.runtime or None, threads=point.threads))


def verdict_of(rows: Sequence[Mapping[str, Any]], tolerance: float) -> Verdict:
    """The verdict of `bench --compare` on all pairs together, with a sentence for each."""
    return Verdict(status=status_of(rows, tolerance), reasons=tuple(map(_sentence, rows)))


def _sentence(row: Mapping[str, Any]) -> str:
    where = f"{row['series']} batch {row['batch']}, measured again side by side"
    if "ratio" not in row:
        return f"{where}: {row['verdict'].replace('_', ' ')}: {row['reason']}"
    interval = f"{row['low']:.3f} to {row['high']:.3f}, {row['rounds']} rounds"
    return f"{where}, is {row['verdict']}: {row['ratio']:.3f} times as long ({interval})."
