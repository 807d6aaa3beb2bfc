"""The block of a diagnosis: the word, the lines, the causes with their patches, the notes."""

from __future__ import annotations

from typing import Any

from deploytk.budget import Verdict
from deploytk.report import Report
from deploytk.report.content_diagnosis import diagnosis_block

TOLD: dict[str, Any] = {
    "verdict": "collapsed",
    "unit": "epoch",
    "metric": {"name": "mAP50", "best": 0.764, "best_at": 9.0, "last": 0.041, "last_at": 29.0},
    "evidence": [{"where": "results.csv:10", "text": "epoch 9: mAP50 0.764"}],
    "causes": [
        {
            "code": "DIA001",
            "score": 0.9,
            "evidence": [{"where": "args.yaml:8", "text": "lr0: 0.01"}],
            "changes": {"train": {"lr0": 0.001, "optimizer": "SGD"}},
        }
    ],
    "settings": {"lr0": 0.01},
    "notes": ["results.csv:31: the last line is cut short"],
}


def report(**sections: Any) -> Report:
    return Report(command="diagnose", verdict=Verdict(status="fail"), exit_code=7, sections=sections)


def test_nothing_diagnosed_is_no_block() -> None:
    assert diagnosis_block(report()) == []


def test_the_word_the_evidence_the_causes_and_the_settings_are_tables() -> None:
    (block,) = diagnosis_block(report(diagnosis=TOLD))
    summary, evidence, causes, known = ([[c.text for c in row] for row in t.rows] for t in block.tables)
    assert summary == [["verdict", "collapsed"], ["best mAP50", "0.764 (epoch 9)"], ["last mAP50", "0.041 (epoch 29)"]]
    assert evidence == [["results.csv:10", "epoch 9: mAP50 0.764"]]
    assert causes == [["DIA001", "0.9", "args.yaml:8 lr0: 0.01", "train: {lr0: 0.001, optimizer: SGD}"]]
    assert known == [["lr0", "0.01"]]
    assert block.lines == ("results.csv:31: the last line is cut short",)


def test_a_healthy_one_is_green_and_has_no_empty_tables() -> None:
    (block,) = diagnosis_block(report(diagnosis={"verdict": "healthy"}))
    assert [row[1].tone for row in block.tables[0].rows] == ["good"] and len(block.tables) == 1
