"""`python -m deploytk.backends.ultralytics SOURCE.pt MODEL.pt --trust`: a foreign detector as our checkpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from deploytk.backends import ultralytics
from deploytk.errors import DeploytkError, InputError


def main(arguments: list[str]) -> int:
    """The exit code of a conversion."""
    try:
        if "--trust" not in arguments or len(arguments) != 3:
            raise InputError("usage: SOURCE.pt MODEL.pt --trust (unpickling SOURCE can run code from it)")
        source, out = (Path(a) for a in arguments if a != "--trust")
        print(json.dumps(ultralytics.adopt(source, out), default=str))
    except DeploytkError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
