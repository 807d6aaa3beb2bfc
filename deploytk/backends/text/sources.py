"""Where a text model comes from: the hub, a local folder, or a small random network of the same architecture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, PreTrainedTokenizerFast

from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.profile_text import Text
from deploytk.text.pairs import Pair
from deploytk.training.state import Folder

#: The class of transformers for each kind.
CLASSES = {"seq2seq": "AutoModelForSeq2SeqLM", "causal_lm": "AutoModelForCausalLM"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: The sizes of a tiny network, for those of these keys that its architecture has.
_TINY = {
    "d_model": 64, "hidden_size": 64, "d_kv": 16, "head_dim": 16, "d_ff": 128, "intermediate_size": 128,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "encoder_layers": 2, "decoder_layers": 2, "num_layers": 2,
    "num_decoder_layers": 2, "num_hidden_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "num_heads": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
_TINY_VOCABULARY = 2000
_SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def config_of(text: Text, vocabulary: int | None = None) -> Any:
    """The configuration of a profile's network; of a tiny one with `vocabulary` tokens.

    Raises:
        InputError: transformers does not know the architecture, or one of its keys is wrong.
    """
    told = {key: value for key, value in text.config.items() if key != "model_type"}
    kind = text.config["model_type"]
    try:
        whole = AutoConfig.for_model(kind, **told)
        if not text.tiny:
            return whole
        has = whole.to_dict()
        small = {key: value for key, value in _TINY.items() if key in has}
        if has.get("num_key_value_heads") == has.get("num_attention_heads"):
            small.pop("num_key_value_heads", None)
            small |= {"num_key_value_heads": small["num_attention_heads"]} if "num_key_value_heads" in has else {}
        ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "vocab_size": vocabulary or _TINY_VOCABULARY}
        ids |= {key: 2 for key in ("decoder_start_token_id", "forced_eos_token_id") if has.get(key) is not None}
        positions = max(text.max_source, text.max_target) + text.max_target + 8
        small |= {"max_position_embeddings": positions} if "max_position_embeddings" in has else {}
        return AutoConfig.for_model(kind, **{**told, **small, **ids})
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"text.config: {str(error).splitlines()[0][:300]}") from error


def place_of(text: Text) -> str:
    """The folder or the hub's name that weights and tokenizer are read from.

    Raises:
        InputError: the profile names none.
    """
    if text.folder is not None:
        return str(text.folder)
    if text.hub is None:
        raise InputError("text: no weights: give text.hub, text.folder, or --tiny for a small random network")
    return text.hub


def tokenizer_of(profile: Profile, run: Path, pairs: Sequence[Pair]) -> Any:
    """The tokenizer of a profile's model; of a tiny one made of the texts, once for a run.

    Raises:
        InputError: it cannot be read.
    """
    text = profile.text
    assert text is not None
    if not text.tiny:
        return _read("AutoTokenizer", text)
    kept = Folder(run=run).path / "tokenizer"
    if not (kept / "tokenizer.json").is_file():
        _made_of([part for pair in pairs for part in pair]).save_pretrained(kept)
    return PreTrainedTokenizerFast.from_pretrained(kept)


def _made_of(texts: Sequence[str]) -> Any:
    """A byte-level BPE tokenizer: it can write every text, Korean too."""
    from tokenizers import ByteLevelBPETokenizer, processors

    made = ByteLevelBPETokenizer()
    made.train_from_iterator(
        texts, vocab_size=_TINY_VOCABULARY, min_frequency=2, special_tokens=list(_SPECIAL.values()), show_progress=False
    )
    made._tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, **_SPECIAL)


def network_of(profile: Profile, tokenizer: Any, device: torch.device) -> Any:
    """The network to be trained, on its device: adapters in front of it where the profile has some.

    Raises:
        InputError: its weights cannot be read.
    """
    text = profile.text
    assert text is not None
    if text.tiny:
        config = config_of(text, len(tokenizer))
        torch.manual_seed(profile.train.seed)
        network = getattr(transformers, CLASSES[profile.backend]).from_config(config).to(DTYPES[text.dtype])
        network = _in_four_bits(network, text) if text.quantize == "nf4" else network
    else:
        more = {"quantization_config": _nf4(text)} if text.quantize == "nf4" else {}
        network = _read(CLASSES[profile.backend], text, torch_dtype=DTYPES[text.dtype], **more)
    network = network.to(device)
    network.generation_config.max_length = None  # answers have their own limit
    return network if text.lora is None else adapted(network, text, profile.backend)


def adapted(network: Any, text: Text, task: str) -> Any:
    """The network with adapters, which alone are trained.

    Raises:
        InputError: it has no layers of these names.
    """
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    lora = text.lora
    assert lora is not None
    if text.quantize == "nf4":
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    wanted = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        task_type=TaskType.SEQ_2_SEQ_LM if task == "seq2seq" else TaskType.CAUSAL_LM,
    )
    try:
        made = get_peft_model(network, wanted, autocast_adapter_dtype=False)
    except ValueError as error:
        raise InputError(f"text.lora.targets: {str(error).splitlines()[0][:300]}") from error
    for parameter in made.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(DTYPES[lora.dtype])
    return made


def _nf4(text: Text) -> Any:
    from transformers import BitsAndBytesConfig

    compute = DTYPES["bfloat16" if text.dtype == "float32" else text.dtype]
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def _in_four_bits(network: Any, text: Text) -> Any:
    """A network that was made here, as it would be after loading: saved and read in 4 bits."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        return type(network).from_pretrained(folder, quantization_config=_nf4(text), torch_dtype=DTYPES[text.dtype])


def _read(kind: str, text: Text, **options: Any) -> Any:
    place = place_of(text)
    try:
        return getattr(transformers, kind).from_pretrained(place, revision=text.revision, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        said = str(error).strip().splitlines()
        raise InputError(
            f"{place}: {kind} cannot be read: {said[0][:300] if said else type(error).__name__}"
        ) from error


def kept_config(text: Text) -> dict[str, Any]:
    """The config.json beside the weights.

    Raises:
        InputError: it cannot be read.
    """
    told: dict[str, Any] = _read("AutoConfig", text).to_dict()
    return told
