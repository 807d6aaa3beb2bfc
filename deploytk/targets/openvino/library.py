"""NNCF, imported in this one file: it tells its makers nothing, and its log goes to stderr."""

from __future__ import annotations

import contextlib
import sys

from deploytk.runtimes.openvino_library import ov

# After OpenVINO, which silences the telemetry of both. Its logger keeps the stream it finds; stdout belongs to results.
with contextlib.redirect_stdout(sys.stderr):
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

__all__ = ["AdvancedSmoothQuantParameters", "RangeEstimatorParametersSet", "nncf", "ov"]
