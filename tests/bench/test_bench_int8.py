"""The comparisons of INT8 with the defaults and with float: what their rows and sentences say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_onnx

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
import calibration_memory
import int8
import int8_table
import int8_turns
from int8_turns import Timed
from int8_ways import Way


def timed(folder: Path, name: str, ms: float, *, peer: bool = False, ours: bool = False) -> Timed:
    """A way that took `ms`, give or take a little, in each of 40 rounds, with a file of 1000 bytes."""
    path = folder / f"{name}.onnx"
    path.write_bytes(bytes(1000))
    rounds = tuple(ms * (1 + 0.001 * (turn * 7 % 5)) for turn in range(40))
    way = Way(name=name, path=path, runtime="onnx", peer=peer, ours=ours)
    return Timed(way=way, rounds_ms=rounds, details={"precision": "int8"})


def five(folder: Path) -> list[Timed]:
    """The default, a slower and a fast peer, and two of ours; the faster of these lost accuracy."""
    return [
        timed(folder, "default", 10.0, peer=True, ours=True),
        timed(folder, "slow", 12.0, peer=True),
        timed(folder, "fast", 5.0, peer=True),
        timed(folder, "ours", 4.9, ours=True),
        timed(folder, "reckless", 3.0, ours=True),
    ]


SCORES = {"default": 0.83, "slow": 0.80, "fast": 0.81, "ours": 0.82, "reckless": 0.70}


def test_the_choice_is_the_fastest_that_kept_its_accuracy_and_is_set_beside_default_and_best_peer(
    tmp_path: Path,
) -> None:
    rows, words = int8.judged("bccd", five(tmp_path), SCORES, 0.83, 1.9)
    assert [r["deploytk"] for r in rows] == [None, None, None, "its choice", None]
    assert rows[3]["times as fast"] == pytest.approx(10 / 4.9, abs=0.01) and rows[0]["times as fast"] == 1.0
    assert "the aim of 1.9 is reached" in words and "never worse" in words
    assert "not slower than the fastest peer that kept its accuracy, default (2.04" in words
    assert "while fast lost more than is allowed, at 0.98 times its speed" in words


def test_an_int8_slower_than_float_is_not_chosen(tmp_path: Path) -> None:
    ways = [timed(tmp_path, "default", 2.0, peer=True, ours=True), timed(tmp_path, "ours", 3.0, ours=True)]
    rows, words = int8.judged("mobilenet", ways, {}, 0.0, None)
    assert rows[0]["deploytk"] == "its choice"
    assert words == "mobilenet: default, the default itself, which is also the fastest peer that kept its accuracy."


def test_a_choice_slower_than_a_peer_and_short_of_the_aim_says_so(tmp_path: Path) -> None:
    ways = [*five(tmp_path)[:3], timed(tmp_path, "ours", 6.0, ours=True)]
    _, words = int8.judged("bccd", ways, SCORES | {"fast": 0.82}, 0.83, 1.9)
    assert "**not reached**" in words and "**slower than** the fastest peer that kept its accuracy, fast" in words


def test_a_way_that_cannot_be_run_has_a_row_with_the_reason(tmp_path: Path) -> None:
    broken = Timed(way=Way(name="broken", path=tmp_path / "x.onnx", runtime="onnx"), rounds_ms=(), reason="It died.")
    rows, _ = int8.judged("bccd", [*five(tmp_path), broken], SCORES, 0.83, 1.9)
    assert rows[-1]["deploytk"] == "not measured: It died." and "times as fast" not in rows[-1]


def test_a_row_of_the_table_tells_what_int8_costs_and_brings(tmp_path: Path) -> None:
    pair = timed(tmp_path, "float", 10.0), timed(tmp_path, "int8", 5.0)
    row = int8_table.row("bccd", "onnx", ("mAP50", 0.83, 0.825), pair, "full INT8")
    assert row["INT8 / float latency"] == pytest.approx(0.5, abs=0.01) and row["INT8 / float size"] == 1.0
    without = int8_table.row("tiny", "litert", ("same top-1 as float", None, 0.9), pair, "as published")
    lost = row | {"INT8": 0.8}
    gone = int8_table.missed("bccd", "openvino", "mAP50", 0.83)
    assert "1 of 3 pairs" in int8_table.sentence([row, lost, gone, without])


def test_memory_that_grows_with_the_images_is_named() -> None:
    steady = calibration_memory.row("deploytk", "minmax", {16: 200.0, 512: 210.0})
    grown = calibration_memory.row("deploytk", "entropy", {16: 200.0, 512: 400.0})
    theirs = calibration_memory.row("ONNX Runtime", "Entropy", {16: 1000.0, 64: 3400.0})
    assert theirs["MB for each more image"] == 50.0
    assert "1 of 1 methods (at most 1.050 times)" in calibration_memory.sentence([steady, theirs])
    assert "1 of 2 methods (not: entropy)" in calibration_memory.sentence([steady, grown, theirs])


def test_many_calibration_images_are_all_different_and_none_is_kept(data_dir: Path) -> None:
    feeds = calibration_memory.feeds_of(data_dir / "bccd_voc", 32, 130)
    seen = {image.tobytes() for image in feeds()}
    assert len(seen) == 130 and next(feeds()).shape == (1, 3, 32, 32)


@pytest.mark.e2e
def test_two_ways_are_measured_in_turns_and_the_ratio_is_within_the_rounds(tmp_path: Path) -> None:
    paths = [tiny_onnx.conv(tmp_path / f"{name}.onnx", size=64) for name in ("a", "b")]
    ways = [Way(name=path.stem, path=path, runtime="onnx") for path in paths]
    first, second = int8_turns.in_turns(ways, seconds=15.0, logs=tmp_path / "logs")
    found = int8_turns.times_as_fast(second, first)
    assert first.rounds_ms and found and found.low <= found.value <= found.high
    assert np.isfinite(first.ms)
