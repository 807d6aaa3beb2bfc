"""What an export of a text model does in child processes: convert, quantize, and answer beside the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import worker
from deploytk.text import description as descriptions
from deploytk.text import exporting, generating, rouge
from deploytk.text.generating import TextModel

_BATCH = 8
#: Rounds in which both models answer the same text, one after the other.
ROUNDS = 24


def to_onnx(source: str, out: str, opset: int) -> None:
    """Write the float ONNX of a text model."""
    exporting.to_onnx(Path(source), Path(out), opset)


def to_int8(source: str, out: str) -> None:
    """Write the INT8 of a float ONNX, with weights that do not overflow on this CPU."""
    from deploytk.targets.onnx import schemes

    exporting.to_int8(Path(source), Path(out), reduce_range=schemes.types("auto").reduce_range)


def to_openvino(source: str, out: str) -> None:
    """Write the OpenVINO IR of a text model."""
    exporting.to_openvino(Path(source), Path(out))


def to_openvino_int8(source: str, out: str) -> None:
    """Write the INT8 of an OpenVINO IR."""
    exporting.to_openvino_int8(Path(source), Path(out))


def proof(source: str, model: str, texts: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """How the greedy answers of a converted model differ from those of the trained one, in float on both sides.

    Returns:
        identical: the share of equal answers; first: the first pair that differs, where one does.
        different: how many different answers the trained model gave: equal answers of one that always says the same
            show nothing.
        apart: how far the scores of the first token are from the trained model's at most, as a share of their range.
        rouge: of the converted model's answers, of the trained one's, each as means; drop: their paired difference.
    """
    trained, converted = _float(Path(source)), generating.opened(Path(model))
    said = [_answers(each, texts, share) for share, each in enumerate((trained, converted))]
    kind = converted.described.rouge
    scores = [rouge.scored(answers, targets, kind, converted.tokenizer) for answers in said]
    differ = [i for i, (one, other) in enumerate(zip(*said, strict=True)) if one != other]
    first = (
        {"text": texts[differ[0]], "trained": said[0][differ[0]], "converted": said[1][differ[0]]} if differ else None
    )
    apart = rouge.compared(scores[1], scores[0])
    return {
        "samples": len(texts),
        "identical": 1 - len(differ) / len(texts),
        "first": first,
        "different": len(set(said[0])),
        "apart": _apart(trained, converted, texts[:_BATCH]),
        "tokenizer": kind,
        "source": scores[0].means,
        "converted": scores[1].means,
        "change": {name: {"mean": d.mean, "interval": d.interval, "told": d.told} for name, d in apart.items()},
    }


def _apart(trained: TextModel, converted: TextModel, texts: Sequence[str]) -> float:
    expected, got = (model.first_scores(texts) for model in (trained, converted))
    found = float(np.abs(expected - got).max() / max(float(np.ptp(expected)), 1e-9))
    return found if np.isfinite(found) else float("inf")


def _float(source: Path) -> TextModel:
    """The trained model as it was exported: adapters and what is under them together, in float32."""
    found = descriptions.read(source)
    if found.description.base is None:
        model = generating.opened(source)
        model.model.float()
        return model
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(source)  # type: ignore[no-untyped-call, unused-ignore]
    return TextModel(exporting.merged(found).eval(), tokenizer, found.description)


def _answers(model: TextModel, texts: Sequence[str], share: int) -> list[str]:
    said: list[str] = []
    for at in range(0, len(texts), _BATCH):
        said += model.generate(texts[at : at + _BATCH]).texts
        worker.emit(done=share * len(texts) + len(said), total=2 * len(texts))
    return said


def speed(one: str, other: str, texts: Sequence[str], tokens: int) -> dict[str, list[float]]:
    """The seconds of each round of two models, answering the same text with as many tokens, in turns."""
    models = [generating.opened(Path(path)) for path in (one, other)]
    for model in models:
        model.generate([texts[0]], exactly=tokens)  # a warm-up
    seconds: list[list[float]] = [[], []]
    for number in range(ROUNDS):
        text = [texts[number % len(texts)]]
        for at in (0, 1) if number % 2 else (1, 0):
            seconds[at].append(models[at].generate(text, exactly=tokens).total_s)
        worker.emit(done=number + 1, total=ROUNDS)
    return {"one": seconds[0], "other": seconds[1]}
