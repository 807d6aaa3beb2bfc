"""Each rule of the preflight on a profile that is fine and on one that is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploytk import plugins, profile_loading
from deploytk.backends import ultralytics as backend
from deploytk.profile import PART_NAMES, Profile
from deploytk.report import rule_table
from deploytk.training.preflight import __main__ as table
from deploytk.training.preflight import looked_at, quick
from deploytk.training.preflight.context import Context, Gpu
from deploytk.training.preflight.rules import RULES, scaler_problem

A100 = Gpu(index=0, name="A100", total_mib=40_000, free_mib=39_000, capability=(8, 0))
T4 = Gpu(index=0, name="T4", total_mib=16_000, free_mib=15_000, capability=(7, 5))
DETECTOR = backend.TECHNIQUES


def context(profile: dict[str, Any] | None = None, **known: Any) -> Context:
    told = Profile.model_validate({"name": "p", **(profile or {})})
    return Context(
        profile=told, **{"cores": 8, "techniques": DETECTOR, "metrics": frozenset({"mAP50", "box_loss"}), **known}
    )


def train(**settings: Any) -> dict[str, Any]:
    return {"train": settings}


def codes(found: Context) -> list[tuple[str, str]]:
    return [(f.rule, f.severity) for f in looked_at(found)]


def test_a_usual_profile_has_nothing_against_it() -> None:
    roomy = {"cores": 8, "memory_mib": 16_000.0, "disk_free": 1e12, "step_mib": lambda batch: 100.0 * batch}
    assert codes(context(train(optimizer="AdamW", lr0=0.002), **roomy)) == []


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"optimizer": "AdamW", "lr0": 0.01}, [("PRE010", "warning")]),
        ({"optimizer": "AdamW", "lr0": 0.1}, [("PRE010", "error")]),
        ({"optimizer": "SGD", "lr0": 1e-4}, [("PRE010", "warning")]),
        ({"optimizer": "SGD", "lr0": 0.01}, []),
        ({"optimizer": "AdamW", "lr0": 0.001, "warmup_bias_lr": 0.1}, [("PRE011", "warning")]),
        ({"lr0": 0.01, "warmup_bias_lr": 0.01}, []),
        ({"batch": 1}, [("PRE012", "warning")]),
        ({"batch": 1, "lr0": 0.001}, []),
        ({"batch": 2, "lr0": 0.01}, []),
        ({"rdrop": 1.0}, [("PRE015", "error")]),
        ({"label_smoothing": 0.1}, []),
        ({"epochs": 3, "warmup_epochs": 3}, [("PRE017", "info")]),
        ({"epochs": 4, "warmup_epochs": 3}, []),
        ({"batch": 16, "effective_batch": 40}, [("PRE018", "warning")]),
        ({"batch": 16, "effective_batch": 64}, []),
    ],
)
def test_the_settings_of_a_training(settings: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert codes(context(train(**settings))) == found


def test_what_only_a_classifier_has_is_refused_for_a_detector() -> None:
    asked = {"data": {"class_index": "classes.json", "square": False}, "train": {"balance": "sampler"}}
    found = [finding.where for finding in looked_at(context(asked)) if finding.rule == "PRE015"]
    assert found == ["train.balance", "data.class_index", "data.square"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ({"dtype": "bfloat16"}, "set text.dtype: float32"),
        ({"dtype": "bfloat16", "lora": {"targets": ["q"]}}, ""),  # the weights under adapters are not trained
        ({"lora": {"targets": ["q"], "dtype": "float16"}}, "set text.lora.dtype: float32"),
        ({}, ""),
    ],
)
@pytest.mark.parametrize("gpus", [(), (A100,)])
def test_a_scaler_and_half_precision_that_is_trained(text: dict[str, Any], wrong: str, gpus: tuple[Gpu, ...]) -> None:
    told = {"backend": "seq2seq", "text": {"config": {"model_type": "bart"}, **text}, **train(precision="fp16")}
    found = [f for f in looked_at(context(told, gpus=gpus)) if f.rule == "PRE013" and "scales the loss" in f.message]
    assert [f.severity for f in found] == (["error"] if wrong else [])
    assert all(wrong in f.fix for f in found)


@pytest.mark.parametrize(
    ("asked", "gpus", "found"),
    [
        ("auto", (), []),
        ("bf16", (), [("PRE013", "error")]),
        ("fp16", (), [("PRE013", "error")]),
        ("bf16", (A100,), []),
        ("bf16", (T4,), [("PRE013", "error")]),
        ("fp16", (T4,), []),
    ],
)
def test_precision_against_the_device(asked: str, gpus: tuple[Gpu, ...], found: list[tuple[str, str]]) -> None:
    assert codes(context(train(precision=asked), gpus=gpus)) == found


def test_a_gpu_counts_only_where_the_training_uses_it() -> None:
    assert context(train(device="cpu"), gpus=(A100,)).gpu is None
    assert context(train(device="0"), gpus=(A100,)).gpu == A100
    assert context(train(device="1"), gpus=(A100,)).gpu is None


def test_r_drop_without_dropout_compares_a_pass_with_itself() -> None:
    both = DETECTOR | {"rdrop", "dropout"}
    assert codes(context(train(rdrop=1.0), techniques=both)) == [("PRE015", "error")]
    assert codes(context(train(rdrop=1.0, dropout=0.1), techniques=both)) == []


def test_an_unknown_metric_is_answered_with_a_suggestion() -> None:
    wrong = {
        "milestones": [{"epoch": 5, "metric": "map50", "at_least": 0.4}],
        "rules": [{"metric": "gap", "above": 1.0}],
    }
    (found,) = looked_at(context(wrong))
    assert found.rule == "PRE019" and "did you mean 'mAP50'" in found.message
    late = {"milestones": [{"epoch": 500, "metric": "mAP50", "at_least": 0.4}]}
    assert codes(context(late)) == [("PRE019", "warning")]


def test_memory_is_compared_with_the_device_and_a_batch_that_fits_is_named() -> None:
    tight = {"step_mib": lambda batch: 500.0 + 100.0 * batch, "memory_mib": 1500.0}
    (found,) = looked_at(context(train(batch=16), **tight))
    assert (found.rule, found.severity) == ("PRE020", "warning")
    assert found.fix == "train.batch: 8 with effective_batch: 16" and "estimated" in found.message
    assert codes(context(train(batch=32), **tight)) == [("PRE020", "error")]
    assert codes(context(train(batch=8), **tight)) == []
    assert codes(context(train(batch=32), gpus=(A100,), **tight)) == []
    full = Gpu(**{**A100.__dict__, "free_mib": 1000.0})
    assert codes(context(train(batch=32), gpus=(full,), **tight)) == [("PRE020", "warning")]


def test_memory_that_not_even_one_image_fits_into_asks_for_a_smaller_model() -> None:
    (found,) = looked_at(context(train(batch=4), step_mib=lambda batch: 4000.0 + batch, memory_mib=1000.0))
    assert "smaller imgsz or model" in found.fix


def test_the_disk_has_room_for_what_stays_or_for_what_is_asked() -> None:
    assert codes(context(checkpoint_bytes=10**9, disk_free=6.9e9)) == [("PRE021", "error")]
    assert codes(context(checkpoint_bytes=10**9, disk_free=7.1e9)) == []
    assert codes(context({"limits": {"disk_gb": 200}}, disk_free=1e11)) == [("PRE021", "error")]


def test_who_else_is_on_the_gpu_is_named_and_left_alone() -> None:
    busy = Gpu(**{**A100.__dict__, "processes": ((4711, "python", 9000.0),)})
    (found,) = looked_at(context(gpus=(busy,)))
    assert found.rule == "PRE022" and "python (pid 4711) uses 9000 MiB" in found.message


def test_loaders_need_cores_and_shared_memory_on_a_gpu_only() -> None:
    few = {"cores": 2, "shm_free": 64.0 * 2**20}
    assert codes(context(train(workers=4), gpus=(A100,), **few)) == [("PRE023", "warning")] * 2
    assert codes(context(train(workers=4), **few)) == []


def test_versions_that_are_known_to_go_wrong() -> None:
    assert codes(context(versions={"ultralytics": "8.4.190", "datasets": "4.1.0", "transformers": "4.57.6"})) == []
    assert codes(context(versions={"ultralytics": "8.5.0"})) == [("PRE024", "warning")]
    assert codes(context(versions={"datasets": "2.14.4", "transformers": "4.57.6"})) == [("PRE024", "warning")]


@pytest.mark.parametrize(
    ("precision", "dtypes", "wrong"),
    [
        ("fp16", {"bfloat16"}, True),
        ("fp16", {"float32", "float16"}, True),
        ("fp16", {"float32"}, False),
        ("bf16", {"bfloat16", "float32"}, False),
        ("fp32", {"bfloat16"}, False),
    ],
)
def test_a_scaler_meets_half_precision_parameters(precision: str, dtypes: set[str], wrong: bool) -> None:
    assert bool(scaler_problem(precision, frozenset(dtypes))) is wrong


def test_the_estimates_are_near_what_was_measured() -> None:
    """Peak memory of a training process on a CPU, measured 2026-11-26 (docs/preflight.md)."""
    measured = {("n", "relu", 320, 8): 1321, ("n", "silu", 320, 16): 1979, ("s", "relu", 320, 8): 1741,
                ("s", "silu", 320, 16): 2858, ("n", "relu", 160, 16): 1113, ("m", "silu", 320, 4): 2048}  # fmt: skip
    for (scale, kind, imgsz, batch), mib in measured.items():
        told = {"name": "p", "model": {"scale": scale, "activation": {"kind": kind}}, "train": {"imgsz": imgsz}}
        estimated = backend.step_mib(Profile.model_validate(told), batch)
        assert estimated == pytest.approx(mib, rel=0.05)
    assert backend.checkpoint_bytes(Profile(name="p")) == pytest.approx(36.5e6, rel=0.05)
    assert backend.step_mib(Profile.model_validate({"name": "p", "model": {"arch": "yolo11"}}), 8) is None


@pytest.mark.parametrize("name", sorted(profile_loading.shipped()))
def test_no_shipped_profile_is_warned_of(name: str, tmp_path: Path) -> None:
    profile = profile_loading.load(name)
    for each in [profile] if profile.parts is None else [profile.part(part) for part in PART_NAMES]:
        found = quick(each, tmp_path, plugins.load("backends", each.backend))
        assert [f for f in found if f.rule not in {"PRE020", "PRE021", "PRE022", "PRE023"}] == []


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from deploytk import plugins, profile_loading\n"
        "from deploytk.training.preflight import quick\n"
        "quick(profile_loading.load('quickstart'), Path('nowhere'), plugins.load('backends', 'ultralytics'))\n"
        "assert not {'torch', 'ultralytics', 'cv2', 'onnx', 'matplotlib'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_page_has_the_table_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "preflight.md").read_text(encoding="utf-8")
    assert rule_table.with_table(page, table.table()) == page, (
        "run: python -m deploytk.training.preflight docs/preflight.md"
    )
    assert len({rule.code for rule in RULES}) == len(RULES)
