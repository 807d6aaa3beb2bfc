"""How a training ended, in one word: by persistence and by the metric, not by the mere presence of NaN."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_logs import FALLEN_MAP50, GOOD, LAYOUTS, console, csv, fallen, trainer_state

from deploytk.errors import InputError
from deploytk.training.diagnosis import console as console_reader
from deploytk.training.diagnosis import curves, reading, verdict
from deploytk.training.diagnosis import trainer_state as trainer_reader
from deploytk.training.diagnosis.values import Curves
from deploytk.training.diagnosis.verdict import Diagnosis

NAN, INF = math.nan, math.inf


def of(found: Curves | None) -> Diagnosis:
    assert found is not None
    return verdict.judge(found)


def word(told: str) -> str:
    return of(curves.parse(told, "results.csv")).word


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_curve_that_rises_and_stays_is_healthy_in_every_layout(layout: str) -> None:
    assert word(csv(GOOD, layout=layout)) == "healthy"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_collapse_without_nan_is_one_in_every_layout(layout: str) -> None:
    metric = [0.2, 0.45, 0.6, 0.7, 0.75, 0.78, 0.795, 0.79, 0.4, 0.007, 0.007, 0.007]
    found = of(curves.parse(csv(metric, layout=layout), "results.csv"))
    assert found.word == "collapsed"
    assert "0.795" in found.reasons[0] and "0.007" in found.reasons[0]


def test_the_run_of_seed_002_collapsed_before_its_nan(tmp_path: Path) -> None:
    found = of(reading.read(fallen(tmp_path)))
    assert found.word == "collapsed"
    assert found.broke is not None and found.first_bad is not None
    assert (found.broke.epoch, found.first_bad.epoch) == (13, 18)
    assert any("results.csv:10" in e.where and "the best" in e.text for e in found.evidence)
    assert any(e.where == "results.csv:19" and "train/box_loss nan" in e.text for e in found.evidence)
    assert found.reasons[2].endswith("from epoch 18 to 29; it lasted to the end")


def test_a_single_last_epoch_at_nothing_is_a_collapse_and_one_at_half_is_chance() -> None:
    assert word(csv([*GOOD, 0.001])) == "collapsed"
    assert word(csv([*GOOD, 0.3])) == "healthy"


def test_a_dip_that_came_back_is_healthy() -> None:
    assert word(csv([*GOOD[:6], 0.02, 0.01, 0.3, *GOOD[6:]])) == "healthy"


@pytest.mark.parametrize("gone", [NAN, INF, -INF])
def test_nan_that_went_away_is_transient(gone: float) -> None:
    losses = [1.0, gone, gone, *[0.5] * 13]
    assert word(csv(GOOD, train=losses, val=losses)) == "healthy_transient"


def test_a_validation_loss_that_is_infinite_to_the_end_fails_nothing_while_the_metric_is_good() -> None:
    found = of(curves.parse(csv(GOOD, val=[INF] * 16), "results.csv"))
    assert found.word == "healthy"
    assert found.reasons[-1].endswith("it lasted to the end")


def test_a_metric_that_is_nan_to_the_end_is_a_collapse() -> None:
    assert word(csv([*GOOD, NAN, NAN])) == "collapsed"


def test_a_metric_that_stands_still_while_the_loss_is_nan_learns_no_more() -> None:
    assert word(csv([*GOOD, *[GOOD[-1]] * 4], train=[*[0.5] * 15, *[NAN] * 5])) == "degraded"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_zero_for_twenty_epochs_never_learned(layout: str) -> None:
    metric, losses = [0.0] * 20, [2.3] * 20
    assert word(csv(metric, layout=layout, train=losses, val=losses)) == "never_learned"


def test_a_loss_that_is_nan_from_the_first_epoch_never_learned() -> None:
    assert word(csv([0.0] * 5, train=[NAN] * 5, val=[NAN] * 5)) == "never_learned"


def test_a_classifier_at_chance_never_learned() -> None:
    metric = [0.1, 0.101, 0.099, 0.1, 0.1, 0.102, 0.1, 0.1]
    assert word(csv(metric, layout="classify", train=[2.303] * 8, val=[2.303] * 8)) == "never_learned"


def test_a_few_epochs_at_zero_whose_loss_falls_are_too_few_to_judge_by() -> None:
    assert word(csv([0.0, 0.0, 0.001, 0.002])) == "early_stop"


def test_a_metric_that_still_rises_at_the_end_was_stopped_early() -> None:
    assert word(csv([0.05 * i for i in range(1, 13)])) == "early_stop"


def test_a_metric_that_rises_slowly_on_hard_data_was_stopped_early_and_is_not_hopeless() -> None:
    assert word(csv([0.0005 * i for i in range(1, 13)])) == "early_stop"
    assert word(csv([0.00001 * i for i in range(1, 13)], train=[2.0] * 12)) == "never_learned"


def test_two_epochs_are_too_few() -> None:
    assert word(csv(GOOD[:2])) == "early_stop"


def test_what_patience_stopped_was_not_stopped_too_early() -> None:
    told = console([0.05 * i for i in range(1, 13)]) + "EarlyStopping: Training stopped early as no improvement\n"
    assert of(console_reader.parse(told, "log")).word == "healthy"


def test_a_metric_that_ends_well_below_its_peak_is_degraded() -> None:
    metric = [*GOOD, *[0.51 - 0.012 * i for i in range(12)]]
    assert word(csv(metric)) == "degraded"


def test_a_validation_loss_that_doubles_while_the_metric_slips_is_degraded() -> None:
    metric = [*GOOD, *[0.47] * 8]
    val = [*[1.0 / (i + 1) for i in range(8)], *[0.125 + 0.02 * i for i in range(16)]]
    assert word(csv(metric, val=val)) == "degraded"
    assert word(csv([*GOOD, *[0.512] * 8], val=val)) == "healthy"  # YOLOv5's objectness does that


def test_a_header_alone_is_a_training_that_failed() -> None:
    found = of(curves.parse(csv([]), "results.csv"))
    assert found.word == "failed" and "not one epoch" in found.reasons[0]


def test_a_log_that_ends_with_an_error_failed_and_the_error_is_told() -> None:
    told = console(GOOD) + "Traceback (most recent call last):\n  File x\ntorch.OutOfMemoryError: CUDA out of memory.\n"
    found = of(console_reader.parse(told, "train.log"))
    assert found.word == "failed"
    assert "CUDA out of memory" in found.reasons[0]
    assert found.evidence[0].where.startswith("train.log:")


def test_an_error_that_training_went_on_after_is_no_failure() -> None:
    head = "RuntimeError: CUDA out of memory with batch=16. Reducing to batch=8 and retrying\n"
    assert of(console_reader.parse(console(GOOD, head=head), "log")).word == "healthy"


def test_the_console_log_of_seed_002_says_the_same_as_its_csv() -> None:
    assert of(console_reader.parse(console(FALLEN_MAP50), "log")).word == "collapsed"


def hf(losses: list[float], evals: list[float] | None = None) -> str:
    entries = [{"loss": v, "epoch": (i + 1) / 4, "step": i + 1} for i, v in enumerate(losses)]
    more = [{"eval_loss": v, "step": 4 * (i + 1)} for i, v in enumerate(evals or [])]
    return of(trainer_reader.parse(trainer_state([*entries, *more], num_train_epochs=3, max_steps=12), "t.json")).word


def test_losses_alone_are_judged_too() -> None:
    falling = [4.0, 3.0, 2.2, 1.8, 1.6, 1.5, 1.45, 1.43, 1.42, 1.42, 1.42, 1.42]
    assert hf(falling) == "healthy"
    assert hf([*falling, NAN, NAN, NAN]) == "collapsed"
    assert hf([*falling, 0.0, 0.0, 0.0]) == "collapsed"  # NaN as logging_nan_inf_filter shows it
    assert hf([*falling, 9.0, 12.0, 30.0]) == "collapsed"
    assert hf([4.0, NAN, *falling]) == "healthy_transient"
    assert hf([2.3] * 12) == "never_learned"
    assert hf(falling, [2.0, 1.5, 1.4, 1.8, 2.4, 2.8, 3.0]) == "degraded"


REAL = {
    # Looked at one by one. 600 epochs, 0.59 at 555, 0.584 at the end; 64 epochs, flat at 0.32 to 0.34 from epoch 40 on.
    "yolov5_peshmerge/exp_10b_600e/results.csv": "healthy",
    "yolov5_peshmerge/yolov5/runs/train/exp_64e_20bs/results.csv": "healthy",
    "yolov5_peshmerge/yolov5/runs/train/training_terminal_output_64e_20bs.md": "healthy",
    # All epochs were trained and each was better than the one before: 0.656 to 0.703, and 0.693 to 0.712 to 0.732.
    "yolo11seg_102y/results.csv": "early_stop",
    "yolov10_4prince8/runs/detect/train/results.csv": "early_stop",
    # A checkpoint at step 7000 of 9411; rougeL 0.29 to 0.33 in the last third, the loss falls too.
    "hf_mt5_summarize/trainer_state.json": "early_stop",
    # Truly overfitted: six evaluation sets, their losses double from epoch 1 to 30, accuracy 0.411 to 0.354.
    "hf_multigroup_eval/trainer_state.json": "degraded",
}


@pytest.mark.parametrize("name", REAL)
def test_real_logs_are_called_what_a_look_at_them_says(data_dir: Path, name: str) -> None:
    if not (data_dir / "logs" / name).is_file():
        pytest.skip("no real logs")
    assert of(reading.read(data_dir / "logs" / name)).word == REAL[name]


def rising(noise: float) -> st.SearchStrategy[tuple[int, float, float, float, int]]:
    """Epochs, where it ends, how fast, the noise of an epoch as a share of the level at most, a seed."""
    return st.tuples(
        st.integers(3, 120), st.floats(0.05, 0.95), st.floats(0.02, 0.5), st.floats(0.0, noise), st.integers(0, 10**6)
    )


def noisy(epochs: int, top: float, speed: float, noise: float, seed: int) -> list[float]:
    chance = random.Random(seed)
    level = [top * (1 - math.exp(-speed * (i + 1))) for i in range(epochs)]
    return [min(1.0, max(0.0, v * (1 + chance.gauss(0, noise)))) for v in level]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rising(0.2), st.sampled_from(sorted(LAYOUTS)))
def test_a_rising_curve_with_much_noise_is_never_called_collapsed(
    made: tuple[int, float, float, float, int], layout: str
) -> None:
    told = csv(noisy(*made), layout=layout)
    assert word(told) not in ("collapsed", "failed")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rising(0.03), st.sampled_from(sorted(LAYOUTS)))
def test_a_rising_curve_never_fails(made: tuple[int, float, float, float, int], layout: str) -> None:
    found = of(curves.parse(csv(noisy(*made), layout=layout), "results.csv"))
    assert found.word in ("healthy", "early_stop"), found.reasons


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rising(0.08), st.integers(2, 20), st.floats(0.0, 0.2))
def test_whatever_ends_far_below_a_learned_peak_has_collapsed(
    made: tuple[int, float, float, float, int], after: int, share: float
) -> None:
    epochs, top, speed, noise, seed = made
    metric = noisy(epochs + 10, max(0.2, top), max(0.1, speed), noise, seed)
    assert word(csv([*metric, *[share * metric[-1]] * after])) == "collapsed"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=600), st.sampled_from(["", "csv", "console", "trainer"]), st.integers(0, 600))
def test_any_bytes_are_refused_or_judged(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, into: str, at: int
) -> None:
    told = {"": "", "csv": csv(GOOD), "console": console(GOOD[:3]), "trainer": trainer_state([{"loss": 1, "step": 1}])}
    base = told[into].encode()
    path = tmp_path_factory.mktemp("any", numbered=True) / "file"
    path.write_bytes(base[:at] + raw + base[at:])
    try:
        assert verdict.judge(reading.read(path)).reasons
    except InputError as error:
        assert str(path) in error.message


numbers = st.one_of(st.floats(), st.integers(-(10**400), 10**400), st.text(max_size=5), st.none(), st.booleans())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(numbers, min_size=8, max_size=8), max_size=8))
def test_any_cells_are_judged(rows: list[list[object]]) -> None:
    header = LAYOUTS["classify"][0]
    told = "\n".join([header, *(",".join(str(cell) for cell in row) for row in rows)])
    assert of(curves.parse(told, "results.csv")).reasons


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["loss", "step", "epoch", "eval_loss", "eval_a_f1", "grad_norm"]), numbers),
        max_size=8,
    )
)
def test_any_log_history_is_judged(entries: list[dict[str, object]]) -> None:
    assert of(trainer_reader.parse(trainer_state(entries), "trainer_state.json")).reasons
