"""All that is wrong with the labels of an image is listed, and what is left is what a training would learn."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_data import codes
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk.data import yolo
from deploytk.data.checks import label_checks
from deploytk.data.checks.label_checks import Labels, of_voc, of_yolo
from deploytk.data.checks.survey import boxes
from deploytk.errors import InputError

CLASSES = ("ring", "block")
SIZE = (200, 100)


def labels(tmp_path: Path, text: str, size: tuple[int, int] | None = SIZE) -> Labels:
    file = tmp_path / "a.txt"
    file.write_text(text)
    return of_yolo(tmp_path / "a.jpg", file, CLASSES, size)


def places(found: Labels) -> list[tuple[str, int]]:
    return [(p.rule.code, p.line) for p in found.problems]


def test_every_wrong_line_is_listed_and_the_right_ones_are_kept(tmp_path: Path) -> None:
    lines = [
        "0 0.5 0.5 0.2 0.2",
        "0 0.5 0.5 0.2 x",
        "0 0.5 0.5 0.2",
        "7 0.5 0.5 0.2 0.2",
        "",
        "0 1.5 0.5 0.2 0.2",
        "0 nan 0.5 0.2 0.2",
        "nan 0.5 0.5 0.2 0.2",
        "1 0.5 0.5 0 0.2",
        "1 0.2 0.2 0.1 0.1",
    ]
    found = labels(tmp_path, "\n".join(lines))
    assert places(found) == [
        *(("DAT020", 2), ("DAT021", 3), ("DAT022", 4), ("DAT023", 6), ("DAT023", 7), ("DAT022", 8), ("DAT024", 9)),
    ]
    assert [(line.number, line.label) for line in found.lines] == [(1, 0), (10, 1)]


def test_pixels_instead_of_fractions_are_said_to_be_outside(tmp_path: Path) -> None:
    found = labels(tmp_path, "0 320 240 50 60\n")
    assert found.problems[0].said == "a coordinate is outside 0..1: 320 240 50 60 (they are fractions)"


def test_a_box_that_goes_on_outside_the_image_is_kept_and_said(tmp_path: Path) -> None:
    found = labels(tmp_path, "0 0.95 0.5 0.2 0.2\n0 0.5 0.1 0.2 0.3\n0 0.905 0.5 0.2 0.2\n")
    assert [(p.rule.code, p.line, p.said) for p in found.problems] == [
        ("DAT033", 1, "goes on outside the image by 5.0% at the right"),
        ("DAT033", 2, "goes on outside the image by 5.0% at the top"),
    ]
    assert len(found.lines) == 3


def test_a_line_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    found = labels(tmp_path, "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n0 0.50 0.5 0.2 0.2\n")
    assert places(found) == [("DAT025", 3), ("DAT025", 4)]
    assert found.problems[0].said == "the same as line 1"
    assert [line.number for line in found.lines] == [1, 2]


def test_an_object_that_was_labelled_twice_is_found_by_its_overlap_within_its_class(tmp_path: Path) -> None:
    near, far = "0.502 0.5 0.2 0.2", "0.51 0.5 0.2 0.2"
    found = labels(tmp_path, f"0 0.5 0.5 0.2 0.2\n0 {near}\n1 {near}\n0 {far}\n")
    assert places(found) == [("DAT026", 2)]
    assert found.problems[0].said == "nearly the same as line 1 (IoU 0.980)"
    assert [line.number for line in found.lines] == [1, 3, 4]


def test_of_three_nearly_equal_boxes_the_first_stays(tmp_path: Path) -> None:
    found = labels(tmp_path, "0 0.502 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n0 0.501 0.5 0.2 0.2\n")
    assert [line.number for line in found.lines] == [1]


def test_four_corners_after_a_class_are_read_as_the_box_around_them_and_that_is_said_once(tmp_path: Path) -> None:
    found = labels(tmp_path, "1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n0 0.3 0.1 0.5 0.3 0.3 0.5 0.1 0.3\n")
    assert [(p.rule.code, p.said) for p in found.problems] == [
        ("DAT027", "2 lines with four corner points, read as the box around them")
    ]
    assert [line.box for line in found.lines] == [
        pytest.approx((0.3, 0.4, 0.4, 0.4)),
        pytest.approx((0.3, 0.3, 0.4, 0.4)),
    ]


def test_corners_beside_plain_boxes_are_said_to_cost_the_image_elsewhere(tmp_path: Path) -> None:
    found = labels(tmp_path, "1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n0 0.5 0.5 0.1 0.1\n")
    assert found.problems[0].said.endswith("beside plain boxes, where Ultralytics by itself would drop the image")


def test_dotas_corners_in_pixels_are_read_by_the_size_of_the_image(tmp_path: Path) -> None:
    text = "imagesource:GoogleEarth\ngsd:0.146\n20 10 60 10 60 50 20 50 block 0\n20 10 60 10 60 50 20 50 ship 1\n"
    found = labels(tmp_path, text)
    assert [line.box for line in found.lines] == [pytest.approx((0.2, 0.3, 0.2, 0.4))]
    assert sorted(places(found)) == [("DAT022", 4), ("DAT028", 3)]
    assert "unknown class 'ship'" in found.problems[0].said


def test_fractions_with_a_slip_in_the_last_are_no_dota_line(tmp_path: Path) -> None:
    found = labels(tmp_path, "1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6x\n0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6 ring 0\n")
    assert places(found) == [("DAT020", 1), ("DAT020", 2)]


def test_dotas_corners_without_a_size_are_no_boxes(tmp_path: Path) -> None:
    found = labels(tmp_path, "20 10 60 10 60 50 20 50 block 0\n", size=None)
    assert found.lines == ()
    assert sorted(codes(found.problems)) == ["DAT023", "DAT028"]


def test_a_missing_an_empty_and_a_binary_label_file(tmp_path: Path) -> None:
    gone = of_yolo(tmp_path / "b.jpg", tmp_path / "b.txt", CLASSES, SIZE)
    assert (codes(gone.problems), gone.told) == (["DAT031"], False)
    assert labels(tmp_path, "\n").problems == ()
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe0\x00 \x00")
    assert codes(of_yolo(tmp_path / "a.jpg", tmp_path / "a.txt", CLASSES, SIZE).problems) == ["DAT029"]


OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def annotation(tmp_path: Path, *objects: str, size: tuple[int, int] | None = SIZE, body: str = "") -> Labels:
    told = "<size><width>200</width><height>100</height></size>"
    (tmp_path / "a.xml").write_text(body or "\n".join(["<annotation>", told, *objects, "</annotation>"]))
    return of_voc(tmp_path / "a.jpg", tmp_path / "a.xml", size)


def test_every_wrong_object_of_an_annotation_is_listed_with_its_line(tmp_path: Path) -> None:
    found = annotation(
        tmp_path,
        OBJECT.format("ring", 20, 10, 60, 50),
        OBJECT.format("ring", 20, 10, 260, 50),
        OBJECT.format("ring", 20, 10, 20, 50),
        OBJECT.format("ring", "x", 10, 60, 50),
        OBJECT.format("", 20, 10, 60, 50),
        "<object><name>ring</name></object>",
        OBJECT.format("ring", 20, 10, 60, 50),
    )
    assert places(found) == [
        *(("DAT023", 4), ("DAT024", 5), ("DAT020", 6), ("DAT022", 7), ("DAT021", 8), ("DAT025", 9)),
    ]
    assert [(line.number, line.label) for line in found.lines] == [(3, "ring")]


def test_names_become_the_indices_of_the_classes_and_unknown_ones_are_said(tmp_path: Path) -> None:
    found = annotation(tmp_path, OBJECT.format("block", 1, 1, 50, 50), OBJECT.format("ship", 60, 1, 90, 50))
    known = label_checks.indexed(found, CLASSES)
    assert [line.label for line in known.lines] == [1]
    assert [(p.rule.code, p.line) for p in known.problems] == [("DAT022", 4)]


def test_an_annotation_that_is_no_xml_is_said(tmp_path: Path) -> None:
    assert codes(annotation(tmp_path, body="<annotation>").problems) == ["DAT029"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((400, 200), None),
        ((401, 200), None),
        (None, None),
        ((100, 100), "made for a picture of 200x100; the image is 100x100"),
        ((100, 200), "the image is 100x200; width and height are exchanged"),
    ],
)
def test_an_annotation_for_a_picture_of_another_shape_is_an_error_and_another_scale_is_not(
    tmp_path: Path, size: tuple[int, int] | None, said: str | None
) -> None:
    found = annotation(tmp_path, OBJECT.format("ring", 20, 10, 60, 50), size=size)
    assert codes(found.problems) == (["DAT032"] if said else [])
    assert not said or said in found.problems[0].said


def test_of_an_annotation_for_another_picture_only_that_is_said(tmp_path: Path) -> None:
    found = annotation(tmp_path, OBJECT.format("ring", 20, 10, 260, 50), size=(100, 200))
    assert codes(found.problems) == ["DAT032"]


NUMBER = st.sampled_from(["0", "1", "0.5", "0.25", "0.501", "1.00001", "1.5", "-0.1", "nan", "inf", "x", "1e-200", "7"])
TEXT = st.lists(st.lists(NUMBER, max_size=10).map(" ".join), max_size=6).map("\n".join)


@given(text=TEXT)
@settings(max_examples=150, deadline=None)
def test_what_the_strict_reader_takes_is_read_the_same_and_what_it_refuses_has_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    found = labels(tmp_path_factory.getbasetemp(), text)
    try:
        strict = yolo.boxes_in(found.file, CLASSES, [])
    except InputError as error:
        said = [p for p in found.problems if p.is_error and str(error).endswith(p.said)]
        assert said or "DAT028" in codes(found.problems)
    else:
        assert not any(p.is_error for p in found.problems)
        assert set(boxes(found)) <= set(strict)
        assert len(strict) - len(found.lines) == codes(found.problems).count("DAT026")
