"""How a profile describes a text model: where its weights come from, how it is adapted, what it reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from deploytk.strict_yaml import Strict

#: Where a prompt has the text that the model is to answer.
SOURCE = "{source}"

Rouge = Literal["whitespace", "character", "model"]


class Lora(Strict):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): they are trained, the model under them is not."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1, description="the adapters' sum is scaled by alpha / rank")
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] = Field(min_length=1, description="names of the linear layers that get adapters")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the adapters; half precision cannot be trained with precision: fp16"
    )


#: No more than this of a tiny network, from which no word of sense is to be had.
_OF_TINY = {"max_source": 128, "max_target": 32, "score": 20}


class Text(Strict):
    """A text model and its task."""

    hub: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="ORGANISATION/NAME of the Hugging Face hub")
    revision: str | None = Field(None, description="commit or tag of it")
    folder: Path | None = Field(None, description="a local folder with its files, instead of the hub")
    tiny: bool = Field(
        False,
        description="a small random network of the same architecture and a tokenizer made on the spot, which reads at "
        "most 128 tokens, answers with 32, is scored on 20 samples and learns with lr0 0.002 at least: to try all else",
    )
    config: dict[str, Any] = Field(
        description="the architecture as in its config.json, model_type first: what is known before anything is loaded"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the weights as they are loaded")
    quantize: Literal["none", "nf4"] = Field(
        "none", description="nf4: the weights under adapters in 4 bits, twice quantized (QLoRA, arXiv 2305.14314)"
    )
    lora: Lora | None = None

    source: str = Field("source", description="column of the data that the model reads")
    target: str = Field("target", description="column that it is to write")
    prompt: str = Field(SOURCE, description="what the model is given; {source} stands for the text")
    max_source: int = Field(512, ge=8, description="tokens of a prompt; longer ones are cut")
    max_target: int = Field(128, ge=1, description="tokens of an answer, trained and generated")
    beams: int = Field(1, ge=1, description="of the search for an answer; 1 takes the likeliest token each time")
    validation: float = Field(
        0.1, gt=0, lt=1, description="share of the data that is not trained on, where it has no split"
    )
    score: int = Field(50, ge=1, description="validation samples that are answered and scored at each epoch")
    rouge: Rouge = Field(
        "whitespace",
        description="what ROUGE counts: whitespace (words), character, or model (its own tokens); never comparable",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_where_tiny(cls, told: Any) -> Any:
        if not isinstance(told, dict) or told.get("tiny") is not True:
            return told
        given = {name: told.get(name, cls.model_fields[name].default) for name in _OF_TINY}
        return {**told, **{name: min(n, _OF_TINY[name]) for name, n in given.items() if isinstance(n, int)}}

    @model_validator(mode="after")
    def _sound(self) -> Text:
        if SOURCE not in self.prompt:
            raise ValueError(f"prompt: {SOURCE} is not in it: every text would get the same answer")
        if not isinstance(self.config.get("model_type"), str):
            raise ValueError("config: model_type is missing (bart, llama, qwen3, gpt_neox, ... as in its config.json)")
        if self.quantize != "none" and self.lora is None:
            raise ValueError("quantize: nf4 weights are not trained themselves; add lora: {targets: [...]}")
        return self
