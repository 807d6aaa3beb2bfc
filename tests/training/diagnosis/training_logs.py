"""Training logs as real versions write them, made small: the nine layouts, and the trainings that went wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: A healthy metric: rises, then stays. Sixteen epochs.
GOOD = [0.05, 0.14, 0.24, 0.31, 0.38, 0.42, 0.45, 0.47, 0.49, 0.5, 0.5, 0.51, 0.505, 0.51, 0.512, 0.511]

_TAIL = "val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2"
_METRICS = "metrics/precision(B),metrics/recall(B),metrics/mAP50(B),metrics/mAP50-95(B)"
_MASKS = "metrics/precision(M),metrics/recall(M),metrics/mAP50(M),metrics/mAP50-95(M)"
_POSES = _MASKS.replace("(M)", "(P)")
_V5 = (
    "epoch,train/box_loss,train/obj_loss,train/cls_loss,metrics/precision,metrics/recall,metrics/mAP_0.5,"
    "metrics/mAP_0.5:0.95,val/box_loss,val/obj_loss,val/cls_loss,x/lr0,x/lr1,x/lr2"
)
_END2END = ",".join(f"{part}/{loss}_{head}" for part in ("train",) for head in ("om", "oo") for loss in ("box", "cls"))
#: name -> (header, first epoch, padded, end of line)
LAYOUTS: dict[str, tuple[str, int, bool, str]] = {
    "ultralytics": (f"epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,{_METRICS},{_TAIL}", 1, False, "\n"),
    "ultralytics of 2023": (f"epoch,train/box_loss,train/cls_loss,train/dfl_loss,{_METRICS},{_TAIL}", 0, True, "\n"),
    "yolov5": (_V5, 0, True, "\n"),
    "yolov9": (_V5.replace("obj_loss", "dfl_loss"), 0, True, "\r\n"),
    "yolov10": (f"epoch,{_END2END},{_METRICS},{_END2END.replace('train', 'val')},lr/pg0,lr/pg1", 1, True, "\n"),
    "obb": (f"epoch,time,train/box_loss,train/cls_loss,train/angle_loss,{_METRICS},{_TAIL}", 1, False, "\r\n"),
    "segment": (f"epoch,time,train/box_loss,train/seg_loss,{_METRICS},{_MASKS},val/box_loss,lr/pg0", 1, False, "\n"),
    "pose": (f"epoch,time,train/box_loss,train/pose_loss,{_METRICS},{_POSES},val/box_loss,lr/pg0", 1, False, "\n"),
    "classify": (
        "epoch,time,train/loss,metrics/accuracy_top1,metrics/accuracy_top5,val/loss,lr/pg0,lr/pg1", 1, False, "\n",
    ),
}  # fmt: skip


def csv(
    metric: Sequence[float],
    *,
    layout: str = "ultralytics",
    train: Sequence[float] | None = None,
    val: Sequence[float] | None = None,
    lr: Sequence[float] | None = None,
) -> str:
    """A results.csv of a layout whose mAP50-95 (or top-1) is `metric`; losses fall unless they are given."""
    header, first, padded, end = LAYOUTS[layout]
    columns, lines = header.split(","), []
    for i, value in enumerate(metric):
        loss = 2.0 / (i + 2)
        told = (
            value,
            train[i] if train else loss,
            val[i] if val else loss + 0.1,
            lr[i] if lr else 0.01 * (1 - i / 100),
        )
        lines.append([_cell(c, i + first, told) for c in columns])
    width = 22 if padded else 0
    return end.join(",".join(c.rjust(width) for c in line) for line in [columns, *lines]) + end


def _cell(column: str, epoch: int, told: tuple[float, float, float, float]) -> str:
    metric, train, val, lr = told
    if column == "epoch":
        return str(epoch)
    if column.startswith("metrics/"):
        better = column.startswith(("metrics/mAP50(", "metrics/mAP_0.5")) and "95" not in column
        return f"{min(1.0, metric * 1.4) if better else metric:.6g}"
    part = {"train": train, "val": val, "time": 10.0 * epoch}.get(column.split("/")[0], lr)
    return f"{part:.6g}"


#: Seed 002: mAP50 of 29 epochs; best in epoch 9, fallen by epoch 13, NaN from 18, stopped by patience 20 at 29.
FALLEN_MAP50 = (
    0.11, 0.29, 0.44, 0.55, 0.62, 0.67, 0.71, 0.744, 0.764, 0.7, 0.63, 0.576, 0.041, 0.038, 0.04, 0.041, 0.039,
    *[0.0] * 12,
)  # fmt: skip
FALLEN_ARGS = """\
task: detect
model: yolov8s.pt
epochs: 150
patience: 20
batch: 1
imgsz: 1536
device: '0'
optimizer: AdamW
amp: true
nbs: 64
lr0: 0.01
lrf: 0.01
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
warmup_bias_lr: 0.1
mosaic: 1.0
"""


def fallen(folder: Path) -> Path:
    """The run of seed 002 as its results.csv and args.yaml."""
    nan = float("nan")
    losses = [1.9 - 0.1 * i for i in range(9)] + [1.4, 2.2, 3.1, 4.0, 4.1, 4.0, 4.2, 4.1] + [nan] * 12
    rates = [0.0703, 0.0404, 0.0104] + [0.0098] * 26
    text = csv([v / 1.4 for v in FALLEN_MAP50], train=losses, val=losses, lr=rates)
    (folder / "results.csv").write_text(text)
    (folder / "args.yaml").write_text(FALLEN_ARGS)
    return folder


FALLEN_LOG = (
    "Ultralytics YOLOv8.2.0 Python-3.10 torch-2.2.0+cu121 CUDA:0 (NVIDIA GeForce RTX 2080 Ti, 11264MiB)\n"
    "\x1b[34m\x1b[1mengine/trainer: \x1b[0mtask=detect, mode=train, model=yolov8s.pt, data=d.yaml, epochs=150, "
    "patience=20, batch=1, imgsz=1536, optimizer=AdamW, lr0=0.01, warmup_bias_lr=0.1, amp=True\n"
    "\x1b[34m\x1b[1mtrain: \x1b[0mWARNING images/lg-1.png: 1 duplicate labels removed\n"
    "\x1b[34m\x1b[1mtrain: \x1b[0mWARNING images/lg-2.png: 3 duplicate labels removed\n"
    "Starting training for 150 epochs...\n"
)


def console(metric: Sequence[float], *, head: str = FALLEN_LOG, total: int = 150, memory: str = "16.2G") -> str:
    """What Ultralytics prints: bars that overwrite themselves, colours, a table line per epoch."""
    text = head
    for i, value in enumerate(metric, start=1):
        loss = "nan" if value == 0 else f"{2 / (i + 1):.4g}"
        line = f"      {i}/{total}      {memory}      {loss}      {loss}      {loss}        461       1536: "
        text += "\n      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n"
        text += f"\r{line}  0%|          | 0/85\x1b[K\r{line}100%|██████████| 85/85 [00:40<00:00,  2.1it/s]\n"
        text += "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|███\n"
        text += (
            f"                   all         30       9000      0.5      0.4      {value:.4g}      {value / 1.4:.4g}\n"
        )
    return text


def trainer_state(entries: Sequence[dict[str, Any]], **more: Any) -> str:
    """A trainer_state.json; NaN is written bare, as Python does."""
    return json.dumps({"log_history": list(entries), "max_steps": 1000, "num_train_epochs": 3, **more}, indent=2)
