"""Threads that libraries begin behind one's back, and that deploytk keeps them from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import {first}, os, polars, time
time.sleep(0.2)
print([open(f"/proc/self/task/{{thread}}/comm").read() for thread in os.listdir("/proc/self/task")])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the threads' names in /proc")
def test_the_allocator_within_polars_has_no_threads_of_its_own() -> None:
    pytest.importorskip("polars")
    env = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"}

    def threads(first: str) -> str:
        argv = [sys.executable, "-c", CODE.format(first=first)]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=60).stdout

    assert "jemalloc" in threads("sys")  # the test can fail
    assert "jemalloc" not in threads("deploytk")
