"""Figures by what they hold: the words in them, the places of their marks, and none where there is nothing to draw."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from report_fakes import measured
from test_bench_content import bench

from deploytk.budget import Budget
from deploytk.judge import weigh
from deploytk.measurement import Measurement
from deploytk.report import Report
from deploytk.report.plots import figures
from deploytk.report.plots_bench import throughput
from deploytk.report.plots_samples import band
from deploytk.report.plots_time import memory, timeline


def words(svg: str) -> str:
    return " ".join(re.findall(r">([^<>]+)</text>", svg)).replace("&#x27;", "'")


def timed(m: Measurement, **more: Any) -> Measurement:
    return replace(m, block_at_s=tuple(float(n) for n in range(len(m.blocks))), **more)


def with_times(**more: Any) -> Report:
    return bench(measurements=tuple(timed(m, **more) for m in bench().measurements))


@pytest.mark.parametrize("name", ["timeline", "memory", "parts", "load"])
def test_what_an_old_report_does_not_have_is_not_drawn(name: str) -> None:
    assert name not in figures(bench())


def test_knee_ties_and_largest_batch_are_marked_in_words() -> None:
    drawn = figures(bench({"knee_batch": 2, "tied": [2, 4], "best_batch": 4}))
    assert "knee: 2" in words(drawn["throughput"])
    assert "cannot be told from the best" in words(drawn["throughput"])
    assert "largest within the budget: 4" in words(drawn["latency"])
    assert "knee" not in words(figures(bench())["throughput"])


def test_rings_stand_on_the_tied_batches_and_squares_on_the_screened_one() -> None:
    report = bench({"tied": [2, 4]}, rows=[{"batch": 1, "refined": False}])
    figure = throughput(report)
    assert figure
    lines = {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].get_lines()}
    assert lines["cannot be told from the best"] == [2, 4]
    assert lines["only screened"] == [1]


def test_a_knee_of_several_series_belongs_to_none_and_is_not_drawn() -> None:
    other = tuple(measured("b", batch, 3.0 * batch, runtime="openvino") for batch in (1, 2))
    drawn = figures(bench({"knee_batch": 2}, measurements=(*bench().measurements, *other)))
    assert "knee" not in words(drawn["throughput"])
    assert "model.onnx, openvino" in words(drawn["throughput"])


def test_the_judged_percentile_is_the_line() -> None:
    assert "model.onnx: p99, band p50 to p99" in words(figures(bench(budget=Budget(percentile=99)))["latency"])


def test_batches_between_powers_of_two_do_not_write_over_each_other() -> None:
    batches = (1, 2, 4, 8, 16, 24, 28, 30, 31, 32)
    drawn = words(figures(bench(measurements=tuple(measured("b", b, 2.0 * b) for b in batches)))["latency"])
    assert " 24 " in drawn
    assert " 32 " in drawn
    assert " 31 " not in drawn


def test_the_band_is_the_bound_of_the_verdict_where_samples_are_independent() -> None:
    samples, budget = np.random.default_rng(1).exponential(10, 400), Budget(latency_ms=35, percentile=95)
    low, high = band(samples, [1] * 400, 95, 0.95)
    within = int((samples <= 35).sum())
    found = weigh(samples, [1] * 400, budget)
    assert high[within - 1] >= 1 - found.lower - 1e-9
    assert low[within - 1] <= 1 - found.upper + 1e-9
    assert low[within - 1] == pytest.approx(1 - found.upper, abs=0.02)


def test_alike_neighbours_widen_the_band() -> None:
    samples = np.random.default_rng(2).exponential(10, 40)
    low, high = band(np.repeat(samples, 10), [10] * 40, 95, 0.95)
    one, other = band(np.random.default_rng(2).exponential(10, 400), [1] * 400, 95, 0.95)
    assert (high - low)[200] > 2 * (other - one)[200]


def test_the_band_covers_the_true_distribution_at_the_stated_confidence() -> None:
    hits = []
    for seed in range(300):
        samples = np.random.default_rng(seed).uniform(0, 1, 200)
        low, high = band(samples, [1] * 200, 95, 0.95)
        true = np.sort(samples)[149]
        hits.append(low[149] <= true <= high[149])
    assert np.mean(hits) >= 0.88  # both edges at 95 % each


def test_the_time_line_has_every_block_the_warm_up_apart_and_nothing_clipped() -> None:
    report = with_times(warmup_ms=(300.0, 20.0))
    figure = timeline(report)
    assert figure
    warm, course = figure.axes[:2]
    assert [len(line.get_xdata()) for line in course.get_lines()[:3]] == [40, 40, 40]
    assert max(warm.get_lines()[0].get_ydata()) == 300.0
    assert course.get_ylim()[1] >= max(max(m.samples_ms) for m in report.measurements)
    assert "Warm-up calls" in words(figures(report)["timeline"])


def test_memory_is_drawn_from_blocks_and_from_the_windows_of_a_soak() -> None:
    figure = memory(with_times(block_rss_mb=tuple(100.0 + n for n in range(40))))
    assert figure
    assert list(figure.axes[0].get_lines()[0].get_ydata())[-1] == 139.0
    windows = [{"at_s": n, "p50_ms": 5.0, "worst_ms": 9.0, "rss_mb": 100.0 + 3 * n} for n in range(5)]
    soaked = bench(measurements=(), sections={"load": {"scenario": "soak", "windows": windows}})
    drawn = figures(soaked)
    assert {"memory", "load"} <= set(drawn)
    assert "worst" in words(drawn["load"])


def test_the_parts_of_a_call_are_bars_that_add_up() -> None:
    split = {"decode": (3.0,) * 4, "infer": (9.0,) * 4}
    drawn = figures(bench(measurements=(measured("b", 1, 12.0, parts_ms=split),)))["parts"]
    assert "decode" in words(drawn)
    assert "infer" in words(drawn)


def test_damaged_windows_are_left_out() -> None:
    report = with_times()
    broken = replace(report, sections={**report.sections, "load": {"windows": ["x", {"at_s": None}, {"p50_ms": 3}]}})
    assert "load" not in figures(broken)
