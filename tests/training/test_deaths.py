"""What a dead process is taken for: memory only where the kernel or an allocator says so."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from deploytk.errors import StepFailed
from deploytk.training import deaths
from deploytk.training.deaths import Memory

KILLED = StepFailed("was killed", kind="oom", cause="was killed", signal=signal.SIGKILL)


class Kernel:
    """The files of a kernel, as far as they are read."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        (self.groups / "job").mkdir(parents=True)
        (self.proc / "self" / "cgroup").write_text("0::/job\n")
        self.says(kills=3, group_kills=0, available=8_000_000)

    def says(self, *, kills: int, group_kills: int, available: int) -> None:
        (self.proc / "vmstat").write_text(f"pgfree 12\noom_kill {kills}\n")
        (self.proc / "meminfo").write_text(f"MemTotal: 16000000 kB\nMemAvailable: {available} kB\n")
        (self.groups / "job" / "memory.events").write_text(f"oom 9\noom_kill {group_kills}\n")

    def limits(self, *, limit: str, current: int, files: int) -> None:
        for name, text in (("max", limit), ("current", str(current)), ("stat", f"anon 1\ninactive_file {files}")):
            (self.groups / "job" / f"memory.{name}").write_text(f"{text}\n")

    def memory(self) -> Memory:
        return Memory(self.proc, self.groups)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_a_sigkill_is_memory_where_the_kernel_has_counted_one(kernel: Kernel) -> None:
    memory = kernel.memory()
    kernel.says(kills=4, group_kills=0, available=8_000_000)
    assert deaths.how(KILLED, memory, "step")[0] == "oom"
    memory = kernel.memory()
    kernel.says(kills=4, group_kills=1, available=8_000_000)
    ended, why = deaths.how(KILLED, memory, "step")
    assert (ended, "out-of-memory killer" in why, "phase step" in why) == ("oom", True, True)


def test_a_sigkill_is_memory_where_nothing_was_left_at_the_last_sign_of_life(kernel: Kernel) -> None:
    memory = kernel.memory()
    kernel.says(kills=3, group_kills=0, available=300_000)
    memory.look()
    assert deaths.how(KILLED, memory, "step")[0] == "oom"


def test_a_group_at_its_limit_counts_and_pages_of_files_do_not(kernel: Kernel) -> None:
    kernel.limits(limit="1000000", current=990_000, files=0)
    memory = kernel.memory()
    memory.look()
    assert memory.ran_out()
    kernel.limits(limit="1000000", current=990_000, files=600_000)
    memory.look()
    assert not memory.ran_out()
    kernel.limits(limit="max", current=990_000, files=0)
    memory.look()
    assert not memory.ran_out()


def test_a_sigkill_that_nothing_explains_is_a_kill(kernel: Kernel, tmp_path: Path) -> None:
    memory = kernel.memory()
    memory.look()
    assert deaths.how(KILLED, memory, "step")[0] == "killed"
    assert deaths.how(KILLED, Memory(tmp_path / "none", tmp_path / "none"), "step")[0] == "killed"


@pytest.mark.parametrize(
    ("cause", "ended"),
    [
        ("RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB", "oom"),
        ("OutOfMemoryError: CUDA out of memory", "oom"),
        (
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: tried 9 bytes",
            "oom",
        ),
        ("RuntimeError: std::bad_alloc", "oom"),
        ("OSError: [Errno 12] Cannot allocate memory", "oom"),
        ("ValueError: bad shape", "crash"),
        ("RuntimeError: running out of patience", "crash"),
    ],
)
def test_the_text_of_an_allocator_is_memory(kernel: Kernel, cause: str, ended: str) -> None:
    assert deaths.how(StepFailed("x", cause=cause), kernel.memory(), "step")[0] == ended


def test_a_timeout_names_the_phase_once(kernel: Kernel) -> None:
    silent = StepFailed("x", kind="timeout", cause="stopped after 5 s without a sign of life in phase load")
    assert deaths.how(silent, kernel.memory(), "load") == ("timeout", silent.cause)
    over = StepFailed("x", kind="timeout", cause="stopped after 60 s")
    assert deaths.how(over, kernel.memory(), "step") == ("timeout", "stopped after 60 s in phase step")


def test_a_full_disk_is_known_by_its_words_or_by_a_file_cut_short_without_room(tmp_path: Path) -> None:
    free = deaths.free_bytes(tmp_path / "not" / "there" / "yet")
    assert free > 0
    assert deaths.says_disk_full("OSError: [Errno 28] No space left on device: 'x'", tmp_path, 0)
    assert deaths.says_disk_full("OSError: [Errno 122] Disk quota exceeded", tmp_path, 0)
    torch_says = "RuntimeError: [enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0"
    assert deaths.says_disk_full(torch_says, tmp_path, free * 1000)
    assert not deaths.says_disk_full(torch_says, tmp_path, 0)
    assert not deaths.says_disk_full("ValueError: bad shape", tmp_path, free * 1000)
