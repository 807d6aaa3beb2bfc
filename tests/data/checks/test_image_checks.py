"""Image files as they are really broken: each is named for what it is, and good ones are left in peace."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from damaged_data import codes, jpeg, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deploytk.data.checks import image_checks, likeness
from deploytk.data.checks.image_checks import look

GOOD = jpeg(1, (320, 240))


@pytest.fixture(autouse=True)
def pillow_may_warn() -> Iterator[None]:
    """As `looking` does: of odd EXIF data Pillow warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def written(tmp_path: Path, data: bytes, name: str = "a.jpg") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def saved(picture: Image.Image, kind: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **how)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp"), ("WEBP", "webp"), ("TIFF", "tif")]
)
def test_a_good_image_of_each_format_has_nothing_wrong(tmp_path: Path, kind: str, suffix: str) -> None:
    found = look(written(tmp_path, saved(picture(1), kind), f"a.{suffix}"), deep=True)
    assert codes(found) == []
    assert (found.size, found.kind, len(found.print), len(found.digest)) == ((96, 64), kind, 40, 16)


def test_a_progressive_grey_and_cmyk_jpeg_are_good(tmp_path: Path) -> None:
    for mode, how in (("RGB", {"progressive": True}), ("L", {}), ("CMYK", {})):
        data = saved(picture(2).convert(mode), "JPEG", **how)
        assert codes(look(written(tmp_path, data), deep=True)) == []


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"", "DAT002", "0 bytes"),
        (b"<!DOCTYPE html><title>404</title>", "DAT003", "an HTML page"),
        (b"\n  <html>", "DAT003", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "DAT003", "git lfs pull"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "DAT003", "macOS"),
        (b"GIF89a\x01\x00", "DAT003", "a GIF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "DAT003", "heic file"),
        (bytes(4096), "DAT003", "4,096 zero bytes"),
        (b"hello", "DAT003", "it begins with b'hello'"),
    ],
)
def test_what_is_no_image_is_named_for_what_it_is(tmp_path: Path, data: bytes, code: str, said: str) -> None:
    found = look(written(tmp_path, data))
    assert codes(found) == [code]
    assert said in found.problems[0].said
    assert not found.usable


def test_a_missing_file_is_a_problem_and_no_error_of_ours(tmp_path: Path) -> None:
    assert codes(look(tmp_path / "gone.jpg")) == ["DAT001"]
    assert codes(look(tmp_path)) == ["DAT001"]


def test_a_png_named_jpg_can_be_used_and_is_named(tmp_path: Path) -> None:
    found = look(written(tmp_path, saved(picture(1), "PNG")))
    assert [(p.rule.code, p.said) for p in found.problems] == [("DAT004", "a PNG named .jpg")]
    assert found.usable


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize(("kind", "name"), [("JPEG", "a.jpg"), ("PNG", "a.png"), ("WEBP", "a.webp")])
def test_a_file_that_was_cut_off_is_found_without_decoding_it(
    tmp_path: Path, kind: str, name: str, kept: float
) -> None:
    data = saved(picture(3, (320, 240)), kind)
    found = look(written(tmp_path, data[: int(len(data) * kept)], name))
    assert codes(found) == ["DAT005"]
    assert "cut off" in found.problems[0].said


def test_a_jpeg_that_lost_its_last_byte_alone_is_cut_off(tmp_path: Path) -> None:
    assert codes(look(written(tmp_path, GOOD[:-1]))) == ["DAT005"]


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(tmp_path: Path) -> None:
    thumbnail = jpeg(1, (16, 16))
    assert thumbnail.endswith(b"\xff\xd9")
    block = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = GOOD[:2] + block + GOOD[2:]
    assert codes(look(written(tmp_path, whole), deep=True)) == []
    assert codes(look(written(tmp_path, whole[: len(whole) // 2]))) == ["DAT005"]


def test_bytes_that_a_camera_writes_behind_the_end_are_no_fault(tmp_path: Path) -> None:
    assert codes(look(written(tmp_path, GOOD + bytes(700) + b"SEFT camera data"), deep=True)) == []


def test_a_picture_too_small_to_train_on_is_said(tmp_path: Path) -> None:
    found = look(written(tmp_path, jpeg(1, (64, 9))))
    assert [(p.rule.code, p.said) for p in found.problems] == [("DAT007", "64x9 pixels")]


@pytest.mark.parametrize(("orientation", "size"), [(3, (96, 64)), (6, (64, 96)), (8, (64, 96))])
def test_a_turned_photo_is_said_and_its_size_is_that_of_the_picture_shown(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = look(written(tmp_path, saved(picture(1), "JPEG", exif=exif)))
    assert [(p.rule.code, p.said) for p in found.problems] == [("DAT008", f"EXIF orientation {orientation}")]
    assert found.size == size
    assert found.usable


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_turned_photo_of_any_format_has_the_size_it_is_shown_with(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    found = look(written(tmp_path, saved(picture(1), kind, exif=exif), f"a.{kind.lower()}"))
    assert (codes(found), found.size) == (["DAT008"], (64, 96))


def test_a_16_bit_picture_has_a_likeness_too(tmp_path: Path) -> None:
    values = np.asarray(picture(1).convert("L"), dtype=np.uint16) * 20 + 30_000
    path = written(tmp_path, saved(Image.fromarray(values), "PNG"), "a.png")
    assert likeness.alike([look(path, deep=True).print], [likeness.prints_of([np.asarray(picture(1).convert("L"))])[0]])
    flat = np.full_like(values, 30_000)
    assert look(written(tmp_path, saved(Image.fromarray(flat), "PNG"), "b.png"), deep=True).print == b""


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_an_orientation_that_every_tool_ignores_is_ignored(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert codes(look(written(tmp_path, saved(picture(1), "JPEG", exif=exif)))) == []


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    data = bytearray(saved(picture(1), "PNG"))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    assert codes(look(written(tmp_path, bytes(data), "a.png"), deep=True)) == ["DAT006"]


def test_a_png_with_a_changed_byte_is_found_by_decoding_it(tmp_path: Path) -> None:
    data = bytearray(saved(picture(4, (320, 240)), "PNG"))
    data[len(data) // 2] ^= 0xFF
    path = written(tmp_path, bytes(data), "a.png")
    assert codes(look(path)) == []
    assert codes(look(path, deep=True)) == ["DAT009"]


def decoder(said: str) -> Any:
    def decode(*_args: Any, **_more: Any) -> None:
        raise ValueError(said)

    return lambda: SimpleNamespace(decode_jpeg_header=lambda _: (240, 320, "YCbCr", "420"), decode_jpeg=decode)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Corrupt JPEG data: premature end of data segment", "DAT009"),
        ("Corrupt JPEG data: bad Huffman code", "DAT009"),
        ("Corrupt JPEG data: 17 extraneous bytes before marker 0xd9", "DAT010"),
        ("Invalid SOS parameters for sequential JPEG", "DAT010"),
    ],
)
def test_what_libjpeg_warns_of_is_an_error_only_where_the_picture_suffers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: str
) -> None:
    monkeypatch.setattr(image_checks, "_simplejpeg", decoder(said))
    found = look(written(tmp_path, GOOD), deep=True)
    assert [(p.rule.code, p.said) for p in found.problems] == [(code, f"the decoder says: {said}")]


@pytest.mark.parametrize("blocks", [1, 8])
def test_a_block_that_a_disk_lost_is_found_without_decoding(tmp_path: Path, blocks: int) -> None:
    data = bytearray(jpeg(5, (640, 480), quality=95))
    data[8192 : 8192 + 512 * blocks] = bytes(512 * blocks)
    found = look(written(tmp_path, bytes(data)))
    assert codes(found) == ["DAT015"]
    assert "zeros" in found.problems[0].said


def test_a_white_sheet_and_zeros_behind_the_picture_are_no_lost_block(tmp_path: Path) -> None:
    for size in ((2000, 3000), (2048, 2048), (4096, 512)):
        sheet = saved(Image.new("L", size, 255), "JPEG", optimize=True)
        assert bytes(4096) in sheet
        assert codes(look(written(tmp_path, sheet))) == []
    header = GOOD[:2] + b"\xff\xe2" + struct.pack(">H", 4098) + bytes(4096) + GOOD[2:]
    assert codes(look(written(tmp_path, header), deep=True)) == []


@pytest.mark.parametrize("damage", ["zeros", "flips"])
def test_simplejpeg_finds_what_pillow_passes(tmp_path: Path, damage: str) -> None:
    pytest.importorskip("simplejpeg", reason="simplejpeg is not installed")
    data = bytearray(jpeg(5, (640, 480), quality=95))
    if damage == "zeros":
        data[8100:12000] = bytes(3900)
    else:
        for place in range(2000, len(data) - 10, 1009):
            data[place] ^= 0x10
    assert codes(look(written(tmp_path, bytes(data)), deep=True)) == ["DAT009"]


@given(data=st.binary(max_size=200), cut=st.integers(0, len(GOOD)), deep=st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_the_bytes_there_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int, deep: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jpg"
    for content in (data, GOOD[:cut] + data):
        path.write_bytes(content)
        found = look(path, deep=deep)
        assert found.usable == all(p.rule.severity != "error" for p in found.problems)
        assert not found.print or found.usable


def test_real_photos_have_nothing_wrong(data_dir: Path) -> None:
    photos = [
        *sorted((data_dir / "bccd_voc/JPEGImages").glob("*.jpg"))[::8],
        *sorted((data_dir / "pushin_pill_yolo_small/images/val").glob("*.jpg"))[::4],
        *(data_dir / "bad/pillow" / name for name in ("hopper_gray.jpg", "pil_sample_cmyk.jpg", "invalid-exif.jpg")),
    ]
    assert {path.name: codes(look(path, deep=True)) for path in photos} == {path.name: [] for path in photos}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pillow/truncated_jpeg.jpg", "DAT005"),
        ("pillow/truncated_image.png", "DAT005"),
        ("pillow/broken_data_stream.png", "DAT005"),
        ("pillow/broken.png", "DAT005"),
        ("pillow/exif_gps.jpg", "DAT007"),
        ("pillow/hopper_orientation_6.jpg", "DAT008"),
        ("pillow/decompression_bomb.gif", "DAT003"),
        ("pillow/decompression_bomb.ico", "DAT003"),
        ("lfs_pointer/object_detection/yolo-fastest_192_face_v4.tflite", "DAT003"),
        ("appledouble/._vww_96_int8.tflite", "DAT003"),
    ],
)
def test_really_broken_files_are_found_without_decoding(data_dir: Path, name: str, code: str) -> None:
    assert codes(look(data_dir / "bad" / name)) == [code]
