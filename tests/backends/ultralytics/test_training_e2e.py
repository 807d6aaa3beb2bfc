"""A real training on a few real images: what it leaves in the run folder, and that nothing else was touched."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends import ultralytics as backend  # noqa: E402
from deploytk.backends.ultralytics import checkpoint, foreign  # noqa: E402
from deploytk.errors import InputError, ParityFailed, TrainingFailed  # noqa: E402
from deploytk.profile import Profile  # noqa: E402
from deploytk.stages.train import train  # noqa: E402

pytestmark = pytest.mark.e2e


def hashes(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


def raw(data: Path, **changes: Any) -> dict[str, Any]:
    train = {"epochs": 8, "imgsz": 96, "batch": 2, "mosaic": 0.0, "optimizer": "SGD", "lr0": 0.02, "warmup_epochs": 1}
    model = {"activation": {"kind": "relu", "sections": ["backbone"]}}
    told = {"name": "tiny", "data": {"path": data}, "train": train, "model": model}
    for key, value in changes.items():
        told[key] = {**told.get(key, {}), **value}
    return Profile.model_validate(told).model_dump(mode="json", by_alias=True)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A writable copy of part of the blood cell images: 24 to train on, 6 to validate with."""
    root = tmp_path_factory.mktemp("cells") / "voc"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, count in (("train", 24), ("val", 6)):
        names = (data_dir / "bccd_voc" / "ImageSets" / "Main" / f"{split}.txt").read_text().split()[:count]
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            shutil.copy(data_dir / "bccd_voc" / "JPEGImages" / f"{name}.jpg", root / "JPEGImages")
            shutil.copy(data_dir / "bccd_voc" / "Annotations" / f"{name}.xml", root / "Annotations")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> dict[str, Any]:
    """A finished run with ReLU in the backbone only, with what was heard and seen on the way."""
    home = tmp_path_factory.mktemp("train")
    before, heard, run = hashes(cells), [], home / "run"
    profile = raw(cells)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"OMP_NUM_THREADS": "1", "HOME": home / "home", "MPLCONFIGDIR": home / "mpl"}.items():
            patch.setenv(name, str(value))
        report = train(Profile.model_validate(profile), run, heard.append)
    summary = report.sections["train"]
    return {"run": run, "profile": profile, "summary": summary, "heard": heard, "before": before, "home": home}


def test_the_users_files_are_unchanged_and_nothing_is_written_elsewhere(trained: dict[str, Any], cells: Path) -> None:
    assert hashes(cells) == trained["before"]
    assert not list(cells.rglob("*.cache"))
    assert not (trained["home"] / "home").exists()
    assert {p.name for p in trained["home"].iterdir()} <= {"run", "mpl"}


def test_the_run_folder_holds_the_model_and_the_reports(trained: dict[str, Any]) -> None:
    run = trained["run"]
    for name in ("model.pt", "weights/best.pt", "results.csv", "training_report.md", "curves.png"):
        assert (run / name).is_file(), name
    assert json.loads((run / "training_summary.json").read_text()) == trained["summary"]
    assert len(trained["summary"]["epochs"]) == 8
    assert trained["summary"]["training"]["effective_batch"] == 2
    assert trained["summary"]["data"]["images"] == {"train": 24, "val": 6}
    report = (run / "training_report.md").read_text()
    assert "27 x relu" in report and "18 x silu" in report


def test_progress_is_told_epoch_by_epoch(trained: dict[str, Any]) -> None:
    told = [e["epoch"] for e in trained["heard"] if e["event"] == "epoch"]
    assert told == list(range(1, 9))
    phases = [e["phase"] for e in trained["heard"] if e["event"] == "phase"]
    assert phases[0] == "first_step" and {"step", "validate", "save", "finish"} <= set(phases)


def test_a_partial_level_survives_training_and_reloading(trained: dict[str, Any]) -> None:
    wanted = {"backbone": {"relu": 27}, "neck": {"silu": 18}, "head": {"silu": 12}}
    assert trained["summary"]["activations"] == wanted
    assert backend.describe(trained["run"] / "model.pt")["activation_counts"] == wanted


def test_model_pt_does_what_best_pt_does(trained: dict[str, Any]) -> None:
    best = foreign.unpickled(trained["run"] / "weights" / "best.pt")
    mine = checkpoint.rebuild(checkpoint.payload(trained["run"] / "model.pt"))
    checkpoint.same_outputs(best, mine, "model.pt", imgsz=96)


def test_score_of_torch_and_onnx_agrees_with_ultralytics_own_validation(trained: dict[str, Any]) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    run, model = trained["run"], trained["run"] / "model.pt"
    raw_maps = backend.torch_predictor(model)
    scored = backend.score(lambda x: backend.decode(raw_maps(x), model), trained["profile"], model, run)
    theirs = trained["summary"]["metrics"]
    assert theirs["mAP50"] > 0.002, "the test needs a model that has learned something"
    assert scored == pytest.approx(theirs, abs=2e-3)
    backend.onnx_from_checkpoint(model, run / "model.onnx", 17)
    session = runtime.InferenceSession(run / "model.onnx")
    of_onnx = backend.score(lambda x: session.run(None, {"images": x})[0], trained["profile"], model, run)
    assert of_onnx == pytest.approx(scored, abs=2e-3)


def test_score_refuses_what_is_no_prediction(trained: dict[str, Any]) -> None:
    model = trained["run"] / "model.pt"
    for wrong in (np.zeros((6, 84, 189)), np.full((6, 7, 189), np.nan)):
        with pytest.raises(ParityFailed):
            backend.score(lambda _, w=wrong: w, trained["profile"], model, trained["run"])


def test_a_perfect_predictor_scores_one(trained: dict[str, Any]) -> None:
    from deploytk.backends.ultralytics.checks import view_of
    from deploytk.data import samples

    cells = view_of(trained["profile"], trained["run"]).data.splits["val"]

    def oracle(images: np.ndarray) -> np.ndarray:
        out = np.zeros((len(images), 7, 200), np.float32)
        for row, sample in zip(out, cells, strict=True):
            _, placed = samples.tensor(sample.image, 96)
            for i, b in enumerate(sample.boxes):
                row[:4, i] = placed.left + b.x * placed.width, placed.top + b.y * placed.height, 0, 0
                row[2:4, i] = b.w * placed.width, b.h * placed.height
                row[4 + b.label, i] = 0.9
        return out

    scored = backend.score(oracle, trained["profile"], trained["run"] / "model.pt", trained["run"])
    assert scored["mAP50"] > 0.9 and scored["mAP50_95"] > 0.9  # overlapping cells are suppressed


def test_samples_are_those_of_ultralytics_own_loader(trained: dict[str, Any]) -> None:
    from ultralytics.cfg import get_cfg

    from deploytk.backends.ultralytics.checks import view_of
    from deploytk.backends.ultralytics.library import build_yolo_dataset
    from deploytk.data import samples

    made = view_of(trained["profile"], trained["run"])
    args = get_cfg(overrides={"imgsz": 96, "task": "detect"})
    data = {"names": {0: "a", 1: "b", 2: "c"}, "nc": 3, "channels": 3}
    folder = str(made.folder / "images" / "val")
    theirs = build_yolo_dataset(args, folder, 4, data, mode="val", rect=False, stride=32)
    for i, sample in enumerate(made.data.splits["val"]):
        expected = theirs[i]["img"].numpy().astype(np.float32) / np.float32(255.0)
        np.testing.assert_array_equal(samples.tensor(sample.image, 96)[0][0], expected)


def test_training_again_from_our_own_weights_keeps_the_activations(trained: dict[str, Any], tmp_path: Path) -> None:
    """From 3-class weights with other activations; the class layers fit, so every tensor is taken."""
    changes = {"activation": {"kind": "relu6"}, "pretrained": str(trained["run"] / "model.pt")}
    source = Path(trained["profile"]["data"]["path"])
    summary = call(raw(source, model=changes, train={"epochs": 1}), tmp_path / "run")
    assert summary["activations"] == {"backbone": {"relu6": 27}, "neck": {"relu6": 18}, "head": {"relu6": 12}}
    assert summary["pretrained"] == {"from": "model.pt", "tensors": 355, "of": 355}


def test_a_training_that_diverges_fails_and_leaves_no_model(
    trained: dict[str, Any], cells: Path, tmp_path: Path
) -> None:
    """Ultralytics itself ends such a training without an error and saves NaN as zeros."""
    told = torch.load(trained["run"] / "model.pt", weights_only=True)
    told["state_dict"]["model.5.conv.weight"][0, 0] = float("nan")
    torch.save(told, tmp_path / "poisoned.pt")
    wild = raw(
        cells,
        train={"epochs": 1, "imgsz": 64},
        model={"pretrained": str(tmp_path / "poisoned.pt")},
        guard={"max_rollbacks": 1},
    )
    with pytest.raises(TrainingFailed, match="1 rollbacks did not help") as raised:
        call(wild, tmp_path / "run")
    assert raised.value.exit_code == 7
    assert not (tmp_path / "run" / "model.pt").exists()


def test_weights_in_the_run_folder_are_not_removed_before_they_are_read(trained: dict[str, Any]) -> None:
    model = trained["run"] / "model.pt"
    again = raw(Path(trained["profile"]["data"]["path"]), model={"pretrained": str(model)})
    with pytest.raises(InputError, match="give another --out"):
        call(again, trained["run"])
    assert model.is_file()


def call(profile: dict[str, Any], run: Path) -> dict[str, Any]:
    told: dict[str, Any] = train(Profile.model_validate(profile), run).sections["train"]
    return told
