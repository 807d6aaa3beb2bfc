"""The rules of TensorRT, one class each; the docstring is the sentence that the user reads.

Measured on the parser and builder of TensorRT-RTX 1.7.1 (docs/check-tensorrt.md says how). They say why TensorRT's
parser refuses a node, name the nodes behind the first that it stops at, and what it takes but computes differently.
"""

from __future__ import annotations

from typing import ClassVar

from deploytk.graphs.onnx import DEQUANTIZE, QUANTIZE, STANDARD, Graph, Node, is_operator
from deploytk.report import Severity

_INT8 = "quantize the float model for TensorRT: deploytk export RUN --target tensorrt --precision int8"
_QUANTIZERS = frozenset({QUANTIZE, DEQUANTIZE})
_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QGemm", "QAttention"})
#: What `OnnxParser.supports_operator` denies of ONNX 1.23, but for what needs a plugin that TensorRT-RTX comes without.
LACKING = frozenset(
    {
        "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
        "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "CumProd", "DFT", "Det", "ImageDecoder",
        "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial", "NegativeLogLikelihoodLoss", "Optional",
        "OptionalGetElement", "OptionalHasElement", "RegexFullMatch", "SequenceAt", "SequenceConstruct",
        "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss",
        "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique",
    }
)  # fmt: skip
_QUANTIZED = frozenset({"int8", "int4", "float8e4m3fn", "float4e2m1"})
_NO_TYPE = frozenset({"string", "int16", "uint16", "uint32", "uint64", "complex64", "complex128"})
_DATA_SIZED = frozenset({"NonMaxSuppression", "NonZero", "Compress", "Unique"})


class Rule:
    """What one rule has: a code, where it applies, and `check`, which says what is wrong or "" for nothing."""

    code: ClassVar[str]
    severity: ClassVar[Severity] = "error"
    ops: ClassVar[frozenset[str]] = frozenset()  # empty: every operator
    fix: ClassVar[str] = ""
    #: Whether the parser says nothing about it, and makes of the node something else than the model means.
    silent: ClassVar[bool] = False
    #: Whether the parser names every such node, not only the first: it is then right where it does not.
    listed: ClassVar[bool] = False

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        """What is wrong with this node; empty where nothing is."""
        raise NotImplementedError


class TRT001(Rule):
    """The operator is ONNX's own, or TensorRT has a plugin for it."""

    code = "TRT001"
    listed = True
    fix = "leave pre- and postprocessing out of the exported model, or load the plugin that has it"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:  # noqa: ARG004
        if _in_integers(node) or (node.domain in STANDARD and is_operator(node)):
            return ""
        if node.domain in STANDARD:
            return f"{node.op} is no operator of ONNX, and TensorRT has no plugin of that name"
        return f"{node.op} is of the domain {node.domain}, for which TensorRT has no plugin"


class TRT002(Rule):
    """The operator is one that TensorRT's parser has."""

    code = "TRT002"
    ops = LACKING
    listed = True
    fix = "replace the operator, or leave it to the host before or after the model"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:  # noqa: ARG004
        return f"{node.op} is not in TensorRT's parser" if node.domain in STANDARD else ""


class TRT003(Rule):
    """INT8 is written with QuantizeLinear and DequantizeLinear (QDQ), not with operators on integers."""

    code = "TRT003"
    listed = True
    fix = _INT8

    @staticmethod
    def check(node: Node, graph: Graph) -> str:  # noqa: ARG004
        return f"{node.op} computes in integers itself" if _in_integers(node) else ""


class TRT004(Rule):
    """What is quantized is symmetric: its zero points are 0."""

    code = "TRT004"
    ops = _QUANTIZERS
    fix = _INT8

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        zero = graph.constants.get(node.input(2))
        if zero is None or zero.dtype.kind not in "iu" or not zero.any():
            return ""
        values = sorted({int(z) for z in zero.reshape(-1)})
        return f"the zero point is {values[0]}" if len(values) == 1 else "there are zero points of several values"


class TRT005(Rule):
    """What is quantized is INT8, INT4, FP8 or FP4; weights are not UINT8, and nothing is in 16 bits."""

    code = "TRT005"
    ops = _QUANTIZERS
    fix = _INT8

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        weights = node.op == DEQUANTIZE and node.input(0) in graph.weights
        dtype = _quantized(node, graph)
        if not dtype or dtype in _QUANTIZED or (dtype == "int32" and weights):  # TRT007
            return ""
        if dtype == "uint8":
            return "the weights are UINT8" if weights else ""  # TRT004 and TRT006 tell of activations
        return f"the type is {dtype.upper()}"


class TRT006(Rule):
    """Activations are quantized to INT8: UINT8 is read as INT8, and what is above half of its range is cut off."""

    code = "TRT006"
    ops = frozenset({QUANTIZE})
    fix = _INT8
    silent = True

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        zero = graph.constants.get(node.input(2))
        if _quantized(node, graph) != "uint8" or (node.input(2) and (zero is None or zero.any())):
            return ""
        return "values above 127 of 255 steps are cut off without a word"


class TRT007(Rule):
    """A bias is float, not INT32 behind a DequantizeLinear."""

    code = "TRT007"
    ops = frozenset({DEQUANTIZE})
    fix = f"{_INT8} (ONNX Runtime: QuantizeBias=False)"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        return "the bias is INT32" if graph.dtypes.get(node.input(0)) == "int32" else ""


class TRT008(Rule):
    """A resize does not antialias."""

    code = "TRT008"
    ops = frozenset({"Resize"})
    listed = True
    fix = "resize without antialias, or on the host"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:  # noqa: ARG004
        return "it antialiases" if node.attributes.get("antialias") else ""


class TRT009(Rule):
    """A pooling window has no dilation."""

    code = "TRT009"
    ops = frozenset({"MaxPool", "AveragePool", "LpPool"})
    listed = True
    fix = "use a pooling without dilation"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:  # noqa: ARG004
        dilations = node.attributes.get("dilations") or (1,)
        return f"dilations are {' x '.join(str(d) for d in dilations)}" if max(dilations) > 1 else ""


class TRT010(Rule):
    """Inputs and weights are of a type that TensorRT has: not text, complex, 16-bit or unsigned 32- and 64-bit."""

    code = "TRT010"
    fix = "cast it before the model, or export with float32 and int32"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        if node.op in _QUANTIZERS:
            return ""  # TRT005
        given = {t.name for t in graph.inputs} | graph.weights
        found = {t: graph.dtypes.get(t, "") for t in node.inputs if t in given}
        return ", ".join(f"{name} is {dtype}" for name, dtype in found.items() if dtype in _NO_TYPE)


class TRT011(Rule):
    """UINT8 is the type of an input or an output alone: what reads such an image casts it to float first."""

    code = "TRT011"
    fix = "cast the image to float32 as the first step"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        ends = {t.name for t in graph.outputs}
        if node.op in _QUANTIZERS | {"Constant"} or _in_integers(node):
            return ""
        made = [o for o in node.outputs if o not in ends and graph.dtypes.get(o) == "uint8"]
        return f"{made[0]} is UINT8 inside the model" if made else ""


class TRT012(Rule):
    """A convolution's weights have as many dimensions as what they convolve."""

    code = "TRT012"
    ops = frozenset({"Conv", "ConvTranspose"})
    fix = "the model is damaged: export it again"
    silent = True

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        image, weights = graph.shape(node.input(0)), graph.shape(node.input(1))
        if image is None or weights is None or len(image) == len(weights):
            return ""
        return f"the weights have {len(weights)} dimensions, the input {len(image)}"


class TRT013(Rule):
    """Every dimension of an input but the batch has a fixed size."""

    code = "TRT013"
    severity = "warning"
    fix = "export with a fixed input size: an engine is built for a range of sizes, and is best at one of them"
    silent = True

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        free = {t.name for t in graph.inputs if any(isinstance(d, str) for d in t.shape[1:])}
        told = ", ".join(sorted(free & set(node.inputs)))
        return f"the input {told} has free dimensions" if told else ""


class TRT014(Rule):
    """Nothing is computed in float64, for which TensorRT takes float32."""

    code = "TRT014"
    severity = "warning"
    fix = "export in float32, so that what is compared with the engine is the same"
    silent = True

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        wide = node.op != "Constant" and any(graph.dtypes.get(o) == "float64" for o in node.outputs)
        return "it gives float64" if wide else ""


class TRT015(Rule):
    """The size of every tensor follows from the sizes of the inputs, not from their values."""

    code = "TRT015"
    severity = "warning"
    ops = _DATA_SIZED
    fix = "leave it to the host after the model: an engine cannot know the size of its output before it has run"
    silent = True

    @staticmethod
    def check(node: Node, graph: Graph) -> str:  # noqa: ARG004
        return f"how much {node.op} gives depends on the data"


class TRT016(Rule):
    """What has no bfloat16 in TensorRT's parser is in float32 or float16."""

    code = "TRT016"
    ops = frozenset({"HardSwish", "LpNormalization", "LpPool", "Mish", "Shrink"})
    fix = "export in float16, or leave the operator in float32"

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        return f"{node.op} is in bfloat16" if graph.dtypes.get(node.input(0)) == "bfloat16" else ""


class TRT017(Rule):
    """A transposed convolution is not in bfloat16."""

    # The builder of TensorRT-RTX 1.7.1: "Could not infer output types for operation: deconv"; TensorRT was not tried.
    code = "TRT017"
    severity = "warning"
    ops = frozenset({"ConvTranspose"})
    fix = "export in float16, or leave it in float32: TensorRT-RTX reads it, but does not build it"
    silent = True

    @staticmethod
    def check(node: Node, graph: Graph) -> str:
        return "it is in bfloat16" if graph.dtypes.get(node.input(0)) == "bfloat16" else ""


class TRT020(Rule):
    """TensorRT's parser takes the node."""

    code = "TRT020"
    fix = "replace the operator, or leave it to the host"


class TRT021(Rule):
    """TensorRT's parser reads the file to its end: it neither crashes nor runs out of time or memory."""

    code = "TRT021"
    fix = "check the file with onnx.checker, and export it again with an opset of 17 to 22"


class TRT022(Rule):
    """Next to what is quantized, nothing with weights computes in float32."""

    code = "TRT022"
    severity = "warning"
    fix = f"{_INT8}, which writes the rest in float16"


RULES: tuple[type[Rule], ...] = (
    TRT001, TRT002, TRT003, TRT004, TRT005, TRT006, TRT007, TRT008,
    TRT009, TRT010, TRT011, TRT012, TRT013, TRT014, TRT015, TRT016, TRT017,
)  # fmt: skip
#: What only TensorRT itself can say.
PARSED: tuple[type[Rule], ...] = (TRT020, TRT021, TRT022)


def _in_integers(node: Node) -> bool:
    return node.op in _INTEGER or node.op.startswith("QLinear")


def _quantized(node: Node, graph: Graph) -> str:
    """The type on the quantized side; "" where it is not known. QuantizeLinear without a zero point gives UINT8."""
    if node.op == DEQUANTIZE:
        return graph.dtypes.get(node.input(0), "")
    told = graph.dtypes.get(node.outputs[0]) or graph.dtypes.get(node.input(2), "")
    return told if told or node.input(2) or "output_dtype" in node.attributes else "uint8"
