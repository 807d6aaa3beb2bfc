"""How long the quick rules of the preflight take: `python bench/preflight_time.py PROFILE [--data DATA]`.

In a fresh process, imports included; the rules that read the whole data are not among them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

CODE = """
import sys, time
began = time.perf_counter()
from pathlib import Path
from deploytk import plugins, profile_loading
from deploytk.training.preflight import quick
given = {("data", "path"): str(Path(sys.argv[2]).resolve())} if len(sys.argv) > 2 else {}
profile = profile_loading.load(sys.argv[1], given)
found = quick(profile, Path("runs") / profile.name, plugins.load("backends", profile.backend))
print(f"{time.perf_counter() - began:.3f} s, {len(found)} findings")
for finding in found:
    print(finding)
"""


def main() -> None:
    """Print the duration and the findings."""
    asked = argparse.ArgumentParser(description="How long the quick rules of the preflight take.")
    asked.add_argument("profile")
    asked.add_argument("--data")
    given = asked.parse_args()
    subprocess.run([sys.executable, "-c", CODE, given.profile, *([given.data] if given.data else [])], check=True)


if __name__ == "__main__":
    main()
