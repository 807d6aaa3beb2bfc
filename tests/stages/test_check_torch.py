"""`check` on checkpoints: ours without unpickling, a foreign one only with --trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploytk import profile_loading
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.stages.check import check

pytest.importorskip("ultralytics")
pytestmark = pytest.mark.e2e

KINDS = {"backbone": "relu", "neck": "silu", "head": "silu"}


@pytest.fixture(scope="module")
def level2() -> Profile:
    return profile_loading.load("npu-level2-relu")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as training writes it, untrained: level 2 ReLU."""
    from deploytk.backends.ultralytics import checkpoint, network

    model = network.build("yolov8", "n", 2, KINDS, 0.1)
    path = tmp_path_factory.mktemp("run") / "model.pt"
    checkpoint.write(checkpoint.pack(model, arch="yolov8", scale="n", imgsz=64, names=["a", "b"]), path)
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pickled model as Ultralytics saves it."""
    import torch

    from deploytk.backends.ultralytics import network

    path = tmp_path_factory.mktemp("foreign") / "best.pt"
    torch.save({"epoch": -1, "model": network.build("yolov8", "n", 2, KINDS, 0.1), "ema": None}, path)
    return path


def test_our_checkpoint_is_compared_section_by_section(ours: Path, level2: Profile) -> None:
    report = check(ours, profile=level2)
    assert (report.verdict.status, report.exit_code) == ("pass", 0)
    told = report.sections["contract"]["stages"][0]["sections"]
    assert told == {"backbone": {"relu": 27}, "neck": {"silu": 18}, "head": {"silu": 12}}
    wrong = check(ours, profile=profile_loading.load("npu-level4-relu"))
    assert wrong.exit_code == 5
    assert "head: 12 of 12 activations are silu instead of relu: model.22.cv2.0.0.act" in " ".join(
        wrong.verdict.reasons
    )


def test_a_checkpoint_alone_proves_no_placement(ours: Path) -> None:
    report = check(ours)
    assert (report.verdict.status, report.exit_code) == ("inconclusive", 4)
    assert "a checkpoint has no NPU placement" in report.verdict.reasons[0]


def test_a_run_folder_without_an_export_is_not_proven(ours: Path, level2: Profile) -> None:
    (ours.parent / "profile.json").write_text(level2.model_dump_json(by_alias=True))
    report = check(ours.parent)
    assert (report.verdict.status, report.exit_code) == ("inconclusive", 4)
    assert "no INT8 model yet" in report.verdict.reasons[0]
    assert report.artifact is not None and report.artifact.path == ours


def test_a_foreign_checkpoint_needs_trust(foreign: Path, level2: Profile) -> None:
    with pytest.raises(InputError, match="only with --trust"):
        check(foreign, profile=level2)
    report = check(foreign, profile=level2, trust=True)
    assert (report.verdict.status, report.exit_code) == ("pass", 0)
