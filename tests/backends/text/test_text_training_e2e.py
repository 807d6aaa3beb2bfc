"""Tiny text models really trained: what they learn, how a training goes on, and what is refused before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploytk.backends.text import checks, training
from deploytk.backends.text.checkpoint import checkpoint_tensors
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.stages.export_text import export
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train import train
from deploytk.text import description, generating

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
WORDS = ("사과", "바다", "하늘", "나무", "구름", "노래")
LORA = {"rank": 8, "alpha": 16, "targets": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text is answered by its second word."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    rows = [f"{a} {b} {c},{b}" for a in WORDS for b in WORDS for c in WORDS[:4]]
    path.write_text("source,target\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def profile(table: Path, *, backend: str = "seq2seq", epochs: int = 2, train: Any = None, **text: Any) -> Profile:
    told: dict[str, Any] = {"tiny": True, "config": {"model_type": "bart"}, "max_source": 16, "max_target": 8}
    rates = {"optimizer": "AdamW", "lr0": 0.003, "momentum": 0.9, "warmup_epochs": 0.2, "device": "cpu"}
    return Profile.model_validate(
        {
            "name": "tiny",
            "backend": backend,
            "text": {**told, "score": 12, **text},
            "data": {"path": str(table)},
            "train": {"epochs": epochs, "batch": 12, "clip_norm": 1.0, **rates, **(train or {})},
        }
    )


@pytest.fixture(scope="module")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    run = tmp_path_factory.mktemp("runs") / "tiny"
    return run, train(profile(table, epochs=4), run)


def losses(run: Path) -> list[float]:
    summary = json.loads((run / "training_summary.json").read_text(encoding="utf-8"))
    return [row["val_loss"] for row in summary["epochs"]]


def test_a_tiny_model_learns_and_is_kept_as_a_folder_that_answers(trained: tuple[Path, Report]) -> None:
    run, report = trained
    told = losses(run)

    assert report.exit_code == 0 and told[-1] < 0.7 * told[0]
    assert report.artifact is not None and report.artifact.path == run / "model"
    assert description.read(run / "model").description.task == "seq2seq"
    assert len(generating.opened(run / "model").generate(["사과 바다 하늘"]).texts) == 1
    facts = report.sections["train"]["training"]
    assert facts["effective_batch"] == 12
    assert facts["steps_per_epoch"] == facts["steps_per_epoch_expected"]


def test_a_training_that_goes_on_ends_with_the_same_weights(table: Path, tmp_path: Path) -> None:
    at_once, in_two = tmp_path / "one", tmp_path / "two"
    train(profile(table, epochs=2), at_once)
    first = profile(table, epochs=2, train={"epochs": 2})
    told = {**_segment(1, 1), "total_epochs": 2}
    assert training.train_segment(first.model_dump(mode="json", by_alias=True), str(in_two), told)["reached"] == 1
    again = training.train_segment(
        first.model_dump(mode="json", by_alias=True), str(in_two), {**_segment(2, 2), "total_epochs": 2}
    )

    assert again["ended"] == "done"
    one, two = (
        checkpoint_tensors(next((run / "training/checkpoints").glob("epoch_*2*.pt"))) for run in (at_once, in_two)
    )
    assert one.keys() == two.keys()
    assert all(np.allclose(one[name], two[name], atol=1e-6) for name in one)


def _segment(first: int, last: int) -> dict[str, Any]:
    more = {"batch": 12, "accumulate": 1, "lr_scale": 1.0, "precision": "fp32", "imgsz": 640, "reason": "test"}
    return {"first_epoch": first, "last_epoch": last, **more}


def test_a_decoder_with_adapters_over_four_bits_trains_and_is_read_again(table: Path, tmp_path: Path) -> None:
    llama = {"config": {"model_type": "llama"}, "lora": LORA, "quantize": "nf4", "prompt": "{source} ="}
    run = tmp_path / "llama"
    report = train(profile(table, backend="causal_lm", epochs=1, **llama), run)

    described = description.read(run / "model").description
    assert report.artifact is not None and report.artifact.precision == "nf4"
    assert (described.precision, described.base) == ("nf4", "base")
    assert report.sections["train"]["model"]["trained"] < report.sections["train"]["model"]["parameters"] / 10
    assert len(generating.opened(run / "model").generate(["사과 바다"], exactly=3).answer_tokens) == 1


def test_half_precision_adapters_and_a_scaler_are_refused_on_the_trainer_itself(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = profile(table, epochs=1, lora={**LORA, "dtype": "bfloat16"})
    monkeypatch.setattr("deploytk.training.loop.devices.precision_of", lambda *_: "fp16")
    told = {**_segment(1, 1), "total_epochs": 1, "precision": "fp16"}
    with pytest.raises(InputError, match="precision fp16 scales the loss, and the trainable parameters are bfloat16"):
        training.train_segment(wanted.model_dump(mode="json", by_alias=True), str(tmp_path), told)


def test_what_is_wrong_is_found_before_anything_is_loaded(table: Path, tmp_path: Path) -> None:
    def codes(wanted: Profile) -> set[str]:
        return {f"{f.rule} {f.where}" for f in checks.preflight(wanted) if f.severity == "error"}

    assert codes(profile(table)) == set()
    assert codes(profile(table, source="sorce")) == {"PRE004 data"}
    assert codes(profile(table, tiny=False)) == {"PRE032 text.hub"}
    assert codes(profile(table, tiny=False, folder=str(tmp_path))) == {"PRE032 text.folder"}
    assert codes(profile(table, lora={**LORA, "targets": ["nothing"]})) == {"PRE030 text.lora.targets"}
    assert codes(profile(table, config={"model_type": "nothing"})) == {"PRE030 text.config"}


def test_targets_that_are_not_for_texts_say_so(trained: tuple[Path, Report]) -> None:
    run = RunFolder(trained[0])
    wanted = run.profile()
    npu = wanted.model_copy(update={"export": wanted.export.model_copy(update={"target": "npu"})})
    with pytest.raises(InputError, match="the target npu is not for text models: use --target onnx or openvino"):
        export(run, npu)
