"""TensorBoard's files in RUN/tensorboard (tensorboardX)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from deploytk.profile import Profile


class Sink:
    """Writes each epoch as scalars; epochs that are trained anew replace the earlier ones in TensorBoard."""

    fresh = True  # every opening begins a new file that holds the whole curve

    def __init__(self, profile: Profile, run: Path) -> None:  # noqa: ARG002
        self.folder = run / "tensorboard"
        self.files = 0
        self.writer = self._opened(1)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Write the numbers of an epoch."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, number)
        self.writer.flush()

    def cut(self, first: int) -> None:
        """Begin a file from which TensorBoard learns that all from epoch `first` on is void."""
        self.writer.close()
        self.writer = self._opened(first)

    def note(self, epoch: int, text: str) -> None:
        """Write a sentence."""
        self.writer.add_text("what happened", text, epoch)

    def close(self) -> None:
        """Write out what is left."""
        self.writer.close()

    def _opened(self, first: int) -> SummaryWriter:
        # Files are named by the second they are made in, and read in the order of their names.
        self.files += 1
        return SummaryWriter(str(self.folder), purge_step=first, filename_suffix=f".{self.files:04d}")
