"""What is said before a classifier's training is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import manifest_files
import pytest
from PIL import Image

pytest.importorskip("timm", reason="timm is not installed")

from deploytk.backends import checks
from deploytk.backends import classifier as backend
from deploytk.backends.classifier import checks as classifier_checks
from deploytk.budget import Budget
from deploytk.data import classified
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.stages.optimize import Ask, optimize
from deploytk.stages.run_folder import RunFolder
from deploytk.training.preflight import quick


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for place in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / place).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (32, 32), (40 * i, 0, 0)).save(tmp_path / place / f"{i}.png")
    return tmp_path


def told(data: Path | None, **sections: Any) -> list[str]:
    model = {"arch": "resnet18", "activation": {"kind": "relu"}, **sections.pop("model", {})}
    train = {"batch": 4, "optimizer": "AdamW", "lr0": 0.001, **sections.pop("train", {})}
    given = {"name": "p", "backend": "classifier", "model": model, "data": {"path": data}, "train": train}
    return [f"{f.rule} {f.where}: {f.message}" for f in backend.preflight(Profile.model_validate(given))]


def test_nothing_is_said_of_what_is_right(pictures: Path) -> None:
    assert told(pictures) == []


def test_a_network_that_holds_its_size_is_refused_other_sizes(pictures: Path) -> None:
    resize = {"resize": {"start": 32, "until": 4}}
    (said,) = told(pictures, model={"arch": "vit_tiny_patch16_224"}, train=resize)
    assert said.startswith("PRE003 train.resize: vit_tiny_patch16_224 runs at one image size alone")
    assert told(pictures, train=resize) == []
    assert told(pictures, model={"arch": "test_vit"}, train=resize) == []  # it bends its position embedding


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"model": {"arch": "resnet81"}}, "PRE002 model.arch: unknown 'resnet81'; did you mean 'resnet18'?"),
        ({"model": {"scale": "m"}}, "PRE003 model.scale: classifiers have no scale"),
        ({"model": {"activation": {"kind": "relu", "sections": ["head"]}}}, "PRE003 model.activation.sections"),
        ({"train": {"optimizer": "auto", "lr0": None}}, "PRE003 train.optimizer: auto is Ultralytics' own"),
        ({"train": {"batch": 64}}, "PRE007 train.batch: batch 64 is larger than the 8 training images"),
        ({"model": {"pretrained": "gone.pt"}}, "PRE005 model.pretrained"),
    ],
)
def test_what_is_wrong_is_named(pictures: Path, sections: dict[str, Any], expected: str) -> None:
    found = told(pictures, **sections)
    assert len(found) == 1 and found[0].startswith(expected)


def test_a_class_without_validation_images_is_told(pictures: Path) -> None:
    for file in (pictures / "val" / "b").iterdir():
        file.unlink()
    assert told(pictures) == ["DATA003 split val: no image of 1 of 2 classes: b"]


def test_a_class_of_validation_that_is_never_trained_is_an_error(pictures: Path) -> None:
    (pictures / "val" / "c").mkdir()
    assert "no class of the training images is called 'c'" in told(pictures)[0]


def test_classes_of_very_different_sizes_are_told_unless_something_is_done(pictures: Path) -> None:
    for i in range(40):
        Image.new("RGB", (32, 32), (0, i, 0)).save(pictures / "train" / "a" / f"more_{i}.png")
    (found,) = told(pictures, train={"batch": 4})
    assert found == "PRE008 train.balance: 44 images of 'a', 4 of 'b'"
    assert told(pictures, train={"balance": "sampler"}) == []


def test_of_very_many_images_some_are_decoded_and_all_must_be_there(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_checks, "_DECODED", 4)
    rows = [f"{split}/{name}/{i}.png,{name},{split}" for split in ("train", "val") for name in "ab" for i in range(4)]
    csv = manifest_files.written(pictures / "all.csv", *rows, header="path,label,split")
    assert told(csv) == ["DATA007 data: 4 of 16 images were decoded, the others are there"]
    (pictures / "val" / "b" / "3.png").unlink()
    assert told(csv)[0].endswith("b/3.png: no such image")


def test_a_broken_image_and_a_missing_folder_are_errors(pictures: Path, tmp_path: Path) -> None:
    (pictures / "train" / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert told(pictures)[0].startswith("PRE004 data: ")
    assert "no such folder or file" in told(tmp_path / "gone")[0]
    assert "no dataset; give --data FOLDER" in told(None)[0]


def test_labels_stay_strings_and_the_fingerprint_follows_the_content(pictures: Path) -> None:
    (pictures / "train" / "a").rename(pictures / "train" / "007")
    (pictures / "val" / "a").rename(pictures / "val" / "007")
    data = classified.read(pictures)
    assert data.classes == ("007", "b")
    before = data.fingerprint()
    Image.new("RGB", (32, 32), (9, 9, 9)).save(pictures / "train" / "b" / "0.png")
    assert classified.read(pictures).fingerprint() != before


def test_a_split_without_images_is_named(tmp_path: Path) -> None:
    for place in ("train/a", "val/a"):
        (tmp_path / place).mkdir(parents=True)
    with pytest.raises(InputError, match="train: no images"):
        classified.read(tmp_path)


def test_a_search_for_a_deployment_is_refused_in_one_sentence(tmp_path: Path) -> None:
    ask = Ask(budget=Budget())
    with pytest.raises(InputError, match=r"backend classifier: its models are classifiers; .* leave optimize out"):
        optimize(RunFolder(tmp_path), Profile.model_validate({"name": "p", "backend": "classifier"}), ask)


def test_switches_of_detectors_are_no_classifiers(tmp_path: Path) -> None:
    told = {"name": "p", "backend": "classifier", "train": {"mosaic": 0.5, "fliplr": 0.0, "warmup_bias_lr": 0.1}}
    found = [f for f in quick(Profile.model_validate(told), tmp_path, backend) if f.rule == "PRE015"]
    assert [f.where for f in found] == ["train.mosaic", "train.warmup_bias_lr"]


def test_a_missing_library_names_the_extra_of_classifiers() -> None:
    (found,) = checks.libraries(["no_such_library_of_torch"], "classifier")
    assert "deploytk[classifier]" in found.message
