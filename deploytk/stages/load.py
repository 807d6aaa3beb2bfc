"""Measure a model under load: MLPerf's four scenarios and the soak, each in a process of its own, with a verdict."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from deploytk import plugins, soak, worker
from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.errors import InputError, StepFailed
from deploytk.files import size_of
from deploytk.measurement import Machine, Measurement, Status
from deploytk.report import Finding, Report
from deploytk.scenarios import MOST_REQUESTS
from deploytk.stages import bench_table, load_verdict
from deploytk.stages.bench import artifact_of, nothing_left_of_bad_input, spec_of
from deploytk.stages.bench_stability import stability
from deploytk.stages.load_child import load_from
from deploytk.worker import Listener

Scenario = Literal["single-stream", "multi-stream", "offline", "server", "soak"]
SCENARIOS: tuple[str, ...] = get_args(Scenario)
#: MLPerf's number of samples in a query of MultiStream.
STREAMS = 8
_PATIENCE_S = 120.0
#: These say nothing about the model's latency.
_UNPROVEN = ("timeout", "not_run")


def load(
    model: Path,
    *,
    scenario: Scenario,
    budget: Budget,
    qps: float | None = None,
    streams: int | None = None,
    workers: int = 1,
    batch: int | None = None,
    duration_s: float = 60.0,
    runtime: str | None = None,
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
    samples: Path | None = None,
    trust: bool = False,
    seed: int = 0,
    out: Path,
    listen: Listener | None = None,
) -> Report:
    """The report of one model under one kind of load, judged against the budget.

    Args:
        qps: requests per second, of a server only.
        streams: items in one query, of multi-stream only (default 8).
        workers: requests that may run at the same time, each on a request object of its own (`Session.another`).
        batch: items in one call; 1 unless given, all `streams` of a multi-stream.
        duration_s: how long requests are sent.
        samples: an .npz of real inputs; drawn ones are used without it.
        trust: see `spec_of`.
        seed: of the arrivals.
        out: folder for the log and the task of the child.

    Raises:
        InputError: the file is no model that a runtime here can run, or the load makes no sense.
        MissingDependency: its runtime is not installed.
    """
    wanted: dict[str, Any] = {"scenario": scenario, "duration_s": duration_s, "workers": workers, "seed": seed}
    wanted |= _sizes(scenario, qps, streams, batch)
    _require_sense(wanted, budget)
    artifact = artifact_of(model)
    if artifact.format == "vela-tflite":
        raise InputError(
            f"{model}: compiled for an Ethos-U, which is not in this machine; load the .tflite it is made of"
        )
    spec = spec_of(artifact, runtime=runtime, threads=threads, options=options, feeds=samples, trust=trust) | wanted
    heard: list[list[float]] = []
    with nothing_left_of_bad_input(out):
        told = _told(spec, out / "logs", heard, listen)
    return _report(artifact, spec, told, np.array(heard).reshape(-1, len(soak.COLUMNS)), budget)


def _sizes(scenario: str, qps: float | None, streams: int | None, batch: int | None) -> dict[str, Any]:
    """What was asked for, with the scenario's own values where nothing was."""
    if scenario == "multi-stream":
        streams = streams or STREAMS
        batch = batch or streams
    return {"qps": qps, "streams": streams, "batch": batch or 1}


def _require_sense(wanted: Mapping[str, Any], budget: Budget) -> None:
    """Nothing, where the parts of a load fit each other.

    Raises:
        InputError: they do not.
    """
    scenario, qps, streams = wanted["scenario"], wanted["qps"], wanted["streams"]
    if scenario not in SCENARIOS:
        raise InputError(plugins.unknown("scenario", scenario, SCENARIOS))
    if (scenario == "server") != (qps is not None):
        raise InputError("--scenario server takes the requests per second: add --qps 30, for example; no other does")
    if streams is not None and scenario != "multi-stream":
        raise InputError(f"--streams is for --scenario multi-stream, not for {scenario}")
    if streams is not None and streams % wanted["batch"]:
        raise InputError(f"{streams} streams cannot be dealt in batches of {wanted['batch']}: choose a divisor")
    if wanted["workers"] > 1 and scenario in ("single-stream", "soak"):
        raise InputError(f"--workers is for multi-stream, offline and server: {scenario} has one request at a time")
    if not 0 < wanted["duration_s"] < float("inf"):
        raise InputError(f"a duration of {wanted['duration_s']} s: it must be more than 0")
    if qps is not None and not 0 < qps * wanted["duration_s"] <= MOST_REQUESTS:
        raise InputError(
            f"{qps:g} requests/s for {wanted['duration_s']:g} s: between 1 and {MOST_REQUESTS} requests can be sent; "
            "change --qps or --duration"
        )
    if budget.boundary != "model":
        raise InputError("a load is measured at the boundary model; end_to_end is for the closed loop of bench")


def arrival(spec: Mapping[str, Any]) -> str:
    """How the requests come, in words."""
    workers = "1 worker" if spec["workers"] == 1 else f"{spec['workers']} workers"
    return {
        "single-stream": "closed loop: the next request comes when the last one has ended (MLPerf SingleStream)",
        "multi-stream": f"closed loop: queries of {spec['streams']} items, the next when the last one has ended "
        f"(MLPerf MultiStream); calls of {spec['batch']} on {workers}",
        "offline": f"all samples are there from the begin, {workers} with batches of {spec['batch']} (MLPerf Offline); "
        "the latency is that of one call, the throughput is what counts",
        "server": f"open loop: Poisson arrivals at {spec['qps'] or 0:g} requests/s (seed {spec['seed']}) of "
        f"{spec['batch']} each, {workers}; latency from the arrival on (MLPerf Server)",
        "soak": f"closed loop for {spec['duration_s']:g} s: the next request comes when the last one has ended",
    }[spec["scenario"]]


def _told(spec: dict[str, Any], logs: Path, heard: list[list[float]], listen: Listener | None) -> dict[str, Any]:
    """What the child found, or how it ended; the windows of a soak are in `heard` even then."""

    def follow(event: dict[str, Any]) -> None:
        if "window" in event:
            heard.append(event.pop("window"))
        if listen:
            listen(event)

    name = f"load-{spec['scenario']}"
    task = logs / f"{name}.task.json"
    where = {
        "log": str(logs / f"{name}.log"),
        "command": shlex.join([sys.executable, "-m", "deploytk.worker", str(task)]),
    }
    try:
        told: dict[str, Any] = worker.call(
            "deploytk.stages.load_child:run",
            {"spec": spec},
            logs=logs,
            name=name,
            timeout_s=1.5 * spec["duration_s"] + _PATIENCE_S,
            listen=follow,
        )
    except StepFailed as error:
        status = "crash" if error.kind == "error" else error.kind
        return {"status": status, "reason": error.message.split("; log: ")[0], **where}
    return told | where


def _report(
    artifact: Artifact, spec: Mapping[str, Any], told: Mapping[str, Any], heard: np.ndarray, budget: Budget
) -> Report:
    verdict, blocks, latencies, section = _found(spec, told, heard, budget)
    status: Status = told["status"]
    machine = Machine.this()
    measurement = Measurement(
        artifact_sha256=artifact.sha256,
        runtime=spec["runtime"],
        batch=spec["streams"] or spec["batch"],
        status=status,
        reason=told["reason"],
        samples_ms=tuple(latencies),
        blocks=tuple(blocks),
        warmup_ms=tuple(told.get("warmup_ms", ())),
        load_ms=told.get("load_ms"),
        peak_rss_mb=told.get("peak_rss_mb"),
        details=told.get("details", {}),
        log=told["log"],
        command=told["command"],
        machine=machine,
    )
    verdict = _within_limits(artifact, measurement, verdict, budget)
    row = bench_table.row(measurement, verdict, budget)
    if "achieved_items_per_s" in section:
        row["items_per_second"] = section["achieved_items_per_s"]
    details = told.get("details", {})
    asked = {name: spec[name] for name in ("scenario", "qps", "streams", "workers", "batch", "duration_s", "seed")}
    steady = _steady(told.get("used", {}))
    words = {"arrival": arrival(spec), "inputs": details.get("inputs", ""), "boundary": budget.boundary}
    return Report(
        command="bench",
        title=artifact.path.name,
        verdict=verdict,
        exit_code=verdict.exit_code,
        artifact=artifact,
        chain=(artifact,),
        findings=_findings(steady, section),
        measurements=(measurement,),
        budget=budget,
        machine=machine,
        versions=details.get("versions", {}),
        sections={"bench": {"rows": [row], **words}, "load": asked | words | section | {"stability": steady}},
    )


def _steady(used: Mapping[str, float | None]) -> dict[str, Any]:
    """Whether the machine was quiet: what the process and the machine used, the whole run as one block."""
    return stability([{name: [value] for name, value in used.items() if value is not None}])


def _findings(steady: Mapping[str, Any], section: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Warnings where the machine was not quiet."""
    told = [sentence for sentence in (steady["sentence"], load_verdict.late(section.get("times", ()))) if sentence]
    fix = "repeat it on a quiet machine"
    return tuple(Finding(rule="BEN001", severity="warning", where="load", message=each, fix=fix) for each in told)


def _found(
    spec: Mapping[str, Any], told: Mapping[str, Any], heard: np.ndarray, budget: Budget
) -> tuple[Verdict, list[int], list[float], dict[str, Any]]:
    """(verdict, blocks, latencies in ms, the numbers of the section)."""
    if told["status"] != "ok":
        verdict = Verdict(status="inconclusive" if told["status"] in _UNPROVEN else "fail", reasons=(told["reason"],))
        return verdict, [], [], _until_then(heard)
    if spec["scenario"] == "soak":
        samples = told["samples_ms"]
        windows = np.array(told["windows"])
        verdict, blocks, section = load_verdict.soak_verdict(windows, samples, budget, spec["batch"])
        return verdict, blocks, samples, section | {"kept": told["kept"], "throttling": told["throttling"]}
    found = load_from(told["load"])
    section = load_verdict.load_told(found)
    if spec["scenario"] == "server":
        section |= load_verdict.server_told(found)
        verdict, blocks = load_verdict.server_verdict(found, budget)
    else:
        verdict, blocks = load_verdict.closed_verdict(found, budget)
    return verdict, blocks, found.latency_ms.tolist(), section


def _until_then(windows: np.ndarray) -> dict[str, Any]:
    """What a soak had told before it ended without a result."""
    return load_verdict.soak_told(windows) if len(windows) else {}


def _within_limits(artifact: Artifact, measurement: Measurement, verdict: Verdict, budget: Budget) -> Verdict:
    """`verdict`, or a failure where the process or the file is larger than the budget allows."""
    told = list(verdict.reasons)
    peak, size_mb = measurement.peak_rss_mb, size_of(artifact.path) / 1e6
    if budget.max_memory_mb is not None and peak is not None and peak > budget.max_memory_mb:
        told.insert(0, f"The peak memory is {peak:.0f} MB, over the budget of {budget.max_memory_mb:g} MB.")
    if budget.max_size_mb is not None and size_mb > budget.max_size_mb:
        told.insert(0, f"The file has {size_mb:.3g} MB, over the budget of {budget.max_size_mb:g} MB.")
    if len(told) == len(verdict.reasons):
        return verdict
    return Verdict(status="fail", reasons=tuple(told))
