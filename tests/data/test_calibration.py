"""Calibration sets: fixed, hashed, apart from the evaluation images, streamed; and what breaks them is named."""

from __future__ import annotations

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from calibration_fakes import folders, picture, yolo
from PIL import Image

from deploytk.artifact import TensorSpec
from deploytk.data import calibration, calibration_making, labelled
from deploytk.data.calibration import CalibrationSet
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.profile import Calibration as Wanted
from deploytk.profile import Data, Profile
from deploytk.profile_training import Train

pytest.importorskip("cv2", reason="OpenCV is not installed")


def made(
    data: Path, folder: Path, *, samples: int = 8, seed: int = 0, side: int = 32, name: str = "mine"
) -> CalibrationSet:
    pool = labelled.read(data)
    how = calibration_making.usual(pool.task, side)
    return calibration_making.drawn(pool, folder, name=name, samples=samples, seed=seed, preparation=how).save()


def names(found: CalibrationSet) -> list[str]:
    return [sample.path.name for sample in found.told.samples]


# --- what is chosen -------------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_set_and_another_seed_another_one(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 30)
    first, again, other = (made(data, tmp_path / f"s{n}", seed=seed) for n, seed in enumerate((0, 0, 1)))
    assert (first.told.samples, first.sha256) == (again.told.samples, again.sha256)
    assert first.sha256 != other.sha256 and names(first) != names(other)


def test_a_class_that_one_image_has_is_covered_whatever_the_seed(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 38 + [1, 2])
    for seed in range(4):
        covered = made(data, tmp_path / "set", seed=seed).told.coverage.classes
        assert covered.keys() == {"c0", "c1", "c2"} and all(covered.values())


def test_dark_and_bright_images_are_among_the_samples(tmp_path: Path) -> None:
    told = made(yolo(tmp_path, [0] * 40), tmp_path / "set").told
    whole, chosen = told.coverage.brightness_of_train, told.coverage.brightness
    reach = (whole.highest - whole.lowest) / 8
    assert chosen.lowest <= whole.lowest + reach and chosen.highest >= whole.highest - reach
    assert chosen.median == pytest.approx(whole.median, abs=reach)


def test_fewer_images_than_asked_are_all_taken_and_fewer_than_eight_are_refused(tmp_path: Path) -> None:
    found = made(yolo(tmp_path / "a", [0] * 9), tmp_path / "a/set", samples=64)
    assert (found.images, found.told.asked) == (9, 64)
    with pytest.raises(InputError, match="7 different training images; at least 8"):
        made(yolo(tmp_path / "b", [0] * 7), tmp_path / "b/set")


def test_copies_of_an_image_count_once(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 8)
    for n in range(5):
        shutil.copy(tmp_path / "images/train/000.png", tmp_path / f"images/train/copy{n}.png")
    assert sorted(names(made(data, tmp_path / "set", samples=64))) == [f"{n:03d}.png" for n in range(8)]


def test_a_sample_that_is_an_evaluation_image_under_another_name_is_refused(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 8)
    shutil.copy(tmp_path / "images/train/003.png", tmp_path / "images/val/other.png")
    with pytest.raises(InputError, match=r"1 calibration samples are .*train/003\.png is .*val/other\.png"):
        made(data, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 9)
    (tmp_path / "images/train/004.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"004\.png: not a readable image"):
        made(data, tmp_path / "set")


def test_a_classification_set_is_cropped_and_normalised_as_classifiers_are(tmp_path: Path) -> None:
    found = made(folders(tmp_path), tmp_path / "set")
    assert found.preparation == calibration_making.usual("classifier", 32)
    assert found.told.coverage.classes.keys() == {"cat", "dog"}
    assert next(found.feeds()).min() < 0  # ImageNet's mean is taken off


def test_only_inputs_of_the_float_model_are_made(tmp_path: Path) -> None:
    pool = labelled.read(yolo(tmp_path, [0] * 8))
    how = Preparation(kind="resize", size=(8, 8), layout="nhwc")
    with pytest.raises(InputError, match="dtype float32, layout nchw"):
        calibration_making.drawn(pool, tmp_path, name="x", samples=8, seed=0, preparation=how)


# --- what it feeds --------------------------------------------------------------------------------------------------


def test_feeds_are_the_inputs_of_inference_bit_for_bit_and_each_call_is_a_new_pass(
    data_dir: Path, tmp_path: Path
) -> None:
    from deploytk.data import samples

    found = made(data_dir / "bccd_voc", tmp_path / "set", side=64)
    passes = [list(found.feeds()) for _ in range(2)]
    assert [len(each) for each in passes] == [8, 8]
    for sample, first, second in zip(found.told.samples, *passes, strict=True):
        assert first.shape == (1, 3, 64, 64) and first.dtype == np.float32
        assert np.array_equal(first, samples.tensor(found.path_of(sample), 64)[0])
        assert np.array_equal(first, second)


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    whole = made(yolo(tmp_path, [0] * 512), tmp_path / "set", samples=512, side=64)
    peaks = []
    for count in (16, 512):
        few = replace(whole, told=whole.told.model_copy(update={"samples": whole.told.samples[:count]}))
        tracemalloc.start()
        assert sum(feed.shape[0] for feed in few.feeds()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_sample_that_has_changed_or_is_gone_is_named_when_it_is_fed(tmp_path: Path) -> None:
    found = made(yolo(tmp_path, [0] * 8), tmp_path / "set")
    file = found.path_of(found.told.samples[3])
    picture(file, 1, 999)
    feeds = found.feeds()
    assert [next(feeds).shape for _ in range(3)]
    with pytest.raises(InputError, match=rf"{file.name}: a sample of the calibration set mine, changed"):
        next(feeds)
    file.unlink()
    with pytest.raises(InputError, match=rf"{file.name}.*cannot be read .*correct `dataset` in .*set\.yaml"):
        list(found.feeds())


def test_a_model_of_another_size_is_refused_with_the_way_out(tmp_path: Path) -> None:
    found = made(yolo(tmp_path, [0] * 8), tmp_path / "set")
    found.require_fit(TensorSpec(name="images", shape=("batch", 3, 32, 32), dtype="float32"))
    with pytest.raises(InputError, match=r"calibration set mine: .*3, 32, 32.*3, 64, 64.*deploytk calibrate make"):
        found.require_fit(TensorSpec(name="images", shape=("batch", 3, 64, 64), dtype="float32"))


# --- the set itself -------------------------------------------------------------------------------------------------


def test_the_sum_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    here, there = (made(yolo(tmp_path / name, [0] * 9), tmp_path / name / "calibration/mine") for name in ("a", "b"))
    assert here.sha256 == there.sha256
    assert made(tmp_path / "a/data.yaml", tmp_path / "c", side=64).sha256 != here.sha256
    picture(tmp_path / "a/images/val/more.png", 3, 3)
    assert made(tmp_path / "a/data.yaml", tmp_path / "c").sha256 != here.sha256


def test_a_project_moves_with_its_sets_and_its_data(tmp_path: Path) -> None:
    made(yolo(tmp_path / "a/data", [0] * 8), tmp_path / "a/calibration/mine")
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(list(calibration.load(str(tmp_path / "b/calibration/mine")).feeds())) == 8


def test_a_set_is_found_by_its_name_its_folder_and_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = made(yolo(tmp_path, [0] * 8), tmp_path / "calibration/mine").sha256
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "calibration/mine", str(tmp_path / "calibration/mine"), "calibration/mine/set.yaml"):
        assert calibration.load(name).sha256 == wanted
    with pytest.raises(InputError, match=r"there is no calibration set 'mime'; did you mean 'mine'\?"):
        calibration.load("mime")


def test_without_any_set_nothing_stands_in_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="there is no calibration set 'pills'; make one with: deploytk calibrate make"):
        calibration.load("pills")


def test_a_written_set_says_one_sample_a_line(tmp_path: Path) -> None:
    made(yolo(tmp_path, [0] * 8), tmp_path / "calibration/mine")
    lines = (tmp_path / "calibration/mine/set.yaml").read_text().splitlines()
    assert sum(line.startswith("- {path: images/train/") for line in lines) == 8
    assert "dataset: ../../data.yaml" in lines
    assert str(tmp_path) not in "\n".join(lines)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("asked: 8", "asekd: 8", r"set\.yaml:\d+: unknown key 'asekd'; did you mean 'asked'\?"),
        ("split: train", "split: val", r"set\.yaml:5: split: Input should be 'train' \(got 'val'\)"),
        ("kind: letterbox", "kind: stretch", r"set\.yaml:\d+: preparation\.kind: "),
        ("seed: 0\n", "", r"set\.yaml: seed: is missing"),
        ("brightness: ", "brigthness: ", r"set\.yaml:\d+: coverage: unknown key 'brigthness'; did you mean"),
        ("divide_by: 255.0", "divide_by: 1.0", r"preparation_sha256: not that of `preparation`; was it edited by hand"),
        ("val: 3", "val: three", r"evaluation\.images\.val: "),
        ("schema: 1", "schema: [", r"set\.yaml:\d+: not valid YAML"),
    ],
)
def test_a_broken_set_is_told_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    file = made(yolo(tmp_path, [0] * 8), tmp_path / "set").folder / "set.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=told):
        calibration.load(str(file))


def test_a_sample_taken_out_by_hand_is_noticed(tmp_path: Path) -> None:
    file = made(yolo(tmp_path, [0] * 9), tmp_path / "set", samples=9).folder / "set.yaml"
    told = yaml.safe_load(file.read_text())
    told["samples"].pop()
    file.write_text(yaml.safe_dump(told))
    with pytest.raises(InputError, match=r"sha256: not that of the samples, .*edited by hand"):
        calibration.load(str(file))


# --- the set of a run -----------------------------------------------------------------------------------------------


def test_a_run_makes_its_own_set_of_its_training_split(tmp_path: Path) -> None:
    profile = Profile(
        name="x",
        data=Data(path=yolo(tmp_path / "data", [0] * 20)),
        train=Train(imgsz=64),
        calibration=Wanted(samples=8, seed=3),
    )
    how = calibration_making.usual("detector", 64)
    found = calibration.for_profile(profile, tmp_path / "run", how)
    assert (found.images, found.preparation.size, found.told.seed) == (8, (64, 64), 3)
    assert calibration.load(str(tmp_path / "run/calibration/train")).sha256 == found.sha256
    assert calibration.for_profile(profile, tmp_path / "run", how).sha256 == found.sha256


def test_a_run_without_data_calibrates_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path: no dataset"):
        calibration.for_profile(Profile(name="x"), tmp_path, calibration_making.usual("detector", 64))


def test_exif_and_colour_modes_make_no_difference_to_what_can_be_read(tmp_path: Path) -> None:
    data = yolo(tmp_path, [0] * 8)
    Image.new("CMYK", (24, 24)).save(tmp_path / "images/train/cmyk.jpg")
    Image.new("P", (24, 24)).save(tmp_path / "images/train/palette.png")
    Image.new("LA", (24, 24)).save(tmp_path / "images/train/alpha.png")
    assert len(list(made(data, tmp_path / "set", samples=64).feeds())) == 11
