"""What a comparison of two models adds up to: what is wrong, in sentences, and the rows of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deploytk.data import agreement
from deploytk.stages import parity_layers
from deploytk.stages.parity_limits import LIMITS, Limits
from deploytk.stages.parity_outputs import FOUND

#: Layers that a report shows, the worst.
SHOWN_LAYERS = 8

Row = Mapping[str, Any]


def good(row: Row, limits: Limits) -> bool:
    """Whether a row of `parity_outputs.compared` is within the limits; what was not measured is."""
    if row.get("error"):
        return False
    least = {"top1": limits.top1, _iou(limits): limits.boxes, "sqnr_db": limits.sqnr_db}
    return all(row[name] >= limit for name, limit in least.items() if row.get(name) is not None)


def wrong(found: Row, source: str, converted: str, *, binding: bool = True) -> list[str]:
    """What is wrong in what `brief` told, a sentence for each output, and the layer at fault.

    Args:
        binding: False where something else decides how far off is too far: then only what cannot be right is wrong.
    """
    limits = LIMITS[found["precision"]]
    outputs: dict[str, list[Row]] = {}
    for row in found["rows"]:
        if not row["ok"] and (binding or row.get("error")):
            outputs.setdefault(row["output"], []).append(row)
    told = [_sentence(rows, limits, found["precision"], source) for rows in outputs.values()]
    layer = _layer(found, limits)
    return [f"{converted}: {sentence}" for sentence in (*told, layer)] if told else []


def _sentence(rows: Sequence[Row], limits: Limits, precision: str, source: str) -> str:
    """What is wrong with one output, over all settings in which it is."""
    first = rows[0]
    where = _where(rows)
    if first.get("error"):
        return f"output {first['output']} at {where}: {first['error']}"
    if "top1" in first:
        least = min(row["top1"] for row in rows)
        return f"the same class as {source} for {least:.1%} of the samples at {where}; {limits.top1:.0%} expected"
    if "boxes" in first:
        least = min(row[_iou(limits)] for row in rows)
        told = f"{source}'s boxes are found again" if first["output"] == FOUND else f"its boxes are {source}'s"
        return f"{least:.1%} of {told} (IoU {limits.iou:g}) at {where}; {limits.boxes:.0%} expected of {precision}"
    least = min(row["sqnr_db"] for row in rows)
    expected = f"at least {limits.sqnr_db:g} dB expected of {precision}"
    return f"{first['output']} differ from {source}'s at {where}: SQNR {least:.1f} dB, {expected}"


def _where(rows: Sequence[Row]) -> str:
    """`batch 1, 2, 5 (320x320)`, for each image size."""
    batches: dict[str, list[str]] = {}
    for row in rows:
        batches.setdefault("x".join(map(str, row["size"])), []).append(str(row["batch"]))
    return " and ".join(f"batch {', '.join(found)}" + (f" ({size})" if size else "") for size, found in batches.items())


def _iou(limits: Limits) -> str:
    """The key of the share of boxes with a partner at the overlap that counts."""
    return f"iou{limits.iou * 100:.0f}"


def _layer(found: Row, limits: Limits) -> str:
    """Which layer went wrong first."""
    rows = found["layers"]
    if not rows:
        return "which layer went wrong cannot be told, as no layer can be compared with one of the source by its name"
    first = found["first_wrong_layer"]
    if first is None:
        compared = f"none of {found['layers_compared']} layers is below {limits.layer_db:g} dB at {found['layers_at']}"
        return f"{compared}; the worst is {rows[0]['layer']}, {_db(rows[0]['sqnr_db'])}"
    before = first["before_db"]
    after = "" if before is None else f", while what it reads is at {_db(before)}"
    return f"the first layer that went wrong is {first['layer']} ({first['op']}): {_db(first['sqnr_db'])}{after}"


def _db(value: float) -> str:
    return "equal" if value >= agreement.EQUAL_DB else f"SQNR {value:.1f} dB"


def summed(found: Row) -> list[dict[str, Any]]:
    """A row for each output over all batch and image sizes: `metric`, `source`, `converted` (the worst), `ok`.

    `converted` is None where the output could not be compared.
    """
    key = _iou(LIMITS[found["precision"]])
    names = list(dict.fromkeys(row["output"] for row in found["rows"]))
    return [_summed(name, [row for row in found["rows"] if row["output"] == name], key) for name in names]


def _summed(name: str, rows: Sequence[Row], iou: str) -> dict[str, Any]:
    measured = next((k for k in ("sqnr_db", "top1", iou) if any(k in row for row in rows)), None)
    values = [row[measured] for row in rows if row.get(measured) is not None] if measured else []
    broken = any(row.get("error") for row in rows)
    metric = {"sqnr_db": f"SQNR of {name}, dB", "top1": "same class"}.get(str(measured), f"{name}, {_words(iou)}")
    return {
        "metric": metric if measured else name,
        "source": None if measured in ("sqnr_db", None) else 1.0,
        "converted": None if broken else min(values, default=None),
        "ok": all(row["ok"] for row in rows),
    }


def _words(iou: str) -> str:
    return f"IoU {int(iou.removeprefix('iou')) / 100:g}"


def brief(found: Row) -> dict[str, Any]:
    """What a report keeps: the limits and a verdict on each row, and of the layers the worst and the first wrong.

    `error` says what cannot be right at any precision; empty where nothing is.
    """
    limits = LIMITS[found["precision"]]
    first = parity_layers.first_wrong(found["layers"], limits.layer_db)
    return {
        **found,
        "error": "; ".join(
            dict.fromkeys(f"{row['output']}: {row['error']}" for row in found["rows"] if row.get("error"))
        ),
        "limits": {"sqnr_db": limits.sqnr_db, "top1": limits.top1, "iou": limits.iou, "boxes": limits.boxes},
        "rows": [{**row, "ok": good(row, limits)} for row in found["rows"]],
        "layers": parity_layers.worst(found["layers"], SHOWN_LAYERS),
        "layers_compared": len(found["layers"]),
        "first_wrong_layer": None if first is None else dict(first),
    }
