"""What a user wants: model, data, training, target, bench and budget, from one strict YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from deploytk.batches import parse_batches
from deploytk.budget import Budget
from deploytk.errors import InputError
from deploytk.profile_text import Text
from deploytk.profile_training import Guard, Keep, Limits, Milestone, PhaseRule, Track, Train
from deploytk.strict_yaml import Strict

ActivationKind = Literal["relu", "relu6", "leaky_relu", "hardswish", "silu"]
Section = Literal["backbone", "neck", "head"]
SECTIONS: tuple[Section, ...] = ("backbone", "neck", "head")

#: Profile fields that hold a path: relative ones are relative to the profile file they are written in.
_PATHS = (
    ("data", "path"),
    ("data", "class_index"),
    ("model", "pretrained"),
    ("export", "tensorrt", "timing_cache"),
)
PATH_FIELDS = (
    *_PATHS,
    ("text", "folder"),
    *(("parts", part, *path) for part in ("detector", "classifier") for path in _PATHS),
)


def readable_batches(batches: str) -> str:
    """`batches` as it is.

    Raises:
        ValueError: they cannot be read as batch sizes.
    """
    try:
        parse_batches(batches)
    except InputError as error:
        raise ValueError(error.message) from error
    return batches


class Activation(Strict):
    """Which activation each section of the network has. Checked in every graph on the way to the target."""

    kind: ActivationKind = Field("silu", description="the activation inside `sections`")
    sections: tuple[Section, ...] = Field(SECTIONS, description="where `kind` is used")
    rest: ActivationKind = Field("silu", description="the activation of the other sections")
    negative_slope: float = Field(0.1, gt=0, lt=1, description="slope of leaky_relu below zero")

    def expected(self) -> dict[Section, ActivationKind]:
        """The one activation each section must have."""
        return {s: self.kind if s in self.sections else self.rest for s in SECTIONS}


class Model(Strict):
    """The network to train."""

    arch: str = Field("yolov8", description="yolov8, yolo11; with backend: classifier a name of timm's")
    scale: Literal["n", "s", "m", "l", "x"] = Field("n", description="size of the network, always explicit")
    pretrained: Path | None = Field(None, description="weights to start from (.pt), none by default")
    activation: Activation = Activation()


class Data(Strict):
    """The images and labels."""

    path: Path | None = Field(
        None, description="data.yaml, Pascal-VOC or train/CLASS/... folder, or a manifest (CSV); never written to"
    )
    one_class: str | None = Field(
        None, min_length=1, description="a detector learns objects of all classes as this one: where, not what"
    )
    class_index: Path | None = Field(
        None, description="a classifier's classes and their ids (data check --class-index); those of train by default"
    )
    margin: float = Field(
        0.1, ge=0, le=2, description="of a classifier on boxes: this share of a box's sides is added on each side"
    )
    square: bool = Field(True, description="of a classifier on boxes: pictures are as wide as they are high")


class Calibration(Strict):
    """The real images whose activations set the INT8 ranges; always from the training split."""

    name: str | None = Field(None, description="a calibration set, by name or folder; the run's own by default")
    samples: int = Field(64, ge=8, description="how many training images the run's own set has")
    seed: int = 0


class Npu(Strict):
    """An Arm Ethos-U and the system around it, as Vela names them."""

    accelerator: Literal[
        "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
        "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
    ]  # fmt: skip
    system_config: str
    memory_mode: str
    sram_kib: int = Field(gt=0, description="SRAM that the model may use, in KiB")

    @model_validator(mode="after")
    def _of_one_family(self) -> Npu:
        """Vela itself accepts any mixture."""
        family = "_".join(self.accelerator.split("-")[:2]).replace("ethos", "Ethos").replace("_u", "_U")
        if not self.system_config.lower().startswith(family.lower() + "_"):
            raise ValueError(
                f"system_config {self.system_config} is not one of {self.accelerator}; "
                f"choose one that starts with {family}_ (vela --list-configs Arm/vela.ini)"
            )
        return self


class TensorRt(Strict):
    """How an engine is built for an NVIDIA GPU."""

    batches: str | None = Field(None, description="the batch sizes that the engine takes; by default bench.batches")
    best_batch: int | None = Field(
        None,
        ge=1,
        description="the one above 1 that its kernels are chosen for; by default what a sweep finds",
    )
    workspace_gib: float | None = Field(
        None, gt=0, description="GPU memory that a kernel may use beside its tensors; TensorRT's own choice by default"
    )
    level: int = Field(3, ge=0, le=5, description="TensorRT's optimization level: 0 builds quickly, 5 tries everything")
    timing_cache: Path | None = Field(
        None, description="file of kernel timings, read and written; one per version and GPU in the run by default"
    )

    @field_validator("batches")
    @classmethod
    def _readable(cls, batches: str | None) -> str | None:
        return None if batches is None else readable_batches(batches)


class Export(Strict):
    """What is made for the target."""

    target: str = Field("onnx", description="onnx, openvino, npu or tensorrt")
    precision: Literal["fp32", "fp16", "bf16", "int8"] | None = Field(
        None,
        description="of the model that is deployed; int8 for the npu, fp16 for tensorrt, else fp32 by default",
    )
    qat_epochs: int = Field(
        3, ge=0, description="quantization-aware training where no other INT8 model is good enough; 0 for none"
    )
    npu: str = Field("ethos-u55-256", description="a preset of profiles/npu/, or a YAML file")
    opset: int = Field(17, ge=13, le=20)
    preprocess: Literal["out", "normalise", "letterbox"] = Field(
        "out", description="what of the preparation is put into a graph of its own, model_deploy, for onnx and openvino"
    )
    nms: Literal["out", "in"] = Field("out", description="in: the suppression of overlapping boxes is in model_deploy")
    max_cpu_ops: int = Field(0, ge=0, description="operators that may stay on the CPU beside the NPU")
    min_score: float = Field(0.0, ge=0, le=100, description="the Ethos score below which the export fails")
    tensorrt: TensorRt = TensorRt()
    timeout_s: float = Field(1800.0, gt=0)


class Bench(Strict):
    """Which batch sizes are measured, and for how long at most."""

    batches: str = Field("1..64", description="1..64 (powers of two), 1..64:8 (steps of 8) or 1,2,4")
    threads: int | None = Field(None, ge=1, description="intra-op threads; all cores by default")
    time_limit_s: float = Field(120.0, gt=0, description="for the whole sweep")
    require: Literal["any", "all"] = Field("any", description="which of the batch sizes must meet the budget")
    samples: int = Field(100, ge=1, description="of a text model: validation texts that are answered")
    tokens: int | None = Field(
        None, ge=2, description="of a text model: tokens of each answer; as the model ends them by default"
    )
    judged: Literal["answer", "first-token", "token"] = Field(
        "answer", description="of a text model: what the budget is for, of a batch"
    )

    @field_validator("batches")
    @classmethod
    def _readable(cls, batches: str) -> str:
        return readable_batches(batches)


class OneModel(Strict):
    """What is said of one model."""

    backend: str
    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    guard: Guard = Guard()
    limits: Limits = Limits()
    keep: Keep = Keep()
    milestones: tuple[Milestone, ...] = ()
    rules: tuple[PhaseRule, ...] = ()
    track: Track = Track()
    calibration: Calibration = Calibration()
    export: Export = Export()


class Part(OneModel):
    """One model of a pipeline of two. What it does not say is taken from the profile around it."""

    cycle: int | None = Field(None, ge=1, description="epochs until the other part's turn; all of them by default")


class Parts(Strict):
    """A detector that finds objects, and a classifier that says what each of them is."""

    detector: Part
    classifier: Part


class Pipeline(Strict):
    """How the two models of a pipeline work together. Crops are cut as those the classifier was trained on."""

    most: int = Field(16, ge=1, description="crops that are classified in one image, the most certain boxes first")
    top_k: int = Field(5, ge=1)
    score_above: float = Field(0.25, gt=0, lt=1, description="boxes of a lower score are none")
    overlap_at_most: float = Field(0.7, gt=0, le=1)
    batch: int = Field(16, ge=1, description="crops that go through the classifier at once")


#: The backend of a profile that has parts.
TWO_STAGE = "two-stage"
PART_NAMES = ("detector", "classifier")
#: The backends of a profile that has `text`.
TEXT_BACKENDS = ("seq2seq", "causal_lm")
#: A tiny network learns at this rate at least.
_TINY_LR0 = 2e-3
#: What a part takes from the profile around it where it does not say otherwise.
COMMON = tuple(name for name in OneModel.model_fields if name != "backend")


class Named(Strict):
    """What a profile is called."""

    # `schema` is also a (deprecated) method of BaseModel, hence the alias.
    schema_version: Literal[1] = Field(1, alias="schema")
    name: str = Field(pattern=r"^\w[^/\\]*$", description="also the name of its folder in runs/")
    aliases: tuple[str, ...] = ()
    description: str = ""


class Profile(OneModel, Named):  # in this order the names come first where a profile is shown
    """Everything deploytk needs to take one model, or a pipeline of two, from training to a verdict."""

    backend: str = "ultralytics"
    text: Text | None = None
    bench: Bench = Bench()
    budget: Budget = Budget()
    parts: Parts | None = None
    pipeline: Pipeline = Pipeline()

    @model_validator(mode="before")
    @classmethod
    def _parts_have_what_is_common(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("parts"), dict):
            return values
        common = {name: values[name] for name in COMMON if name in values}
        parts = {name: over(common, part) for name, part in values["parts"].items()}
        return {**values, "parts": parts}

    @model_validator(mode="before")
    @classmethod
    def _random_weights_learn_fast(cls, values: Any) -> Any:
        """Rates are those of weights that are trained already; with them a tiny network would learn nothing."""
        if not isinstance(values, dict) or not isinstance(values.get("text"), dict):
            return values
        train = values.get("train")
        rate = train.get("lr0") if isinstance(train, dict) else None
        if values["text"].get("tiny") is not True or not isinstance(rate, float) or rate >= _TINY_LR0:
            return values
        return {**values, "train": {**values["train"], "lr0": _TINY_LR0}}

    @model_validator(mode="after")
    def _two_stage_has_parts(self) -> Profile:
        if (self.backend == TWO_STAGE) != (self.parts is not None):
            raise ValueError(f"backend: {TWO_STAGE} and parts: {{detector, classifier}} go together")
        return self

    @model_validator(mode="after")
    def _text_backends_have_text(self) -> Profile:
        if (self.backend in TEXT_BACKENDS) != (self.text is not None):
            raise ValueError(f"backend: {' or '.join(TEXT_BACKENDS)} and text: {{config, ...}} go together")
        usual = Bench()
        alone = [name for name in ("samples", "tokens", "judged") if getattr(self.bench, name) != getattr(usual, name)]
        if alone and self.text is None:
            raise ValueError(f"bench: {', '.join(alone)}: for text models only")
        return self

    def part(self, name: str) -> Profile:
        """The profile of one part, as of a model by itself."""
        part: Part = getattr(self.parts, name)
        own = {field: getattr(part, field) for field in ("backend", *COMMON)}
        whole = {"parts": None, "aliases": (), "name": f"{self.name}-{name}"}
        return self.model_copy(update={**own, **whole})


def over(base: Any, new: Any) -> Any:
    """The mapping `new` over `base`, key by key at each depth."""
    if not isinstance(base, dict) or not isinstance(new, dict):
        return new
    return {**base, **{key: over(base.get(key), value) for key, value in new.items()}}
