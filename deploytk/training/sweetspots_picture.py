"""The curve of each module over the kept epochs as a picture (Matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deploytk.files import written_whole
from deploytk.training.sweetspots import Spot


def draw(path: Path, spots: Sequence[Spot], metric: str) -> None:
    """Write the picture: the score of the whole model by the epoch of one module, its peak and its plateau."""
    figure = Figure(figsize=(5 * len(spots), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, found in zip(figure.subplots(1, len(spots), sharey=True, squeeze=False)[0], spots, strict=True):
        axes.axvspan(*found.plateau, color="tab:green", alpha=0.12, label="plateau")
        axes.plot([e for e, _ in found.curve], [s for _, s in found.curve], ".-")
        axes.plot([found.peak_epoch], [found.peak], "o", color="tab:green", label=f"peak: epoch {found.peak_epoch}")
        axes.axhline(found.reference, color="tab:gray", linestyle=":", label="the model it is grafted into")
        axes.set(xlabel="epoch of this module's weights", title=found.module.replace("$", r"\$"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    figure.axes[0].set_ylabel(f"{metric}, choosing part")
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110)
