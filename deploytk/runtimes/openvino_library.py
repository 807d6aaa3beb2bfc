"""OpenVINO, imported in this one file: it tells its makers nothing."""

from __future__ import annotations

import sys
from typing import Any, cast

# OpenVINO and NNCF report each import and conversion over the network unless this package cannot be imported.
cast(dict[str, Any], sys.modules)["openvino_telemetry"] = None

import openvino as ov  # noqa: E402

__all__ = ["ov"]
