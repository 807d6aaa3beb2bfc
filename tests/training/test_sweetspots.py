"""The sweet spot of a module: its peak, its plateau, or none."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from deploytk.training import sweetspots_picture
from deploytk.training.sweetspots import FLAT, as_text, spot


def test_the_peak_and_the_plateau_around_it() -> None:
    found = spot("head", {1: 0.1, 2: 0.495, 3: 0.5, 4: 0.4, 5: 0.499}, home=5, reference=0.499)
    assert (found.peak_epoch, found.peak, found.plateau, found.flat) == (3, 0.5, (2, 3), False)
    assert round(found.gain, 6) == 0.001


def test_of_equal_peaks_the_home_epoch_is_the_one() -> None:
    assert spot("head", {1: 0.5, 2: 0.5, 3: 0.5}, home=2, reference=0.5).peak_epoch == 2
    assert spot("head", {1: 0.5, 2: 0.4, 3: 0.5}, home=2, reference=0.4).peak_epoch == 3


def test_a_module_that_is_as_good_everywhere_has_no_sweet_spot() -> None:
    found = spot("neck", {1: 0.5, 2: 0.499, 3: 0.495}, home=1, reference=0.5)
    assert found.flat
    assert "no sweet spot" in as_text([found], "mAP50_95")


@given(st.dictionaries(st.integers(1, 50), st.floats(0, 1), min_size=1), st.data())
def test_the_plateau_holds_the_peak_and_nothing_far_below_it(curve: dict[int, float], data: st.DataObject) -> None:
    home = data.draw(st.sampled_from(sorted(curve)))
    found = spot("m", curve, home=home, reference=curve[home])
    first, last = found.plateau
    assert first <= found.peak_epoch <= last
    assert found.gain >= 0
    assert all(curve[e] >= found.peak * (1 - FLAT) - 1e-12 for e in curve if first <= e <= last)


def test_text_and_picture_name_every_epoch(tmp_path: Path) -> None:
    spots = [spot(name, {2: 0.25, 4: 0.5, 6: 0.375}, home=6, reference=0.375) for name in ("backbone", "a $b")]
    said = as_text(spots, "top1")
    for words in (
        "backbone: peak top1 0.5000 with the weights of epoch 4 (+0.1250",
        "epoch    2  0.2500",
        "<- peak",
        "(home)",
    ):
        assert words in said
    for count in (1, 2):
        sweetspots_picture.draw(tmp_path / "spots.png", spots[:count], "top1")
        assert (tmp_path / "spots.png").read_bytes().startswith(b"\x89PNG")
