"""A text model as ONNX or OpenVINO, in float and in INT8: the one file that knows optimum's exporters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deploytk.errors import InputError
from deploytk.files import written_whole
from deploytk.plugins import import_or_explain
from deploytk.text import description as descriptions
from deploytk.text.description import Described
from deploytk.text.generating import loaded_by_torch

#: With the keys and values of earlier tokens as inputs: without them every token costs as much as all before it.
_TASKS = {"seq2seq": "text2text-generation-with-past", "causal_lm": "text-generation-with-past"}
#: What the merged decoder, which does the work of both, makes superfluous.
_MERGED = ("decoder_model.onnx", "decoder_with_past_model.onnx")


def to_onnx(source: Path, out: Path, opset: int) -> None:
    """Write the folder of the ONNX of a text model: encoder and merged decoder, or the decoder alone, float32.

    Raises:
        InputError: `source` is no text model.
        MissingDependency: optimum-onnx is not installed.
    """
    exporters = import_or_explain("optimum.exporters.onnx")
    found = descriptions.read(source)
    with written_whole(out) as partial, plain_weights(found) as folder:
        exporters.main_export(
            str(folder),
            output=partial,
            task=_TASKS[found.description.task],
            opset=opset,
            device="cpu",
            library_name="transformers",
            do_validation=False,  # what it validates is one step of drawn tokens; whole answers are compared here
        )
        if (partial / "decoder_model_merged.onnx").is_file():
            for name in _MERGED:
                (partial / name).unlink(missing_ok=True)
        _described(found, partial, "fp32")


def to_int8(source: Path, out: Path, *, reduce_range: bool) -> None:
    """Write the folder of a float ONNX model with weights in INT8, activations quantized as they come (dynamic).

    Args:
        reduce_range: weights of 7 bits, where the CPU's sums of 8 would overflow.

    Raises:
        InputError: `source` is no text model.
        MissingDependency: ONNX Runtime is not installed.
    """
    quantization = import_or_explain("onnxruntime.quantization")
    found = descriptions.read(source)
    with written_whole(out) as partial:
        partial.mkdir()
        for part in sorted(source.iterdir()):
            if part.suffix == ".onnx":
                quantization.quantize_dynamic(
                    part,
                    partial / part.name,
                    per_channel=True,
                    reduce_range=reduce_range,
                    # The merged decoder has its layers in the branches of an If.
                    extra_options={"EnableSubgraph": True},
                )
            elif part.is_file() and part.suffix != ".onnx_data" and part.name != descriptions.NAME:
                shutil.copy(part, partial / part.name)
        _described(found, partial, "int8")


def to_openvino(source: Path, out: Path) -> None:
    """Write the folder of the OpenVINO IR of a text model: encoder and decoder with its state, or the decoder alone.

    Raises:
        InputError: `source` is no text model.
        MissingDependency: optimum-intel is not installed.
    """
    found = descriptions.read(source)
    with written_whole(out) as partial, plain_weights(found) as folder:
        _openvino_class(found).from_pretrained(folder, export=True, compile=False).save_pretrained(partial)
        _tokenizer(folder, partial)
        _described(found, partial, "fp32", "openvino")


def to_openvino_int8(source: Path, out: Path) -> None:
    """Write the folder of an OpenVINO model with weights in INT8, each channel with its scale and zero point (NNCF).

    Raises:
        InputError: `source` is no text model.
        MissingDependency: optimum-intel is not installed.
    """
    found = descriptions.read(source)
    eight = import_or_explain("optimum.intel").OVWeightQuantizationConfig(bits=8)
    with written_whole(out) as partial:
        made = _openvino_class(found).from_pretrained(source, compile=False, quantization_config=eight)
        made.save_pretrained(partial)
        _tokenizer(source, partial)
        _described(found, partial, "int8", "openvino")


def _openvino_class(found: Described) -> Any:
    kind = {"seq2seq": "OVModelForSeq2SeqLM", "causal_lm": "OVModelForCausalLM"}[found.description.task]
    return getattr(import_or_explain("optimum.intel"), kind)


def _tokenizer(source: Path, out: Path) -> None:
    for part in source.glob("*token*"):
        shutil.copy(part, out)


def _described(source: Described, folder: Path, precision: str, runtime: descriptions.Runtime = "onnx") -> None:
    told = source.description
    kept = told.model_dump(include={"prompt", "max_source", "max_target", "beams", "rouge", "source", "target"})
    descriptions.write(folder, told.task, runtime, precision, kept)


@contextmanager
def plain_weights(found: Described) -> Iterator[Path]:
    """A folder with the float weights of a model: its own, or one made of its adapters and what is under them."""
    if found.description.base is None:
        yield found.folder
        return
    with TemporaryDirectory() as folder:
        merged(found).save_pretrained(folder)
        _tokenizer(found.folder, Path(folder))
        yield Path(folder)


def merged(found: Described) -> Any:
    """The network of adapters and the weights under them, those taken out of 4 bits: float32.

    Raises:
        InputError: the weights cannot be read.
    """
    try:
        return loaded_by_torch(found, unpacked=True).merge_and_unload().float()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{found.folder}: the adapters cannot be put into the weights: {error}") from error
