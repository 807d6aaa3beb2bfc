"""Several variants of a profile trained by one command: each judged for itself, one table at the end."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from deploytk import plugins, usage, worker
from deploytk.budget import Status, Verdict
from deploytk.errors import DeploytkError, InputError, MissingDependency, StepFailed
from deploytk.measurement import Machine
from deploytk.report import Finding, Report
from deploytk.report.render import write
from deploytk.stages import train_begin, train_errors
from deploytk.stages.matrix_axes import Variant
from deploytk.stages.matrix_record import Record, Row, became
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train import preflight, train
from deploytk.stages.train_begin import How
from deploytk.stages.train_settings import Settings
from deploytk.stages.twins import same_metrics, same_weights
from deploytk.training import state as states
from deploytk.training.state import Folder
from deploytk.worker import Listener

#: How many threads OpenMP, and with it torch, has in a process.
_THREADS = "OMP_NUM_THREADS"


def matrix(
    title: str,
    variants: Sequence[Variant],
    out: Path,
    *,
    jobs: int = 1,
    how: How | Mapping[str, How] = "auto",
    listen: Callable[[str], Listener] | None = None,
    findings: Sequence[Finding] = (),
    refused: Mapping[str, DeploytkError] | None = None,
) -> Report:
    """The report of all variants, each trained into `out`/NAME; also written to `out` as report.{json,md,html}.

    Args:
        jobs: how many are trained side by side.
        how: of those that were begun before, for all or by name; auto skips what is finished and goes on with what
            was cut off.
        listen: gives the listener of the variant with a name.
        findings: what is known already, for the report.
        refused: where it is given, each stands for itself: what is wrong with one, there or found before it is
            started, is its row, and the others are trained. A name that is there alone has no profile at all.

    Raises:
        InputError, MissingDependency: something is wrong with one of them; nothing was started.
    """
    ways, wrong = _ready(variants, out, how)
    if wrong and refused is None:
        raise _all_at_once(wrong, len(variants))
    wrong = {**(refused or {}), **wrong}
    values = {**{name: {"model": name} for name in wrong}, **{v.name: v.values for v in variants}}
    with RunFolder(out).alone():
        record = Record(out, values, {"matrix": title, "jobs": jobs})

        def one(variant: Variant) -> None:
            folder, name = out / variant.name, variant.name
            record.began(name)
            ear = listen(name) if listen else None
            record.ended(name, became(name, folder, lambda: train(variant.profile, folder, ear, how=ways[name])))

        for name, error in wrong.items():
            record.began(name)
            record.ended(name, became(name, out / name, partial(_raised, error)))
        _side_by_side([v for v in variants if v.name not in wrong], one, jobs)
        _compared(record, variants, out)
        rows = list(record.rows.values())
        train_errors.told_of(out, rows)
        report = _report(title, values, rows, findings)
        write(report, out)
    return report


def _raised(error: DeploytkError) -> Report:
    raise error


def _ready(
    variants: Sequence[Variant], out: Path, how: How | Mapping[str, How]
) -> tuple[dict[str, How], dict[str, DeploytkError]]:
    """(how each variant is begun, what is wrong with those that cannot be)."""
    ways: dict[str, How] = {}
    refused: dict[str, DeploytkError] = {}
    for variant in variants:
        try:
            own = how if isinstance(how, str) else how[variant.name]
            ways[variant.name] = _way(variant, RunFolder(out / variant.name), own)
        except (InputError, MissingDependency) as error:
            refused[variant.name] = error
    return ways, refused


def _all_at_once(refused: Mapping[str, DeploytkError], variants: int) -> DeploytkError:
    """One error for all that is wrong; each reason once, with the variants it is about."""
    about: dict[str, list[str]] = {}
    for name, error in refused.items():
        for reason in error.reasons:
            about.setdefault(reason, []).append(name)
    reasons = tuple(
        reason if len(names) == variants else f"{', '.join(names)}: {reason}" for reason, names in about.items()
    )
    missing = any(isinstance(error, MissingDependency) for error in refused.values())
    return (MissingDependency if missing else InputError)("\n".join(reasons), reasons=reasons)


def _way(variant: Variant, run: RunFolder, how: How) -> How:
    backend = plugins.load("backends", variant.profile.backend)
    preflight(variant.profile, run.path, backend)
    train_begin.refuse_own_weights(variant.profile, run)
    begun = states.read(Folder(run=run.path)) is not None
    way: How = "auto" if how == "resume" and not begun else how
    train_begin.require_same(run, Settings.of(variant.profile, backend), way)
    return way


def _side_by_side(variants: Sequence[Variant], one: Callable[[Variant], None], jobs: int) -> None:
    """Do `one` for each variant, `jobs` at a time. Where the user stops it, no further one is begun.

    What `one` raises (a disk too full for matrix.json) ends this for all, once those at work are done.
    """
    if jobs == 1:
        for variant in variants:
            one(variant)
        return
    waiting, raised = deque(variants), []

    def work() -> None:
        while True:
            try:
                variant = waiting.popleft()
            except IndexError:
                return
            try:
                one(variant)
            except BaseException as error:
                waiting.clear()
                raised.append(error)

    # Daemons: a process that is to end does not wait for them, and their children die with it (worker.py).
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(variants)))]
    with _cores_shared(len(threads)):
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            waiting.clear()
    if raised:
        raise raised[0]


@contextlib.contextmanager
def _cores_shared(jobs: int) -> Iterator[None]:
    """Each of the trainings begun in here has its part of the cores, unless the user has said how many threads.

    As many threads in each as there are cores wait for each other busily, on cores that those they wait for would need:
    two small text models took 4.5 times as long (bench/LOG.md).
    """
    if _THREADS in os.environ:
        yield
        return
    os.environ[_THREADS] = str(max(1, usage.cores() // jobs))
    try:
        yield
    finally:
        del os.environ[_THREADS]


def _compared(record: Record, variants: Sequence[Variant], out: Path) -> None:
    """Note the digest of each model's tensors: files of the same weights can differ, in a date for one."""
    models = {
        v.name: [v.profile.backend, str(RunFolder(out / v.name).model)]
        for v in variants
        if record.rows[v.name]["status"] == "done"
    }
    if len(models) < 2:
        return
    try:
        told = worker.call(
            "deploytk.stages.matrix_steps:digests",
            {"models": models},
            logs=out / "logs",
            name="digests",
            timeout_s=600.0 * len(models),
        )
    except StepFailed:
        return  # its log stays; the models themselves are whole
    for name, digest in told.items():
        record.note(name, weights_sha256=digest)


def _report(
    title: str, values: Mapping[str, Mapping[str, str]], rows: list[Row], findings: Sequence[Finding]
) -> Report:
    passed = [row for row in rows if row["exit_code"] == 0]
    twins = same_metrics((row["variant"], tuple(sorted(row["metrics"].items()))) for row in rows if _told(row))
    alike = same_weights((row["variant"], row.get("weights_sha256")) for row in rows)
    why = Counter(row["ended_as"] for row in rows if row["exit_code"] != 0 and row["ended_as"])
    kinds = f" ({', '.join(f'{kind}: {count}' for kind, count in why.items())})" if why else ""
    reasons = [f"{len(passed)} of {len(rows)} variants succeeded{kinds}"]
    reasons += [f"{row['variant']}: {row['reasons'][0]}" for row in rows if row["exit_code"] != 0]
    verdicts = {row["verdict"] for row in rows}
    status: Status = "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"
    return Report(
        command="train",
        title=title,
        verdict=Verdict(status=status, reasons=tuple(reasons)),
        exit_code=max(row["exit_code"] for row in rows),
        findings=(*findings, *twins, *alike),
        machine=Machine.this(),
        sections={"matrix": {"rows": rows, "axes": _axes(values), "succeeded": len(passed), "of": len(rows)}},
    )


def _told(row: Row) -> bool:
    return any(row["metrics"].values())


def _axes(values: Mapping[str, Mapping[str, str]]) -> dict[str, list[Any]]:
    return {axis: list(dict.fromkeys(v[axis] for v in values.values())) for axis in next(iter(values.values()))}
