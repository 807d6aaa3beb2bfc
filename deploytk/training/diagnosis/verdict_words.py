"""The sentences of a verdict: values with their epochs, the lines they stand in, how far training came."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deploytk.training.diagnosis.ending import stopped_by_patience
from deploytk.training.diagnosis.values import Curves, Evidence, Point, Row, Series, Unit


def at(point: Point, unit: Unit) -> str:
    """`epoch 13`."""
    return f"{unit} {point.epoch:g}"


def value_at(point: Point, unit: Unit) -> str:
    """`0.764 (epoch 9)`."""
    return f"{point.value:.4g} ({at(point, unit)})"


def named(series: Series) -> str:
    """The bare name of a quantity."""
    return series.name.removeprefix("metric/")


def counted(count: int, unit: Unit) -> str:
    """`1 epoch`, `3 epochs`; of steps, that they are evaluations."""
    what = unit if unit == "epoch" else "evaluation"
    return f"{count} {what}{'' if count == 1 else 's'}"


def seen(series: Series, point: Point) -> tuple[Evidence, ...]:
    """The lines that show it: the best, what led to `point`, and the last."""
    points, best = series.points, series.best()
    here = points.index(point) if point in points else len(points) - 1
    near = {max(0, here - 1), here, min(here + 1, len(points) - 1), len(points) - 1}
    if best is not None:
        near.add(points.index(best))
    told = [(points[i], " (the best)" if points[i] is best else "") for i in sorted(near)]
    return tuple(Evidence(where=p.where, text=f"epoch {p.epoch:g}: {named(series)} {p.value:.4g}{m}") for p, m in told)


def bad_row(row: Row, unit: Unit) -> str:
    """What is NaN or infinite in a row."""
    bad = row.bad()
    told = ", ".join(f"{name} {row.values[name]}" for name in bad[:4])
    return f"{unit} {row.epoch:g}: {told}" + (f" and {len(bad) - 4} more" if len(bad) > 4 else "")


def ends(rows: Sequence[Row]) -> list[Row]:
    """The first and the last of some rows."""
    return [rows[0], rows[-1]] if len(rows) > 1 else list(rows)


def context(curves: Curves, bad: Sequence[Row]) -> tuple[str, ...]:
    """What else is worth a sentence: how far training came, and what was not finite."""
    told = []
    if curves.rows:
        told.append(_reached(curves))
    if bad:
        columns = len({name for row in bad for name in row.bad()})
        went = "went away" if bad[-1] is not curves.rows[-1] else "lasted to the end"
        rows = f"{len(bad)} of {len(curves.rows)} rows hold NaN or infinity in {columns} columns"
        told.append(f"{rows}, from {curves.unit} {bad[0].epoch:g} to {bad[-1].epoch:g}; it {went}")
    return tuple(told)


def _reached(curves: Curves) -> str:
    last, unit = curves.rows[-1], curves.unit
    done = f"the log has {len(curves.rows)} rows and ends with {unit} {last.epoch:g}"
    if curves.planned is None or not math.isfinite(curves.planned):
        return done
    first = 1 if unit == "epoch" and curves.rows[0].epoch == 0 else 0
    if last.epoch + first >= curves.planned:
        return f"{done}: all {curves.planned:g} {unit}s were trained"
    if (best := stopped_by_patience(curves)) is not None:
        patience = curves.setting("patience")
        return f"{done} of {curves.planned:g}: patience {patience} after the best, {at(best, unit)}"
    return f"{done} of {curves.planned:g}: interrupted, stopped early, or still going on"
