"""What the report says about a bench: sentences, columns and marks; old reports without them are still shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from report_fakes import chain, full, measured

from deploytk.budget import Budget
from deploytk.report import Report
from deploytk.report.blocks import Block, Table
from deploytk.report.content import blocks
from deploytk.report.markdown import markdown
from deploytk.report.points import points


def bench(section: dict[str, Any] | None = None, rows: list[dict[str, Any]] | None = None, **changes: Any) -> Report:
    """A bench of three batch sizes of one ONNX, with the sections given."""
    told = {"boundary": "model", "arrival": "closed loop", **(section or {}), "rows": rows or []}
    values: dict[str, Any] = {
        "command": "bench",
        "artifact": chain()[1],
        "chain": chain()[1:2],
        "measurements": tuple(measured("b", batch, 2.0 * batch) for batch in (1, 2, 4)),
        "sections": {"bench": told},
        "budget": Budget(latency_ms=20),
    }
    return full(**{**values, **changes})


def block(report: Report, name: str) -> Block:
    return next(b for b in blocks(report) if b.name == name)


def table(report: Report, name: str = "bench", column: str = "p95 ms") -> Table:
    return next(t for t in block(report, name).tables if column in t.columns)


def cells(found: Table, column: str) -> list[str]:
    place = found.columns.index(column)
    return [row[place].text for row in found.rows]


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"boundary": "model"}, "The clock holds the model's run alone, without pre- and post-processing."),
        ({"boundary": "end_to_end"}, "The clock holds everything from the image file to the result."),
        ({"knee_batch": 4}, "The knee of the throughput is at batch size 4"),
        ({"best_batch": 8}, "The largest batch size within the budget is 8."),
        ({"best_throughput_batch": 2, "tied": [2, 3, 4]}, "2, 3, 4 cannot be told apart from the best one"),
        ({"best_throughput_batch": 2, "tied": [2]}, "The best throughput within the budget is at batch size 2."),
        ({"arrival": "Poisson"}, "Load: Poisson."),
        (
            {"search": {"opened": 9, "calls": 1234, "time_s": 31.24}},
            "9 batch sizes were opened and 1,234 calls made in",
        ),
        ({"threads": {"best": 2, "rows": []}}, "Threads: 2, as --threads auto measured."),
        ({"stability": {"disturbed": 0.4, "sentence": "another took 40 %"}}, "Another took 40 %."),
    ],
)
def test_what_a_bench_found_is_said_in_a_sentence(section: dict[str, Any], sentence: str) -> None:
    assert sentence in " ".join(block(bench(section), "bench").lines)


def test_what_the_clock_holds_is_said_first_always() -> None:
    assert block(bench(), "bench").lines[0].startswith("The clock holds")
    old = bench(sections={}, budget=None)
    assert block(old, "bench").lines[0] == "This report does not say what the clock holds."


def test_new_columns_are_there_only_where_something_is_known() -> None:
    new = ("first ms", "CPU ms", "J/item", "precision", "evidence")
    assert not set(new) & set(table(bench()).columns)
    row = {"batch": 1, "first_ms": 31.0, "cpu_ms": 4.0, "energy_j_per_item": 0.5, "precision": "bf16", "refined": False}
    shown = table(bench(rows=[row]))
    assert [cells(shown, name)[0] for name in new] == ["31.00", "4.00", "0.5", "bf16", "screened"]
    assert cells(shown, "evidence")[1] == "–"
    assert "only the few samples" in " ".join(block(bench(rows=[row]), "bench").lines)


def test_a_judged_percentile_of_its_own_has_a_column() -> None:
    row = {"batch": 1, "judged_ms": 77.7}
    shown = table(bench(rows=[row], budget=Budget(latency_ms=20, percentile=99.9)))
    assert cells(shown, "p99.9 ms")[0] == "77.70"
    assert list(shown.columns).index("p99.9 ms") == list(shown.columns).index("p99 ms") + 1


def test_several_runtimes_of_one_file_stand_in_one_table_under_their_names() -> None:
    other = tuple(measured("b", batch, 3.0 * batch, runtime="openvino") for batch in (1, 2))
    report = bench(measurements=(*bench().measurements, *other))
    assert cells(table(report), "artifact") == ["model.onnx, onnx"] * 3 + ["model.onnx, openvino"] * 2
    assert cells(table(report), "batch") == ["1", "2", "4", "1", "2"]


def test_rows_find_the_measurement_of_their_own_runtime_and_threads() -> None:
    one = replace(measured("b", 1, 9.0), details={"threads": 1})
    other = measured("b", 1, 5.0, runtime="openvino")
    rows = [
        {"artifact": "model.onnx", "runtime": "openvino", "batch": 1, "verdict": "fail"},
        {"artifact": "model.onnx", "runtime": "onnx", "threads": 1, "batch": 1, "verdict": "pass"},
    ]
    found = {
        (p.runtime, p.threads): p for p in points(bench(rows=rows, measurements=(one, measured("b", 1, 2.0), other)))
    }
    assert {key: p.verdict for key, p in found.items()} == {
        ("onnx", 1): "pass",
        ("onnx", 2): None,
        ("openvino", 2): "fail",
    }
    assert found["onnx", 1].p50_ms == one.percentile_ms(50)
    assert found["onnx", 1].series == "model.onnx, onnx, 1 thread"


def test_threads_that_were_measured_are_a_table_with_the_chosen_one() -> None:
    rows = [{"threads": n, "p50_ms": 20.0 / n, "waited": 0.125, "n": 40, "status": "ok"} for n in (1, 2)]
    rows.append({"threads": 4, "p50_ms": None, "waited": None, "n": 0, "status": "crash"})
    shown = table(bench({"threads": {"best": 2, "batch": 1, "rows": rows}}), column="threads")
    assert cells(shown, "") == ["–", "chosen", "crash"]
    assert cells(shown, "waited for a core") == ["12 %", "12 %", "–"]


def test_the_parts_of_an_end_to_end_call_are_a_table() -> None:
    split = {"decode": (3.0, 4.0, 5.0), "infer": (9.0, 9.0, 9.0)}
    report = bench(measurements=(measured("b", 1, 14.0, parts_ms=split),))
    shown = table(report, column="decode ms")
    assert (cells(shown, "decode ms"), cells(shown, "infer ms")) == (["4.00"], ["9.00"])


def test_models_compared_in_one_run_are_a_table_of_ratios() -> None:
    rows = [
        {"a": "x onnx", "b": "x openvino", "batch": 1, "ratio": 0.8, "low": 0.75, "high": 0.85, "verdict": "faster"},
        {"a": "x onnx", "b": "y onnx", "batch": 1, "ratio": 1.2, "low": 0.0, "high": None, "verdict": "undecided"},
        {"a": "x onnx", "b": "z onnx", "batch": 1, "verdict": "bad_output", "reason": "NaN"},
    ]
    shown = table(bench(sections={"ratio": {"tolerance": 0.05, "rows": rows}}), "ratio", "ratio")
    assert cells(shown, "ratio") == ["0.800", "1.200", "–"]
    assert cells(shown, "interval") == ["0.750 to 0.850", "unknown", "–"]
    assert cells(shown, "verdict") == ["faster", "undecided", "bad output"]
    assert cells(shown, "why") == ["–", "–", "NaN"]


def test_a_later_run_against_an_earlier_one_is_a_table_with_the_raw_ratio_beside() -> None:
    row = {
        **{"series": "m.onnx", "batch": 1, "what": "p50", "old_ms": 10.0, "new_ms": 14.0, "ratio": 1.01},
        **{"low": 0.99, "high": 1.03, "raw_ratio": 1.4, "verdict": "same", "note": "", "refined": False},
    }
    names = {"old": "a", "new": "b", "confidence": 0.95, "tolerance": 0.05, "forced": ["x"]}
    told = names | {"rows": [row | {"left_out": [0.0, 0.4]}]}
    report = full(command="report diff", sections={"diff": told}, measurements=())
    shown = table(report, "diff", "ratio")
    assert [cells(shown, c)[0] for c in ("ratio", "as measured", "verdict", "note")] == [
        *("1.010", "1.400", "same", "only screened"),
    ]
    assert "point" not in shown.columns  # there is only one
    lines = " ".join(block(report, "diff").lines)
    assert "for more than a tenth of the time are left out of the ratio" in lines
    assert "although these differ: x" in lines
    without = full(command="report diff", sections={"diff": names | {"rows": [row]}}, measurements=())
    assert "shows as a change of the model" in " ".join(block(without, "diff").lines)


def test_a_load_is_its_numbers_and_its_course_folded() -> None:
    windows = [{"at_s": n, "p50_ms": 5.0 + n} for n in range(3)]
    found = block(bench(sections={"load": {"scenario": "server", "qps": 20, "windows": windows}}), "load")
    assert [t.folded for t in found.tables] == [False, True]
    assert "server" in markdown(bench(sections={"load": {"scenario": "server", "windows": windows}}))


def soaked() -> dict[str, Any]:
    return {
        "scenario": "soak",
        "boundary": "model",
        "duration_s": 600.0,
        "kept": 0.25,
        "memory": {"mb_per_1000_calls": 1.5, "over_mb": 40.0, "peak_mb": 240.0, "leaks": True},
        "drift": {"change": 0.002, "tau": 0.1, "p_value": 0.4, "drifts": False},
        "worst_second": {"at_s": 7.0, "calls": 148.0, "p95_ms": 30.0, "rss_mb": 210.0},
        "windows": [{"at_s": n, "p95_ms": 5.0} for n in range(3)],
        "windows_shown": "3 of 600",
        "throttling": {"quota_ms": 12.0},
        "stability": {"disturbed": 1.0, "sentence": "These figures may be unstable.", "waited": 0.4},
    }


def test_a_soak_tells_memory_drift_and_the_worst_second_in_words() -> None:
    found = block(bench(sections={"load": soaked()}), "load")
    told = {t.title: {row[0].text: row[1].text for row in t.rows} for t in found.tables if not any(t.columns)}
    assert told["Memory"]["growth per 1000 calls"] == "1.50 MB"
    assert told["Memory"]["leaks"] == "yes"
    assert told["Drift of the median"] == {
        "change over the run": "0.2 %",
        "Kendall's tau": "0.1",
        "p": "0.4",
        "drifts": "no",
    }
    assert told["Throttling"] == {"without quota (cgroup)": "12.00 ms"}
    worst = next(t for t in found.tables if t.title == "The worst second")
    assert worst.columns == ("at s", "calls", "p95 ms", "memory MB")
    assert worst.rows[0][1].text == "148"
    assert found.tables[-1].title == "Course (3 of 600 windows)"
    assert "The verdict is on 25 % of the calls" in " ".join(found.lines)
    assert found.lines[-1] == "These figures may be unstable."


def test_a_server_tells_its_rates_and_where_the_time_goes_and_repeats_no_number() -> None:
    times = [{"time": "in the queue", "p50_ms": 1.0, "p90_ms": 2.0, "p95_ms": 3.0, "p99_ms": None, "max_ms": 9.0}]
    rates = {"requests": 200, "achieved_per_s": 17.7, "achieved_items_per_s": 17.7, "utilization": 0.0977}
    section = {"scenario": "server", "qps": 20.0, "boundary": "end_to_end", **rates, "times": times}
    found = block(bench(sections={"load": section}), "load")
    assert "The clock holds everything from the image file to the result." in found.lines
    assert [row[0].text for row in found.tables[1].rows] == ["served", "requests served", "the workers were busy for"]
    assert found.tables[1].rows[2][1].text == "9.77 %"
    assert [c.text for c in found.tables[2].rows[0]] == ["in the queue", "1.00", "2.00", "3.00", "–", "9.00", "–"]
    each = block(bench(sections={"load": section | {"achieved_items_per_s": 70.8}}), "load")
    assert "items served" in [row[0].text for row in each.tables[1].rows]


def test_a_single_batch_size_has_no_figure_by_batch_size() -> None:
    assert "latency" in block(bench(), "bench").figures
    alone = bench(measurements=bench().measurements[:1])
    assert not {"latency", "throughput"} & set(block(alone, "bench").figures)
