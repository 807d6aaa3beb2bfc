"""A segment trained by several processes, which torchrun starts: what became of them as one outcome (torch).

Whatever ends one of them early (an outcome, an error, a death) ends them all: torchrun's agent sees a process that
failed and stops the others, so that none waits for one that is gone. Each leaves a file with what it has to say.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from deploytk import worker
from deploytk.errors import BY_NAME, DeploytkError
from deploytk.files import write_json
from deploytk.training import deaths

#: What a process says of whom another has left alone. Its own end must not be taken for the first.
_LEFT_ALONE = re.compile(r"gloo|nccl|connection (closed|reset)|broken pipe|distbackenderror", re.IGNORECASE)
_YIELD_S = 2.0
_HEAR_EVERY_S = 0.2


def launched(function: str, kwargs: Mapping[str, Any], *, processes: int, events: Path) -> dict[str, Any]:
    """The outcome that `function(**kwargs)`, called in each of the processes, gave in the first of them.

    Args:
        function: "package.module:function", which returns an `Outcome` as JSON.
        events: the file that the processes append their events to; each is passed on to this process's parent.

    Raises:
        DeploytkError: one of them did.
        RuntimeError: one of them died.
    """
    memory = deaths.Memory()
    with tempfile.TemporaryDirectory() as folder, _passed_on(events):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",  # else the machine's own name, which not every machine can look up
            max_restarts=0,  # what is tried again, and how, is the supervisor's to say
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(folder) / "logs")),
        )
        failed: ChildFailedError | None = None
        try:
            elastic_launch(config, _process)(function, dict(kwargs), folder)
        except ChildFailedError as error:
            failed = error
        return _decided(_said(Path(folder)), failed, processes, memory)


def _process(function: str, kwargs: dict[str, Any], folder: str) -> None:
    """What runs in each process."""
    worker.die_with_parent()
    worker.unheard()
    rank = os.environ["RANK"]
    said: dict[str, Any]
    module, _, name = function.partition(":")
    try:
        said = {"outcome": getattr(importlib.import_module(module), name)(**kwargs)}
    except DeploytkError as error:
        said = {"error": {"type": type(error).__name__, "message": error.message, "reasons": error.reasons}}
    except Exception as error:  # whatever a library raises is how this process ended
        traceback.print_exc()
        text = str(error).strip().splitlines()
        said = {"crash": f"{type(error).__name__}: {text[0] if text else ''}"[:500]}
    write_json(Path(folder) / f"{rank}.json", said)
    if said.get("outcome", {}).get("ended") == "done":
        return
    if _LEFT_ALONE.search(said.get("crash", "")):
        time.sleep(_YIELD_S)
    os._exit(1)  # not by an exception: destructors would wait for the other processes


def _said(folder: Path) -> dict[int, dict[str, Any]]:
    return {int(file.stem): json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}


def _decided(
    said: Mapping[int, dict[str, Any]], failed: ChildFailedError | None, processes: int, memory: deaths.Memory
) -> dict[str, Any]:
    """The first process's outcome, or the one of another that has ended it; else why there is none."""
    for rank in sorted(said):
        outcome: dict[str, Any] | None = said[rank].get("outcome")
        if outcome and (rank == 0 or outcome["ended"] != "done"):
            return outcome
    for told in said.values():
        if "error" in told:
            kind = BY_NAME.get(told["error"]["type"], DeploytkError)
            raise kind(told["error"]["message"], reasons=tuple(told["error"]["reasons"]))
    if failed is None:
        raise RuntimeError("no process of the training has said how it ended")
    rank, failure = failed.get_first_failure()
    raise RuntimeError(f"process {rank} of {processes} {_how(said.get(rank, {}), failure.exitcode, memory)}")


def _how(said: Mapping[str, Any], code: int, memory: deaths.Memory) -> str:
    if "crash" in said:
        return f"failed: {said['crash']}"
    if code == -signal.SIGKILL:
        why = memory.ran_out()
        return f"was killed, out of memory: {why}" if why else "was killed from outside (SIGKILL)"
    return worker.how_it_died(code)[1]


@contextmanager
def _passed_on(events: Path) -> Iterator[None]:
    """Tell this process's parent the events that others append to the file."""
    start = events.stat().st_size if events.is_file() else 0
    ended = threading.Event()
    thread = threading.Thread(target=_pass_on, args=(events, start, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=2)


def _pass_on(events: Path, at: int, ended: threading.Event) -> None:
    while True:
        last = ended.wait(_HEAR_EVERY_S)
        if events.is_file():
            with events.open("rb") as stream:
                stream.seek(at)
                new = stream.read()
            whole = new[: new.rfind(b"\n") + 1]
            at += len(whole)
            for line in whole.splitlines():
                with suppress(ValueError):
                    worker.emit(**json.loads(line))
        if last:
            return
