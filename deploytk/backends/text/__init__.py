"""Text models trained by transformers' Trainer, adapted by peft where they are large: what both kinds have in common.

Importing this package imports no library; torch and transformers come with the first function that needs them.
"""

from __future__ import annotations

from deploytk import plugins

#: The distributions whose versions shape the results.
DISTRIBUTIONS = ("torch", "transformers", "peft", "accelerate")

#: What its models do.
TASK = "text"

#: The metric that trainings are compared by, and that decides whether what was made of one may be deployed.
PRIMARY = METRIC = "rouge1"

#: The switches of a profile's training that a text model has.
TECHNIQUES = frozenset({"label_smoothing", "clip_norm", "precision"})

#: The names by which milestones and phase rules may call what it is measured by.
METRICS = frozenset({"rouge1", "rouge2", "rougeL", "loss", "val_loss"})

_FUNCTIONS = {
    "preflight": "checks",
    "data_fingerprint": "checks",
    "checkpoint_bytes": "sizes",
    "step_mib": "sizes",
    "train_segment": "training",
    "finish_training": "finishing",
    "checkpoint_tensors": "checkpoint",
}

function = plugins.lazily(__name__, _FUNCTIONS)
