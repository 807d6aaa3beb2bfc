"""The tables of bench/results and the page that shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import page
import pytest
import results

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"


def test_a_table_has_a_column_for_every_key_and_a_dash_for_what_is_missing() -> None:
    rows = [
        {"batch": 1, "p50 ms": 3.14159},
        {"batch": 2, "p50 ms": None, "set": [1, 2]},
        {"batch": 4, "set": [], "p50 ms": 10340.4},
    ]
    assert results.table(rows).splitlines() == [
        "| batch | p50 ms | set |",
        "|---|---|---|",
        "| 1 | 3.142 | - |",
        "| 2 | - | 1, 2 |",
        "| 4 | 10340 | none |",
    ]


def test_kept_results_hold_the_machine_and_come_out_as_the_page_shows_them(tmp_path: Path) -> None:
    results.keep(
        tmp_path, "loop", sentence="It is short.", how="3 rounds.", rows=[{"us": 1.5}], versions={"x": "2"}, raw=[1.5]
    )
    told = json.loads((tmp_path / "loop.json").read_text())
    assert told["machine"]["cores"] >= 1 and told["raw"] == [1.5] and told["load_before"] >= 0
    text = "before\n<!-- results: loop -->\nold figures\n<!-- end of results -->\nafter\n"
    shown = page.filled(text, tmp_path)
    assert "old figures" not in shown and "It is short." in shown and "| 1.5 |" in shown and "x 2" in shown
    assert shown.startswith("before\n") and shown.endswith("after\n")
    assert page.filled(shown, tmp_path) == shown


def test_what_was_not_measured_shows_no_figure(tmp_path: Path) -> None:
    text = "<!-- results: loop -->\n| 1.5 |\n<!-- end of results -->\n"
    assert page.filled(text, tmp_path) == "<!-- results: loop -->\nNot measured yet.\n<!-- end of results -->\n"


@pytest.mark.parametrize("name", ["startup", "loadgen"])
def test_results_of_the_scripts_with_a_form_of_their_own_can_be_shown(name: str) -> None:
    if not (results.RESULTS / f"{name}.json").is_file():
        pytest.skip(f"{name} has not been measured in this checkout")
    assert "| " in page.shown(name, results.RESULTS)


def test_the_page_shows_a_script_for_each_table_and_make_bench_runs_it() -> None:
    names = re.findall(r"<!-- results: (\S+) -->", PAGE.read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert len(names) > 5
    assert [n for n in names if f"bench/peers/{n}.py" not in makefile] == []
    assert [n for n in names if not (ROOT / "bench" / "peers" / f"{n}.py").is_file()] == []
