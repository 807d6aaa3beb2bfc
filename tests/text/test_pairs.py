"""Pairs of texts from tables, and which of them are kept from training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.text import pairs
from deploytk.text.pairs import Pair


def profile(path: Path | None, **text: Any) -> Profile:
    told = {"name": "t", "backend": "seq2seq", "text": {"config": {"model_type": "bart"}, **text}}
    return Profile.model_validate({**told, "data": {"path": str(path) if path else None}})


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def rows(count: int) -> str:
    return "source,target\n" + "".join(f"질문 {i},답 {i}\n" for i in range(count))


def test_every_cell_is_a_text_and_rows_without_one_are_counted(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "Q,A,label\n007,12,0\n,no source,1\n안녕,,1\n안녕,반가워요,1\n")

    assert pairs.of_file(path, "Q", "A") == (Pair("007", "12"), Pair("안녕", "반가워요"))
    read = pairs.read(profile(table(path, rows(40) + "a,\n,b\n")))
    assert (read.left_out, len(read.train) + len(read.val)) == (2, 40)


def test_rows_that_are_added_move_no_other(tmp_path: Path) -> None:
    few, many = (pairs.read(profile(table(tmp_path / f"{n}.csv", rows(n)))) for n in (100, 300))

    assert set(few.train) <= set(many.train) and set(few.val) <= set(many.val)
    assert 10 <= len(many.val) <= 60
    assert few.fingerprint() != many.fingerprint()


def test_one_text_is_never_on_both_sides(tmp_path: Path) -> None:
    twice = "source,target\n" + "".join(f"질문 {i},답 {n}\n" for i in range(80) for n in range(2))
    read = pairs.read(profile(table(tmp_path / "a.csv", twice), validation=0.3))

    assert not {p.source for p in read.train} & {p.source for p in read.val}


def test_a_split_that_is_there_is_taken(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "source,target,split\na,b,train\nc,d,dev\ne,f,train\n")
    read = pairs.read(profile(path))
    assert (read.train, read.val) == ((Pair("a", "b"), Pair("e", "f")), (Pair("c", "d"),))

    table(path, "source,target,split\na,b,train\nc,d,eval\n")
    with pytest.raises(InputError, match="row 2: split 'eval' is none of train"):
        pairs.read(profile(path))


def test_a_folder_has_a_file_of_each(tmp_path: Path) -> None:
    table(tmp_path / "train.jsonl", '{"source": "a", "target": "b"}\n')
    with pytest.raises(InputError, match=r"no val file in it; name it val\.csv"):
        pairs.read(profile(tmp_path))
    table(tmp_path / "validation.tsv", "source\ttarget\nc, d\te\n")
    assert pairs.read(profile(tmp_path)).val == (Pair("c, d", "e"),)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"Source,target\na,b\n", "no column 'source'; did you mean 'Source'\\? it has Source, target"),
        ("a.txt", b"", "a table of texts is one of .csv, .tsv, .jsonl, .parquet"),
        ("a.csv", "source,target\n안녕,하세요\n".encode("cp949"), "utf-8"),
        ("a.jsonl", b'{"source": ', "cannot be read as jsonl"),
        ("a.csv", b"source,target\na,b,c\n", "a.csv:2"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        pairs.read(profile(tmp_path / name))


def test_no_data_is_an_error_that_says_what_to_give() -> None:
    with pytest.raises(InputError, match="give --data FILE"):
        pairs.read(profile(None))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30, unique=True), st.integers(1, 30), st.randoms())
def test_the_same_are_drawn_whatever_their_order(texts: list[str], count: int, chance: Any) -> None:
    told = [Pair(text, "") for text in texts]
    shuffled = chance.sample(told, len(told))

    assert set(pairs.drawn(told, count)) == set(pairs.drawn(shuffled, count))
    assert len(pairs.drawn(told, count)) == min(count, len(told))


def test_what_is_held_out_is_the_split_of_a_file_the_val_file_of_a_folder_or_all(tmp_path: Path) -> None:
    split = table(tmp_path / "s.csv", "source,target,split\na,1,train\nb,2,dev\nc,3,val\n")
    plain = table(tmp_path / "p.csv", "source,target\na,1\nb,\n")
    folder = tmp_path / "f"
    folder.mkdir()
    with pytest.raises(InputError, match="no val file in it; name it"):
        pairs.held_out(folder, "source", "target")
    table(folder / "validation.csv", "source,target\nz,9\n")

    assert [pair.source for pair in pairs.held_out(split, "source", "target")] == ["b", "c"]
    assert pairs.held_out(plain, "source", "target") == (Pair("a", "1"),)
    assert pairs.held_out(folder, "source", "target") == (Pair("z", "9"),)
    with pytest.raises(InputError, match="no row of split val has both"):
        pairs.held_out(table(tmp_path / "t.csv", "source,target,split\na,1,train\n"), "source", "target")
