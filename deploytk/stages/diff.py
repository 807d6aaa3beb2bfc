"""What got slower from one bench to a later one, beyond noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploytk.budget import Status, Verdict
from deploytk.errors import InputError
from deploytk.files import sha256_of, size_of
from deploytk.report import Report
from deploytk.report.loading import report_from, report_in
from deploytk.report.points import Point, points
from deploytk.stages.diff_again import measured_again, verdict_of
from deploytk.stages.diff_points import UNHINDERED, Question, Row, compared, suspicious, values
from deploytk.stages.diff_settings import differences, doubts
from deploytk.worker import Listener

_BROKEN = ("crash", "oom", "timeout", "bad_output", "fixed_batch")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A point of the old run and its counterpart in the new one; None where there is none."""

    old: Point | None
    new: Point | None

    @property
    def whole(self) -> tuple[Point, Point] | None:
        """Both points, where both gave a latency."""
        if self.old is None or self.new is None:
            return None
        given = all(p.status == "ok" and (p.samples_ms or p.p50_ms or p.judged_ms) for p in (self.old, self.new))
        return (self.old, self.new) if given else None

    @property
    def name(self) -> str:
        """`model.onnx batch 4`, as the new run says it."""
        p = self.new or self.old
        assert p
        return f"{p.series} batch {p.batch}"


def diff(
    old: Path,
    new: Path,
    *,
    confidence: float = 0.95,
    tolerance: float = 0.05,
    force: bool = False,
    remeasure: Path | None = None,
    time_limit_s: float = 120.0,
    listen: Listener | None = None,
) -> Report:
    """The report on two runs: FAIL where something is slower or breaks, INCONCLUSIVE where that cannot be told.

    Args:
        old, new: report.json files of a bench or a run, or their folders.
        confidence: of all intervals together; each single one gets its part (Bonferroni).
        tolerance: changes up to this are the same: 0.05 is 5 %.
        force: compare although machine, versions or settings differ; the report says so.
        remeasure: a folder for logs: the models of both runs are measured again side by side, and that decides.
        time_limit_s: for measuring again, all points together.

    Raises:
        InputError: no report there, nothing in common, or the two were not measured in the same way.
    """
    before, after = _loaded(old), _loaded(new)
    found = differences(before, after)
    if found and not force:
        told = "; ".join(found)
        raise InputError(f"{old} and {new} cannot be compared: {told}; measure both alike, or compare with --force")
    pairs = paired(points(before), points(after))
    whole = [pair.whole for pair in pairs if pair.whole]
    if not whole:
        raise InputError(f"{old} and {new} have no measured point in common: nothing to compare")
    question = _question(before, after, len(whole), confidence, tolerance)
    rows = [row for a, b in whole for row in compared(a, b, question)]
    changes = _changes(pairs)
    verdict = _verdict(rows, changes, found, tolerance)
    sections: dict[str, Any] = {}
    if remeasure:
        again = measured_again(
            (before, after),
            whole,
            tolerance=tolerance,
            confidence=confidence,
            time_limit_s=time_limit_s,
            out=remeasure,
            listen=listen,
        )
        sections["ratio"] = {"tolerance": tolerance, "rows": again}
        verdict = _decided_again(verdict_of(again, tolerance), verdict, changes)
    return Report(
        command="report diff",
        title=f"{old} then {new}",
        verdict=verdict,
        exit_code=verdict.exit_code,
        findings=tuple(doubts(before, after)),
        machine=after.machine,
        versions=after.versions,
        sections={
            "diff": {
                "old": str(old),
                "new": str(new),
                "confidence": confidence,
                "tolerance": tolerance,
                "rows": rows,
                "changes": changes,
                "values": [*_sizes(before, after), *values(whole)],
                "forced": found,
            },
            **sections,
        },
    )


def _decided_again(again: Verdict, before: Verdict, changes: Sequence[Row]) -> Verdict:
    """What was measured again decides; what broke from one run to the other still fails."""
    status: Status = "fail" if any(c["broke"] for c in changes) else again.status
    return Verdict(status=status, reasons=(*again.reasons, "From the two runs alone:", *before.reasons))


def paired(old: Sequence[Point], new: Sequence[Point]) -> list[Pair]:
    """Every point with its counterpart: the same artifact, runtime, threads and batch size.

    What each run has only one of (the artifact, most often) need not have the same name.
    """
    free = {name for name in _NAMES if all(len({getattr(p, name) for p in side}) == 1 for side in (old, new))}
    before, after = _by_key(old, free), _by_key(new, free)
    return [Pair(old=before.get(key), new=after.get(key)) for key in dict.fromkeys([*before, *after])]


_NAMES = ("artifact", "runtime", "threads")


def _by_key(side: Sequence[Point], free: set[str]) -> dict[tuple[Any, ...], Point]:
    found: dict[tuple[Any, ...], Point] = {}
    for p in side:
        key = (*(None if name in free else getattr(p, name) for name in _NAMES), p.batch, p.kind)
        again = sum(known[:-1] == key for known in found)
        found[(*key, again)] = p
    return found


def _loaded(path: Path) -> Report:
    """The report of a folder or of its report.json."""
    try:
        return report_from(report_in(path))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a report that this version of deploytk can read ({error!r})") from error


def _question(old: Report, new: Report, count: int, confidence: float, tolerance: float) -> Question:
    judged = next((r.budget.percentile for r in (new, old) if r.budget), 95.0)
    percents = tuple(dict.fromkeys((UNHINDERED, 50.0, judged)))
    return Question(
        percents=percents,
        confidence=1 - (1 - confidence) / (count * len(percents)),
        tolerance=tolerance,
        disturbed=max(_disturbed(old), _disturbed(new)),
    )


def _disturbed(report: Report) -> float:
    bench = report.sections.get("bench")
    told = bench.get("stability") if isinstance(bench, Mapping) else None
    share = told.get("disturbed") if isinstance(told, Mapping) else None
    return float(share) if isinstance(share, int | float) else 0.0


def _changes(pairs: Sequence[Pair]) -> list[Row]:
    """What a point was and what it is now, where its verdict, state or precision changed or it has no counterpart."""
    found = []
    for pair in pairs:
        was, now = _state(pair.old), _state(pair.new)
        broke = bool(pair.old and pair.new and pair.old.status == "ok" and pair.new.status in _BROKEN)
        if was != now:
            reason = pair.new.reason if broke and pair.new else ""
            found.append({"point": pair.name, "old": was, "new": now, "broke": broke, "reason": reason})
    return found


def _state(p: Point | None) -> str:
    if p is None:
        return "not measured"
    precision = f", {p.precision}" if p.precision else ""
    return (p.verdict or p.status if p.status == "ok" else p.status.replace("_", " ")) + precision


def _sizes(old: Report, new: Report) -> list[Row]:
    """The size of each benched file, in MB, where both files are still what was benched."""
    sizes = [
        {a.path.name: s for a in (*r.chain, *([r.artifact] if r.artifact else [])) if (s := _size(a))}
        for r in (old, new)
    ]
    names = [(n, n) for n in sizes[0] if n in sizes[1]]
    if not names and all(len(s) == 1 for s in sizes):
        names = [(next(iter(sizes[0])), next(iter(sizes[1])))]
    return [
        {
            "series": b,
            "batch": None,
            "what": "file, MB",
            "old": sizes[0][a],
            "new": sizes[1][b],
            "ratio": sizes[1][b] / sizes[0][a],
        }
        for a, b in names
    ]


def _size(artifact: Any) -> float | None:
    path = artifact.path
    return size_of(path) / 1e6 if path.is_file() and sha256_of(path) == artifact.sha256 else None


def _verdict(rows: Sequence[Row], changes: Sequence[Row], forced: Sequence[str], tolerance: float) -> Verdict:
    slower = [r for r in rows if r["verdict"] == "slower"]
    broke = [c for c in changes if c["broke"]]
    open_rows = _open(rows, tolerance)
    status: Status = "fail" if slower or broke else "inconclusive" if open_rows else "pass"
    reasons = [_sentence(r) for r in slower]
    reasons += [f"{c['point']}: {c['old']} before, {c['new']} now: {c['reason']}" for c in broke]
    reasons += [f"{_sentence(r)}: {r['note']}." for r in open_rows]
    reasons += [_sentence(r) for r in rows if r["verdict"] == "faster"]
    if status == "pass":
        same = sum(r["verdict"] == "same" for r in rows)
        reasons.insert(0, f"Nothing is slower beyond noise: {same} of {len(rows)} percentiles are the same.")
        rest = [r for r in rows if r["verdict"] == "undecided"]
        if rest:
            reasons.append(f"Too uncertain to tell, with no sign of being slower: {', '.join(map(_where, rest))}.")
    if forced:
        reasons.append(f"Compared with --force, although these differ: {'; '.join(forced)}.")
    return Verdict(status=status, reasons=tuple(reasons))


def _open(rows: Sequence[Row], tolerance: float) -> list[Row]:
    """The undecided rows that keep the whole from being decided.

    Points that were only screened do not, where others were measured in full; nor do slower calls that are not beyond
    noise.
    """
    full = [r for r in rows if r["refined"]] or rows
    undecided = [r for r in full if r["verdict"] == "undecided"]
    return [r for r in undecided if r["decides"] or suspicious(r["low"], r["ratio"], tolerance)]


def _where(row: Row) -> str:
    return f"{row['series']} batch {row['batch']} {row['what']}"


def _sentence(row: Row) -> str:
    if row["ratio"] is None:
        return f"{_where(row)} is undecided"
    high = f"{row['high']:.3f}" if row["high"] is not None else "unknown"
    raw = f", {row['raw_ratio']:.3f} as measured" if abs(row["raw_ratio"] / row["ratio"] - 1) > 0.005 else ""
    took = f"{row['old_ms']:.4g} to {row['new_ms']:.4g} ms" if row["old_ms"] and row["new_ms"] else ""
    return f"{_where(row)} is {row['verdict']}: {took}, {row['ratio']:.3f} times ({row['low']:.3f} to {high}{raw})"
