"""deploytk: from a trained model to a proven verdict on its target."""

import os

__version__ = "0.1.0"

# ONNX Runtime (1.31, on Linux too) reports each session to its makers over the network, from threads of its own
# that share a data base in the user's home: no part of a measurement, and nobody's business. Read when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The allocator within polars (which Ultralytics imports) has background threads that block all signals: a fault in one
# of them kills the process without a word, as a process of the tests was killed. It works as well without them.
os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:false")
