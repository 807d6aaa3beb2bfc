"""Answers of text models: their tokens, their times, and what padding must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_text

from deploytk.errors import InputError
from deploytk.text import description, generating

PROMPTS = ["안녕하세요", "hello world, how are you", "오늘"]


@pytest.fixture(scope="module", params=["seq2seq", "causal_lm"])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text.tiny_text(tmp_path_factory.mktemp("text") / "model", request.param).folder


def test_a_batch_gives_the_answers_that_its_texts_get_alone(folder: Path) -> None:
    model = generating.opened(folder)

    together = model.generate(PROMPTS)

    assert [model.generate([text]).texts[0] for text in PROMPTS] == list(together.texts)
    assert together.prompt_tokens == tuple(model.generate([text]).prompt_tokens[0] for text in PROMPTS)


def test_every_token_has_its_time(folder: Path) -> None:
    told = generating.opened(folder).generate(PROMPTS, exactly=6)

    assert told.answer_tokens == (6, 6, 6) and len(told.steps_s) == 5
    assert told.first_s > 0 and min(told.steps_s) > 0
    assert told.first_s + told.decode_s <= told.total_s


@pytest.mark.parametrize(("runtime", "threads"), [("torch", 2), ("onnx", 1)])
def test_beside_another_runtime_torch_has_one_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, threads: int
) -> None:
    import torch

    model = generating.opened(folder)
    model.described = model.described.model_copy(update={"runtime": runtime})
    before, real, seen = torch.get_num_threads(), model.model.generate, []
    monkeypatch.setattr(model.model, "generate", lambda **how: (seen.append(torch.get_num_threads()), real(**how))[1])
    torch.set_num_threads(2)
    try:
        model.generate(PROMPTS, exactly=2)
        model.first_scores(PROMPTS)
        assert (seen, torch.get_num_threads()) == ([threads] * 2, 2)
    finally:
        torch.set_num_threads(before)


def test_a_prompt_is_around_the_text(tmp_path: Path) -> None:
    asked = tiny_text.tiny_text(tmp_path / "a", "causal_lm", prompt="요약: {source}\n답:").folder
    plain = tiny_text.tiny_text(tmp_path / "b", "causal_lm").folder
    around = generating.opened(asked).generate(["hello"])

    assert around.texts == generating.opened(plain).generate(["요약: hello\n답:"]).texts


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    made = tiny_text.tiny_text(tmp_path / "a")
    (made.folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"config.json: changed since deploytk made it"):
        generating.opened(made.folder)
    (made.folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config.json is missing"):
        description.read(made.path)
    with pytest.raises(InputError, match="no text model"):
        generating.opened(tmp_path)


def test_a_wrong_key_is_told(tmp_path: Path) -> None:
    made = tiny_text.tiny_text(tmp_path / "a")
    made.path.write_text(made.path.read_text().replace('"max_source"', '"max_sorce"'))
    with pytest.raises(InputError, match=r"max_sorce.*did you mean 'max_source'"):
        description.read(made.folder)
