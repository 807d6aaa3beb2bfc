"""Every layout of results.csv, console logs and trainer_state.json are read into the same curves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from training_logs import FALLEN_MAP50, GOOD, LAYOUTS, console, csv, fallen, trainer_state

from deploytk.errors import InputError
from deploytk.training.diagnosis import console as console_reader
from deploytk.training.diagnosis import curves, reading, text
from deploytk.training.diagnosis import trainer_state as trainer_reader
from deploytk.training.diagnosis.values import Curves


def read(told: str) -> Curves:
    found = curves.parse(told, "results.csv")
    assert found is not None
    return found


def values(found: Curves) -> list[float]:
    metric = found.metric()
    assert metric is not None
    return [point.value for point in metric.points]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_metric_the_losses_and_the_rates(layout: str) -> None:
    found = read(csv(GOOD, layout=layout))
    assert values(found) == pytest.approx(GOOD)
    assert found.rows[0].epoch == LAYOUTS[layout][1]
    assert found.rows[0].where == "results.csv:2"
    assert found.names("train/") and found.names("val/") and "lr/0" in found.names("lr/")
    assert len(found.loss("train").points) == len(found.loss("val").points) == len(GOOD)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_and_windows_lines_change_nothing(tmp_path: Path, layout: str, encoding: str) -> None:
    told = csv(GOOD, layout=layout).replace("\r\n", "\n").replace("\n", "\r\n")
    (tmp_path / "results.csv").write_bytes(told.encode(encoding))
    assert reading.read(tmp_path / "results.csv").rows == read(csv(GOOD, layout=layout)).rows


def test_nan_and_infinity_stay_with_their_lines_however_they_are_written() -> None:
    told = csv(GOOD[:3]) + "4,1,nan,inf,-1.#IND,0.1,0.2,0.3,tensor(0.25),-nan(ind),Infinity,1,0,0,0\n"
    last = read(told).rows[-1]
    assert last.where == "results.csv:5"
    assert last.values["metric/mAP50_95"] == 0.25
    wanted = ["train/box_loss", "train/cls_loss", "train/dfl_loss", "val/box_loss", "val/cls_loss"]
    assert last.bad() == wanted
    assert math.isinf(last.values["train/cls_loss"]) and math.isnan(last.values["val/box_loss"])


def test_a_last_line_cut_short_and_a_ragged_one_are_left_out_and_told() -> None:
    lines = csv(GOOD).splitlines()
    lines[4] = lines[4].rpartition(",")[0]
    found = read("\n".join([*lines, "17,170,0.1,0."]))
    assert [row.epoch for row in found.rows] == [1, 2, 3, *range(5, 17)]
    assert [(n.where, n.text[:20]) for n in found.notes] == [
        ("results.csv:5", "has too few columns:"),
        ("results.csv:18", "the last line is cut"),
    ]


def test_lines_that_are_all_longer_or_all_shorter_than_the_header_are_read() -> None:
    lines = csv(GOOD).splitlines()
    longer = [lines[0], *(f"{line},0.001" for line in lines[1:])]
    shorter = [f"{lines[0]},lr/pg3", *lines[1:]]
    assert values(read("\n".join(longer))) == values(read("\n".join(shorter))) == pytest.approx(GOOD)


def test_a_repeated_header_and_a_resumed_epoch_leave_what_was_trained_in_the_end() -> None:
    lines = csv(GOOD).splitlines()
    found = read("\n".join([*lines[:9], lines[0], *lines[6:]]) + "\n")
    assert [row.epoch for row in found.rows] == list(range(1, 17))
    assert found.rows[5].where == "results.csv:11"
    assert [n.where for n in found.notes] == ["results.csv:11"]


def test_of_two_columns_of_one_name_the_first_counts() -> None:
    told = "epoch,train/loss,metrics/accuracy_top1,metrics/accuracy_top1\n" + "".join(f"{i},1,0.5,9\n" for i in (1, 2))
    assert values(read(told)) == [0.5, 0.5]


def test_a_table_of_something_else_is_no_training_log() -> None:
    assert curves.parse("epoch,temperature\n1,2\n", "x.csv") is None
    assert curves.parse("a,b\n1,2\n", "x.csv") is None


def test_the_settings_beside_a_results_csv_are_read_with_their_lines(tmp_path: Path) -> None:
    found = reading.read(fallen(tmp_path))
    assert (found.setting("optimizer"), found.setting("lr0"), found.setting("batch")) == ("AdamW", 0.01, 1)
    assert found.settings["batch"].where == "args.yaml:5"
    assert found.planned == 150


def test_settings_that_are_no_plain_yaml_are_not_known_and_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(csv(GOOD))
    (tmp_path / "args.yaml").write_text("lr0: !!python/object/apply:os.system ['touch run']\n")
    assert reading.read(tmp_path).settings == {}
    assert not (tmp_path / "run").exists()


def test_a_console_log_gives_the_same_curve_and_what_it_says_beside() -> None:
    found = console_reader.parse(console(FALLEN_MAP50), "train.log")
    assert found is not None
    assert values(found) == pytest.approx([float(f"{v / 1.4:.4g}") for v in FALLEN_MAP50])
    assert (found.planned, found.setting("imgsz"), found.setting("lr0")) == (150, 1536, 0.01)
    assert found.series("gpu_mem_gib").points[0].value == 16.2
    assert [n.value for n in found.said("device", "duplicates")] == [11264, 1, 3]
    assert found.rows[17].bad() == ["train/box_loss", "train/cls_loss", "train/dfl_loss"]


def test_a_console_log_of_yolov5_counts_from_zero_and_ends_before_the_last_validation() -> None:
    head = "     Epoch   gpu_mem       box       obj       cls    labels  img_size\n"
    told = "".join(
        f"{head}   {i}/3   489M   0.06   0.03   0   1   640: 100%|\n  all   677   2449   0.8   0.5   0.{i}   0.1\n"
        for i in range(4)
    )
    found = console_reader.parse(
        told + "4 epochs completed in 0.1 hours.\nValidating x\n all 677 2449 1 1 1 1\n", "log"
    )
    assert found is not None and found.planned == 4
    assert [row.values["metric/mAP50"] for row in found.rows] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert found.rows[0].values["gpu_mem_gib"] == pytest.approx(489 / 1024)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "oom"),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory", "oom"),
        ("ValueError: no labels found", "error"),
        ("Killed", "killed"),
    ],
)
def test_an_error_after_the_last_epoch_is_fatal_and_one_before_is_not(line: str, kind: str) -> None:
    after = console_reader.parse(console(GOOD) + line + "\n", "log")
    before = console_reader.parse(console(GOOD, head=line + "\n"), "log")
    assert after is not None and before is not None
    assert [(n.kind, n.fatal) for n in after.notes if n.fatal] == [(kind, True)]
    assert not any(n.fatal for n in before.notes)


def test_a_line_of_auto_says_that_lr0_is_ignored_and_what_was_chosen() -> None:
    told = (
        "optimizer: 'optimizer=auto' found, ignoring 'lr0=0.01' and 'momentum=0.937' and determining best 'optimizer'\n"
        "optimizer: AdamW(lr=0.000714, momentum=0.9) with parameter groups 57 weight(decay=0.0)\n"
    )
    found = console_reader.parse(console(GOOD, head=told), "log")
    assert found is not None
    assert [(n.kind, n.value) for n in found.notes] == [("auto_lr", None), ("chosen_lr", 0.000714)]


@pytest.mark.parametrize("quote", ["", "'"])
def test_what_a_trainer_of_hugging_face_prints_is_read(quote: str) -> None:
    q = quote
    told = "".join(
        f"  1%| | {i}/9 [00:01<00:09]{{'loss': {q}{2 / i}{q}, 'grad_norm': {q}nan{q}, 'epoch': {q}0.1{q}}}\n"
        for i in (1, 2)
    )
    found = console_reader.parse(told + "{'eval_loss': 1.5, 'eval_runtime': 3.0, 'epoch': 0.1}\n", "log")
    assert found is not None and found.unit == "step"
    assert [p.value for p in found.loss("train").points] == [2.0, 1.0]
    assert [p.value for p in found.loss("val").points] == [1.5]
    assert found.rows[0].bad() == ["grad_norm"] and found.rows[0].where == "log:1"


def test_prose_is_no_console_log() -> None:
    assert console_reader.parse("We met on 12/24 at 5\nall is well\nEpoch\n", "letter.txt") is None


def test_a_trainer_state_with_bare_nan_is_read_by_step_with_its_lines() -> None:
    entries = [{"loss": 2.0 / i, "grad_norm": 1.0, "learning_rate": 1e-4, "epoch": 0.1, "step": 10 * i} for i in (1, 2)]
    told = trainer_state([*entries, {"loss": float("nan"), "grad_norm": float("nan"), "epoch": 0.1, "step": 30}])
    found = trainer_reader.parse(told, "trainer_state.json")
    assert found is not None and found.unit == "step" and found.planned == 1000
    assert [row.epoch for row in found.rows] == [10, 20, 30]
    assert told.splitlines()[int(found.rows[2].where.split(":")[1]) - 1].strip() == "{"
    assert found.rows[2].bad() == ["train/loss", "grad_norm"]


def test_a_loss_of_exactly_zero_hides_nan() -> None:
    losses = [2.0, 1.5, 1.2, 0.0, 0.0, 0.0]
    found = trainer_reader.parse(trainer_state([{"loss": v, "step": i + 1} for i, v in enumerate(losses)]), "t.json")
    assert found is not None
    assert [math.isnan(row.values["train/loss"]) for row in found.rows] == [False] * 3 + [True] * 3
    assert len(list(found.said("hidden_nan"))) == 3


def test_a_loss_that_has_come_down_to_zero_is_one() -> None:
    losses = [2.0, 0.1, 0.01, 0.001, 0.0, 0.0]
    found = trainer_reader.parse(trainer_state([{"loss": v, "step": i + 1} for i, v in enumerate(losses)]), "t.json")
    assert found is not None and not any(row.bad() for row in found.rows)


def test_several_evaluation_sets_without_a_plain_eval_loss_are_averaged() -> None:
    entries = [
        {"epoch": float(i), "step": 10 * i, "eval_a_accuracy": 0.2 * i, "eval_b_accuracy": 0.1 * i, "eval_a_loss": 1.0}
        | {"eval_b_loss": 3.0}
        for i in (1, 2, 3)
    ]
    found = trainer_reader.parse(trainer_state(entries), "t.json")
    assert found is not None and found.unit == "epoch"
    assert values(found) == pytest.approx([0.15, 0.3, 0.45])
    assert [p.value for p in found.loss("val").points] == [2.0, 2.0, 2.0]


def test_a_trainer_state_cut_short_is_read_as_far_as_it_goes() -> None:
    told = trainer_state([{"loss": 1.0, "step": i} for i in range(1, 9)])
    found = trainer_reader.parse(told[: told.rindex('"step": 6')], "t.json")
    assert found is not None and [row.epoch for row in found.rows] == [1, 2, 3, 4, 5]


def test_the_newest_checkpoint_of_a_folder_is_read(tmp_path: Path) -> None:
    for step in (9, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        told = trainer_state([{"loss": 1.0, "step": step}])
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(told)
    assert reading.read(tmp_path).rows[0].epoch == 100


@pytest.mark.parametrize("name", ["", "nothing", "picture.png"])
def test_what_is_no_training_log_is_refused_with_what_to_give(tmp_path: Path, name: str) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    with pytest.raises(InputError, match="give a run folder"):
        reading.read(tmp_path / name)


def test_numbers_of_every_dialect_are_numbers() -> None:
    told = ["1", " 1e-3 ", '"0.5"', "tensor(2., device='cuda:0')", "1.#INF", "-1.#INF", "x", "", "0x10"]
    assert [text.number(t) for t in told] == [1, 1e-3, 0.5, 2.0, math.inf, -math.inf, None, None, None]
