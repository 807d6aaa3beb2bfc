"""An INT8 IR with preparation and suppression inside: that of the float graph around it, the detector exchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.errors import InputError, ParityFailed
from deploytk.runtimes.openvino import one_core
from deploytk.runtimes.openvino_library import ov
from deploytk.targets.openvino import nodes
from deploytk.targets.openvino.conversion import signature, write


def graft(around: Path, detector: Path, out: Path, takes: str, gives: str) -> dict[str, Any]:
    """Write `detector`, an IR, with all that stands before and after the detector in `around`, an ONNX.

    Args:
        takes: name of the tensor in `around` that its own detector takes.
        gives: name of the tensor that it gives.

    Returns:
        quantizers: how many tensors of the file are INT8.

    Raises:
        InputError: `around` has no such tensors, or the detector does not fit between them.
        ParityFailed: what was written takes or gives something else than `around`, or lost its quantizers.
    """
    # Read, not converted: converting fuses a division into the convolution behind it, and the seam is gone.
    frame, inner = one_core().read_model(around), one_core().read_model(detector)
    wanted, quantizers = signature(frame), len(nodes.quantizers(inner))
    before, after = _tensor(frame, takes, around), _tensor(frame, gives, around)
    if len(inner.inputs) != 1 or len(inner.outputs) != 1:
        raise InputError(f"{detector.name}: takes or gives several tensors; a detector takes one and gives one")
    entered, left = inner.input(0), inner.output(0).get_node().input_value(0)
    for place, port in ((before, entered), (after, left)):
        if not place.get_partial_shape().compatible(port.get_partial_shape()):
            raise InputError(
                f"{detector.name}: {port.get_partial_shape()} where {around.name} has {place.get_partial_shape()}"
            )
    _moved(entered, before)
    _moved(after, left)
    write(ov.Model(frame.get_results(), frame.get_parameters(), inner.get_friendly_name()), out, half=False)
    made = one_core().read_model(out)
    if signature(made) != wanted or len(nodes.quantizers(made)) != quantizers:
        raise ParityFailed(
            f"{out.name}: takes and gives {signature(made)} with {len(nodes.quantizers(made))} quantizers; "
            f"{around.name} {wanted}, {detector.name} has {quantizers}"
        )
    return {"quantizers": quantizers}


def _tensor(model: Any, name: str, file: Path) -> Any:
    for node in model.get_ordered_ops():
        for port in node.outputs():
            if name in port.get_names():
                return port
    raise InputError(f"{file.name}: has no tensor {name}")


def _moved(old: Any, new: Any) -> None:
    """What reads `old` reads `new` from now on."""
    for reader in old.get_target_inputs():
        reader.replace_source_output(new)
