"""`level=2,3,4 activation=relu,leaky` as variants; what is wrong is told at once, before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk import profile_loading
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.stages.matrix_axes import expanded


def variants(*words: str, name: str = "npu-silu", given: Mapping[Any, Any] | None = None) -> dict[str, Profile]:
    found, _ = expanded(words, lambda chosen: profile_loading.load(name, {**(given or {}), **chosen}))
    return {v.name: v.profile for v in found}


def wrong(*words: str, name: str = "npu-silu") -> tuple[str, ...]:
    with pytest.raises(InputError) as error:
        variants(*words, name=name)
    return error.value.reasons


def test_levels_and_activations_make_the_profiles_that_are_shipped() -> None:
    found = variants("level=2,3,4", "activation=relu,leaky")
    assert list(found) == [f"npu-silu-level{level}-{kind}" for level in (2, 3, 4) for kind in ("relu", "leaky")]
    for level in (2, 3, 4):
        for kind in ("relu", "leaky"):
            made = found[f"npu-silu-level{level}-{kind}"]
            assert made.model == profile_loading.load(f"npu-level{level}-{kind}").model


def test_the_command_line_holds_for_every_variant() -> None:
    found = variants("activation=relu,relu6", given={("train", "epochs"): 3})
    assert [profile.train.epochs for profile in found.values()] == [3, 3]


def test_any_key_of_the_profile_is_an_axis() -> None:
    found = variants("train.lr0=0.01,1e-3", "model.scale=n,s")
    assert list(found) == [f"npu-silu-lr0-{lr}-scale-{scale}" for lr in ("0.01", "1e-3") for scale in "ns"]
    assert found["npu-silu-lr0-1e-3-scale-s"].train.lr0 == 0.001
    assert found["npu-silu-lr0-1e-3-scale-s"].model.scale == "s"


def test_keys_that_end_alike_are_told_apart_in_the_names() -> None:
    assert "npu-silu-train.seed-1-calibration.seed-2" in variants("train.seed=1,2", "calibration.seed=2")


def test_a_value_can_be_null_or_true() -> None:
    found = variants("train.clip_norm=null,5", "guard.fp32=true,false")
    assert {(p.train.clip_norm, p.guard.fp32) for p in found.values()} == {
        (c, f) for c in (None, 5.0) for f in (True, False)
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("levle=2",), "--matrix: there is no axis 'levle'; did you mean 'level'?"),
        (("lr0=0.1",), "--matrix: there is no axis 'lr0'; did you mean 'train.lr0'?"),
        (("train.momentun=0.1",), "--matrix: there is no axis 'train.momentun'; did you mean 'train.momentum'?"),
        (("level=2,5",), "--matrix: level=5: there are the levels 2, 3, 4"),
        (("activation=rleu",), "did you mean 'relu'?"),
        (("activation=leaky,leaked",), "leaky and leaked are the same"),
        (("activation=relu,,silu",), "a value is missing"),
        (("level=2,2",), "a value is written twice"),
        (("level",), "'level' is no axis; write it as level=2,3,4"),
        (("level=2", "level=3"), "model.activation.sections is set by two axes"),
        (("activation=relu", "model.activation.kind=silu"), "model.activation.kind is set by two axes"),
        (("train.lr0=fast",), "train.lr0: Input should be a valid number"),
        (("train.resize.start=31",), "multiple of 32"),
        (("train.lr0={",), "not a value that YAML can read"),
        (("level=2,3,4",), "these axes make no difference to the training"),
        (("export.target=onnx,npu",), "these axes make no difference to the training"),
    ],
)
def test_what_is_wrong_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    reasons = wrong(*words)
    assert said in reasons[0]
    assert len(reasons) == (2 if "resize" in words[0] else 1)


def test_everything_wrong_is_told_at_once_and_each_only_once() -> None:
    assert len(wrong("levle=2", "activation=rleu,silu,lrelu", "train.lr0=1,1")) == 4
    assert len(wrong("train.lr0=fast,0.1", "train.momentum=2,0.9", "activation=relu,silu")) == 2


def test_silu_at_two_levels_is_one_training() -> None:
    found, said = expanded(
        ["level=2,3", "activation=silu,relu"], lambda chosen: profile_loading.load("npu-silu", chosen)
    )
    assert [v.name for v in found] == ["npu-silu-level2-silu", "npu-silu-level2-relu", "npu-silu-level3-relu"]
    assert [str(f) for f in said] == [
        "npu-silu-level3-silu: is the same training as npu-silu-level2-silu: not trained twice"
    ]


@settings(deadline=None)
@given(words=st.lists(st.text(max_size=20) | st.builds("{}={}".format, st.just("train.lr0"), st.text()), min_size=1))
def test_whatever_is_written_is_variants_or_one_input_error(words: list[str]) -> None:
    base = Profile(name="base")

    def load(chosen: Mapping[Any, Any]) -> Profile:
        return base.model_copy(update={"name": chosen.get(("name",), "base")})

    try:
        found, _ = expanded(words, load)
    except InputError as error:
        assert all("--matrix" in reason for reason in error.reasons)
    else:
        assert all(Path(v.name).name == v.name for v in found)
