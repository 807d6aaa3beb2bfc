"""A few more epochs for a trained detector, with INT8's rounding in it (quantization-aware training, torch)."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from deploytk import worker
from deploytk.backends.ultralytics import checkpoint as checkpoints
from deploytk.backends.ultralytics import results, rounding, training
from deploytk.backends.ultralytics.checks import view_of
from deploytk.backends.ultralytics.foreign import unpickled
from deploytk.backends.ultralytics.library import LOGGER
from deploytk.backends.ultralytics.rounding import Feeds
from deploytk.backends.ultralytics.trainer import Trainer
from deploytk.errors import TrainingFailed
from deploytk.profile import Profile
from deploytk.training import closing, segments

#: Small steps from weights that are good already; no mosaic, as in the last epochs of the training itself.
_SETTINGS = {"optimizer": "AdamW", "lr0": 3e-5, "lrf": 0.1, "warmup_epochs": 0.0, "mosaic": 0.0, "close_mosaic": 0}


def finetune_quantized(
    profile: dict[str, Any],
    run: str | Path,
    checkpoint: Path,
    feeds: Feeds,
    out: Path,
    *,
    epochs: int,
    float_nodes: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a checkpoint like `checkpoint` whose weights have learned to be rounded; a target then makes it INT8.

    Args:
        feeds: each call starts a pass over the calibration images, (1, 3, S, S) float32 0..1 one at a time.
        float_nodes: nodes of the ONNX that stay in float.

    Returns:
        rounded_ops (convolutions that rounded), best_epoch, epochs (a row each, metrics with the rounding), seconds.

    Raises:
        TrainingFailed: the weights are not finite, or training stopped without any.
    """
    began, wanted = time.monotonic(), _gentle(Profile.model_validate(profile), epochs)
    folder = out.resolve().with_suffix("")
    LOGGER.setLevel(logging.INFO)
    view = view_of(profile, run)
    told = checkpoints.payload(checkpoint)
    part = segments.first(wanted)
    # Rounding needs float32; what is gathered before a step is Ultralytics' affair here.
    settings = {**training.overrides(wanted, folder, view, part), "nbs": part.effective_batch, "amp": False}
    trainer = _Trainer(wanted, settings, told, feeds, float_nodes)
    _run_in(folder, trainer)
    model = _best_of(trainer)
    rounding.remove(model)
    closing.refuse_dead(model.state_dict(), "best.pt")
    checkpoints.write({**told, "state_dict": checkpoints.tensors(model)}, out, like=model)
    rows = results.table(results.read(folder / "results.csv"))
    best = results.best(rows)
    return {
        "rounded_ops": trainer.rounded,
        "best_epoch": int(best["epoch"] or 0) if best else None,
        "epochs": rows,
        "seconds": round(time.monotonic() - began, 1),
    }


class _Trainer(Trainer):
    """Starts from the trained network, rounds, and leaves the batch statistics as they are."""

    def __init__(
        self,
        profile: Profile,
        overrides: dict[str, Any],
        told: dict[str, Any],
        feeds: Feeds,
        float_nodes: Sequence[str],
    ) -> None:
        self.told, self.feeds, self.float_nodes, self.rounded = told, feeds, float_nodes, 0
        super().__init__(profile, overrides)
        self.add_callback("on_train_epoch_start", _calibrate)
        self.add_callback("on_fit_epoch_end", _say_epoch)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:  # noqa: ARG002
        """The network of the checkpoint, rounding."""
        model = checkpoints.rebuild(self.told)
        self.rounded = rounding.insert(model, self.float_nodes)
        return model

    def _model_train(self) -> None:
        """Training mode, except for BatchNorm: a target folds it with the statistics that it has."""
        super()._model_train()
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def final_eval(self) -> None:
        """Nothing: Ultralytics would fold the best network, and measure it without its rounding."""


_ADVICE = "train fewer epochs with rounding (--qat-epochs)"


def _run_in(folder: Path, trainer: _Trainer) -> None:
    """Train into `folder`, and remove first what an earlier training left there.

    Raises:
        TrainingFailed: it diverged. Ultralytics raises about NaN, and that is no crash.
    """
    shutil.rmtree(folder / "weights", ignore_errors=True)
    (folder / "results.csv").unlink(missing_ok=True)
    (folder / "weights").mkdir(parents=True)
    try:
        with training.working_in(folder):
            trainer.train()
    except RuntimeError as error:
        if "nan" in str(error).lower():
            raise TrainingFailed(f"training diverged: {error}; {_ADVICE}") from error
        raise


def _best_of(trainer: _Trainer) -> nn.Module:
    """The network of the best epoch.

    Raises:
        TrainingFailed: no epoch gave any.
    """
    if not trainer.best.is_file():
        raise TrainingFailed(f"no epoch gave weights worth keeping (no best.pt); {_ADVICE}")
    # Written by this very process a moment ago.
    return unpickled(trainer.best)


def _calibrate(trainer: _Trainer) -> None:
    """The ranges follow the weights: the target measures them on the finished network too."""
    rounding.calibrate(trainer.ema.ema, trainer.feeds, trainer.model)


def _gentle(profile: Profile, epochs: int) -> Profile:
    settings = {**_SETTINGS, "epochs": epochs, "patience": epochs, "resize": None}
    return profile.model_copy(update={"train": profile.train.model_copy(update=settings)})


def _say_epoch(trainer: _Trainer) -> None:
    # Fires once more after the final validation, with an epoch that was never trained.
    done = min(trainer.epoch + 1, trainer.epochs)
    found = float(trainer.metrics.get("metrics/mAP50(B)") or 0.0)
    loss = sum(float(v) for v in (trainer.tloss or {}).values())
    worker.emit(done=done, total=trainer.epochs, text=f"epoch {done}: loss {loss:.3f}, mAP50 {found:.3f}")
