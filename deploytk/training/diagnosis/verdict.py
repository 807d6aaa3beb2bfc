"""How a training ended, in one word, judged by persistence and by the metric: NaN alone is no failure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from deploytk.training.diagnosis import shape, verdict_words
from deploytk.training.diagnosis.ending import stopped_by_patience
from deploytk.training.diagnosis.shape import Shape
from deploytk.training.diagnosis.values import Curves, Evidence, Point, Series
from deploytk.training.diagnosis.verdict_words import at, named

Word = Literal["healthy", "healthy_transient", "early_stop", "degraded", "collapsed", "never_learned", "failed"]

#: Half of the best, as the guard has it; from a best that has learned enough for "half" to mean something.
_HALF, _LEARNED = 0.5, 0.1
#: A metric that never got so far has learned nothing (mAP50-95, mAP50); few epochs cannot tell.
_NOTHING, _FEW, _TOO_FEW = {"mAP50_95": 0.01, "mAP50": 0.02}, 10, 5
#: A metric that rises from here on has begun to learn.
_STARTED = 0.002
#: The end lies so far below the peak, and so many standard deviations of the noise.
_WORSE, _SIGMAS = 0.15, 3.0
#: Overfitted: the validation loss is so many times its best while the metric has lost this much too.
_LOSS_UP, _LOST = 1.5, 0.05
#: Still rising: as many epochs again as the last third would add this share of the metric.
_RISING = 0.07
#: A loss so many times its lowest and above where it began has run away.
_RUNAWAY = 3.0


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The word, a sentence for each reason (the word first), and what was seen where."""

    word: Word
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()
    broke: Point | None = None  # where the metric had collapsed
    first_bad: Point | None = None  # the first row with NaN or infinity


def judge(curves: Curves) -> Diagnosis:
    """The diagnosis of a training; each question in turn, the worst first."""
    for question in (_failed, _collapsed, _never_learned, _frozen, _degraded, _early):
        found = question(curves)
        if found is not None:
            return _with_bad(found, curves)
    return _with_bad(_healthy(curves), curves)


def _said(word: Word, why: str, *evidence: Evidence, broke: Point | None = None) -> Diagnosis:
    return Diagnosis(word=word, reasons=(f"{word}: {why}",), evidence=evidence, broke=broke)


def _with_bad(found: Diagnosis, curves: Curves) -> Diagnosis:
    """The diagnosis with the rows that hold NaN or infinity, and how far training came."""
    rows = [row for row in curves.rows if row.bad()]
    seen = [Evidence(where=r.where, text=verdict_words.bad_row(r, curves.unit)) for r in verdict_words.ends(rows)]
    first = Point(epoch=rows[0].epoch, value=math.nan, where=rows[0].where) if rows else None
    reasons = (*found.reasons, *verdict_words.context(curves, rows))
    return Diagnosis(
        word=found.word, reasons=reasons, evidence=(*found.evidence, *seen), broke=found.broke, first_bad=first
    )


def _failed(curves: Curves) -> Diagnosis | None:
    fatal = [n for n in curves.notes if n.fatal]
    if fatal:
        seen = tuple(Evidence(where=n.where, text=n.text) for n in fatal[:5])
        told = next((n for n in reversed(fatal) if n.kind in ("error", "oom", "killed")), fatal[-1])
        return _said("failed", f"the log ends with an error: {told.text}", *seen)
    if curves.status == "failed":
        return _ended_badly(curves)
    if not curves.rows:
        if curves.status == "running":
            return _said("early_stop", f"not one epoch of {curves.source} has ended: it is going on, or was killed")
        return _said("failed", f"not one epoch is in {curves.source}: nothing was trained")
    return None


def _ended_badly(curves: Curves) -> Diagnosis:
    """A run of deploytk that gave up: collapsed where that is why."""
    trouble = list(curves.said("trouble"))
    seen = tuple(Evidence(where=n.where, text=n.text) for n in trouble[-3:])
    word: Word = "collapsed" if curves.ended in ("nan", "collapse") else "failed"
    return _said(word, curves.reason or "the training ended without a model", *seen)


def _collapsed(curves: Curves) -> Diagnosis | None:
    metric = curves.metric()
    if metric is None:
        return _ran_away(curves)
    found = shape.of(metric)
    if found is None:
        return None
    if (gone := _gone_bad(metric)) and found.peak >= _LEARNED:
        why = f"{named(metric)} has been NaN or infinite since {at(gone, curves.unit)}"
        return _said("collapsed", why, *verdict_words.seen(metric, gone), broke=gone)
    tail = _tail(found)
    if not tail:
        return None
    broke = found.points[-tail]
    why = f"{named(metric)} fell from {verdict_words.value_at(found.best, curves.unit)} to "
    why += f"{found.points[-1].value:.4g}; from {at(broke, curves.unit)} on it is below half of the best"
    return _said("collapsed", why, *verdict_words.seen(metric, broke), broke=broke)


def _tail(found: Shape) -> int:
    """How many of the last points make a collapse: two below half of the peak, or one that is all but gone."""
    half, tenth = found.below(_HALF * found.peak), found.below(0.1 * found.peak)
    if half == len(found.values):
        return 0
    fell = found.peak - max(found.values[-half:], default=0.0)
    if half and fell < _SIGMAS * found.noise_before(half):
        return 0
    if found.peak >= _LEARNED and (half >= 2 or (tenth == 1 and len(found.values) >= 5)):
        return half
    return half if found.peak >= 0.02 and tenth >= 3 else 0


def _gone_bad(series: Series, least: int = 2) -> Point | None:
    """The first of at least so many points at the end that are all NaN or infinite; None where the end is finite."""
    count = 0
    for point in reversed(series.points):
        if math.isfinite(point.value):
            break
        count += 1
    return series.points[-count] if least <= count < len(series.points) else None


def _ran_away(curves: Curves) -> Diagnosis | None:
    """A collapse of a log that has losses alone."""
    series = curves.loss("val") if curves.loss("val").points else curves.loss("train")
    if gone := (_gone_bad(series) or _gone_bad(curves.loss("train"))):
        why = f"the loss has been NaN or infinite since {at(gone, curves.unit)}"
        return _said("collapsed", why, *verdict_words.seen(series, gone), broke=gone)
    found = shape.of(series)
    if found is None or len(found.values) < 5:
        return None
    lowest, limit = -found.peak, max(_RUNAWAY * -found.peak, -found.values[0])
    tail = found.below(-limit)
    if lowest <= 0 or tail < 2:
        return None
    broke = found.points[-tail]
    why = f"{series.name} rose from {lowest:.4g} to {found.points[-1].value:.4g}, above where it began"
    return _said("collapsed", why, *verdict_words.seen(series, broke), broke=broke)


def _never_learned(curves: Curves) -> Diagnosis | None:
    train = curves.loss("train")
    metric = curves.metric()
    if train.points and not train.finite() and (metric is None or _nothing(metric)):
        return _said("never_learned", "the training loss is NaN or infinite in every epoch")
    if metric is None:
        return _flat_loss(curves)
    if len(metric.points) < 3 or not (_nothing(metric) or _flat(metric, train)):
        return None
    top = metric.best()
    shaped = shape.of(metric)
    if top and shaped and top.value >= _STARTED and _rising(shaped):
        return None  # slow, not hopeless: it was stopped early
    seen = verdict_words.seen(metric, top) if top else ()
    best = f"{top.value:.4g}" if top else "NaN"
    why = f"{named(metric)} is {best} at best in {verdict_words.counted(len(metric.points), curves.unit)}"
    if len(metric.points) < _TOO_FEW or (len(metric.points) < _FEW and _falls(train)):
        return _said("early_stop", f"{why}: too few to judge by", *seen)
    return _said("never_learned", why, *seen)


def _nothing(metric: Series) -> bool:
    limit = next((v for name, v in _NOTHING.items() if metric.name.startswith(f"metric/{name}")), 1e-3)
    return all(p.value < limit for p in metric.finite())


def _flat(metric: Series, train: Series) -> bool:
    """A classifier at the level of chance: its metric goes nowhere, and its training loss neither."""
    values = [p.value for p in metric.finite()]
    if not metric.name.startswith(("metric/top1", "metric/accuracy")) or len(values) < 5 or max(values) >= 0.6:
        return False
    return max(values) - min(values) < max(0.02, 0.1 * max(values)) and not _falls(train, by=0.02)


def _falls(train: Series, by: float = 0.05) -> bool:
    values = [p.value for p in train.finite()]
    if len(values) < 2:
        return False
    # A detector trained from scratch loses little in its first epoch, before it has found anything to match.
    first = max(values[: min(3, len(values) - 1)])
    return min(values[-3:]) < first - by * abs(first)


def _flat_loss(curves: Curves) -> Diagnosis | None:
    train = curves.loss("train")
    if len(train.finite()) < 5 or _falls(train, by=0.02):
        return None
    first, last = train.finite()[0], train.finite()[-1]
    why = f"the training loss went from {first.value:.4g} to {last.value:.4g} in {len(train.points)} rows"
    return _said("never_learned", why, *verdict_words.seen(train, last))


def _frozen(curves: Curves) -> Diagnosis | None:
    """A metric that is the same to the last digit while the training loss is NaN: nothing is learned any more."""
    metric, gone = curves.metric(), _gone_bad(curves.loss("train"), least=3)
    if metric is None or gone is None:
        return None
    last = [p.value for p in metric.points if p.epoch >= gone.epoch]
    if len(last) < 3 or len(set(last)) > 1:
        return None
    why = f"the training loss is NaN from {at(gone, curves.unit)} to the end and {named(metric)} stands still"
    return _said("degraded", why, *verdict_words.seen(metric, gone))


def _degraded(curves: Curves) -> Diagnosis | None:
    metric = curves.metric()
    found = shape.of(metric) if metric else None
    if metric is None or found is None:
        return _overfitted(curves, lost=1.0)
    drop = found.peak - found.end
    share = drop / found.peak if found.peak > 0 else 0.0
    least = _WORSE if found.peak >= _LEARNED else 0.4
    if share > least and drop > _SIGMAS * found.noise and len(found.values) >= 4:
        why = f"{named(metric)} fell from {verdict_words.value_at(found.best, curves.unit)} to "
        why += f"{found.points[-1].value:.4g} at the end ({share:.0%} below its peak, smoothed)"
        return _said("degraded", why, *verdict_words.seen(metric, found.points[-1]))
    return _overfitted(curves, lost=share)


def _overfitted(curves: Curves, lost: float) -> Diagnosis | None:
    """A validation loss far above its best at the end, with a metric that has lost some too."""
    series = curves.loss("val")
    found = shape.of(series)
    if found is None or len(found.values) < 5 or found.peak >= 0 or lost < _LOST:
        return None
    times = found.end / found.peak
    if times < _LOSS_UP:
        return None
    why = f"the validation loss is {times:.1f} times its best ({verdict_words.value_at(found.best, curves.unit)})"
    return _said("degraded", why + " at the end", *verdict_words.seen(series, found.points[-1]))


def _early(curves: Curves) -> Diagnosis | None:
    if any(curves.said("early_stop")) or stopped_by_patience(curves):
        return None  # it was stopped because nothing came any more
    metric = curves.metric()
    series = metric or (curves.loss("val") if curves.loss("val").points else curves.loss("train"))
    if len(series.points) < 3:
        few = verdict_words.counted(len(series.points), curves.unit)
        return _said("early_stop", f"{few} of {named(series)} are too few to judge by")
    found = shape.of(series)
    if found is None or not _rising(found):
        return None
    slope, _, count = found.slope()
    why = f"{named(series)} was still getting better at the end: {series.points[-1].value:.4g}, "
    why += f"by {abs(slope):.2g} per row over the last {count}"
    return _said("early_stop", why, *verdict_words.seen(series, found.points[-1]))


def _rising(found: Shape) -> bool:
    slope, error, _ = found.slope()
    level = abs(found.end) or 1e-9
    gain = slope * max(1.0, len(found.values) / 3)
    late = found.values.index(max(found.values)) >= 0.8 * len(found.values) - 1
    return late and slope > 2 * error and gain > _RISING * level


def _healthy(curves: Curves) -> Diagnosis:
    metric = curves.metric()
    series = metric or (curves.loss("val") if curves.loss("val").points else curves.loss("train"))
    best = series.best()
    told = f"{named(series)} reached {verdict_words.value_at(best, curves.unit)}" if best else "nothing stands out"
    seen = verdict_words.seen(series, series.points[-1]) if series.points else ()
    bad = [row for row in curves.rows if row.bad()]
    rolled = list(curves.said("trouble"))
    if (bad and bad[-1] is not curves.rows[-1]) or (rolled and not bad):
        went = "what was not finite went away" if bad else f"{rolled[-1].text}; the training went back and on"
        return _said("healthy_transient", f"{told}; {went}", *seen)
    return _said("healthy", told, *seen)
