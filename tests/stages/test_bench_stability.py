"""Whether the machine was quiet, and whether memory leaks, told from counters."""

from __future__ import annotations

import os

import numpy as np
import pytest

from deploytk.stages.bench_stability import leak, stability

CORES = os.cpu_count() or 1


def blocks(waited: float, *, others: float = 0.0, stolen: float = 0.0) -> dict[str, list[float]]:
    """Forty blocks of 100 ms in which the model used one core."""
    return {
        "wall_ms": [100.0] * 40,
        "cpu_ms": [100.0] * 40,
        "waited_ms": [100.0 * waited] * 40,
        "busy_ms": [100.0 + 100.0 * CORES * others] * 40,
        "stolen_ms": [100.0 * CORES * stolen] * 40,
    }


def test_a_quiet_machine_has_nothing_to_tell() -> None:
    told = stability([blocks(0.01), blocks(0.02)])
    assert (told["disturbed"], told["sentence"]) == (0.0, "")


def test_another_process_is_named_with_its_share_and_the_command_to_repeat() -> None:
    told = stability([blocks(0.4, others=0.4)], command="deploytk bench m.onnx")
    assert told["disturbed"] == 1.0
    assert told["others"] == pytest.approx(0.4)
    assert "other processes took 40 % of the processors' time" in told["sentence"]
    assert told["sentence"].endswith("on a quiet machine: deploytk bench m.onnx.")


def test_a_hypervisor_that_takes_time_is_named() -> None:
    assert "the hypervisor gave 20 % of it to other machines" in stability([blocks(0.0, stolen=0.2)])["sentence"]


def test_threads_that_wait_for_each_other_are_not_blamed_on_others() -> None:
    assert "own threads waited for each other" in stability([blocks(0.5)])["sentence"]


def test_a_load_that_is_one_block_says_nothing_of_blocks() -> None:
    sentence = stability([{name: values[:1] for name, values in blocks(0.4, others=0.4).items()}])["sentence"]
    assert "the model waited for a core for 40 % of the time" in sentence
    assert "blocks" not in sentence


def test_few_disturbed_blocks_are_no_reason_to_warn() -> None:
    seen = blocks(0.0)
    seen["waited_ms"][:3] = [90.0] * 3
    assert stability([seen])["sentence"] == ""


def test_where_the_system_does_not_tell_nothing_is_claimed() -> None:
    told = stability([{"wall_ms": [1.0], "cpu_ms": [1.0]}])
    assert told["disturbed"] is None
    assert "does not tell" in told["note"]
    assert stability([])["disturbed"] is None


def test_memory_that_rises_with_the_calls_is_a_leak() -> None:
    sentence = leak([100 + 2.0 * i for i in range(40)], [5] * 40)
    assert sentence.startswith("The memory grows by 400 MB per 1000 calls (from 100 to 178 MB in 200 calls)")


@pytest.mark.parametrize(
    "rss",
    [
        [100.0] * 40,
        [100 + min(i, 12) * 5.0 for i in range(40)],  # arenas that fill
        (100 + np.random.default_rng(0).normal(0, 3, 40)).tolist(),
        [100.0 + 0.05 * i for i in range(40)],  # 1 MB in the later half
        [100.0, 400.0],
    ],
)
def test_memory_that_settles_or_only_varies_is_none(rss: list[float]) -> None:
    assert leak(rss, [5] * len(rss)) == ""


def test_a_leak_is_told_in_noise_and_random_memory_rarely_at_any_of_the_looks() -> None:
    """A bench looks several times as its blocks come: no look may have much of a chance to be wrong."""
    random, looks, calls = np.random.default_rng(1), (40, 80, 160), [5] * 160
    assert leak((200 + 0.5 * np.arange(40) + random.normal(0, 0.5, 40)).tolist(), [5] * 40)
    walks = [(500 + np.cumsum(random.normal(0, 0.5, 160))).tolist() for _ in range(100)]
    assert sum(any(leak(walk[:n], calls[:n]) for n in looks) for walk in walks) <= 5
