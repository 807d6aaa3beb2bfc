"""Which TFLite operators an Ethos-U takes, and what a converter makes of each ONNX operator."""

from __future__ import annotations

from typing import Literal

Family = Literal["u55", "u65", "u85"]

#: Vela 5.2.0, `vela --supported-ops-report` (regor.tflite_operator_constraints("EthosU55"); U65 has the same).
_U55 = frozenset({
    "ABS", "ADD", "ARG_MAX", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D",
    "ELU", "EXP", "EXPAND_DIMS", "FULLY_CONNECTED", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC",
    "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "PACK", "PAD", "PADV2", "PRELU",
    "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "RSQRT", "SLICE", "SOFTMAX", "SPLIT", "SPLIT_V",
    "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNPACK",
})  # fmt: skip
_U85 = _U55 | frozenset({
    "ASSIGN_VARIABLE", "CAST", "DIV", "EQUAL", "GATHER", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL",
    "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "NOT_EQUAL", "READ_VARIABLE", "REDUCE_ALL", "REDUCE_ANY",
    "SCATTER_ND", "SELECT", "SELECT_V2",
})  # fmt: skip
SUPPORTED: dict[Family, frozenset[str]] = {"u55": _U55, "u65": _U55, "u85": _U85}

#: ONNX operator -> the TFLite operators that a converter (litert-torch, onnx2tf) writes for it.
TFLITE: dict[str, tuple[str, ...]] = {
    "Abs": ("ABS",), "Add": ("ADD",), "Sum": ("ADD",), "Sub": ("SUB",), "Mul": ("MUL",), "Neg": ("NEG",),
    "Div": ("DIV",), "Max": ("MAXIMUM",), "Min": ("MINIMUM",), "Exp": ("EXP",), "Log": ("LOG",),
    "ArgMax": ("ARG_MAX",), "ArgMin": ("ARG_MIN",),
    "Conv": ("CONV_2D",), "ConvTranspose": ("TRANSPOSE_CONV",), "Gemm": ("FULLY_CONNECTED",),
    "MatMul": ("BATCH_MATMUL",),
    "Einsum": ("BATCH_MATMUL",), "LSTM": ("UNIDIRECTIONAL_SEQUENCE_LSTM",), "GRU": ("WHILE",), "RNN": ("WHILE",),
    "AveragePool": ("AVERAGE_POOL_2D",), "GlobalAveragePool": ("MEAN",), "MaxPool": ("MAX_POOL_2D",),
    "GlobalMaxPool": ("REDUCE_MAX",), "ReduceMean": ("MEAN",), "ReduceSum": ("SUM",), "ReduceMax": ("REDUCE_MAX",),
    "ReduceMin": ("REDUCE_MIN",), "ReduceProd": ("REDUCE_PROD",), "ReduceL2": ("MUL", "SUM", "SQRT"),
    "BatchNormalization": ("MUL", "ADD"), "InstanceNormalization": ("MEAN", "SQUARED_DIFFERENCE", "RSQRT", "MUL"),
    "LayerNormalization": ("MEAN", "SQUARED_DIFFERENCE", "RSQRT", "MUL"), "LRN": ("LOCAL_RESPONSE_NORMALIZATION",),
    "Relu": ("RELU",), "LeakyRelu": ("LEAKY_RELU",), "PRelu": ("PRELU",), "Clip": ("RELU6",), "Elu": ("ELU",),
    "Sigmoid": ("LOGISTIC",), "HardSigmoid": ("MUL", "ADD", "RELU6"), "HardSwish": ("HARD_SWISH",), "Tanh": ("TANH",),
    "Gelu": ("GELU",), "Erf": ("GELU",), "Softplus": ("EXP", "LOG"), "Mish": ("EXP", "LOG", "TANH", "MUL"),
    "Softmax": ("SOFTMAX",), "LogSoftmax": ("LOG_SOFTMAX",), "Sqrt": ("SQRT",), "Pow": ("POW",), "Floor": ("FLOOR",),
    "Ceil": ("CEIL",), "Round": ("ROUND",), "Sin": ("SIN",), "Cos": ("COS",), "Mod": ("FLOOR_MOD",),
    "Concat": ("CONCATENATION",), "Split": ("SPLIT_V",), "Slice": ("STRIDED_SLICE",), "Pad": ("PAD",),
    "Reshape": ("RESHAPE",), "Flatten": ("RESHAPE",), "Squeeze": ("SQUEEZE",), "Unsqueeze": ("EXPAND_DIMS",),
    "Transpose": ("TRANSPOSE",), "Tile": ("TILE",), "Expand": ("BROADCAST_TO",), "Gather": ("GATHER",),
    "GatherND": ("GATHER_ND",), "GatherElements": ("GATHER_ND",), "ScatterND": ("SCATTER_ND",),
    "ScatterElements": ("SCATTER_ND",), "Where": ("SELECT_V2",), "Equal": ("EQUAL",), "Greater": ("GREATER",),
    "GreaterOrEqual": ("GREATER_EQUAL",), "Less": ("LESS",), "LessOrEqual": ("LESS_EQUAL",), "And": ("LOGICAL_AND",),
    "Or": ("LOGICAL_OR",), "Not": ("LOGICAL_NOT",), "Cast": ("CAST",), "TopK": ("TOPK_V2",), "CumSum": ("CUMSUM",),
    "NonMaxSuppression": ("NON_MAX_SUPPRESSION_V5",), "OneHot": ("ONE_HOT",), "DepthToSpace": ("DEPTH_TO_SPACE",),
    "SpaceToDepth": ("SPACE_TO_DEPTH",), "Resize": ("RESIZE_NEAREST_NEIGHBOR",),
    "Upsample": ("RESIZE_NEAREST_NEIGHBOR",),
    "Loop": ("WHILE",), "If": ("IF",), "Scan": ("WHILE",),
}  # fmt: skip

#: Operators that leave nothing to place: folded, or part of the quantization.
FREE = frozenset({
    "Constant", "ConstantOfShape", "Identity", "Dropout", "Shape", "Size", "Range", "QuantizeLinear",
    "DequantizeLinear",
})  # fmt: skip


def family_of(accelerator: str) -> Family:
    """The family of an accelerator as Vela names it: "ethos-u55-256" -> "u55"."""
    for family in SUPPORTED:
        if f"ethos-{family}" in accelerator:
            return family
    raise ValueError(f"{accelerator!r} is no Ethos-U")
