"""The blocks of a sweep and of a crossover, whatever a report says."""

from __future__ import annotations

from typing import Any

from deploytk.budget import Verdict
from deploytk.report import Report
from deploytk.report.content_search import crossover_block, sweep_block


def report(**sections: Any) -> Report:
    return Report(command="train", verdict=Verdict(status="pass"), exit_code=0, sections=sections)


def texts(table: Any) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_no_section_is_no_block_and_a_damaged_one_no_error() -> None:
    assert sweep_block(report()) == crossover_block(report()) == []
    assert sweep_block(report(sweep=3)) == crossover_block(report(crossover=[1])) == []
    assert sweep_block(report(sweep={"points": 5}))[0].tables[0].rows == ()
    assert crossover_block(report(crossover={"models": "x", "spots": [1]}))[0].tables == ()


def test_a_sweep_names_the_recommended_the_best_and_what_ties() -> None:
    points = [
        {"lr": 0.001, "became": "trained", "metric": 0.49, "loss": 2.5, "reason": ""},
        {"lr": 0.01, "became": "trained", "metric": 0.5, "reason": ""},
        {"lr": 0.1, "became": "diverged", "metric": None, "reason": "loss is nan"},
    ]
    told = {"points": points, "recommended": 0.001, "best": 0.01, "tied": [0.001], "metric": "top1"}
    (block,) = sweep_block(report(sweep=told))
    assert texts(block.tables[0]) == [
        ["0.001", "trained", "0.4900", "2.50", "recommended"],
        ["0.01", "trained", "0.5000", "–", "best"],
        ["0.1", "diverged", "–", "–", "loss is nan"],
    ]


def test_a_crossover_shows_both_parts_and_what_is_the_same_model() -> None:
    told = {
        "metric": "top1",
        "models": [
            {"name": "model.pt", "also": ["greedy soup"], "epochs": [7], "choosing": 0.5, "held_out": 0.4},
            {"name": "crossover", "epochs": [5, 7], "choosing": 0.6, "held_out": 0.39, "change": -0.01},
        ],
        "spots": [{"module": "head", "peak_epoch": 5, "peak": 0.6, "gain": 0.1, "plateau": [5, 5], "flat": False}],
        "tried": [{"module": "head", "epoch": 5, "before": 0.5, "score": 0.6, "accepted": True}],
    }
    (block,) = crossover_block(report(crossover=told))
    assert [texts(table) for table in block.tables] == [
        [
            ["model.pt = greedy soup", "7", "0.5000", "0.4000", "–"],
            ["crossover", "5, 7", "0.6000", "0.3900", "-0.0100"],
        ],
        [["head", "5", "0.6000", "+0.1000", "5", "–"]],
        [["head", "5", "0.5000", "0.6000", "accepted"]],
    ]
    assert block.tables[0].rows[1][4].tone == "bad"
