"""The same image in two splits is found under whatever name, and one that looks the same; other pictures are not."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from damaged_data import codes, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from deploytk.data.checks import leakage, likeness
from deploytk.data.checks.image_checks import Looked, look
from deploytk.data.checks.label_checks import Labels, Line


def print_of(picture: Image.Image) -> bytes:
    return likeness.prints_of([np.asarray(picture.convert("L"))])[0]


def bits(one: bytes, other: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


def resaved(picture: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue()))


def changed(photo: Image.Image) -> dict[str, Image.Image]:
    width, height = photo.size
    return {
        "saved badly": resaved(photo, 20),
        "half the size": photo.resize((width // 2, height // 2)),
        "brighter": ImageEnhance.Brightness(photo).enhance(1.15),
        "grey": photo.convert("L"),
        "four pixels on": photo.crop((4, 4, width, height)),
    }


def test_a_photo_is_found_again_after_all_that_keeps_the_picture_and_other_photos_are_not_taken_for_it(
    data_dir: Path,
) -> None:
    photos = [Image.open(p).convert("RGB") for p in sorted((data_dir / "bccd_voc/JPEGImages").glob("*.jpg"))[:12]]
    prints = [print_of(photo) for photo in photos]
    for i, photo in enumerate(photos[:4]):
        for how, again in changed(photo).items():
            found = likeness.alike(prints, [print_of(again)])
            assert [of_train for of_train, _, _ in found] == [i], how
    assert likeness.alike(prints[:6], prints[6:]) == []


def test_two_shots_of_one_field_in_train_and_val_of_a_public_dataset_are_found(data_dir: Path) -> None:
    images = [data_dir / "bccd_voc/JPEGImages" / f"BloodImage_000{n}.jpg" for n in (38, 30, 37)]
    looks = {image: look(image, deep=True) for image in images}
    pairs = leakage.alike({"train": images[:2], "val": images[2:]}, looks)
    assert [(p.image.stem, p.other.stem) for p in pairs] == [("BloodImage_00038", "BloodImage_00037")]


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_picture_of_one_colour_looks_like_nothing(grey: int) -> None:
    assert print_of(Image.new("L", (64, 64), grey)) == b""


@given(
    base=st.lists(st.integers(0, 2**63), min_size=1, max_size=3),
    flips=st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 63), max_size=9)), min_size=2, max_size=14),
    first_other=st.integers(1, 13),
)
@settings(max_examples=80, deadline=None)
def test_the_search_by_parts_finds_what_comparing_all_with_all_finds(
    base: list[int], flips: list[tuple[int, set[int]]], first_other: int
) -> None:
    hashes = [base[i % len(base)] ^ sum(1 << bit for bit in places) for i, places in flips]
    prints = [h.to_bytes(8, "little") * 5 for h in hashes]
    train, others = prints[:first_other], prints[first_other:]
    found = {of_other for _, of_other, _ in likeness.alike(train, others)}
    near = [(j, bits(a[:8], b[:8]), bits(a[8:], b[8:])) for a, (j, b) in product(train, list(enumerate(others)))]
    assert found == {j for j, of_64, of_256 in near if of_64 <= likeness.NEAR_64 and of_256 <= likeness.NEAR_256}


def test_the_picture_of_train_that_is_nearest_is_named() -> None:
    zero, one, two = (n.to_bytes(40, "little") for n in (0, 1 << 70, 3 << 70))
    assert likeness.alike([two, one], [zero]) == [(1, 0, 1)]
    assert likeness.alike([], [zero]) == likeness.alike([zero], []) == []


def test_two_copies_among_twenty_thousand_pictures_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    prints = [row.tobytes() for row in rng.integers(0, 256, (20_000, 40), dtype=np.uint8)]
    assert likeness.alike(prints[:16_000], prints[16_000:] + prints[:2]) == [(0, 4000, 0), (1, 4001, 0)]


def seen(name: str, content: str) -> tuple[Path, Looked]:
    return Path(name), Looked(image=Path(name), digest=content.encode())


def pairs_of(**splits: str) -> list[tuple[str, str, str]]:
    """(rule, the one too many, the other) for splits given as letters, a letter for each content."""
    looks = dict(seen(f"{split}{i}", sha) for split, shas in splits.items() for i, sha in enumerate(shas))
    places = {s: [Path(f"{s}{i}") for i in range(len(shas))] for s, shas in splits.items()}
    pairs = leakage.exact(places, looks)
    rules = codes(leakage.check(pairs, {}, Path()))
    return sorted((rule, str(p.image), str(p.other)) for rule, p in zip(rules, pairs, strict=True))


def test_of_an_image_in_train_and_val_the_copy_in_train_is_one_too_many() -> None:
    assert pairs_of(train="ab", val="ca") == [("DAT050", "train0", "val1")]


def test_copies_within_a_split_and_between_val_and_test_have_rules_of_their_own() -> None:
    assert pairs_of(train="aa", val="bc", test="cd") == [("DAT051", "val1", "test0"), ("DAT053", "train1", "train0")]


def test_each_copy_in_train_of_an_image_of_val_is_one_too_many() -> None:
    assert pairs_of(train="aba", val="a", test="a") == [
        ("DAT050", "train0", "test0"),
        ("DAT050", "train2", "test0"),
        ("DAT051", "val0", "test0"),
    ]


def test_files_that_could_not_be_read_are_not_the_same() -> None:
    assert pairs_of(train=["", ""], val=["", ""]) == []  # type: ignore[arg-type]


def test_copies_with_other_labels_say_so() -> None:
    pairs = leakage.exact({"train": [Path("a"), Path("b")]}, dict([seen("a", "x"), seen("b", "x")]))
    one = Labels(image=Path("a"), file=Path("a.txt"), lines=(Line(1, 0, (0.5, 0.5, 0.1, 0.1)),))
    other = Labels(image=Path("b"), file=Path("b.txt"))
    said = leakage.check(pairs, {Path("a"): one, Path("b"): other}, Path())[0].said
    assert said == "the same as a, with other labels"


def test_drawn_pictures_of_other_seeds_do_not_look_alike() -> None:
    prints = [print_of(picture(seed)) for seed in range(60)]
    assert likeness.alike(prints[:40], prints[40:]) == []


def test_prints_are_the_same_alone_and_among_pictures_of_other_sizes() -> None:
    pictures = [np.asarray(picture(seed).convert("L").resize((60 + seed % 3, 48))) for seed in range(40)]
    pictures.insert(7, np.full((48, 60), 90, np.uint8))

    together = likeness.prints_of(pictures)

    assert together == [likeness.prints_of([each])[0] for each in pictures]
    assert together[7] == b"" and all(len(made) == 40 for made in together[:7] + together[8:])
