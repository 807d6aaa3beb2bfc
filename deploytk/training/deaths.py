"""Why the process of a segment died: memory that ran out, a full disk, a kill from outside, a hang or a crash."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
from pathlib import Path

from deploytk.errors import StepFailed
from deploytk.training.segments import Ending

#: What the allocators of CUDA, of torch on the CPU, of C++ and of the kernel say.
_MEMORY = re.compile(
    r"out of memory|outofmemory|bad_alloc|memoryerror|(?:can.?t|cannot|failed to|unable to) allocate|"
    r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
#: What torch says where it could not write all of a file, for whatever reason.
_CUT_SHORT = re.compile(r"PytorchStreamWriter failed|unexpected pos", re.IGNORECASE)
#: With less than this share of it free, the kernel is about to kill.
_EXHAUSTED = 0.03


def says_out_of_memory(text: str) -> bool:
    """Whether an error's text is that of an allocator that has no more."""
    return bool(_MEMORY.search(text))


def says_disk_full(text: str, folder: Path, needed: int) -> bool:
    """Whether an error's text says that the disk is full, or that a file could not be written whole and it is.

    Args:
        needed: how many bytes were to be written.
    """
    return bool(_DISK.search(text)) or (bool(_CUT_SHORT.search(text)) and free_bytes(folder) < needed)


def free_bytes(folder: Path) -> int:
    """How much can still be written to the disk that a folder is (or will be) on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class Memory:
    """What the kernel told about memory while a process was alive: kills since the start, and what was free at last."""

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self.proc, self.groups = proc, groups
        self.before = self._kills()
        self.free: float | None = None

    def look(self) -> None:
        """Note how much memory is free now; cheap enough for each sign of life."""
        self.free = self._free()

    def ran_out(self) -> str:
        """Why a killed process was killed for memory, or the empty string where nothing says so."""
        if self._kills() > self.before:
            return "the kernel's out-of-memory killer was at work"
        if self.free is not None and self.free < _EXHAUSTED:
            return f"{self.free:.1%} of the memory was free at its last sign of life"
        return ""

    def _kills(self) -> int:
        """How often the kernel has killed for memory: on this machine, and in this process's group."""
        return _number(self.proc / "vmstat", "oom_kill") + _number(self._group() / "memory.events", "oom_kill")

    def _free(self) -> float | None:
        """The share of the memory that is free: the smaller one of the machine's and of the group's."""
        shares = []
        if total := _number(self.proc / "meminfo", "MemTotal:"):
            shares.append(_number(self.proc / "meminfo", "MemAvailable:") / total)
        limit, used = self.of_group()
        if limit:
            shares.append(max(0.0, 1 - used / limit))
        return min(shares, default=None)

    def of_group(self) -> tuple[int, int]:
        """(the bytes that this process's group may use, 0 for any number; those that it does use)."""
        group = self._group()
        # Pages of files are given back before anything is killed.
        used = _number(group / "memory.current") - _number(group / "memory.stat", "inactive_file")
        return _number(group / "memory.max"), used

    def _group(self) -> Path:
        """The folder of this process's group; in a container the root is its own."""
        with contextlib.suppress(OSError):
            for line in (self.proc / "self" / "cgroup").read_text().splitlines():
                named = self.groups / line.removeprefix("0::").lstrip("/")
                if line.startswith("0::") and named.is_dir():
                    return named
        return self.groups


def _number(path: Path, key: str = "") -> int:
    """The number after `key` in a file of the kernel, 0 where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if not key or words[:1] == [key]:
            word = words[1 if key else 0]
            return int(word) if word.isdigit() else 0
    return 0


def how(error: StepFailed, memory: Memory, phase: str) -> tuple[Ending, str]:
    """(how a segment ended, in words) for a process that gave no outcome."""
    where = f" in phase {phase}" if phase else ""
    if error.kind == "timeout":
        return "timeout", error.cause if "phase" in error.cause else f"{error.cause}{where}"
    if error.signal == signal.SIGKILL:
        why = memory.ran_out()
        if why:
            return "oom", f"killed for want of memory{where}: {why}"
        return "killed", f"killed from outside (SIGKILL){where}; nothing says that memory was short"
    if error.kind == "oom" or says_out_of_memory(error.cause):
        return "oom", f"out of memory{where}: {error.cause}"
    return "crash", f"{error.cause}{where}"
