"""Training a text model, one segment of a guarded training at a time (torch, transformers)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from deploytk import worker
from deploytk.backends.text import encoding, sources
from deploytk.backends.text.trainer import SegmentTrainer, Validate
from deploytk.profile import Profile
from deploytk.text import pairs, rouge
from deploytk.text.description import Description
from deploytk.text.generating import TextModel
from deploytk.text.pairs import Pair
from deploytk.training.loop import devices
from deploytk.training.segments import Segment, as_dict
from deploytk.training.watch import Watch

#: What of an optimizer's groups the segment decides, not the checkpoint.
_SEGMENTS_OWN = ("lr", "initial_lr", "weight_decay", "share")


def train_segment(profile: dict[str, Any], run: str, segment: dict[str, Any]) -> dict[str, Any]:
    """How one segment of a training ended (`Outcome` as JSON); its checkpoints stand on the run's shelf.

    Raises:
        InputError: the data, the weights or the precision is not to be had.
    """
    wanted, part, folder = Profile.model_validate(profile), Segment(**segment), Path(run)
    worker.emit(event="phase", phase="load")
    device = devices.device_of(wanted.train.devices[0])
    watch = Watch(wanted, folder, part, precision=devices.precision_of(part.precision, device))
    data = pairs.read(wanted)
    tokenizer = sources.tokenizer_of(wanted, folder, data.train)
    network = sources.network_of(wanted, tokenizer, device)
    smooths = wanted.train.label_smoothing > 0 and wanted.backend == "seq2seq"
    padded = encoding.Padded(
        tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        network.prepare_decoder_input_ids_from_labels if smooths else None,
    )
    trainer = SegmentTrainer(
        wanted,
        part,
        watch,
        network,
        encoding.encoded(data.train, wanted, tokenizer),
        padded,
        validation(wanted, network, tokenizer, data.val, padded, watch.alive),
        str(folder / "training" / "transformers"),
    )
    _go_on(trainer, watch, part.first_epoch - 1)
    return as_dict(watch.outcome_of(trainer.train, lambda: trainer.epoch_now))


def validation(
    wanted: Profile, network: Any, tokenizer: Any, val: Sequence[Pair], padded: encoding.Padded, alive: Any = None
) -> Validate:
    """A function that measures a network: val_loss over all of `val`, ROUGE over `text.score` of them."""
    text = wanted.text
    assert text is not None
    features = encoding.encoded(val, wanted, tokenizer)
    scored = pairs.drawn(val, text.score)
    sign = alive or (lambda: None)

    def validate() -> dict[str, float]:
        network.eval()
        answers: list[str] = []
        model = text_model(wanted, network, tokenizer)
        for at in range(0, len(scored), wanted.train.batch):
            answers += model.generate([pair.source for pair in scored[at : at + wanted.train.batch]]).texts
            sign()
        told = rouge.scored(answers, [pair.target for pair in scored], text.rouge, tokenizer)
        return {**told.means, "val_loss": _loss(network, features, padded, wanted.train.batch, sign)}

    return validate


def text_model(wanted: Profile, network: Any, tokenizer: Any) -> TextModel:
    """A network and its tokenizer as what answers texts."""
    assert wanted.text is not None
    told: dict[str, Any] = {"task": wanted.backend, "runtime": "torch", "precision": "fp32", "files": {}}
    return TextModel(network, tokenizer, Description(**told, **Description.settings_of(wanted.text)))


def _loss(network: Any, features: Sequence[Any], padded: encoding.Padded, batch: int, sign: Any) -> float:
    """The mean loss of a token of the answers."""
    total = tokens = 0.0
    device = next(network.parameters()).device
    for at in range(0, len(features), batch):
        some = {name: rows.to(device) for name, rows in padded(features[at : at + batch]).items()}
        counted = int((some["labels"] != encoding.IGNORED).sum())
        with torch.no_grad():
            total += float(network(**some).loss) * counted
        tokens += counted
        sign()
    return total / tokens


def _go_on(trainer: SegmentTrainer, watch: Watch, before: int) -> None:
    """Put the training into the state after the epoch `before`; rates and decay stay those of the segment."""
    if not before:
        return
    told = restored(trainer.model, watch.shelf.path(next(e for e in watch.shelf.entries if e.epoch == before)))
    for saved, group in zip(told["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True):
        saved.update({name: group.get(name) for name in _SEGMENTS_OWN})
    trainer.optimizer.load_state_dict(told["optimizer"])
    if told["scaler"] and trainer.accelerator.scaler is not None:
        trainer.accelerator.scaler.load_state_dict(told["scaler"])


def restored(network: Any, path: Path) -> dict[str, Any]:
    """What a checkpoint holds, its weights put into the network; nothing is unpickled."""
    told: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(told["model"], strict=False)
    return told
