"""What is planned after a segment: pure, so any history can be tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.profile import Profile
from deploytk.training import segments
from deploytk.training.segments import ENDINGS, End, Outcome, Segment, Step


def profile(**parts: Any) -> Profile:
    return Profile.model_validate({"name": "p", **parts})


def ended(segment: Segment, ending: str, reached: int = 0, **more: Any) -> Step:
    outcome = Outcome(ended=ending, reached=reached, reason=f"{ending} happened", **more)  # type: ignore[arg-type]
    return Step(segment=segment, outcome=outcome)


def following(wanted: Profile, *steps: Step) -> Segment:
    """The next segment; the history must have one."""
    last = steps[-1].outcome
    planned = segments.following(wanted, steps, last.reached if last else 0)
    assert isinstance(planned, Segment)
    return planned


def test_a_training_begins_with_all_its_epochs_in_one_segment() -> None:
    begun = segments.first(profile(train={"epochs": 10, "batch": 8, "effective_batch": 32}))
    assert (begun.first_epoch, begun.last_epoch, begun.batch, begun.accumulate) == (1, 10, 8, 4)


def test_out_of_memory_halves_the_batch_and_keeps_the_images_per_step() -> None:
    wanted = profile(train={"epochs": 10, "batch": 16})
    begun = segments.first(wanted)
    smaller = following(wanted, ended(begun, "oom", reached=2))
    assert (smaller.batch, smaller.accumulate, smaller.first_epoch) == (8, 2, 3)
    assert smaller.effective_batch == begun.effective_batch
    assert "batch 8 and 2 batches per step instead of 16 and 1" in smaller.reason


def test_out_of_memory_with_an_odd_batch_takes_the_next_divisor() -> None:
    wanted = profile(train={"batch": 15})
    assert following(wanted, ended(segments.first(wanted), "oom")).batch == 5


@pytest.mark.parametrize(
    ("guard", "why"), [({"oom": "fail"}, "oom happened"), ({"min_batch": 16}, "no batch below 16")]
)
def test_out_of_memory_ends_the_training_where_nothing_smaller_is_allowed(guard: dict[str, Any], why: str) -> None:
    wanted = profile(train={"batch": 16}, guard=guard)
    end = segments.following(wanted, [ended(segments.first(wanted), "oom")], 0)
    assert isinstance(end, End) and not end.ok and why in end.reason


def test_the_policy_retry_changes_nothing_but_counts() -> None:
    wanted = profile(train={"batch": 16}, guard={"oom": "retry", "max_oom": 1})
    again = following(wanted, ended(segments.first(wanted), "oom"))
    assert again.batch == 16
    assert isinstance(segments.following(wanted, [ended(again, "oom"), ended(again, "oom")], 0), End)


def test_nan_lowers_the_learning_rate_three_times_then_tries_fp32_then_fails() -> None:
    wanted = profile(train={"epochs": 10})
    steps, scales, precisions = [ended(segments.first(wanted), "nan", precision="bf16")], [], []
    for _ in range(4):
        planned = following(wanted, *steps)
        scales.append(planned.lr_scale)
        precisions.append(planned.precision)
        steps.append(ended(planned, "nan", precision="fp32" if planned.precision == "fp32" else "bf16"))
    assert scales == pytest.approx([0.1, 0.01, 0.001, 0.001])
    assert precisions == ["auto", "auto", "auto", "fp32"]
    end = segments.following(wanted, steps, 0)
    assert isinstance(end, End) and not end.ok


def test_a_training_in_fp32_has_no_further_precision_to_try() -> None:
    wanted = profile(guard={"max_rollbacks": 1})
    first = ended(segments.first(wanted), "nan", precision="fp32")
    again = ended(following(wanted, first), "nan", precision="fp32")
    assert isinstance(segments.following(wanted, [first, again], 0), End)


def test_sizes_grow_to_the_wanted_one_and_each_is_a_segment() -> None:
    wanted = profile(train={"epochs": 12, "imgsz": 384, "resize": {"start": 128, "until": 11, "steps": 2}})
    steps: list[Step] = []
    planned: Segment | End = segments.first(wanted)
    sizes = []
    while isinstance(planned, Segment):
        sizes.append((planned.first_epoch, planned.last_epoch, planned.imgsz))
        steps.append(ended(planned, "done", reached=planned.last_epoch))
        planned = segments.following(wanted, steps, planned.last_epoch)
    assert sizes == [(1, 5, 128), (6, 10, 256), (11, 12, 384)]
    assert planned.ok


def test_a_finished_training_goes_on_when_more_epochs_are_asked_for() -> None:
    short = profile(train={"epochs": 3})
    step = ended(segments.first(short), "done", reached=3)
    assert isinstance(segments.following(short, [step], 3), End)
    more = following(profile(train={"epochs": 5}), step)
    assert (more.first_epoch, more.last_epoch, more.total_epochs) == (4, 5, 5)


def test_a_segment_without_an_outcome_was_killed_with_its_supervisor_and_is_gone_on_with() -> None:
    wanted = profile(train={"epochs": 9})
    planned = segments.following(wanted, [Step(segment=segments.first(wanted))], 4)
    assert isinstance(planned, Segment) and (planned.first_epoch, planned.reason) == (5, "resumed")


def test_a_crash_is_tried_again_only_where_the_segment_had_come_further() -> None:
    wanted = profile(train={"epochs": 9})
    begun = segments.first(wanted)
    assert following(wanted, ended(begun, "crash", reached=2)).first_epoch == 3
    assert isinstance(segments.following(wanted, [ended(begun, "crash", reached=0)], 0), End)


def test_a_phase_rule_changes_the_scales_by_factors() -> None:
    wanted = profile(train={"epochs": 9})
    step = ended(segments.first(wanted), "rule", reached=4, changes=(("lr", 0.5), ("weight_decay", 2.0)))
    planned = following(wanted, step)
    assert (planned.lr_scale, planned.weight_decay_scale, planned.first_epoch) == (0.5, 2.0, 5)


@given(st.data())
def test_no_history_changes_the_effective_batch_or_trains_for_ever(data: st.DataObject) -> None:
    batch, accumulate = data.draw(st.integers(1, 64)), data.draw(st.integers(1, 8))
    wanted = profile(
        train={"epochs": data.draw(st.integers(1, 20)), "batch": batch, "effective_batch": batch * accumulate}
    )
    steps: list[Step] = []
    reached = 0
    planned: Segment | End = segments.first(wanted)
    for _ in range(200):
        if isinstance(planned, End):
            break
        assert planned.effective_batch == batch * accumulate
        assert planned.first_epoch == reached + 1 <= planned.last_epoch <= wanted.train.epochs
        ending = data.draw(st.sampled_from(ENDINGS))
        reached = planned.last_epoch if ending == "done" else data.draw(st.integers(reached, planned.last_epoch))
        steps.append(ended(planned, ending, reached=reached, precision="fp32"))
        planned = segments.following(wanted, steps, reached)
    progress = {step.segment.first_epoch for step in steps}
    # Without coming further a training ends: only rules and memory may begin at one epoch several times.
    assert isinstance(planned, End) or len(progress) > 1 or {s.outcome.ended for s in steps if s.outcome} >= {"rule"}


def test_what_is_written_of_an_outcome_reads_back_the_same() -> None:
    outcome = Outcome(ended="rule", reached=3, reason="r", evidence=("a",), changes=(("lr", 0.5),))
    assert segments.outcome_from(segments.as_dict(outcome)) == outcome
    assert replace(outcome, changes=()) == segments.outcome_from(
        {"ended": "rule", "reached": 3, "reason": "r", "evidence": ["a"]}
    )
