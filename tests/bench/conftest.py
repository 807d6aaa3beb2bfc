"""The scripts of bench/ and bench/peers can be imported as they import one another."""

from __future__ import annotations

import sys
from pathlib import Path

_BENCH = Path(__file__).parents[2] / "bench"
sys.path += [str(_BENCH), str(_BENCH / "peers")]
