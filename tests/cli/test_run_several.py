"""`deploytk run` of several text models: its words and its errors, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploytk.cli.main import cli


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Missing argument 'PROFILE'"),
        (["kobart", "--ensemble", "mbr"], "--ensemble is for several models"),
        (["quickstart", "--jobs", "2"], "--jobs is for several models"),
        (["kobart", "quickstart"], "quickstart: of several only text models are run"),
        (["--models", "kobart,kobart-base-v2"], "kobart: named more than once"),
        (["kobart", "qwen3-4b", "--resume", "--restart"], "--resume goes on with a training, --restart removes it"),
    ],
)
def test_a_wrong_command_line_is_told_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["run", *args, "--json"])
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (done.exit_code, said in told["reasons"][0]) == (2, True), told["reasons"]
    assert not list(tmp_path.iterdir())


def test_the_bench_of_a_text_model_is_no_key_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("schema: 1\nname: p\nbench: {judged: token, tokens: 8}\n", encoding="utf-8")
    done = CliRunner().invoke(cli, ["profiles", "show", "p.yaml", "--json"])
    assert done.exit_code == 2
    assert "bench: tokens, judged: for text models only" in done.output
