"""Weights of a real detector grafted, averaged, settled and scored; a crossover and a sweep from their commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from steps_in_process import patched

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("deploytk.backends.ultralytics.library", reason="ultralytics is not installed")

from deploytk.backends.ultralytics import checkpoint, inference, scoring  # noqa: E402
from deploytk.backends.ultralytics.evaluating import DetectorEvaluator  # noqa: E402
from deploytk.cli.main import cli  # noqa: E402
from deploytk.errors import InputError  # noqa: E402
from deploytk.stages.run_folder import RunFolder  # noqa: E402
from deploytk.training.averaging import mean  # noqa: E402
from deploytk.training.crossover import grafted, members  # noqa: E402
from deploytk.training.state import Folder  # noqa: E402

pytestmark = pytest.mark.e2e

PROFILE = (
    "name: shapes\ntrain: {epochs: 3, imgsz: 64, batch: 4, optimizer: AdamW, lr0: 0.005, warmup_epochs: 0, "
    "mosaic: 0.0, close_mosaic: 0, device: cpu, workers: 0, ema: {decay: 0.9, warmup_updates: 2}}\n"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a profile, 16 training and 6 validation images, and a finished run of 3 epochs."""
    root = tmp_path_factory.mktemp("shapes")
    for split, count in (("train", 16), ("val", 6)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", (64, 64), (10 * i, 60, 90))
            image.paste((250, 240, 230), (8 + i, 12, 40 + i, 44))
            image.save(root / "images" / split / f"{i}.png")
            (root / "labels" / split / f"{i}.txt").write_text(f"{i % 2} {(24 + i) / 64} {28 / 64} 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b]\n")
    (root / "shapes.yaml").write_text(PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patched(patch)
        code, told = deploytk("train", root / "shapes.yaml", "--data", root / "data.yaml", "--out", root / "run")
    assert code in {0, 4}, told  # an mAP50 of exactly 0 is inconclusive
    return root


def deploytk(*args: object) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, [*map(str, args), "--json"])
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def evaluator(home: Path) -> DetectorEvaluator:
    run = RunFolder(home / "run")
    return DetectorEvaluator(run.profile().model_dump(mode="json", by_alias=True), run.path)


@pytest.fixture(scope="module")
def checkpoints(home: Path) -> list[Path]:
    return sorted(Folder(run=home / "run").checkpoints.glob("epoch_*.pt"))


def test_it_predicts_what_the_exported_model_does(
    home: Path, evaluator: DetectorEvaluator, checkpoints: list[Path]
) -> None:
    best = json.loads((home / "run" / "training_summary.json").read_text())["best_epoch"]
    evaluator.load(evaluator.weights(checkpoints[best - 1]))
    batch = np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32)
    model = home / "run" / "model.pt"
    expected = inference.decode(inference.torch_predictor(model)(batch), model)
    np.testing.assert_allclose(evaluator._predict(batch), expected, rtol=1e-3, atol=1e-3)


def test_the_parts_are_the_split_and_a_part_alone_is_scored(evaluator: DetectorEvaluator) -> None:
    parts = evaluator.parts()
    assert (parts["choosing"], parts["held_out"]) == (3, 3)
    images = [{s.image for s in evaluator._parts[name]} for name in ("choosing", "held_out")]  # type: ignore[index]
    assert images[0] & images[1] == set()
    assert images[0] | images[1] == {s.image for s in evaluator.view.data.splits["val"]}
    perfect = evaluator._parts["choosing"]
    found = scoring.measured(_oracle(perfect), perfect, ["a", "b"], 64, evaluator.view.folder)
    assert found["mAP50_95"] > 0.99


def _oracle(samples: list[Any]) -> Any:
    """A predictor that knows where the objects are."""

    def predict(batch: np.ndarray) -> np.ndarray:
        told = np.zeros((len(batch), 6, 4), dtype=np.float32)
        for i, sample in enumerate(samples):
            for box in sample.boxes:
                told[i, :4, 0] = np.array([box.x, box.y, box.w, box.h]) * 64
                told[i, 4 + box.label, 0] = 0.9
        return told

    return predict


def test_modules_are_all_tensors_once(evaluator: DetectorEvaluator, checkpoints: list[Path]) -> None:
    weights = evaluator.weights(checkpoints[0])
    found = members(weights, evaluator.modules())
    assert list(found) == ["backbone", "neck", "head"]
    assert sorted(name for names in found.values() for name in names) == sorted(weights)


def test_settling_changes_batch_norm_alone_and_always_alike(
    evaluator: DetectorEvaluator, checkpoints: list[Path]
) -> None:
    one, other = (evaluator.weights(path) for path in (checkpoints[0], checkpoints[-1]))
    mixed = grafted(one, other, members(one, evaluator.modules())["head"])
    settled = evaluator.settled(mixed)
    changed = {name for name in mixed if not np.array_equal(mixed[name], settled[name])}
    assert changed
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in changed)
    evaluator.__dict__.pop("_settling")  # the images are drawn again
    again = evaluator.settled(mixed)
    assert all(np.array_equal(settled[name], again[name]) for name in settled)
    assert np.isfinite(evaluator.score(settled, "choosing"))


def test_the_mean_of_a_checkpoint_with_itself_is_itself(evaluator: DetectorEvaluator, checkpoints: list[Path]) -> None:
    weights = evaluator.weights(checkpoints[1])
    found = mean([weights, weights, weights])
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


def test_what_was_trained_is_not_the_moving_average(evaluator: DetectorEvaluator, checkpoints: list[Path]) -> None:
    one, other = (evaluator.weights(checkpoints[-1], averaged=averaged) for averaged in (True, False))
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_a_written_model_opens_without_unpickling_and_is_the_one(
    evaluator: DetectorEvaluator, checkpoints: list[Path], tmp_path: Path
) -> None:
    weights = evaluator.settled(mean([evaluator.weights(path) for path in checkpoints[-2:]]))
    evaluator.write(weights, tmp_path / "model.pt")
    told = checkpoint.payload(tmp_path / "model.pt")
    assert all(np.array_equal(told["state_dict"][name].numpy(), array) for name, array in weights.items())


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_a_damaged_checkpoint_is_named(
    evaluator: DetectorEvaluator, checkpoints: list[Path], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "epoch_0001.pt"
    path.write_bytes(checkpoints[0].read_bytes()[:5000] if content is None else content)
    with pytest.raises(InputError, match=r"epoch_0001\.pt: damaged checkpoint"):
        evaluator.weights(path)


def test_the_command_ends_with_both_parts_side_by_side(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (home / "run" / "model.pt").read_bytes()
    patched(monkeypatch)
    code, told = deploytk("train", "crossover", home / "run")
    assert code in {0, 4}, told
    found = told["sections"]["crossover"]
    assert [s["module"] for s in found["spots"]] == ["backbone", "neck", "head"]
    assert [len(s["curve"]) for s in found["spots"]] == [3, 3, 3]
    assert all(0 <= m[part] <= 1 for m in found["models"] for part in ("choosing", "held_out"))
    made = home / "run" / "crossover" / "model.pt"
    assert made.is_file() == found["gained"]
    if found["gained"]:
        assert checkpoint.describe(made)["classes"] == ["a", "b"]
    assert (home / "run" / "model.pt").read_bytes() == before


def test_a_sweep_trains_each_rate_from_the_same_weights(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patched(monkeypatch)
    words = ("--data", home / "data.yaml", "--from", "1e-8", "--to", "1e-7", "--points", 2, "--epochs", 1)
    code, told = deploytk("train", "sweep-lr", home / "shapes.yaml", *words, "--out", home / "sweep")
    assert (code, told["sections"]["sweep"]["verdict"]) == (4, "nothing_learned")
    states = [
        torch.load(run / "training" / "checkpoints" / "epoch_0001.pt", weights_only=True)["model"]
        for run in sorted((home / "sweep").glob("lr-1e*"))
    ]
    assert len(states) == 2
    for name, tensor in states[0].items():
        if name.endswith("conv.weight"):  # with steps this small nothing has moved far from where it began
            assert torch.allclose(tensor, states[1][name], atol=1e-5)
