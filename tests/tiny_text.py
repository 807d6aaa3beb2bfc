"""Text models of a few thousand random weights, with a tokenizer made on the spot, as a training leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.text import description
from deploytk.text.description import Described, Task

SAYINGS = ("안녕하세요 반갑습니다", "오늘 날씨가 좋네요", "hello world, how are you", "the patient has a low back pain")
_IDS: dict[str, Any] = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
VOCABULARY = 320


def tokenizer() -> Any:
    """A byte-level BPE tokenizer that knows `SAYINGS`."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    made = ByteLevelBPETokenizer()
    made.train_from_iterator(SAYINGS * 5, vocab_size=VOCABULARY, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, **names)


def network(task: Task, *, seed: int = 0) -> Any:
    """A BART or a Llama with random weights."""
    import torch
    from transformers import BartConfig, BartForConditionalGeneration, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    if task == "causal_lm":
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, **sizes, **_IDS))
    sides = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in _SIDE.items()}
    more = {"decoder_start_token_id": 2, "forced_eos_token_id": None, "max_position_embeddings": 128}
    return BartForConditionalGeneration(BartConfig(vocab_size=VOCABULARY, d_model=32, **sides, **more, **_IDS))


_SIDE = {"layers": 1, "attention_heads": 2, "ffn_dim": 64}


def tiny_text(folder: Path, task: Task = "seq2seq", *, seed: int = 0, **settings: Any) -> Described:
    """A text model in `folder`, described."""
    folder.mkdir(parents=True)
    network(task, seed=seed).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return description.write(folder, task, "torch", "fp32", {"max_source": 64, "max_target": 8, **settings})
