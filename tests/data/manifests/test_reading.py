"""A manifest as it is read: labels stay text, each wrong file is one sentence with its line."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifest_files import written

pytest.importorskip("polars", reason="manifests are read by polars (extra data)")

from deploytk.data.manifests import manifest
from deploytk.errors import InputError, MissingDependency


def refused(*paths: Path) -> str:
    with pytest.raises(InputError) as error:
        manifest.read(*paths)
    return error.value.message


def test_labels_that_look_like_numbers_or_nothing_stay_what_they_are(tmp_path: Path) -> None:
    told = manifest.read(written(tmp_path / "train.csv", "a.jpg,007", "b.jpg,7", "c.jpg,NA", "d.jpg,1e5", "e.jpg,null"))
    assert told.classes == ("007", "1e5", "7", "NA", "null")
    assert [told.classes[label] for label in told.label] == ["007", "7", "NA", "1e5", "null"]


def test_paths_are_relative_to_the_file_and_several_ways_to_write_one_are_one_image(tmp_path: Path) -> None:
    told = manifest.read(written(tmp_path / "m.csv", "a.jpg,x", "./a.jpg,x", "b/../a.jpg,x", "/abs/c.jpg,y"))
    assert told.images == (str(tmp_path / "a.jpg"), "/abs/c.jpg")
    assert told.image.tolist() == [0, 0, 0, 1]


def test_the_split_stands_in_its_column_or_in_the_name_of_the_file(tmp_path: Path) -> None:
    both = written(tmp_path / "all.csv", "a.jpg,x,train", "b.jpg,x,Validation", header="path,label,split")
    assert manifest.read(both).splits == ("train", "val")
    two = (written(tmp_path / "pills_train-2.csv", "a.jpg,x"), written(tmp_path / "valid.csv", "b.jpg,x"))
    assert manifest.read(*two).splits == ("train", "val")
    assert "call it train.csv, val.csv or test.csv" in refused(two[0], written(tmp_path / "other.csv", "c.jpg,x"))
    wrong = written(tmp_path / "wrong.csv", "a.jpg,x,train", "b.jpg,x,trian", header="path,label,split")
    assert refused(wrong) == f"{wrong}:3: there is no split 'trian'; did you mean 'train'?"


def test_a_byte_order_mark_is_read_over_and_two_are_told(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_bytes("\ufeffpath,label\r\na.jpg,고양이\r\n".encode())
    assert manifest.read(file).classes == ("고양이",)
    file.write_bytes("\ufeff\ufeffpath,label\na.jpg,x\n".encode())
    assert refused(file) == f"{file}:1: begins with two byte order marks; save it again as UTF-8 without one"


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("path,label\na.jpg,x\nb.jpg,고양이\n".encode("cp949"), 3, "iconv -f cp949 -t utf-8 train.csv"),
        ("경로,label\na.jpg,x\n".encode("cp949"), 1, "it reads as cp949"),
        ("path,label\na.jpg,x\n".encode("utf-16"), 1, "UTF-16 text; save it as UTF-8"),
        (b"path,label\na.jpg,x,y\nb.jpg,x\n", 2, "3 cells, the header has 2; put cells that contain a comma in"),
        (b"path,label\na.jpg,x\nb.jpg\nc.jpg\n", 3, "1 cells, the header has 2; give it all of them (and 1 more"),
        (b'path,label\n"a.jpg,x\nb.jpg,x\n', None, "a quotation mark that is not closed"),
        (b"path;label\na.jpg;x\n", 1, "no comma, but ';' between its columns"),
        (b"file,label\na.jpg,x\n", 1, "no column 'path'; it has file"),
        (b"Path,label\na.jpg,x\n", 1, "no column 'path'; is it 'Path'? Then rename that column"),
        (b"path,label,splt\na.jpg,x,train\n", 1, "unknown column 'splt'; did you mean 'split'?"),
        (b"path,label,label\na.jpg,x,y\n", 1, "column 'label' is there twice"),
        (b"path,label,x1,y1\na.jpg,x,1,1\n", 1, "x1, y1 without x2, y2"),
        (b"\npath,label\na.jpg,x\n", 1, "a blank line"),
        (b"path,label\na\0.jpg,x\n", 2, "a zero byte"),
        (b"path,label\ra.jpg,x\r", 1, "a carriage return alone"),
        (b"path,label\na.jpg,x\nb.jpg,\n", 3, "no label"),
        (b"path,label\na.jpg,x\n\n,x\n", 4, "no path"),
        (b"path,label\n", None, "a header and no row"),
        (b"", None, "empty; a manifest begins with a line like path,label"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_its_line(
    tmp_path: Path, content: bytes, line: int | None, said: str
) -> None:
    file = tmp_path / "train.csv"
    file.write_bytes(content)
    message = refused(file)
    assert message.startswith(f"{file}:{line}: " if line else f"{file}: ")
    assert said in message
    assert "\n" not in message


def test_without_polars_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("joining", "table"):
        monkeypatch.delitem(sys.modules, f"deploytk.data.manifests.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingDependency, match=r"polars is not installed.*deploytk\[data\]"):
        manifest.read(written(tmp_path / "train.csv", "a.jpg,x"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "train.csv").startswith(f"{tmp_path / 'train.csv'}: no readable manifest")


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("1,2,x,4", "a box is four numbers in pixels: x1 1, y1 2, x2 x, y2 4"),
        ("1,2,,4", "a box is four numbers in pixels: x1 1, y1 2, x2 empty, y2 4"),
        ("5,2,5,4", "a box without an area"),
        ("-1,2,5,4", "a box that begins outside of its image"),
        ("nan,2,5,4", "a box is four numbers in pixels"),
    ],
)
def test_a_box_is_whole_or_not_there(tmp_path: Path, box: str, said: str) -> None:
    header = "path,label,x1,y1,x2,y2"
    file = written(tmp_path / "train.csv", "a.jpg,x,1,2,3,4", f"b.jpg,x,{box}", "c.jpg,x,,,,", header=header)
    found = manifest.read_all(file)
    assert [(fault.row, fault.kind) for fault in found.faults] == [(1, "box")]
    assert found.faults[0].said.startswith(said)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=9)] * 2),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_written_by_a_csv_writer_comes_back_with_its_lines(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    file, lines = tmp_path / "train.csv", []
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(("path", "label"))
        for path, label in rows:
            lines.append(2 + sum(p.count("\n") + q.count("\n") + 1 for p, q in rows[: len(lines)]))
            writer.writerow(("/" + path, label))
    told = manifest.read(file)
    assert [told.classes[label] for label in told.label] == [label for _, label in rows]
    assert told.line.tolist() == lines
    assert told.classes == tuple(sorted({label for _, label in rows}))
