"""Images looked at: here and in processes the same, nothing twice that has not changed, and how long it will take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_data import jpeg

from deploytk.data.checks import pool
from deploytk.data.manifests import looks, memory
from deploytk.data.manifests.looks import Looks
from deploytk.data.manifests.seeing import Known, Seen, see
from deploytk.errors import InputError


def images(tmp_path: Path, count: int) -> list[str]:
    for i in range(count):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i, (32, 32))[: 200 if i == 3 else None])
    return [str(tmp_path / f"{i}.jpg") for i in range(count)]


def looked(paths: list[str], cache: Path | None = None, *, deep: bool = True, jobs: int = 1, **more: Any) -> Looks:
    with memory.opened(cache, deep=deep) as before:
        return looks.look_at(paths, deep=deep, jobs=jobs, memory=before, **{"listen": lambda _event: None} | more)


def test_processes_find_what_this_one_finds_and_tell_how_far_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "_FEW", {"quick": 0, "deep": 0})
    monkeypatch.setattr(looks, "_BATCH", 4)
    paths, events = images(tmp_path, 10), list[dict[str, Any]]()
    here, there = looked(paths), looked(paths, jobs=2, listen=events.append)
    assert [event["done"] for event in events] == [4, 8, 10]
    assert list(here.problems) == [3]
    assert here.problems == there.problems
    for name in ("digests", "prints", "sizes"):
        assert np.array_equal(getattr(here, name), getattr(there, name))


def test_what_has_not_changed_is_not_looked_at_again(tmp_path: Path) -> None:
    paths, cache = images(tmp_path, 6), tmp_path / "seen.sqlite"
    first = looked(paths, cache)
    again = looked(paths, cache)
    assert (first.remembered, again.remembered) == (0, 6)
    assert (again.problems, again.digests.tolist()) == (first.problems, first.digests.tolist())
    (tmp_path / "3.jpg").write_bytes(jpeg(3, (32, 32)))
    Path(paths[5]).unlink()
    mended = looked(paths, cache)
    assert (mended.remembered, list(mended.problems)) == (4, [5])
    assert looked(paths[:5], cache, deep=False).remembered == 0  # another tier saw other things


def test_a_check_that_is_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_BATCH", 2)
    paths, cache = images(tmp_path, 6), tmp_path / "seen.sqlite"

    def stop(event: dict[str, Any]) -> None:
        if event["done"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        looked(paths, cache, listen=stop)
    assert looked(paths, cache).remembered == 4


def test_a_file_that_is_no_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seen.sqlite").write_text("something of the user's, longer than the header of a database " * 3)
    with pytest.raises(InputError, match="no memory of a data check"):
        looked([], tmp_path / "seen.sqlite")


def dying(batch: Sequence[int]) -> list[int]:
    """A decoder that one item kills."""
    if 5 in batch:
        os._exit(1)
    return [item * 10 for item in batch]


def died(item: int) -> int:
    return -item


def test_the_item_that_kills_its_process_is_found_and_all_others_are_done_in_order() -> None:
    done = pool.mapped(dying, [[0, 1, 2], [3, 4, 5], [6, 7], [8]], jobs=2, dead=died)
    assert [result for batch in done for result in batch] == [0, 10, 20, 30, 40, -5, 60, 70, 80]


@pytest.mark.e2e
def test_a_ray_cluster_finds_what_this_machine_finds_and_outlives_a_decoder_that_dies(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    here = Path(__file__).parent  # where the cluster's processes find the decoder that dies
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    env |= {"PYTHONPATH": str(here), "RAY_raylet_start_wait_time_s": "300"}  # beside other tests it takes its time
    paths = images(tmp_path, 10)
    alone = looked(paths)
    argv = [sys.executable, str(here / "on_a_cluster.py"), *paths]
    told = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=600).stdout
    there = json.loads(told.strip().splitlines()[-1])
    (crashed,) = there["problems"].pop("5")
    assert "crashed" in crashed
    assert {str(number): [said for _, said in of] for number, of in alone.problems.items()} == there["problems"]
    others = [number for number in range(10) if number != 5]
    assert np.array_equal(alone.digests[others], np.array(there["digests"], np.uint64)[others])


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"RAY_ADDRESS 127.0.0.1:1: no Ray cluster can be reached there \(.*refused"):
        looked(images(tmp_path, 1), engine="ray")


def test_seen_is_small_and_says_what_is_there(tmp_path: Path) -> None:
    (path,) = images(tmp_path, 1)
    (seen,) = see([Known(path)], deep=True)
    assert isinstance(seen, Seen)
    assert (seen.width, seen.height, len(seen.digest), len(seen.print), seen.problems) == (32, 32, 16, 40, ())
    assert see([Known(path, seen.size, seen.mtime_ns)], deep=True) == [None]


def test_how_long_it_will_take_is_told() -> None:
    assert [looks._duration(s) for s in (12, 600, 9000)] == ["12 s", "10 min", "2.5 h"]
