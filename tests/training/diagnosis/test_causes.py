"""Each cause has a training that shows it and one that does not; each patch makes a profile."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_logs import FALLEN_MAP50, GOOD, console, csv, fallen, trainer_state

from deploytk.training.diagnosis import console as console_reader
from deploytk.training.diagnosis import curves, patches, reading, verdict
from deploytk.training.diagnosis import trainer_state as trainer_reader
from deploytk.training.diagnosis.case import Case
from deploytk.training.diagnosis.causes import CAUSES, Ranked, ranked
from deploytk.training.diagnosis.data_facts import DataFacts
from deploytk.training.diagnosis.values import Curves, Setting

NAN = math.nan
FELL = [0.2, 0.45, 0.6, 0.7, 0.75, 0.78, 0.79, 0.3, 0.01, 0.01, 0.01]
DATA = DataFacts(source="d.yaml", counts={"head": 900, "stem": 3}, imgsz=640, sides_px={"head": 20.0, "stem": 1.5})


def of(found: Curves | None, data: DataFacts | None = None, **known: Any) -> dict[str, Ranked]:
    """Code -> cause of a training with these settings; every patch must make a profile."""
    assert found is not None
    told = {name: Setting(value=value, where="args.yaml:1") for name, value in known.items()}
    found = replace(found, settings={**found.settings, **told})
    causes = ranked(Case(curves=found, diagnosis=verdict.judge(found), data=data))
    base = patches.base_of(found, None)
    for cause in causes:
        assert patches.valid(base, cause.found.patch), (cause.code, cause.found.patch)
    return {cause.code: cause for cause in causes}


def parsed(told: str) -> Curves | None:
    return curves.parse(told, "results.csv")


def test_codes_and_sentences_are_there_once() -> None:
    assert len({cause.code for cause in CAUSES}) == len(CAUSES)
    assert all((cause.__doc__ or "").endswith(".") and cause.__name__ == cause.code for cause in CAUSES)


def test_a_healthy_training_has_no_causes_whatever_its_settings() -> None:
    told = {"optimizer": "AdamW", "lr0": 0.01, "batch": 1, "imgsz": 1536, "warmup_bias_lr": 0.1, "amp": True}
    assert of(parsed(csv(GOOD)), DATA, **told) == {}


def test_seed_002_names_the_learning_rate_first_and_says_what_else(tmp_path: Path) -> None:
    causes = of(reading.read(fallen(tmp_path)))
    assert list(causes)[:2] == ["DIA001", "DIA004"]
    assert {"DIA003", "DIA006", "DIA007", "DIA008", "DIA014"} <= causes.keys()
    assert causes["DIA001"].found.patch["train"]["lr0"] == 0.001
    assert causes["DIA001"].found.evidence[0].where == "args.yaml:8"
    assert "epoch 13, the first NaN came in 18" in causes["DIA006"].found.said
    assert "clipped to 10 already" in causes["DIA007"].found.said
    wasted = causes["DIA008"].found
    assert "best in epoch 9, over in 29: 20 epochs were wasted; patience 20 ended it" in wasted.said
    assert "DIA019" not in causes  # something explains it


def test_the_console_log_of_seed_002_adds_memory_and_duplicates() -> None:
    causes = of(console_reader.parse(console(FALLEN_MAP50), "log"))
    assert "16.2 GiB of the 11 GiB" in causes["DIA005"].found.said
    assert causes["DIA005"].found.patch["train"]["imgsz"] == 1056  # the batch is 1 already
    assert causes["DIA009"].found.said.startswith("4 were removed")


def test_memory_within_the_device_is_no_cause() -> None:
    assert "DIA005" not in of(console_reader.parse(console(FALLEN_MAP50, memory="9.9G"), "log"))


@pytest.mark.parametrize(
    ("optimizer", "lr0", "fits"),
    [("AdamW", 0.01, True), ("Adam", 0.005, True), ("AdamW", 0.001, False), ("SGD", 0.01, False), ("SGD", 0.2, True)],
)
def test_a_learning_rate_is_judged_by_its_optimizer(optimizer: str, lr0: float, fits: bool) -> None:
    causes = of(parsed(csv(FELL)), optimizer=optimizer, lr0=lr0)
    assert ("DIA001" in causes) is fits
    assert ("DIA019" in causes) is not fits
    cause = causes.get("DIA001") or causes["DIA019"]
    assert cause.found.patch["train"]["lr0"] == pytest.approx(lr0 / 10)


def test_auto_ignores_lr0_and_the_patch_names_an_optimizer() -> None:
    causes = of(parsed(csv(FELL)), optimizer="auto", lr0=0.5)
    assert "DIA001" not in causes
    assert causes["DIA002"].found.patch["train"]["optimizer"] == "SGD"


def test_a_warm_up_of_biases_from_above_is_a_cause_with_adam_and_not_with_sgd() -> None:
    told = csv(FELL, lr=[0.07, 0.04, *[0.001] * 9])
    assert "DIA003" in of(parsed(told), optimizer="AdamW", lr0=0.001, warmup_bias_lr=0.1)
    assert "DIA003" not in of(parsed(told), optimizer="SGD", lr0=0.01, warmup_bias_lr=0.1)


def test_batch_one_asks_for_accumulation_and_smaller_images() -> None:
    patch = of(parsed(csv(FELL)), batch=1, imgsz=1536)["DIA004"].found.patch
    assert patch["train"] == {"batch": 4, "effective_batch": 16, "imgsz": 768}
    assert "DIA004" not in of(parsed(csv(FELL)), batch=8)


def test_clipping_that_was_off_is_turned_on() -> None:
    losses = [0.5] * 7 + [NAN] * 4
    on, off = of(parsed(csv(FELL, train=losses)), clip_norm=1.0), of(parsed(csv(FELL, train=losses)), clip_norm=0.0)
    assert "clipped to 1 already" in on["DIA007"].found.said
    assert off["DIA007"].found.patch["train"] == {"clip_norm": 10.0}
    assert "DIA007" not in of(parsed(csv(FELL)), clip_norm=1.0)


def test_half_precision_is_a_cause_only_of_nan_and_only_on_a_gpu() -> None:
    losses = [0.5] * 7 + [NAN] * 4
    assert "DIA014" in of(parsed(csv(FELL, train=losses)), amp=True, device="0")
    assert "DIA014" not in of(parsed(csv(FELL, train=losses)), amp=True, device="cpu")
    assert "DIA014" not in of(parsed(csv(FELL)), amp=True, device="0")


def test_overfitting_is_told_by_its_losses() -> None:
    val = [*[1.0 / (i + 1) for i in range(8)], *[0.125 + 0.02 * i for i in range(16)]]
    causes = of(parsed(csv([*GOOD, *[0.47] * 8], val=val)))
    assert next(iter(causes)) == "DIA012"
    assert causes["DIA012"].found.patch["train"]["weight_decay"] == 0.001


def test_too_few_epochs_ask_for_twice_as_many() -> None:
    rising = [0.05 * i for i in range(1, 11)]
    assert of(parsed(csv(rising)), epochs=10)["DIA013"].found.patch == {"train": {"epochs": 20}}


def test_out_of_memory_halves_the_batch_and_keeps_the_images_per_step() -> None:
    told = console(GOOD) + "torch.OutOfMemoryError: CUDA out of memory.\n"
    cause = of(console_reader.parse(told, "log"), batch=16)["DIA015"]
    assert cause.found.patch == {"train": {"batch": 8, "effective_batch": 16}, "guard": {"oom": "halve"}}
    assert cause.found.evidence[0].where.startswith("log:")


def test_classes_that_were_never_found_are_named_by_the_table_of_the_best() -> None:
    table = "Validating best.pt...\n   all  30  90  0.5  0.4  0.3  0.2\n   whole note  9  40  0.9  0.8  {}  0.5\n"
    table += "   stem  9  5  0  0  0  0\n"
    rising = [0.05 * i for i in range(1, 11)]
    cause = of(console_reader.parse(console(rising) + table.format(0.7), "log"))["DIA020"]
    assert "1 of 2" in cause.found.said and cause.found.evidence[0].text == "stem 9 5 0 0 0 0"
    assert "DIA020" not in of(console_reader.parse(console(rising) + table.format(0), "log"))  # none was


def test_an_error_is_a_cause_that_no_profile_mends() -> None:
    causes = of(console_reader.parse(console(GOOD) + "ValueError: boom\n", "log"))
    assert causes["DIA017"].found.said == "ValueError: boom" and causes["DIA017"].found.patch == {}


def test_losses_of_zero_that_hide_nan_are_named() -> None:
    losses = [2.0, 1.5, 1.2, 1.0, 0.9, 0.0, 0.0, 0.0]
    told = trainer_state([{"loss": v, "step": i + 1, "learning_rate": 0.02} for i, v in enumerate(losses)])
    assert "DIA016" in of(trainer_reader.parse(told, "t.json"))


def test_a_learning_rate_that_is_far_too_low_is_raised() -> None:
    told = csv([0.0] * 20, train=[2.3] * 20)
    assert of(parsed(told), optimizer="AdamW", lr0=1e-7)["DIA018"].found.patch["train"]["lr0"] == pytest.approx(1e-5)
    assert "DIA018" not in of(parsed(told), optimizer="AdamW", lr0=1e-4)


def test_rare_classes_and_objects_a_pixel_wide_are_causes_with_data() -> None:
    causes = of(parsed(csv(FELL)), DATA)
    assert causes["DIA010"].found.said == "900 of head, 3 of stem"
    assert "stem is 1.5 px wide at 640" in causes["DIA011"].found.said
    assert causes["DIA011"].found.patch == {"train": {"imgsz": 2048}}
    even = replace(DATA, counts={"head": 900, "stem": 300}, sides_px={"head": 20.0, "stem": 9.0})
    assert {"DIA010", "DIA011"}.isdisjoint(of(parsed(csv(FELL)), even))


@pytest.mark.parametrize("wrong", [-1, 0, 0.5, "x", True, 10**400, NAN, math.inf, "1e999"])
def test_settings_that_make_no_sense_are_not_known(wrong: object) -> None:
    names = (
        "batch",
        "imgsz",
        "lr0",
        "epochs",
        "patience",
        "optimizer",
        "warmup_bias_lr",
        "weight_decay",
        "seed",
        "nbs",
    )
    of(parsed(csv(FELL)), **dict.fromkeys(names, wrong))
    of(parsed(csv([0.1, 0.2])), **dict.fromkeys(names, wrong))
