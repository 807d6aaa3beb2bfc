"""What is wrong before a training is started, and the dataset: drawn, or drawn from a seed in a file."""

from __future__ import annotations

from deploytk.files import sha256_of, sha256_of_value
from deploytk.profile import Profile
from deploytk.report import Finding


def preflight(profile: Profile) -> list[Finding]:
    """The findings: the file of a profile that names one must be there."""
    path = profile.data.path
    if path is None or path.is_file():
        return []
    return [Finding(rule="PRE004", severity="error", where="data", message=f"{path}: no such file")]


def data_fingerprint(profile: Profile) -> str:
    """The sha256 of the dataset."""
    return sha256_of(profile.data.path) if profile.data.path else sha256_of_value("drawn")


def data_seed(profile: Profile) -> int:
    """What the points are drawn with."""
    return int(data_fingerprint(profile)[:8], 16)
