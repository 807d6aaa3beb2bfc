"""Profiles: every wrong line is named, every shipped profile loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk import profile_loading
from deploytk.errors import ProfileError


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", profile_loading.shipped())
def test_every_shipped_profile_loads_under_its_own_name(name: str) -> None:
    assert profile_loading.load(name).name == name


@pytest.mark.parametrize("name", profile_loading.npu_presets())
def test_every_shipped_npu_preset_loads(name: str) -> None:
    assert profile_loading.load_npu(name).accelerator == name


@pytest.mark.parametrize(
    "name", ["npu_level4_activation_leaked", "NPU-Level4.Leaky", "npu level4 leaky", "npu-level4-activation-leakyrelu"]
)
def test_names_of_the_field_resolve_by_slug(name: str) -> None:
    assert profile_loading.load(name).name == "npu-level4-leaky"


@given(st.text(max_size=40))
def test_slug_is_idempotent_and_blind_to_case_and_separators(name: str) -> None:
    once = profile_loading.slug(name)
    assert profile_loading.slug(once) == once
    assert profile_loading.slug(name.replace("-", "_")) == once


def test_level_says_which_sections_change() -> None:
    expected = profile_loading.load("npu-level3-relu").model.activation.expected()
    assert expected == {"backbone": "relu", "neck": "relu", "head": "silu"}


def test_unknown_name_lists_what_was_tried_and_suggests() -> None:
    with pytest.raises(ProfileError, match=r"did you mean 'npu-level4-relu'\?") as caught:
        profile_loading.load("npu-levl4-relu")
    assert "quickstart" in caught.value.message


def test_each_wrong_line_is_named_with_file_line_and_path(tmp_path: Path) -> None:
    mine = written(
        tmp_path, "schema: 1\nname: x\nbudget:\n  latncy_ms: 50\ntrain:\n  epochs: many\nbench: {batches: 64..1}\n"
    )
    with pytest.raises(ProfileError) as caught:
        profile_loading.load(mine)
    reasons = {r.split(": ", 1)[0].rsplit(":", 1)[1]: r for r in caught.value.reasons}
    assert "did you mean 'latency_ms'?" in reasons["4"]
    assert "train.epochs" in reasons["6"]
    assert "did you mean 1..64?" in reasons["7"]


def test_optimizer_auto_with_lr0_is_refused(tmp_path: Path) -> None:
    mine = written(tmp_path, "schema: 1\nname: x\ntrain: {optimizer: auto, lr0: 0.01}\n")
    with pytest.raises(ProfileError, match="ignores lr0"):
        profile_loading.load(mine)


def test_a_wrong_line_in_the_extended_file_is_named_there(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("schema: 1\nname: base\ntrain:\n  epoch: 3\n", encoding="utf-8")
    mine = written(tmp_path, "extends: base.yaml\nname: mine\n")
    with pytest.raises(ProfileError, match=r"base\.yaml:4: train: unknown key 'epoch'; did you mean 'epochs'\?"):
        profile_loading.load(mine)


def test_paths_are_relative_to_the_file_they_are_written_in(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text("schema: 1\nname: b\ndata: {path: ds/data.yaml}\n", encoding="utf-8")
    mine = written(tmp_path, "extends: sub/base.yaml\nname: mine\n")
    assert profile_loading.load(mine).data.path == (tmp_path / "sub" / "ds" / "data.yaml").resolve()


def test_extends_of_a_shipped_profile_and_command_line_wins(tmp_path: Path) -> None:
    mine = written(tmp_path, "extends: npu-level4-relu\nname: mine\ntrain: {epochs: 7}\n")
    loaded = profile_loading.load(mine, {("train", "imgsz"): 96})
    assert (loaded.train.epochs, loaded.train.imgsz, loaded.model.activation.kind) == (7, 96, "relu")


def test_a_wrong_value_from_the_command_line_says_so() -> None:
    with pytest.raises(ProfileError, match=r"command line: train\.imgsz: .*multiple of 32"):
        profile_loading.load("quickstart", {("train", "imgsz"): 100})


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [1\n", "just text\n"])
def test_what_is_no_profile_is_one_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml"):
        profile_loading.load(written(tmp_path, text))


def test_a_profile_that_is_not_utf8_says_so(tmp_path: Path) -> None:
    (tmp_path / "k.yaml").write_bytes("name: 모델".encode("cp949"))
    with pytest.raises(ProfileError, match="not UTF-8"):
        profile_loading.load(str(tmp_path / "k.yaml"))


def test_extends_in_a_circle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n", encoding="utf-8")
    with pytest.raises(ProfileError, match="extends itself"):
        profile_loading.load(str(tmp_path / "a.yaml"))


def test_a_key_written_twice_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    mine = written(tmp_path, "name: mine\ntrain:\n  epochs: 3\n  epochs: 4\n")
    with pytest.raises(ProfileError, match=r"mine\.yaml:4: train\.epochs: written twice \(.*mine\.yaml:3 too\)"):
        profile_loading.load(mine)


def test_an_alias_inside_its_own_anchor_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="inside its own anchor"):
        profile_loading.load(written(tmp_path, "name: mine\naliases: &a [*a]\n"))


def test_extends_is_one_name(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml:1: extends: must be one name or file"):
        profile_loading.load(written(tmp_path, "extends: [quickstart]\nname: mine\n"))


def test_a_scalar_where_keys_belong_is_named_although_the_command_line_sets_a_key_in_it(tmp_path: Path) -> None:
    mine = written(tmp_path, "name: mine\ndata: images\n")
    with pytest.raises(ProfileError, match=r"mine\.yaml:2: data: must be a mapping of keys to values \(got 'images'\)"):
        profile_loading.load(mine, {("data", "path"): "data.yaml"})


@pytest.mark.parametrize("name", ["../../up", "a/b", "''", "..", "/root"])
def test_a_name_cannot_lead_out_of_the_runs_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml:1: name: "):
        profile_loading.load(written(tmp_path, f"name: {name}\n"))


def test_a_profile_may_have_a_korean_name(tmp_path: Path) -> None:
    assert profile_loading.load(written(tmp_path, "name: 모델 1\n")).name == "모델 1"


def test_an_npu_with_the_system_config_of_another_family_is_refused(tmp_path: Path) -> None:
    text = "accelerator: ethos-u55-256\nsystem_config: Ethos_U85_SYS_DRAM_Mid\nmemory_mode: Shared_Sram\nsram_kib: 8\n"
    with pytest.raises(ProfileError, match=r"mine\.yaml: system_config .* choose one that starts with Ethos_U55_"):
        profile_loading.load_npu(written(tmp_path, text))
