"""Inputs made of image files: bit for bit a detector's samples, and what torchvision makes for a classifier."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from deploytk.artifact import TensorSpec
from deploytk.data import preparation_file
from deploytk.data.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation, Quantization, decode, letterbox
from deploytk.errors import InputError, MissingDependency

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


def spec(*shape: int | str, dtype: str = "float32", scale: float | None = None, zero: int | None = None) -> TensorSpec:
    return TensorSpec(name="images", shape=shape, dtype=dtype, scale=scale, zero_point=zero)


DETECTOR = Preparation.for_input(spec("batch", 3, 160, 160), "detector")


def png(path: Path, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def photos(data_dir: Path) -> list[Path]:
    """Real photos of several sizes and shapes."""
    return [
        *sorted((data_dir / "bccd_voc/JPEGImages").glob("*.jpg"))[:5],
        *sorted((data_dir / "ort_examples").rglob("*.jpg")),
        *sorted((data_dir / "pushin_pill_yolo_small/images/val").glob("*.jpg"))[:3],
        data_dir / "coral/cat.bmp",
    ]


# --- detectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [160, 97, 640])
def test_a_detectors_input_is_bit_for_bit_its_sample(data_dir: Path, size: int) -> None:
    from deploytk.data import samples

    how = Preparation.for_input(spec("batch", 3, size, size), "detector")
    for photo in photos(data_dir):
        expected, placed = samples.tensor(photo, size)
        got, where = how.fit(decode(photo.read_bytes()))
        assert got.dtype == expected.dtype and got.shape == expected.shape
        assert np.array_equal(got, expected), photo.name
        assert where == placed
        assert np.array_equal(how.prepare(photo.read_bytes()), expected)


def test_a_letterbox_may_be_a_rectangle() -> None:
    box, placed = letterbox(np.full((50, 100, 3), 200, np.uint8), (64, 32))
    assert box.shape == (64, 32, 3)
    assert (placed.width, placed.height, placed.left, placed.top) == (32, 16, 0, 24)
    assert (box[:24] == 114).all() and (box[24:40] == 200).all() and (box[40:] == 114).all()


def test_an_nhwc_input_holds_the_same_numbers_with_the_channels_last(tmp_path: Path) -> None:
    image = png(tmp_path / "x.png").read_bytes()
    last = Preparation.for_input(spec(1, 160, 160, 3), "detector")
    assert last.layout == "nhwc"
    assert np.array_equal(last.prepare(image).transpose(0, 3, 1, 2), DETECTOR.prepare(image))


def test_bgr_is_rgb_with_the_channels_the_other_way(tmp_path: Path) -> None:
    image = png(tmp_path / "x.png").read_bytes()
    bgr = DETECTOR.model_copy(update={"colour": "bgr"})
    assert np.array_equal(bgr.prepare(image), DETECTOR.prepare(image)[:, ::-1])


# --- integer inputs --------------------------------------------------------------------------------------------


def test_an_int8_input_is_the_float_one_quantized(tmp_path: Path) -> None:
    image = png(tmp_path / "x.png").read_bytes()
    how = Preparation.for_input(spec(1, 160, 160, 3, dtype="int8", scale=0.00784, zero=-3), "detector")
    real = DETECTOR.prepare(image).transpose(0, 2, 3, 1)
    expected = np.clip(np.round(real / 0.00784) - 3, -128, 127)
    assert how.prepare(image).dtype == np.int8
    assert np.array_equal(how.prepare(image), expected)
    assert expected.max() < 127  # nothing of the range was cut off in this test


def test_a_value_beyond_the_integers_is_held_at_their_end(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    how = Preparation.for_input(spec(1, 8, 8, 3, dtype="int8", scale=0.001, zero=0), "detector")
    assert how.prepare((tmp_path / "red.png").read_bytes())[0, 0, 0].tolist() == [127, 0, 0]


def test_a_uint8_input_without_a_scale_takes_the_pixels_as_they_are(tmp_path: Path) -> None:
    path = png(tmp_path / "x.png", 8, 8)
    how = Preparation.for_input(spec(1, 8, 8, 3, dtype="uint8"), "classifier").model_copy(update={"kind": "resize"})
    assert np.array_equal(how.prepare(path.read_bytes())[0], np.asarray(Image.open(path)))


def test_int8_without_a_scale_is_refused() -> None:
    with pytest.raises(InputError, match="int8 without a scale"):
        Preparation.for_input(spec(1, 8, 8, 3, dtype="int8"), "detector")


# --- classifiers -----------------------------------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("size", "short", "filter"), [(224, 256, "bilinear"), (96, 110, "bilinear"), (64, 64, "bicubic")]
)
def test_a_classifiers_input_is_what_torchvision_makes(data_dir: Path, size: int, short: int, filter: str) -> None:
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms")
    steps = transforms.Compose(
        [
            transforms.Resize(short, interpolation=transforms.InterpolationMode(filter)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    how = Preparation.for_input(spec(1, 3, size, size), "classifier")
    how = Preparation(**how.model_dump() | {"short_side": short, "interpolation": filter})
    for photo in photos(data_dir):
        pixels = decode(photo.read_bytes())
        with torch.inference_mode():
            expected = steps(Image.fromarray(pixels[:, :, ::-1])).numpy()[None]
        got, _ = how.fit(pixels)
        assert got.shape == expected.shape
        # The pixels are the same integers; only the last bit of the float may differ.
        assert np.abs(got - expected).max() < 1e-6, photo.name


@pytest.mark.e2e
def test_stretching_is_what_torchvision_makes_too(data_dir: Path) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    how = Preparation(kind="resize", size=(50, 70))
    for photo in photos(data_dir):
        pixels = decode(photo.read_bytes())
        expected = transforms.ToTensor()(transforms.Resize((50, 70))(Image.fromarray(pixels[:, :, ::-1])))
        assert np.abs(how.fit(pixels)[0][0] - expected.numpy()).max() < 1e-6


def test_opencv_and_pillow_decode_real_photos_alike(data_dir: Path) -> None:
    for photo in photos(data_dir):
        with Image.open(photo) as opened:
            expected = np.asarray(opened.convert("RGB")).astype(int)
        assert np.abs(decode(photo.read_bytes())[:, :, ::-1] - expected).max() <= 3, photo.name


def test_the_usual_crop_of_224_is_of_a_short_side_of_256() -> None:
    how = Preparation.for_input(spec(1, 3, 224, 224), "classifier")
    _, placed = how.fit(np.zeros((512, 1024, 3), np.uint8))
    assert (placed.height, placed.width, placed.top, placed.left) == (256, 512, -16, -144)


def test_a_gray_input_is_gray(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28), (255, 0, 0)).save(tmp_path / "red.png")
    how = Preparation.for_input(spec(1, 1, 28, 28), "classifier")
    made = how.prepare((tmp_path / "red.png").read_bytes())
    assert made.shape == (1, 1, 28, 28)
    assert made == pytest.approx(0.299, abs=0.01)  # the weight of red in BT.601


def test_float16_inputs_are_the_float32_ones_rounded(tmp_path: Path) -> None:
    image = png(tmp_path / "x.png").read_bytes()
    half = Preparation.for_input(spec(1, 3, 160, 160, dtype="float16"), "detector")
    assert np.array_equal(half.prepare(image), DETECTOR.prepare(image).astype(np.float16))


# --- what cannot be ---------------------------------------------------------------------------------------------


def test_what_opencv_cannot_decode_is_named() -> None:
    for broken in (b"no image", b""):
        with pytest.raises(InputError, match=r"photo\.jpg"):
            DETECTOR.prepare(broken, "photo.jpg")


def test_without_opencv_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match=r"cv2 is not installed.*deploytk\["):
        DETECTOR.prepare(b"")


@pytest.mark.parametrize(
    "shape", [(1, 490), ("batch", 3, "height", "width"), (1, 3, 3, 3, 3), (1, 4, 20, 20), ("batch", 3, 160, "w")]
)
def test_an_input_that_is_no_image_is_refused(shape: tuple[int | str, ...]) -> None:
    with pytest.raises(InputError, match="takes no image of a fixed size"):
        Preparation.for_input(spec(*shape), "detector")


def test_inputs_of_other_dtypes_are_refused() -> None:
    with pytest.raises(InputError, match="int64"):
        Preparation.for_input(spec(1, 3, 8, 8, dtype="int64"), "detector")


def test_settings_that_contradict_each_other_are_refused() -> None:
    for wrong, said in (
        ({"mean": (0.5,)}, "mean has 1 numbers"),
        ({"kind": "letterbox", "interpolation": "bicubic"}, "letterbox is bilinear"),
        ({"kind": "resize", "short_side": 9}, "short_side is for center-crop"),
        ({"short_side": 7}, "smaller than the input"),
        ({"quantization": Quantization(scale=0.1)}, "not for float32"),
        ({"dtype": "int8"}, "needs a quantization"),
        ({"dtype": "uint8"}, "plain pixels"),
        ({"divide_by": 0}, "greater than 0"),
        ({"std": (1.0, 0.0, 1.0)}, "greater than 0"),
    ):
        with pytest.raises(ValidationError, match=said):
            Preparation(**{"kind": "center-crop", "size": (8, 8), **wrong})  # type: ignore[arg-type]


# --- the value ---------------------------------------------------------------------------------------------------


def test_equal_preparations_have_equal_sums_and_every_setting_changes_it() -> None:
    base = {"kind": "center-crop", "size": (8, 8)}
    changes: list[dict[str, object]] = [
        {"kind": "resize"}, {"size": (8, 9)}, {"short_side": 12}, {"interpolation": "bicubic"}, {"colour": "bgr"},
        {"layout": "nhwc"}, {"divide_by": 1.0}, {"mean": (1.0, 2.0, 3.0)}, {"std": (1.0, 2.0, 3.0)},
        {"dtype": "float16"}, {"dtype": "int8", "quantization": {"scale": 0.1}},
        {"dtype": "int8", "quantization": {"scale": 0.1, "zero_point": 1}},
    ]  # fmt: skip
    sums = [Preparation(**{**base, **change}).sha256 for change in ({}, *changes)]  # type: ignore[arg-type]
    assert len(set(sums)) == len(sums)
    assert {name for change in changes for name in change} == set(Preparation.model_fields)
    again = Preparation.model_validate_json(Preparation(**base).model_dump_json())  # type: ignore[arg-type]
    assert again.sha256 == sums[0]


def test_a_preparation_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        DETECTOR.divide_by = 1.0  # type: ignore[misc]


# --- files -------------------------------------------------------------------------------------------------------


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "prepare.yaml").write_text(text)
    return str(tmp_path / "prepare.yaml")


def test_a_file_says_what_the_input_does_not(tmp_path: Path) -> None:
    name = written(tmp_path, "kind: resize\ndivide_by: 127.5\nmean: [1, 1, 1]\n")
    how = preparation_file.load(name, spec(1, 32, 48, 3))
    assert (how.kind, how.size, how.layout, how.mean) == ("resize", (32, 48), "nhwc", (1.0, 1.0, 1.0))
    Image.new("RGB", (48, 32), (255, 0, 51)).save(tmp_path / "x.png")
    made = how.prepare((tmp_path / "x.png").read_bytes())
    assert made[0, 5, 7] == pytest.approx([1.0, -1.0, -0.6])


def test_names_give_the_usual_preparations(tmp_path: Path) -> None:
    image = spec(1, 3, 64, 64)
    assert preparation_file.load("detector", image) == Preparation.for_input(image, "detector")
    assert preparation_file.load("classifier", image).mean == IMAGENET_MEAN
    with pytest.raises(InputError, match="did you mean 'classifier'"):
        preparation_file.load("clasifier", image)
    with pytest.raises(InputError, match="no readable preparation file"):
        preparation_file.load(str(tmp_path / "none.yaml"), image)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: resize\ndivide_bye: 1\n", r"prepare\.yaml:2: unknown key 'divide_bye'; did you mean 'divide_by'\?"),
        ("kind: stretch\n", r"prepare\.yaml:1: kind: .*'letterbox'.*\(got 'stretch'\)"),
        ("mean: [0, 0, 0]\n", r"prepare\.yaml: kind: is missing"),
        ("kind: resize\nmean: [0, x, 0]\n", r"prepare\.yaml:2: mean\.1: .*\(got 'x'\)"),
        ("kind: resize\nmean: [.nan, 0, 0]\n", r"prepare\.yaml:2: mean\.0: "),
        ("kind: resize\nkind: letterbox\n", r"prepare\.yaml:2: kind: written twice \(line 1 too\)"),
        ("kind: resize\nquantization:\n  scalle: 1\n", r"prepare\.yaml:3: unknown key 'quantization\.scalle'; did"),
        ("kind: resize\nsize: [16, 16]\n", r"makes float32 \[3, 16, 16\]; the input images takes float32 \[3, 8, 8\]"),
        ("kind: resize\ndtype: float16\n", r"makes float16 .* takes float32"),
        ("kind: resize\nmean: [1]\n", r"prepare\.yaml: mean has 1 numbers; rgb has 3 channels"),
        ("- kind\n", "not a mapping"),
        ("", "empty, or not a mapping"),
        ("kind: [\n", r"prepare\.yaml:2: not valid YAML"),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        preparation_file.load(written(tmp_path, text), spec(1, 3, 8, 8))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int8"])
def test_an_input_written_into_a_batch_is_the_same_and_touches_no_other(layout: Any, dtype: Any) -> None:
    quantization = Quantization(scale=0.01) if dtype in ("uint8", "int8") else None
    how = Preparation(kind="resize", size=(12, 16), layout=layout, dtype=dtype, quantization=quantization)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    batch = np.full((3, *how.shape), 7, dtype)
    placed = how.fit_into(pixels, batch[1])
    alone, where = how.fit(pixels)
    assert np.array_equal(batch[1], alone[0]) and placed == where
    assert (batch[[0, 2]] == 7).all()
