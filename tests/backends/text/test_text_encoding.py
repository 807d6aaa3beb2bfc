"""Pairs as tokens: what the loss counts, and what is cut."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_text
import torch

from deploytk.backends.text import encoding
from deploytk.profile import Profile
from deploytk.text.pairs import Pair

PAIRS = [Pair("안녕하세요", "반갑습니다"), Pair("hello world", "how are you today my friend")]


def profile(backend: str, **text: Any) -> Profile:
    told = {"config": {"model_type": "bart"}, "max_source": 16, "max_target": 6, "prompt": "Q: {source} A:", **text}
    return Profile.model_validate({"name": "t", "backend": backend, "text": told})


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_text.tokenizer()


def test_of_a_decoder_the_answer_alone_is_counted(tokenizer: Any) -> None:
    for told, pair in zip(encoding.encoded(PAIRS, profile("causal_lm"), tokenizer), PAIRS, strict=True):
        prompt = tokenizer(f"Q: {pair.source} A:", truncation=True, max_length=16)["input_ids"]
        assert told["input_ids"][: len(prompt)] == prompt
        assert told["labels"][: len(prompt)] == [encoding.IGNORED] * len(prompt)
        assert told["labels"][len(prompt) :] == told["input_ids"][len(prompt) :]
        assert told["labels"][-1] == tokenizer.eos_token_id and len(told["labels"]) - len(prompt) <= 6


def test_of_an_encoder_and_decoder_the_answer_is_apart(tokenizer: Any) -> None:
    whole, cut = (encoding.encoded(PAIRS, profile("seq2seq", max_target=n), tokenizer) for n in (64, 6))
    assert [tokenizer.decode(each["labels"][:-1]) for each in whole] == [pair.target for pair in PAIRS]
    assert [len(each["labels"]) for each in cut] == [6, 6]
    assert {each["labels"][-1] for each in (*whole, *cut)} == {tokenizer.eos_token_id}


def test_padding_is_neither_read_nor_counted() -> None:
    batch = encoding.Padded(pad=1)([{"input_ids": [5, 6, 7], "labels": [8]}, {"input_ids": [5], "labels": [8, 9]}])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [5, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[8, -100], [8, 9]]
    assert batch["labels"].dtype == torch.int64


def test_texts_that_are_cut_are_counted(tokenizer: Any) -> None:
    text = profile("seq2seq").text
    assert text is not None
    long = [Pair("a b c d e f g h i j k l m n o p q r s t", "b"), *PAIRS]
    assert encoding.cut(long, text, tokenizer) == (1, 2)
