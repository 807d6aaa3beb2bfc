"""What a person reads about a training: training_report.md and curves.png (Matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deploytk.files import write_text, written_whole

_METRICS = ("mAP50", "mAP50_95", "precision", "recall")


def write(run: Path, summary: dict[str, Any]) -> None:
    """Write training_report.md and curves.png into the run folder."""
    _curves(run / "curves.png", summary["epochs"])
    write_text(run / "training_report.md", markdown(summary))


def markdown(summary: dict[str, Any]) -> str:
    """The training as Markdown: outcome, settings, activations, data, one line per epoch."""
    model, data, training = summary["model"], summary["data"], summary["training"]
    images = ", ".join(f"{count} {split}" for split, count in data["images"].items())
    lines = [
        f"# Training of {summary['name']}",
        "",
        f"{model['arch']}{model['scale']}, {model['nc']} classes, {training['imgsz']}x{training['imgsz']} pixels, "
        f"{len(summary['epochs'])} of {training['epochs']} epochs in {summary['seconds']:.0f} s on "
        f"{training['device']}. Best epoch: {summary['best_epoch']}.",
        "",
        "| " + " | ".join(_METRICS) + " |",
        "|---" * len(_METRICS) + "|",
        "| " + " | ".join(_cell(summary["metrics"].get(m)) for m in _METRICS) + " |",
        "",
        "Metrics of model.pt on the validation split, measured after training.",
        "",
    ]
    lines += [f"- **{f['severity']}** {f['where']}: {f['message']}; {f['fix']}" for f in summary["findings"]]
    lines += ["", "## Activations", "", "| section | found in model.pt |", "|---|---|"]
    lines += [f"| {s} | {_counted(kinds)} |" for s, kinds in summary["activations"].items()]
    lines += [
        "",
        "## Data and settings",
        "",
        f"- images: {images}; view {data['fingerprint'][:16]}",
        f"- optimizer {training['optimizer']}, lr0 {training['lr0']}, batch {training['batch']} "
        f"(effective {training['effective_batch']}), seed {training['seed']}",
        "- " + ", ".join(f"{name} {version}" for name, version in summary["versions"].items()),
        "",
        "## Epochs",
        "",
    ]
    return "\n".join([*lines, *_epochs(summary["epochs"])]) + "\n\n![curves](curves.png)\n"


def _epochs(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["none"]
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return lines + ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows]


def _curves(path: Path, rows: list[dict[str, Any]]) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    losses = [c for c in (rows[0] if rows else {}) if c.endswith("_loss")]
    for axes, names, title in ((left, losses, "losses"), (right, _METRICS, "validation metrics")):
        for name in names:
            drawn = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
            style = "--" if name.startswith("val") else "-"
            axes.plot([e for e, _ in drawn], [v for _, v in drawn], style, marker=".", label=name)
        axes.set(xlabel="epoch", title=title)
        if names:
            axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    right.set_ylim(0, 1)
    if losses:
        left.set_yscale("log")  # one bad epoch would flatten all others
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _counted(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "none"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return str(int(value)) if float(value).is_integer() and abs(value) > 1 else f"{value:.4g}"
