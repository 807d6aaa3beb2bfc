"""An INT8 export as a user meets it: attempts are kept, judged and skipped the next time; a miss is exit code 8."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploytk.artifact import Artifact
from deploytk.errors import InputError, ParityFailed, StepFailed, TrainingFailed
from deploytk.files import write_json
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report.content import blocks
from deploytk.stages import int8, proof, speed
from deploytk.stages.export import precision_of, require_target, with_overrides
from deploytk.stages.export_steps import Steps
from deploytk.stages.run_folder import RunFolder

GOOD_BOXES = {"images": 8, "boxes": {"sqnr_db": 30.0}, "scores": {"sqnr_db": 25.0}}


@dataclass
class World:
    """What comes of each rung: its mAP50 (0.8 in float), how long it takes beside float, or an error."""

    metric: dict[str, float] = field(default_factory=dict)
    ratio: dict[str, float] = field(default_factory=dict)
    error: dict[str, Exception] = field(default_factory=dict)
    trains: bool = False  # whether the backend has quantization-aware training
    made: list[str] = field(default_factory=list)
    timed: list[str] = field(default_factory=list)


class FakeSteps(Steps):
    """The steps of an export whose children are this process: `call` answers as `stages.steps` would."""

    def __init__(self, folder: Path, world: World) -> None:
        self.run, self.world, self.listen = RunFolder(folder), world, None
        self.profile = Profile.model_validate({"name": "pills", "budget": {"max_accuracy_drop": 0.01}})
        self.raw = self.profile.model_dump(mode="json", by_alias=True)
        self.backend = SimpleNamespace(DISTRIBUTIONS=(), METRIC="mAP50", FINETUNES_QUANTIZED=world.trains)
        self.skipped, self.data = {}, "data"
        folder.mkdir(exist_ok=True)
        self.run.model.write_text("trained")
        self.source = Artifact.record(
            self.run.model, format="pt", precision="fp32", made_by="train", metrics={"mAP50": 0.8}
        )

    def call(self, function: str, name: str, **kwargs: Any) -> Any:  # noqa: ARG002
        return getattr(self, f"_{function.rpartition(':')[2]}")(**kwargs)

    def _calibration(self, **_: Any) -> dict[str, Any]:
        return {"path": "calibration/pills", "sha256": "c" * 64, "images": 128}

    def _quantize_graph(self, out: str, recipe: dict[str, Any], **_: Any) -> dict[str, Any]:
        rung = Path(out).stem
        if rung in self.world.error:
            raise self.world.error[rung]
        self.world.made.append(rung)
        write_json(Path(out), {"rung": rung, "recipe": recipe})
        return {"quantized_ops": 60}

    def _finetune_quantized(self, out: str, epochs: int, float_nodes: list[str], **_: Any) -> dict[str, Any]:
        if "training" in self.world.error:
            raise self.world.error["training"]
        self.world.made.append("training")
        write_json(Path(out), {"epochs": epochs, "float_nodes": float_nodes})
        return {"best_epoch": 2}

    def _onnx_from_checkpoint(self, checkpoint: str, out: str, **_: Any) -> None:
        write_json(Path(out), {"of": Path(checkpoint).name})

    _convert = _onnx_from_checkpoint

    def _sensitivities(self, out: str, **_: Any) -> None:
        layers = [{"node": f"/model.{i}/conv", "op": "Conv", "sqnr_db": 3.0 + i} for i in (4, 0, 9, 7)]
        write_json(Path(out), {"layers": layers, "head": "/model.22/"})

    def _proof(self, model: str, **_: Any) -> dict[str, Any]:
        return {"metrics": {"mAP50": self.world.metric.get(Path(model).stem, 0.7)}, "agreement": GOOD_BOXES}


@pytest.fixture(autouse=True)
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model takes as long beside float as its world says, half as long otherwise."""

    def beside_float(made: Artifact, rival: Artifact, *_: Any) -> dict[str, Any]:
        WORLD[0].timed.append(made.path.stem)
        ratio = WORLD[0].ratio.get(made.path.stem, 0.5)
        word = "slower" if ratio > 1 else "faster"
        told = {"ratio": ratio, "low": ratio - 0.02, "high": ratio + 0.02, "verdict": word, "note": "a busy machine"}
        return {**told, "float_ms": 10.0, "ms": 10 * ratio, "measured_on": speed.measured_on(rival)}

    monkeypatch.setattr(speed, "beside_float", beside_float)
    monkeypatch.setattr(int8, "real_inputs", lambda *_: Path("validation.npz"))


WORLD = [World()]


def exported(folder: Path, world: World, target: str = "onnx") -> tuple[int8.Climbed, FakeSteps, Artifact]:
    WORLD[0] = world
    steps = FakeSteps(folder, world)
    float_path = folder / "export" / "model.onnx"
    float_path.parent.mkdir(exist_ok=True)
    float_path.write_text("float")
    model = Artifact.record(float_path, format="onnx", precision="fp32", made_by="export-onnx")
    out = float_path.with_name(f"model_int8{int8.ABILITIES[target].suffix}")
    return int8.quantized(steps, target, model, model, out), steps, model


def report_of(climbed: int8.Climbed, steps: FakeSteps, model: Artifact) -> Any:
    checks = proof.Checks(steps.profile)
    checks.ladder(climbed.told)
    return checks.report("export onnx", climbed.artifact or model, (steps.source, model), steps.skipped)


def test_the_first_attempt_that_is_good_enough_stands_in_its_place_with_its_history(tmp_path: Path) -> None:
    climbed, steps, model = exported(tmp_path, World(metric={"float-1": 0.795}))
    made = Artifact.load(tmp_path / "export" / "model_int8.onnx")
    assert made == climbed.artifact
    assert made.made_from == (model.sha256,)
    assert made.settings["calibration"] == "c" * 64
    assert made.settings["recipe"]["float_nodes"] == ["/model.0/conv"]
    assert [a["rung"] for a in made.settings["ladder"]["attempts"]] == ["full", "float-1"]
    assert report_of(climbed, steps, model).exit_code == 0


def test_a_miss_is_exit_code_8_with_every_attempt_and_no_model_left_in_place(tmp_path: Path) -> None:
    exported(tmp_path, World(metric={"full": 0.8}))
    assert (tmp_path / "export" / "model_int8.onnx").exists()
    (tmp_path / "export" / "attempts" / "full.onnx").unlink()  # made again, and worse
    climbed, steps, model = exported(tmp_path, World())
    report = report_of(climbed, steps, model)
    assert (report.verdict.status, report.exit_code) == ("fail", 8)
    assert report.verdict.reasons[0] == "no INT8 model for onnx is good enough; tried: 6"
    assert "full INT8: dropped: mAP50 0.700 of 0.800: 10.0 points lost, 1 allowed" in report.verdict.reasons[1]
    assert not (tmp_path / "export" / "model_int8.onnx").exists()


def test_int8_slower_than_float_is_rejected_and_said_so(tmp_path: Path) -> None:
    climbed, steps, model = exported(tmp_path, World(metric={"full": 0.8}, ratio={"full": 1.4}))
    report = report_of(climbed, steps, model)
    assert climbed.artifact is None
    assert report.exit_code == 8
    assert "1.40 times as long as float (1.38 to 1.42): slower than float" in report.verdict.reasons[1]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ParityFailed("no operator was quantized"), "refused"), (StepFailed("was killed", kind="oom"), "failed")],
)
def test_a_model_refused_or_a_child_that_died_is_an_attempt_and_the_next_is_tried(
    error: Exception, outcome: str, tmp_path: Path
) -> None:
    climbed, _, _ = exported(tmp_path, World(metric={"float-1": 0.8}, error={"full": error}))
    assert [a.outcome for a in climbed.attempts] == [outcome, "met"]
    assert climbed.attempts[0].reason == str(error)


def test_where_nothing_else_is_good_enough_the_network_is_trained_on_with_the_rounding_in_it(tmp_path: Path) -> None:
    climbed, _, _ = exported(tmp_path, World(metric={"float-1": 0.75, "qat": 0.798}, trains=True))
    attempts = tmp_path / "export" / "attempts"
    trained, remade, made = (Artifact.load(attempts / name) for name in ("qat.pt", "qat_float.onnx", "qat.onnx"))
    assert climbed.artifact
    assert climbed.artifact.sha256 == made.sha256
    assert (made.made_from, remade.made_from) == ((remade.sha256,), (trained.sha256,))
    assert json.loads((attempts / "qat.pt").read_text()) == {"epochs": 3, "float_nodes": ["/model.0/conv"]}
    assert trained.settings["facts"] == {"best_epoch": 2}


def test_an_ir_that_was_proved_on_another_processor_is_proved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(tmp_path, World(metric={"full": 0.8}), target="openvino")
    steps, world = FakeSteps(tmp_path, World()), World(metric={"full": 0.5})
    kept = Artifact.load(tmp_path / "export" / "attempts" / "full.xml")
    assert steps.proved(kept, "openvino").metrics == {"mAP50": 0.8}
    elsewhere = replace(Machine.this(), cpu="another one")
    monkeypatch.setattr(Machine, "this", lambda: elsewhere)
    steps.world = world
    assert steps.proved(kept, "openvino").metrics == {"mAP50": 0.5}


def test_it_is_trained_once(tmp_path: Path) -> None:
    exported(tmp_path, World(trains=True))
    world = World(trains=True)
    climbed, _, _ = exported(tmp_path, world)
    assert (world.made, climbed.attempts[-1].rung.name) == ([], "qat")


def test_a_training_that_diverges_is_an_attempt_that_failed(tmp_path: Path) -> None:
    climbed, _, _ = exported(tmp_path, World(trains=True, error={"training": TrainingFailed("training diverged")}))
    assert (climbed.attempts[-1].outcome, climbed.attempts[-1].reason) == ("failed", "training diverged")


def test_the_npu_too_is_given_a_network_that_has_learned_to_be_rounded(tmp_path: Path) -> None:
    climbed, _, _ = exported(tmp_path, World(metric={"qat": 0.8}, trains=True), target="npu")
    assert [a.rung.name for a in climbed.attempts] == ["full", "percentile", "qat"]
    assert climbed.attempts[-1].outcome == "met"


def test_wrong_input_is_no_attempt(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="changed since"):
        exported(tmp_path, World(error={"full": InputError("sample 3: changed since")}))


def test_exporting_again_makes_and_times_nothing_and_says_the_same(tmp_path: Path) -> None:
    first, _, _ = exported(tmp_path, World(metric={"float-3": 0.799}))
    world = World(metric={"float-3": 0.799})
    again, steps, _ = exported(tmp_path, world)
    assert (world.made, world.timed) == ([], [])
    assert again.told == first.told
    assert steps.skipped["model_int8.onnx"]


def test_the_npu_has_two_rungs_and_keeps_the_better_one_for_the_report_to_judge(tmp_path: Path) -> None:
    climbed, steps, model = exported(tmp_path, World(metric={"full": 0.74, "percentile": 0.78}), target="npu")
    assert [a.rung.name for a in climbed.attempts] == ["full", "percentile"]
    assert climbed.artifact
    assert json.loads(climbed.artifact.path.read_text())["rung"] == "percentile"
    assert report_of(climbed, steps, model).exit_code == 8


def test_the_report_shows_the_attempts_and_names_the_layers(tmp_path: Path) -> None:
    climbed, steps, model = exported(tmp_path, World(metric={"float-1": 0.795}))
    block = next(b for b in blocks(report_of(climbed, steps, model)) if b.name == "ladder")
    assert block.lines[0] == "Taken: INT8, 1 layer in float."
    assert "INT8, 1 layer in float: /model.0/conv." in block.lines
    assert "full INT8: while it was timed: a busy machine" in block.lines
    first, second = (dict(zip(block.tables[0].columns, row, strict=True)) for row in block.tables[0].rows)
    assert (first["outcome"].text, first["points lost"].text) == ("dropped", "10.0")
    assert (second["outcome"].text, second["times as long"].text) == ("met", "0.500")


def test_the_command_line_sets_precision_calibration_and_the_points_that_may_be_lost() -> None:
    profile = Profile.model_validate({"name": "x"})
    assert precision_of(profile) == "fp32"
    given = {
        ("export", "precision"): "int8",
        ("calibration", "name"): "pills",
        ("budget", "max_accuracy_drop"): 0.01,
    }
    changed = with_overrides(profile, given)
    assert (changed.export.precision, changed.calibration.name) == ("int8", "pills")
    assert changed.budget.max_accuracy_drop == 0.01


def test_a_precision_that_the_target_does_not_have_is_refused_with_those_it_has() -> None:
    profile = Profile.model_validate({"name": "x", "export": {"target": "npu", "precision": "fp32"}})
    with pytest.raises(InputError, match="the target npu has no fp32 model; choose --precision int8"):
        require_target(profile)
