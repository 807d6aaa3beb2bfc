"""The end of a text model's training: RUN/model/ from the best checkpoint, measured and described."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.artifact import versions_of
from deploytk.backends.text import DISTRIBUTIONS, encoding, sources, training
from deploytk.files import write_json, written_whole
from deploytk.profile import Profile
from deploytk.report import Finding
from deploytk.text import description, pairs
from deploytk.text.description import Description
from deploytk.training import closing, reporting
from deploytk.training.loop import devices
from deploytk.training.shelf import Shelf
from deploytk.training.state import Folder

_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def finish_training(profile: dict[str, Any], run: str) -> dict[str, Any]:
    """The summary of a training; the run folder then holds model/, the report and the curves.

    Raises:
        TrainingFailed: no epoch was healthy, or the best one's weights are not alive.
    """
    wanted, folder = Profile.model_validate(profile), Path(run)
    assert wanted.text is not None
    worker.emit(event="phase", phase="finish")
    shelf = Shelf(Folder(run=folder).checkpoints, wanted.keep)
    best = closing.require_best(shelf)
    data = pairs.read(wanted)
    tokenizer = sources.tokenizer_of(wanted, folder, data.train)
    device = devices.device_of(wanted.train.devices[0])
    network = sources.network_of(wanted, tokenizer, device)
    told = training.restored(network, shelf.path(best))
    closing.refuse_dead(told["model"], f"epoch {best.epoch}")
    padded = encoding.Padded(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
    metrics = training.validation(wanted, network, tokenizer, data.val, padded)()
    write_model(wanted, network, tokenizer, folder / "model")
    summary = {
        "name": wanted.name,
        "best_epoch": best.epoch,
        "epochs": [{"epoch": e.epoch, **e.losses, **e.metrics, "lr": e.facts["lr"]} for e in shelf.entries],
        "seconds": round(sum(float(e.facts["seconds"]) for e in shelf.entries), 1),
        "training": {
            **{k: v for k, v in closing.settings(wanted, shelf).items() if k != "imgsz"},
            "steps_per_epoch": shelf.entries[-1].facts["steps"],
            "steps_per_epoch_expected": shelf.entries[-1].facts["steps_expected"],
        },
        "metrics": metrics,
        "precision": precision_of(wanted),
        "rouge": {"tokenizer": wanted.text.rouge, "samples": min(len(data.val), wanted.text.score)},
        "model": _model(wanted, network),
        "data": {"fingerprint": data.fingerprint(), "images": data.counts()},
        "versions": versions_of("deploytk", *DISTRIBUTIONS),
        "findings": [
            f.__dict__ for f in (*closing.findings(wanted, shelf), *_unlearned(metrics, wanted, len(tokenizer)))
        ],
    }
    write_json(folder / "training_summary.json", summary)
    reporting.write(folder, summary)
    return summary


def write_model(wanted: Profile, network: Any, tokenizer: Any, folder: Path) -> None:
    """Write the folder of a trained model. Adapters become part of its weights, unless those are in 4 bits."""
    text = wanted.text
    assert text is not None
    apart = text.quantize == "nf4"
    settings = Description.settings_of(text)
    with written_whole(folder) as partial:
        partial.mkdir()
        if text.lora is not None and not apart:
            network = network.merge_and_unload()
        network.save_pretrained(partial)
        if apart and text.tiny:  # the random weights under the adapters are nowhere else
            network.unload().save_pretrained(partial / "base")
        if apart:
            settings["base"] = "base" if text.tiny else sources.place_of(text)
        tokenizer.save_pretrained(partial)
        description.write(partial, wanted.backend, "torch", precision_of(wanted), settings)  # type: ignore[arg-type]


def precision_of(wanted: Profile) -> str:
    """What the weights of the model are stored in."""
    assert wanted.text is not None
    return "nf4" if wanted.text.quantize == "nf4" else _PRECISIONS[wanted.text.dtype]


def _model(wanted: Profile, network: Any) -> dict[str, Any]:
    text = wanted.text
    assert text is not None
    every = sum(p.numel() for p in network.parameters())
    return {
        "arch": f"{text.config['model_type']}{' (tiny)' if text.tiny else ''}",
        "source": "random weights" if text.tiny else sources.place_of(text),
        "parameters": every,
        "trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "dtype": text.dtype,
        "quantize": text.quantize,
    }


def _unlearned(metrics: Mapping[str, float], wanted: Profile, vocabulary: int) -> list[Finding]:
    assert wanted.text is not None
    guess = math.log(vocabulary)
    if metrics["val_loss"] >= guess:
        message = (
            f"val_loss is {metrics['val_loss']:.3f}, no better than a guess among {vocabulary} tokens ({guess:.3f})"
        )
    elif metrics["rouge1"] == 0 and not wanted.text.tiny:  # a tiny network is there to try all else
        message = "rouge1 is 0: not one word of the answers is right"
    else:
        return []
    fix = "train longer, or look at the columns, the prompt and lr0"
    return [Finding(rule="TRN001", severity="warning", where="metrics", message=message, fix=fix)]
