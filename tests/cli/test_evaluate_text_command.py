"""`deploytk evaluate` of a text model on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chat_server import completion, serving
from click.testing import CliRunner, Result

from deploytk.cli.main import cli
from deploytk.text import description

SECRET = "sk-command-0123456789"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *(str(word) for word in words)])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A text model that is only described, and a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    Path("m").mkdir()
    Path("m/config.json").write_text("{}")
    description.write(Path("m"), "seq2seq", "torch", "fp32", {"max_source": 8, "max_target": 8})
    Path("chat.csv").write_text("source,target\n안녕,반가워\n", encoding="utf-8")
    return tmp_path


API = ["--baseline-api", "https://host/v1"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m", "--split", "train"], "--split are for pipelines"),
        (["m", "--detector", "x"], "are for pipelines"),
        (["p", "--samples", "5"], "--samples is for text models"),
        (["p", "--against", "a", "--against", "b"], "give --against once"),
        (["m", "--api-model", "x"], "--api-model is for an endpoint"),
        (["m", "--price-in", "1"], "name it with --baseline-api"),
        (["m", "--baseline-api", "http://127.0.0.1:1/v1"], "--api-model NAME (it does not tell which it has)"),
        (["m", *API, "--api-model", "x", "--price-in", "1"], "belong together"),
        (["m", "--baseline-api", f"https://{SECRET}@host/v1", "--api-model", "x"], "a key is given by --api-key-env"),
        (["m", *API, "--api-model", "x", "--api-key-env", SECRET], "never the key itself"),
        (["m", *API, "--api-model", "x", f"--api-key={SECRET}"], "No such option"),
        (["m", *API, "--api-model", "x", "--api-key", SECRET], "No such option"),
        (["m", "--against", "gone"], "gone: no text model"),
        (["m", "--samples", "0"], "0 is not in the range"),
        (["m", "--target-column", "targit"], "no column 'targit'; did you mean 'target'?"),
    ],
)
def test_what_does_not_fit_is_exit_code_2_and_repeats_no_key(words: list[str], said: str) -> None:
    done = run(*words, "--data", "chat.csv")
    assert done.exit_code == 2, done.output
    assert said in done.stderr and SECRET not in done.output and "Traceback" not in done.output


@pytest.mark.e2e
def test_two_models_and_an_endpoint_answer_the_same_samples(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from tiny_text import tiny_text

    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    tiny_text(tmp_path / "a")
    chat = data_dir / "text/korean_chatbot/ChatbotData.csv"
    columns = ["--source-column", "Q", "--target-column", "A", "--rouge", "character"]
    with serving(lambda prompt, _n: completion(f"네, {prompt}")) as server:
        endpoint = ["--baseline-api", server.url, "--api-model", "stub", "--api-cache", tmp_path / "cache"]
        told = [tmp_path / "a", "--data", chat, *columns, *endpoint, "--samples", "12", "--out", tmp_path / "out"]
        done = run(*told, "--json")

    assert done.exit_code == 8, done.output  # random weights are worse than repeating the question
    section = json.loads(done.stdout.splitlines()[-1])["sections"]["text_evaluation"]
    assert [one["answered"] for one in section["systems"]] == [12, 12] and len(server.prompts) == 12
    assert section["systems"][1]["rouge"]["rougeL"]["mean"] > 0.02
    assert section["differences"][0]["rougeL"]["told"] == "worse"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert SECRET not in done.output and not [file for file in files if SECRET.encode() in file.read_bytes()]
