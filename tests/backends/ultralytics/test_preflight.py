"""What is refused before anything is started, without importing torch or Ultralytics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploytk.backends import ultralytics as backend
from deploytk.backends.ultralytics import checks
from deploytk.errors import MissingDependency
from deploytk.profile import Profile
from deploytk.profile_training import Train
from deploytk.stages.train import train

NETWORKS = "deploytk.backends.ultralytics.network"


def profile(data: Path | None, **changes: Any) -> Profile:
    return Profile.model_validate({"name": "p", "data": {"path": data}, "train": {"batch": 4}, **changes})


def errors(made: Profile) -> list[str]:
    return [str(f) for f in backend.preflight(made) if f.severity == "error"]


def test_a_good_profile_has_nothing_against_it(small_dataset: Path) -> None:
    assert backend.preflight(profile(small_dataset)) == []


def test_preflight_and_fingerprint_import_nothing_heavy(small_dataset: Path) -> None:
    code = (
        "import sys; from deploytk.backends import ultralytics as b; from deploytk.profile import Profile\n"
        f"p = Profile.model_validate({{'name': 'p', 'data': {{'path': {str(small_dataset)!r}}}}})\n"
        "b.preflight(p); b.data_fingerprint(p)\n"
        "assert not {'torch', 'ultralytics', 'cv2', 'onnx', 'matplotlib'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_missing_dataset_and_no_dataset_are_errors(tmp_path: Path) -> None:
    assert "no such dataset" in errors(profile(tmp_path / "gone.yaml"))[0]
    assert "give --data" in errors(profile(None))[0]


def test_a_truncated_image_is_an_error_before_training(small_dataset: Path) -> None:
    image = small_dataset.parent / "images" / "val" / "3.jpg"
    image.write_bytes(image.read_bytes()[:-200])
    assert "3.jpg: not a readable image" in errors(profile(small_dataset))[0]


def test_a_label_out_of_range_is_an_error_before_training(small_dataset: Path) -> None:
    (small_dataset.parent / "labels" / "train" / "2.txt").write_text("0 0.5 0.5 0.1 0.1\n3 0.5 0.5 0.1 0.1\n")
    assert "2.txt:2: class 3 is out of range" in errors(profile(small_dataset))[0]


def test_an_unknown_architecture_is_answered_with_a_suggestion(small_dataset: Path) -> None:
    assert "did you mean 'yolo11'" in errors(profile(small_dataset, model={"arch": "yolov11"}))[0]


def test_pretrained_weights_must_be_there_and_open_without_unpickling(small_dataset: Path, tmp_path: Path) -> None:
    gone = profile(small_dataset, model={"pretrained": tmp_path / "gone.pt"})
    assert "no such file" in errors(gone)[0]
    (tmp_path / "x.pt").write_bytes(b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n)\x81.")
    assert "--trust" in errors(profile(small_dataset, model={"pretrained": tmp_path / "x.pt"}))[0]


def test_a_gpu_that_is_not_there_is_an_error(small_dataset: Path) -> None:
    made = profile(small_dataset, train={"device": "97", "batch": 4})
    if sys.platform == "linux":
        assert "there is no GPU 97" in errors(made)[0]
    for device in ("gpu", "0,1"):
        assert "unknown device" in errors(profile(small_dataset, train={"device": device, "batch": 4}))[0]


def test_auto_with_a_learning_rate_is_an_error_even_where_the_profile_did_not_see_it(small_dataset: Path) -> None:
    train = Train.model_construct(**{**Train(batch=4).model_dump(), "optimizer": "auto", "lr0": 0.01})
    assert "auto ignores lr0" in errors(profile(small_dataset).model_copy(update={"train": train}))[0]


def test_a_learning_rate_that_ultralytics_would_refuse_is_an_error(small_dataset: Path) -> None:
    assert "above 1" in errors(profile(small_dataset, train={"lr0": 10, "batch": 4}))[0]


def test_a_batch_larger_than_the_dataset_is_a_warning(small_dataset: Path) -> None:
    found = backend.preflight(profile(small_dataset, train={"batch": 64}))
    assert [f.severity for f in found] == ["warning"]


def test_the_architectures_named_without_torch_are_those_that_are_built() -> None:
    network = pytest.importorskip(NETWORKS, reason="ultralytics is not installed")
    assert tuple(network.ARCHS) == checks._ARCHS


def test_a_missing_library_is_one_line_with_the_extra_and_its_own_exit_code(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingDependency) as raised:
        train(profile(small_dataset), tmp_path / "run")
    assert raised.value.reasons == (
        "environment: torch is not installed. Install it with: pip install 'deploytk[yolo]'",
    )
    assert not (tmp_path / "run").exists()
