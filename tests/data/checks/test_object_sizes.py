"""How large objects are in the network's input, and what would help where they are too small."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytk.data.checks import object_sizes
from deploytk.data.checks.object_sizes import Sides, larger_imgsz, sides
from deploytk.data.dataset import Box

PHOTO = Path("a.jpg")


def of(side: float, size: tuple[float, float] = (4000, 2000), imgsz: int = 640, count: int = 1) -> Sides:
    """The sides of a class with square boxes of `side` pixels in the photo."""
    box = Box(0, 0.5, 0.5, side / size[0], side / size[1])
    return sides([(PHOTO, [box] * count)], ["stem"], imgsz, lambda _: size)["stem"]


def said(found: Sides) -> list[tuple[str, str]]:
    return [(p.rule.code, p.said) for p in object_sizes.check(Path("data.yaml"), {"stem": found})]


def test_the_shorter_side_is_scaled_by_the_letterbox() -> None:
    boxes = [Box(0, 0.5, 0.5, 0.1, 0.5)]
    found = sides([(PHOTO, boxes)], ["stem"], 320, lambda _: (1280.0, 960.0))["stem"]
    assert (found.median_px, found.photo_px, found.objects) == (32.0, 128.0, 1)


def test_median_and_the_smallest_tenth_are_told_for_each_class_with_an_object() -> None:
    boxes = [Box(0, 0.5, 0.5, n / 100, 0.9) for n in range(1, 21)] + [Box(2, 0.5, 0.5, 0.5, 0.5)]
    found = sides([(PHOTO, boxes)], ["a", "b", "c"], 100, lambda _: (100.0, 100.0))
    assert {name: (s.median_px, s.tenth_px) for name, s in found.items()} == {"a": (10.5, 3.0), "c": (50.0, 50.0)}


def test_an_image_that_cannot_be_read_does_not_count() -> None:
    assert sides([(PHOTO, [Box(0, 0.5, 0.5, 0.1, 0.1)])], ["a"], 640, lambda _: None) == {}


def test_objects_of_a_usual_size_are_no_problem() -> None:
    assert said(of(8 * 4000 / 640)) == []


def test_objects_below_the_stride_are_a_warning_that_names_the_image_size_that_helps() -> None:
    assert said(of(25)) == [
        ("DAT061", "stem: 4 px at 640 (median of the shorter side); --imgsz 1280 brings it to 8 px or more")
    ]
    assert of(25, imgsz=1280).median_px == 8


def test_objects_below_two_pixels_are_an_error_and_beyond_the_largest_image_size_tiles_are_named() -> None:
    rule, told = said(of(10))[0]
    assert rule == "DAT060"
    assert told.endswith("cut the photos (4000x2000) into 5 x 3 tiles of 800 px, and train at 640")


def test_in_the_named_tiles_the_objects_are_as_large_as_was_said() -> None:
    side = of(10).tiles[2]
    assert 10 * 640 / side == pytest.approx(8)


def test_objects_that_are_small_in_the_photo_itself_are_not_promised_help() -> None:
    assert "in the photos themselves they are 5 px" in said(of(5, size=(640, 640)))[0][1]


@pytest.mark.parametrize(("px", "size"), [(4.0, 1280), (7.9, 672), (2.5, 2048), (2.4, None), (0.0, None)])
def test_the_larger_image_size_is_a_multiple_of_32_up_to_2048(px: float, size: int | None) -> None:
    assert larger_imgsz(640, px) == size
