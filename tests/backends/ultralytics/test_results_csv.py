"""results.csv as it really looks: padded, with nan, with a last line cut short."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytk.backends.ultralytics import results

HEADER = "epoch,time,train/box_loss,metrics/precision(B),metrics/recall(B),metrics/mAP50(B),metrics/mAP50-95(B),lr/pg0"


def read(tmp_path: Path, text: str) -> list[dict[str, float | None]]:
    (tmp_path / "results.csv").write_text(text)
    return results.table(results.read(tmp_path / "results.csv"))


def test_padded_columns_and_nan_are_understood(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER.replace(",", ",   ") + "\n 1, 2.5, nan, 0.1, 0.2, 0.3, 0.15, 0.01\n")
    assert rows == [
        {
            "epoch": 1.0,
            "time_s": 2.5,
            "train_box_loss": None,
            "mAP50": 0.3,
            "mAP50_95": 0.15,
            "precision": 0.1,
            "recall": 0.2,
            "lr": 0.01,
        }
    ]


def test_a_line_cut_short_and_a_repeated_header_are_left_out(tmp_path: Path) -> None:
    line = "1,2,3,0.1,0.2,0.3,0.15,0.01\n"
    rows = read(tmp_path, f"{HEADER}\n{line}{HEADER}\n{line.replace('1', '2', 1)}3,4,")
    assert [row["epoch"] for row in rows] == [1.0, 2.0]


def test_no_file_and_an_empty_file_are_no_rows(tmp_path: Path) -> None:
    assert results.read(tmp_path / "gone.csv") == []
    assert read(tmp_path, "\n") == []


def test_the_best_epoch_is_the_last_of_the_highest(tmp_path: Path) -> None:
    text = HEADER + "\n" + "".join(f"{e},1,1,0,0,0,{v},0.01\n" for e, v in ((1, 0.1), (2, 0.4), (3, 0.4), (4, "nan")))
    best = results.best(read(tmp_path, text))
    assert best is not None and best["epoch"] == 2.0 + 1.0
    assert results.best([]) is None


def test_real_files_of_other_versions_are_read(data_dir: Path) -> None:
    found = sorted((data_dir / "logs").glob("yolo*/**/results*.csv"))
    if not found:
        pytest.skip("no real results.csv")
    for file in found:
        rows = results.read(file)
        assert rows and all(row["epoch"] is not None for row in rows), file
