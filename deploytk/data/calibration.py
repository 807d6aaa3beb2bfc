"""Calibration sets by their name, and the one that a run makes of its own training split. There is no default set."""

from __future__ import annotations

from pathlib import Path

from deploytk import plugins, resources
from deploytk.data import calibration_file, calibration_making, labelled
from deploytk.data.calibration_file import FILE
from deploytk.data.calibration_set import CalibrationSet as CalibrationSet
from deploytk.data.labelled import Pool
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError
from deploytk.profile import Profile

#: Where `deploytk calibrate make` puts sets, and where their names are looked up.
FOLDER = Path("calibration")


def load(name: str) -> CalibrationSet:
    """The calibration set called `name` (./calibration/NAME, then shipped ones), or the one in the folder `name`.

    Raises:
        InputError: there is none, or its set.yaml is wrong.
    """
    path = Path(name)
    if path.name == FILE or (path / FILE).is_file():
        folder = path.parent if path.name == FILE else path
        return CalibrationSet(folder=folder, told=calibration_file.parse(folder / FILE))
    known = found()
    if name not in known:
        what = plugins.unknown("calibration set", name, known) if known else f"there is no calibration set {name!r}"
        raise InputError(f"{what}; make one with: deploytk calibrate make DATA --name {path.name or 'NAME'}")
    return CalibrationSet(folder=known[name], told=calibration_file.parse(known[name] / FILE))


def for_profile(profile: Profile, run: Path, preparation: Preparation, pool: Pool | None = None) -> CalibrationSet:
    """The set that the run in the folder `run` makes of its own training split, kept in RUN/calibration/train.

    Args:
        preparation: how the trained model's images are prepared.
        pool: what it is drawn from; by default the images of the profile's dataset.

    Raises:
        InputError: the profile names no dataset, or what `calibration_making.drawn` refuses.
    """
    if profile.data.path is None:
        raise InputError("data.path: no dataset; give --data DATA.yaml or a Pascal-VOC folder")
    pool, wanted = pool or labelled.read(profile.data.path), profile.calibration
    made = calibration_making.drawn(
        pool,
        run / "calibration" / "train",
        name="train",
        samples=wanted.samples,
        seed=wanted.seed,
        preparation=preparation,
    )
    return made.save()


def found() -> dict[str, Path]:
    """The folders of the sets that can be named, by name: the shipped ones, and over them those of ./calibration."""
    return {
        file.parent.name: file.parent for place in (*_shipped(), FOLDER) for file in sorted(place.glob(f"*/{FILE}"))
    }


def _shipped() -> tuple[Path, ...]:
    try:
        return (resources.folder("calibration"),)
    except FileNotFoundError:
        return ()
