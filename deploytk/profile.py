"""What a user wants: model, data, training, target, bench and budget, from one strict YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deploytk.batches import parse_batches
from deploytk.budget import Budget
from deploytk.errors import InputError

ActivationKind = Literal["relu", "relu6", "leaky_relu", "hardswish", "silu"]
Section = Literal["backbone", "neck", "head"]
SECTIONS: tuple[Section, ...] = ("backbone", "neck", "head")

#: Profile fields that hold a path: relative ones are relative to the profile file they are written in.
PATH_FIELDS = (("data", "path"), ("model", "pretrained"))


class Strict(BaseModel):
    """Unknown keys are errors and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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

    arch: str = Field("yolov8", description="architecture of the backend: yolov8, yolo11")
    scale: Literal["n", "s", "m", "l", "x"] = Field("n", description="size of the network, always explicit")
    pretrained: Path | None = Field(None, description="weights to start from (.pt), none by default")
    activation: Activation = Activation()


class Data(Strict):
    """The images and labels."""

    path: Path | None = Field(None, description="YOLO data.yaml, or a Pascal-VOC folder; never written to")


class Train(Strict):
    """How it is trained."""

    epochs: int = Field(100, ge=1)
    imgsz: int = Field(640, ge=32, multiple_of=32, description="square input size in pixels")
    batch: int = Field(16, ge=1)
    effective_batch: int | None = Field(
        None, ge=1, description="gradients are accumulated up to this many images; the batch by default"
    )
    optimizer: Literal["SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSProp", "auto"] = "SGD"
    lr0: float | None = Field(None, gt=0, description="initial learning rate; must be left out with optimizer: auto")
    lrf: float = Field(0.01, gt=0, le=1, description="final learning rate as a fraction of lr0")
    momentum: float = Field(0.937, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    warmup_epochs: float = Field(3.0, ge=0)
    warmup_bias_lr: float = Field(0.0, ge=0)
    patience: int = Field(50, ge=0)
    mosaic: float = Field(1.0, ge=0, le=1)
    close_mosaic: int = Field(10, ge=0)
    workers: int = Field(2, ge=0)
    seed: int = 0
    device: str = Field("auto", description='"auto", "cpu", "0" ...')
    timeout_s: float = Field(7 * 24 * 3600.0, gt=0)

    @model_validator(mode="after")
    def _auto_decides_lr0(self) -> Train:
        if self.optimizer == "auto" and self.lr0 is not None:
            raise ValueError(
                "optimizer: auto chooses its own learning rate and ignores lr0; "
                "name an optimizer (SGD, AdamW) or remove lr0"
            )
        return self


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


class Export(Strict):
    """What is made for the target."""

    target: str = Field("onnx", description="onnx, openvino or npu")
    precision: Literal["fp32", "fp16", "int8"] | None = Field(
        None, description="of the model that is deployed; int8 for the npu and fp32 for the others by default"
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
    timeout_s: float = Field(1800.0, gt=0)


class Bench(Strict):
    """Which batch sizes are measured, and for how long at most."""

    batches: str = Field("1..64", description="1..64 (powers of two), 1..64:8 (steps of 8) or 1,2,4")
    threads: int | None = Field(None, ge=1, description="intra-op threads; all cores by default")
    time_limit_s: float = Field(120.0, gt=0, description="for the whole sweep")
    require: Literal["any", "all"] = Field("any", description="which of the batch sizes must meet the budget")

    @field_validator("batches")
    @classmethod
    def _readable(cls, batches: str) -> str:
        try:
            parse_batches(batches)
        except InputError as error:
            raise ValueError(error.message) from error
        return batches


class Profile(Strict):
    """Everything deploytk needs to take one model from training to a verdict."""

    # `schema` is also a (deprecated) method of BaseModel, hence the alias.
    schema_version: Literal[1] = Field(1, alias="schema")
    name: str = Field(pattern=r"^\w[^/\\]*$", description="also the name of its folder in runs/")
    aliases: tuple[str, ...] = ()
    description: str = ""
    backend: str = "ultralytics"
    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    calibration: Calibration = Calibration()
    export: Export = Export()
    bench: Bench = Bench()
    budget: Budget = Budget()
