"""What is inside the clock of a text model's bench, with a model that only pretends to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from deploytk.stages.bench_text_child import Answers
from deploytk.text.generating import Generated


class Pretended:
    """Answers each text with its letters, at so many seconds a step."""

    def __init__(self, *, silent: bool = False, scores: float = 0.5, steps: int = 3) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.silent, self.scores, self.steps = silent, scores, steps

    def generate(self, texts: Sequence[str], *, exactly: int | None = None) -> Generated:
        self.asked.append(tuple(texts))
        return Generated(
            texts=tuple("" if self.silent else text.upper() for text in texts),
            prompt_tokens=tuple(len(text) for text in texts),
            answer_tokens=(exactly or self.steps + 1,) * len(texts),
            first_s=0.004,
            steps_s=(0.002,) * self.steps,
            total_s=0.011,
        )

    def first_scores(self, texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), 5), self.scores, np.float32)


def answers(texts: Sequence[str], batch: int, model: Any = None, **settings: Any) -> Answers:
    return Answers(model or Pretended(), texts, batch, **{"tokens": None, "judged": "", **settings})


def test_batches_follow_each_other_and_the_last_is_filled_from_the_first() -> None:
    model = Pretended()
    one = answers(["a", "b", "c", "d", "e"], 2, model)
    assert one.count == 3
    for turn in range(4):
        one.run(turn)
    assert model.asked == [("a", "b"), ("c", "d"), ("e", "a"), ("a", "b")]


def test_the_parts_add_up_to_the_call() -> None:
    one = answers(["a"], 1)
    one.run(0)
    assert one.last_ms == pytest.approx({"first token": 4.0, "decode": 6.0, "text": 1.0, "per token": 2.0})


def test_padding_is_what_the_longest_text_adds_to_the_others() -> None:
    one = answers(["a", "bbb", "cc", "dd"], 2)
    one.run(0)
    assert one.counts["padding_share"] == pytest.approx(2 / 6)
    one.run(1)
    assert one.counts == pytest.approx({"prompt_tokens": 4, "padding_share": 0.2, "answer_tokens": 8, "steps": 4})


@pytest.mark.parametrize("scores", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_no_answer(scores: float) -> None:
    one = answers(["a", "b"], 2, Pretended(scores=scores))
    one.run(0)
    assert "NaN or infinity (10 of 10 values)" in one.wrong()


def test_a_model_that_says_nothing_is_told_after_a_few_texts_and_measured_only_when_made_to_go_on() -> None:
    one = answers(["a", "b", "c", "d"], 1, Pretended(silent=True))
    told = [one.run(turn) or one.wrong() for turn in range(3)]
    assert told[:2] == ["", ""]
    assert told[2].startswith("No answer to 3 texts has a word in it.")
    forced = answers(["a"], 1, Pretended(silent=True), tokens=4)
    assert [forced.run(0), forced.wrong()] == [{}, ""]


def test_one_empty_answer_among_others_is_none() -> None:
    one = answers(["a", "b", "c", "d"], 1)
    one.run(0)
    one.model.silent = True  # type: ignore[attr-defined]
    for turn in (1, 2, 3):
        one.run(turn)
    assert one.wrong() == ""


def test_no_further_token_has_no_time() -> None:
    one = answers(["a"], 1, Pretended(steps=0), judged="per token")
    one.run(0)
    assert "there is no time of a further one" in one.wrong()
    whole = answers(["a"], 1, Pretended(steps=0))
    whole.run(0)
    assert (whole.wrong(), whole.last_ms["per token"]) == ("", 0.0)
