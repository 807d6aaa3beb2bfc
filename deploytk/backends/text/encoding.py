"""Pairs of texts as tokens: prompts, answers, and which tokens the loss counts (transformers, torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from deploytk.profile import Profile
from deploytk.profile_text import SOURCE, Text
from deploytk.text.pairs import Pair

#: Tokens with this label are not counted by the loss (PyTorch's and transformers' own).
IGNORED = -100
Features = dict[str, list[int]]


def encoded(pairs: Sequence[Pair], profile: Profile, tokenizer: Any) -> list[Features]:
    """input_ids and labels of each pair; an answer ends with the end of a text."""
    text = profile.text
    assert text is not None
    prompts = [text.prompt.replace(SOURCE, pair.source) for pair in pairs]
    asked = tokenizer(prompts, truncation=True, max_length=text.max_source)["input_ids"]
    wanted = tokenizer([pair.target for pair in pairs], add_special_tokens=False)["input_ids"]
    if profile.backend == "seq2seq":
        return [{"input_ids": a, "labels": _ended(w, text, tokenizer)} for a, w in zip(asked, wanted, strict=True)]
    return [_one(a, _ended(w, text, tokenizer)) for a, w in zip(asked, wanted, strict=True)]


def _ended(answer: list[int], text: Text, tokenizer: Any) -> list[int]:
    return [*answer[: text.max_target - 1], tokenizer.eos_token_id]


def _one(prompt: list[int], answer: list[int]) -> Features:
    """A prompt and its answer in one row, of which the answer alone is counted."""
    return {"input_ids": [*prompt, *answer], "labels": [IGNORED] * len(prompt) + answer}


def cut(pairs: Sequence[Pair], text: Text, tokenizer: Any) -> tuple[int, int]:
    """How many prompts, and how many answers, are longer than what is read and written of them."""
    prompts = tokenizer([text.prompt.replace(SOURCE, pair.source) for pair in pairs])["input_ids"]
    answers = tokenizer([pair.target for pair in pairs], add_special_tokens=False)["input_ids"]
    long = sum(len(a) >= text.max_target for a in answers)
    return sum(len(p) > text.max_source for p in prompts), long


class Padded:
    """Makes a batch of features: (batch, longest) int64, padded on the right."""

    def __init__(self, pad: int, shifted: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        """`shifted` gives a decoder's input from the labels, where transformers does not make it itself."""
        self._pad, self._shifted = pad, shifted

    def __call__(self, some: Sequence[Features]) -> dict[str, torch.Tensor]:
        """The batch with its attention_mask."""
        ids = self._rows([f["input_ids"] for f in some], self._pad)
        mask = self._rows([[1] * len(f["input_ids"]) for f in some], 0)
        made = {"input_ids": ids, "attention_mask": mask, "labels": self._rows([f["labels"] for f in some], IGNORED)}
        return made if self._shifted is None else {**made, "decoder_input_ids": self._shifted(made["labels"])}

    @staticmethod
    def _rows(rows: Sequence[list[int]], fill: int) -> torch.Tensor:
        longest = max(map(len, rows))
        return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=torch.int64)
