"""What stands inside the clock of a text model's bench: from texts to answers, a batch of them at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from deploytk.text import generating
from deploytk.text.generating import Generated, TextModel

#: The parts of a call, which add up to it: tokenizing and prefill, all further tokens, the answers as strings.
FIRST, DECODE, TEXT = PARTS = ("first token", "decode", "text")
#: The mean step of a call's decode.
PER_TOKEN = "per token"
#: An answer may be empty; after so many calls without any other the model is taken to be silent.
_SOME = 3
#: Runtime of a text model -> the libraries whose versions are told.
DISTRIBUTIONS = {
    "torch": ("torch", "transformers"),
    "onnx": ("onnxruntime", "optimum-onnx", "transformers", "torch"),
    "openvino": ("openvino", "optimum-intel", "transformers", "torch"),
}


class Answers:
    """A text model over its texts, in their order, batch after batch; the last batch is filled from the first texts."""

    parts: tuple[str, ...] = (*PARTS, PER_TOKEN)

    def __init__(self, model: TextModel, texts: Sequence[str], batch: int, *, tokens: int | None, judged: str) -> None:
        """Wrap a loaded model.

        Args:
            tokens: of each answer, whether it has ended or not; None: answers end where the model ends them.
            judged: the part of a call that is to be judged, or the empty string.
        """
        self.model, self.texts, self.batch, self._tokens, self._judged = model, texts, batch, tokens, judged
        self.count = math.ceil(len(texts) / batch)
        self._last: Generated | None = None
        self._chosen: list[str] = []
        self._scores = np.zeros((0, 0), np.float32)
        self._asked = self._told = 0  # texts, and how many of them have an answer that is not empty
        self._calls = self._prompt = self._padded = self._answers = self._steps = 0

    def run(self, turn: int) -> Mapping[str, np.ndarray]:
        """The answers to the batch whose turn it is."""
        at = (turn % self.count) * self.batch
        self._chosen = [self.texts[(at + i) % len(self.texts)] for i in range(self.batch)]
        self._last = found = self.model.generate(self._chosen, exactly=self._tokens)
        self._calls += 1
        self._asked += self.batch
        self._told += sum(map(bool, found.texts))
        self._prompt += sum(found.prompt_tokens)
        self._padded += self.batch * max(found.prompt_tokens)
        self._answers += sum(found.answer_tokens)
        self._steps += 1 + len(found.steps_s)
        return {}

    @property
    def last_ms(self) -> Mapping[str, float]:
        """The parts of the last call in ms; `per token` is 0 where each answer ended with its first token."""
        said = self._said
        rest = said.total_s - said.first_s - said.decode_s
        step = said.decode_s / len(said.steps_s) if said.steps_s else 0.0
        return dict(zip(self.parts, (1e3 * t for t in (said.first_s, said.decode_s, rest, step)), strict=True))

    @property
    def last_outputs(self) -> Mapping[str, np.ndarray]:
        """The answers of the last call (batch,), and the scores of their first tokens (batch, vocabulary)."""
        return {"answers": np.array(self._said.texts), "scores": self._scores}

    def wrong(self) -> str:
        """Why the answers of the last call cannot be right, as a sentence, or the empty string."""
        # Taken anew: what generating keeps of them costs memory, and at the last token some models force the end.
        self._scores = self.model.first_scores(self._chosen)
        if bad := np.count_nonzero(~np.isfinite(self._scores)):
            return f"The scores of the first token hold NaN or infinity ({bad} of {self._scores.size} values)."
        if self._tokens is None and not self._told and self._calls >= min(self.count, _SOME):
            return f"No answer to {self._asked} texts has a word in it. To measure it all the same: --tokens N."
        if self._judged == PER_TOKEN and not self._said.steps_s:
            return "Every answer ended with its first token: there is no time of a further one."
        return ""

    @property
    def details(self) -> dict[str, Any]:
        """What was inside the clock."""
        told = self.model.described
        answers = "as the model ends them" if self._tokens is None else f"{self._tokens} tokens each"
        inside = ["tokenizing", "prefill", "decode", "the answers as strings"]
        judged = {"judged": self._judged} if self._judged else {}
        return {"inside": inside, "answers": answers, "beams": told.beams, **judged, **self.counts}

    @property
    def counts(self) -> dict[str, Any]:
        """Tokens of a call, the mean of all so far, and which share of the prompts was padding."""
        return {
            "prompt_tokens": self._prompt / self._calls,
            "padding_share": 1 - self._prompt / self._padded,
            "answer_tokens": self._answers / self._calls,
            "steps": self._steps / self._calls,
        }

    @property
    def _said(self) -> Generated:
        assert self._last is not None
        return self._last


def open_answers(spec: Mapping[str, Any]) -> tuple[Answers, float]:
    """(what is measured, how long loading took in ms) for the spec of a bench child.

    Raises:
        InputError: no text model, or it does not load.
        MissingDependency: its library is not installed.
    """
    texts = json.loads(Path(spec["texts"]).read_text(encoding="utf-8"))
    generating.prepare(Path(spec["model"]))  # the import of a library is not the loading of a model
    began = perf_counter_ns()
    model = generating.opened(Path(spec["model"]), threads=spec.get("threads"))
    load_ms = (perf_counter_ns() - began) / 1e6
    judged = spec.get("judged") or ""
    return Answers(model, texts, int(spec["batch"]), tokens=spec.get("tokens"), judged=judged), load_ms
