"""The checkpoints of a training: which stay, and what a kill leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.profile_training import Keep
from deploytk.training.shelf import Entry, Shelf


def save(path: Path) -> None:
    path.write_bytes(b"weights")


def filled(folder: Path, *fitness: float | None, keep: Keep | None = None) -> Shelf:
    shelf = Shelf(folder, keep or Keep(at_most=2))
    for epoch, value in enumerate(fitness, 1):
        shelf.add(Entry(epoch=epoch, file=None, fitness=value), save)
    return shelf


def on_disk(folder: Path) -> set[str]:
    return {p.name for p in folder.glob("*.pt")}


def test_the_best_and_the_last_stay_and_the_table_keeps_every_epoch(tmp_path: Path) -> None:
    shelf = filled(tmp_path, 0.1, 0.9, 0.2, 0.3, 0.4, 0.5)
    assert on_disk(tmp_path) == {"epoch_0002.pt", "epoch_0005.pt", "epoch_0006.pt"}
    assert [e["epoch"] for e in json.loads((tmp_path / "metadata.json").read_text())] == [1, 2, 3, 4, 5, 6]
    assert shelf.best is not None and shelf.best.epoch == 2
    assert shelf.last is not None and shelf.last.epoch == 6


def test_every_second_epoch_is_kept_beside_the_best_and_the_last(tmp_path: Path) -> None:
    filled(tmp_path, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, keep=Keep(every=2, at_most=3))
    assert on_disk(tmp_path) == {f"epoch_000{n}.pt" for n in (1, 2, 4, 6, 7)}


def test_a_pick_is_never_rotated_away_until_other_epochs_are_picked(tmp_path: Path) -> None:
    shelf = filled(tmp_path, 0.1, 0.2)
    shelf.pick([1], "sweet spot")
    for epoch in range(3, 8):
        shelf.add(Entry(epoch=epoch, file=None, fitness=0.1 * epoch), save)
    assert "epoch_0001.pt" in on_disk(tmp_path)
    shelf.pick([7], "sweet spot")
    assert "epoch_0001.pt" not in on_disk(tmp_path)


def test_a_suspect_epoch_has_no_checkpoint_and_is_never_the_best_or_gone_on_from(tmp_path: Path) -> None:
    shelf = filled(tmp_path, 0.5)
    shelf.add(Entry(epoch=2, file=None, fitness=0.9, suspect=True), save)
    assert on_disk(tmp_path) == {"epoch_0001.pt"}
    assert shelf.last is not None and shelf.last.epoch == 1
    assert shelf.best is not None and shelf.best.epoch == 1


def test_the_last_of_equal_ones_is_the_best(tmp_path: Path) -> None:
    shelf = filled(tmp_path, 0.5, 0.5, None)
    assert shelf.best is not None and shelf.best.epoch == 2


def test_the_best_is_of_the_size_that_images_have_grown_to(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Keep())
    for epoch, (fitness, imgsz) in enumerate(((0.9, 64), (0.4, 96), (0.5, 96), (0.3, 96)), 1):
        shelf.add(Entry(epoch=epoch, file=None, fitness=fitness, facts={"imgsz": imgsz}), save)
    assert shelf.best is not None and shelf.best.epoch == 3


def test_going_back_forgets_what_came_after(tmp_path: Path) -> None:
    shelf = filled(tmp_path, 0.1, 0.2, 0.3)
    shelf.cut(2)
    assert [e.epoch for e in Shelf(tmp_path, Keep()).entries] == [1, 2]
    assert "epoch_0003.pt" not in on_disk(tmp_path)


def test_a_save_that_fails_leaves_the_table_and_the_files_as_they_were(tmp_path: Path) -> None:
    shelf = filled(tmp_path, 0.1)

    def full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        shelf.add(Entry(epoch=2, file=None, fitness=0.2), full)
    again = Shelf(tmp_path, Keep())
    assert [e.epoch for e in again.entries] == [1]
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".pt"] == ["epoch_0001.pt"]


def test_what_a_kill_left_is_put_right_when_the_shelf_is_opened(tmp_path: Path) -> None:
    filled(tmp_path, 0.1, 0.2)
    save(tmp_path / "epoch_0003.pt")  # killed before it came into the table
    (tmp_path / "epoch_0002.pt").unlink()  # lost behind our back
    shelf = Shelf(tmp_path, Keep())
    assert on_disk(tmp_path) == {"epoch_0001.pt"}
    assert shelf.last is not None and shelf.last.epoch == 1


def test_a_damaged_table_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        Shelf(tmp_path, Keep())


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 5)
)
def test_whatever_is_added_the_best_and_the_last_are_there(
    tmp_path_factory: pytest.TempPathFactory, epochs: list[tuple[float, bool]], every: int, at_most: int
) -> None:
    folder = tmp_path_factory.mktemp("shelf")
    shelf = Shelf(folder, Keep(every=every, at_most=at_most))
    for number, (fitness, suspect) in enumerate(epochs, 1):
        shelf.add(Entry(epoch=number, file=None, fitness=fitness, suspect=suspect), save)
    healthy = [(f, n) for n, (f, suspect) in enumerate(epochs, 1) if not suspect]
    assert (shelf.last.epoch if shelf.last else None) == (healthy[-1][1] if healthy else None)
    assert (shelf.best.epoch if shelf.best else None) == (max(healthy)[1] if healthy else None)
    assert len(on_disk(folder)) <= at_most + 2
    assert {e.file for e in shelf.entries if e.file} == on_disk(folder)
