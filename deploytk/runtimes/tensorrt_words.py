"""What TensorRT complains about when it cannot read an engine, as a sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deploytk.runtimes.tensorrt_lineage import BUILD_HERE

TRUST = (
    "holds host code (a version-compatible engine brings a runtime of its own), which loading it would run; "
    "give --trust if you know where it is from"
)
#: What stands in a complaint -> what it means; the groups of the pattern fill the braces.
_SAYINGS: tuple[tuple[str, str], ...] = (
    (r"getEngineHostCodeAllowed", TRUST),
    (
        r"expecting compute ([\d.]+\d) got compute ([\d.]+\d)",
        f"built for compute capability {{1}}, and this GPU has {{0}}; {BUILD_HERE}",
    ),
    (
        r"expecting library version ([\d.]+\d) got ([\d.]+\d)",
        f"built by TensorRT {{1}}, and this machine has {{0}}; {BUILD_HERE}",
    ),
    (r"expecting library version ([\d.]+\d) got", f"no plan that TensorRT {{0}} knows; {BUILD_HERE}"),
    (
        r"Current Version: (\d+),? Serialized Engine Version: (\d+)",
        f"built by another version of TensorRT (its format is {{1}}, this machine's is {{0}}); {BUILD_HERE}",
    ),
    (r"incompatible serialization version", f"built by another kind or version of TensorRT; {BUILD_HERE}"),
    (r"header\.size == blobSize", "cut short: its plan is longer than the file; copy it again"),
    (r"incompatible device|not support this compute capability", f"built for another kind of GPU; {BUILD_HERE}"),
    (
        r"stub loadRunner|libnvinfer_lean",
        f"the TensorRT that is installed is the lean one, which reads version-compatible engines only; {BUILD_HERE}",
    ),
    (r"driver version is insufficient", "the NVIDIA driver is too old for the TensorRT that is installed; update it"),
)


def explained(complaints: Sequence[str]) -> str:
    """What the first complaint that is known means; where none is, the last one in TensorRT's own words.

    Raises:
        MemoryError: TensorRT complains of too little memory.
    """
    said = require_memory(complaints)
    for pattern, meaning in _SAYINGS:
        for complaint in complaints:
            found = re.search(pattern, complaint)
            if found:
                return meaning.format(*found.groups())
    return f"TensorRT cannot read it ({said}); {BUILD_HERE}"


def require_memory(complaints: Sequence[str]) -> str:
    """The last complaint, where none is of too little memory: at which batch size that begins is a result, no error.

    Raises:
        MemoryError: one is; its words.
    """
    for complaint in complaints:
        if re.search(r"out of memory|OutOfMemory", complaint, re.IGNORECASE):
            raise MemoryError(complaint)
    return complaints[-1] if complaints else "it does not say why"
