"""Answers of a text model, with the time of every token; one way through for torch, ONNX Runtime and OpenVINO.

All three are generated with by transformers' own `generate`: ONNX Runtime's and OpenVINO's models come from optimum.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deploytk.errors import InputError
from deploytk.plugins import import_or_explain
from deploytk.profile_text import SOURCE
from deploytk.text import description as descriptions
from deploytk.text.description import Described, Description


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The answers to one batch of texts, and when each token was there."""

    texts: tuple[str, ...]
    prompt_tokens: tuple[int, ...]  # of each text, padding apart
    answer_tokens: tuple[int, ...]  # of each text, up to and with its end
    first_s: float  # from the texts to the first token of each: tokenizing and prefill
    steps_s: tuple[float, ...]  # each further step of the batch
    total_s: float  # from the texts to the answers as strings

    @property
    def decode_s(self) -> float:
        """The time of all steps after the first."""
        return sum(self.steps_s)


class TextModel:
    """A text model that is loaded: texts in, answers out."""

    def __init__(self, model: Any, tokenizer: Any, described: Description) -> None:
        """Wrap a model of transformers or optimum and its tokenizer (`opened` loads them from a folder)."""
        self.model, self.tokenizer, self.described = model, tokenizer, described
        # A decoder alone goes on with the last token of its prompt: padding must stand before it.
        tokenizer.padding_side = "left" if described.task == "causal_lm" else "right"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token

    def encoded(self, texts: Sequence[str]) -> Any:
        """The prompts of texts as padded tensors (batch, tokens) of int64."""
        prompts = [self.described.prompt.replace(SOURCE, text) for text in texts]
        found = self.tokenizer(
            prompts, return_tensors="pt", padding=True, truncation=True, max_length=self.described.max_source
        )
        found.pop("token_type_ids", None)  # tokenizers made for BERT add them; none of these models takes them
        return found.to(self.model.device)

    def generate(self, texts: Sequence[str], *, exactly: int | None = None, beams: int | None = None) -> Generated:
        """The answers to a batch of texts.

        Args:
            exactly: so many tokens for each text, whether it has ended or not: to measure equal work.
            beams: of the search; as the model's description says by default.
        """
        import torch
        from transformers import StoppingCriteriaList

        said, times = self.described, []
        width = beams or said.beams

        def note(_ids: Any, _scores: Any, **_more: Any) -> Any:
            times.append(time.perf_counter())
            return torch.zeros(len(texts) * width, dtype=torch.bool, device=_ids.device)

        tokens = exactly or said.max_target
        began = time.perf_counter()
        feeds = self.encoded(texts)
        with self._inference():
            found = self.model.generate(
                **feeds,
                max_new_tokens=tokens,
                min_new_tokens=exactly,
                num_beams=width,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                stopping_criteria=StoppingCriteriaList([note]),
            )
        answers = self._answers(found, feeds["input_ids"].shape[1])
        told = tuple(text.strip() for text in self.tokenizer.batch_decode(answers, skip_special_tokens=True))
        ended = time.perf_counter()
        return Generated(
            texts=told,
            prompt_tokens=tuple(int(n) for n in feeds["attention_mask"].sum(dim=1)),
            answer_tokens=tuple(self._length(row) for row in answers.tolist()),
            first_s=times[0] - began,
            steps_s=tuple(later - earlier for earlier, later in pairwise(times)),
            total_s=ended - began,
        )

    def first_scores(self, texts: Sequence[str]) -> np.ndarray:
        """(batch, vocabulary) float32: what the model itself says of the first token, before anything is forced."""
        with self._inference():
            found = self.model.generate(
                **self.encoded(texts),
                max_new_tokens=1,
                num_beams=1,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                return_dict_in_generate=True,
                output_logits=True,
            )
        scores: np.ndarray = found.logits[0].float().cpu().numpy()
        return scores

    def answers(self, texts: Sequence[str], batch: int = 8) -> Iterator[str]:
        """The answer to each text, `batch` of them at a time, in their order."""
        for at in range(0, len(texts), batch):
            yield from self.generate(texts[at : at + batch]).texts

    @contextlib.contextmanager
    def _inference(self) -> Iterator[None]:
        """Nothing is learned in here; beside another runtime torch, which picks the tokens, has one thread.

        Its threads wait busily for each other, on the cores of ONNX Runtime's, which do the same: answers to 32 texts
        of a tiny INT8 model took 2.7 times as long (bench/LOG.md).
        """
        import torch

        threads = torch.get_num_threads()
        try:
            if self.described.runtime != "torch":
                torch.set_num_threads(1)
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(threads)

    def _answers(self, found: Any, prompt: int) -> Any:
        """The tokens of the answers alone: a decoder repeats its prompt, an encoder-decoder its start token."""
        return found[:, prompt:] if self.described.task == "causal_lm" else found[:, 1:]

    def _length(self, row: list[int]) -> int:
        """How many tokens of a row are an answer: up to and with the end, or all but the padding."""
        ends = {self.tokenizer.eos_token_id, getattr(self.model.generation_config, "eos_token_id", None)}
        at = next((i for i, token in enumerate(row) if token in ends), None)
        return len(row) if at is None else at + 1


def opened(path: Path, *, threads: int | None = None, device: str = "cpu") -> TextModel:
    """The text model in a folder, loaded.

    Args:
        threads: of a model's runtime; its own choice by default.
        device: of torch; ONNX Runtime and OpenVINO run on the CPU.

    Raises:
        InputError: no text model, or files that do not load.
        MissingDependency: a library is not installed.
    """
    found = descriptions.read(path)
    transformers = import_or_explain("transformers")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(found.folder)
        loaded = _LOADERS[found.description.runtime](found, threads, device)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{found.folder}: the model does not load: {error}") from error
    return TextModel(loaded, tokenizer, found.description)


def _torch(found: Described, threads: int | None, device: str) -> Any:
    import torch

    if threads:
        torch.set_num_threads(threads)
    return loaded_by_torch(found).to(device).eval()


def loaded_by_torch(found: Described, *, unpacked: bool = False) -> Any:
    """The network of a trained text model, with its adapters where it has some.

    Args:
        unpacked: weights under adapters are taken out of 4 bits.
    """
    kind = _class("torch", found.description.task)
    base = found.description.base
    if base is None:
        return kind.from_pretrained(found.folder)
    from peft import PeftModel

    beside = found.folder / base  # of a tiny model; else the base is a name of the hub, or a folder elsewhere
    model = kind.from_pretrained(beside if beside.is_dir() else base)
    if unpacked and getattr(model, "is_quantized", False):
        model = model.dequantize()
    return PeftModel.from_pretrained(model, str(found.folder))


def _onnx(found: Described, threads: int | None, _device: str) -> Any:
    kind = _class("onnx", found.description.task)
    from onnxruntime import SessionOptions

    options = SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
    return kind.from_pretrained(found.folder, session_options=options, use_io_binding=False)


def _openvino(found: Described, threads: int | None, _device: str) -> Any:
    options = {"INFERENCE_NUM_THREADS": str(threads)} if threads else {}
    return _class("openvino", found.description.task).from_pretrained(found.folder, ov_config=options)


#: runtime -> the module whose classes load its models, and the beginning of their names.
_FROM = {
    "torch": ("transformers", "AutoModel"),
    "onnx": ("optimum.onnxruntime", "ORTModel"),
    "openvino": ("optimum.intel", "OVModel"),
}
_ENDS = {"seq2seq": "ForSeq2SeqLM", "causal_lm": "ForCausalLM"}


def _class(runtime: str, task: str) -> Any:
    module, begins = _FROM[runtime]
    return getattr(import_or_explain(module), begins + _ENDS[task])


def prepare(path: Path) -> None:
    """Import what the text model in a folder needs, so that the time of loading it is that of the model alone.

    Raises:
        InputError: no text model.
        MissingDependency: a library is not installed.
    """
    told = descriptions.read(path).description
    _ = import_or_explain("transformers").AutoTokenizer, _class(told.runtime, told.task)


_LOADERS = {"torch": _torch, "onnx": _onnx, "openvino": _openvino}
