"""What runs in the process of a load: open the model, warm it up, send it one scenario's requests.

It is started by `worker.call`, which keeps its log and tells how it died. The last task can be repeated with
`python -m deploytk.worker LOGS/load-SCENARIO.task.json`.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import plugins, scenarios, soak, timing, usage
from deploytk.artifact import versions_of
from deploytk.pacing import WrongOutput
from deploytk.runtimes import FixedBatch, Session
from deploytk.scenarios import Load
from deploytk.stages.bench_inputs import Feed, feeds_for
from deploytk.timing import Run
from deploytk.worker import emit

#: What allocators of C++ runtimes say in an exception of another type.
_OUT_OF_MEMORY = ("bad_alloc", "failed to allocate memory", "out of memory", "cannot allocate memory")
#: The first worker is warmed up until steady; the others share its caches and need only their own buffers.
_CALLS_OF_OTHERS = 5


def run(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Everything one load gave, as JSON-like values: `status`, and the requests or the windows where it is "ok".

    Raises:
        DeploytkError: the model or its samples cannot be used at all.
    """
    told: dict[str, Any] = {"status": "ok", "reason": ""}
    try:
        told |= _measured(spec)
    except FixedBatch as error:
        told |= {"status": "fixed_batch", "reason": f"{error}."}
    except WrongOutput as error:
        told |= {"status": "bad_output", "reason": str(error)}
    except (MemoryError, RuntimeError) as error:  # what runtimes raise for too little memory
        if not _ran_out(error):
            raise
        traceback.print_exc()
        told |= {"status": "oom", "reason": f"{type(error).__name__}: {error}"[:500]}
    return told | {"peak_rss_mb": usage.peak_rss_mb()}


def _ran_out(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)


def _measured(spec: Mapping[str, Any]) -> dict[str, Any]:
    runtime = plugins.load("runtimes", spec["runtime"])
    began = time.perf_counter_ns()
    session = runtime.open_session(
        Path(spec["model"]), batch=int(spec["batch"]), threads=spec["threads"], options=spec["options"]
    )
    sessions = [session, *(session.another() for _ in range(1, int(spec["workers"])))]
    load_ms = (time.perf_counter_ns() - began) / 1e6
    feeds, inputs = feeds_for(session.inputs, Path(spec["samples"]) if spec["samples"] else None)
    runs = [_run_of(each, feeds) for each in sessions]
    warmup = _warmed(runs, len(feeds), int(spec["batch"]))
    details = dict(session.details) | {"inputs": inputs, "versions": versions_of(*runtime.DISTRIBUTIONS)}
    gc.freeze()  # what is loaded now stays: it need not be looked through again
    emit(text="sending requests")
    before, began = usage.used(), time.perf_counter_ns()
    sent = _sent(spec, runs)
    spent = {"wall_ms": (time.perf_counter_ns() - began) / 1e6, **asdict(usage.used().since(before))}
    return {"load_ms": load_ms, "warmup_ms": warmup, "details": details, "used": spent} | sent


def _run_of(session: Session, feeds: list[Feed]) -> Run:
    return lambda turn: session.run(feeds[turn % len(feeds)])


def _warmed(runs: list[Run], feeds: int, batch: int) -> list[float]:
    """Latencies in ms of the first worker's warm-up, after its outputs for each feed have been looked at."""
    outputs = []
    for turn in range(feeds):
        outputs.append(dict(runs[0](turn)))
        reason = timing.wrong_outputs(outputs[-1], batch)
        if reason:
            raise WrongOutput(reason)
    if all(np.array_equal(outputs[0][name], other[name]) for other in outputs[1:] for name in other):
        raise WrongOutput(f"All outputs are the same for {feeds} different inputs: the model ignores its input.")
    for other in runs[1:]:
        for turn in range(_CALLS_OF_OTHERS):
            other(turn)
    return timing.warm_up(runs[0])


def _sent(spec: Mapping[str, Any], runs: list[Run]) -> dict[str, Any]:
    """The requests of the scenario."""
    duration_s, batch, scenario = float(spec["duration_s"]), int(spec["batch"]), spec["scenario"]
    if scenario == "soak":
        return _soaked(runs[0], duration_s, batch)
    if scenario == "single-stream":
        return {"load": _as_lists(scenarios.single_stream(runs[0], duration_s=duration_s, batch=batch))}
    if scenario == "multi-stream":
        streams = int(spec["streams"])
        return {"load": _as_lists(scenarios.multi_stream(runs, duration_s=duration_s, streams=streams, batch=batch))}
    if scenario == "offline":
        return {"load": _as_lists(scenarios.offline(runs, duration_s=duration_s, batch=batch))}
    arrivals = scenarios.poisson_arrivals(float(spec["qps"]), duration_s, int(spec["seed"]))
    return {"load": _as_lists(scenarios.server(runs, arrivals, batch=batch))}


def _soaked(run: Run, duration_s: float, batch: int) -> dict[str, Any]:
    """The windows are told while they come: a model that dies after an hour leaves that hour behind."""
    before = soak.throttling()

    def tell(window: dict[str, float]) -> None:
        text = f"p95 {window['p95_ms']:.3g} ms, {window['rss_mb']:.0f} MB"
        emit(done=int(window["at_s"]) + 1, total=int(duration_s), text=text, window=list(window.values()))

    found = soak.soak(run, duration_s=duration_s, batch=batch, tell=tell)
    held_back = {name: value - before.get(name, 0.0) for name, value in soak.throttling().items()}
    return {
        "windows": found.windows.tolist(),
        "samples_ms": found.samples_ms.tolist(),
        "kept": found.kept,
        "throttling": held_back,
    }


def _as_lists(found: Load) -> dict[str, Any]:
    arrays = ("arrived_ns", "began_ns", "ended_ns", "waited")
    told: dict[str, Any] = {name: getattr(found, name).tolist() for name in arrays}
    return told | {"items": found.items, "workers": found.workers}


def load_from(told: Mapping[str, Any]) -> Load:
    """The Load that a child told."""
    times = {name: np.array(told[name], np.int64) for name in ("arrived_ns", "began_ns", "ended_ns")}
    return Load(**times, waited=np.array(told["waited"], bool), items=told["items"], workers=told["workers"])
