"""A small classifier trained briefly on handwritten characters: runs/omniglot/model.onnx and its pictures (timm).

python bench/peers/omniglot.py [--data ../shared/data/omniglot_small1] [--epochs 30]

136 characters, 20 people each; what persons 16 to 20 wrote is only for validation. timm comes with the extra
[classifier].
"""

from __future__ import annotations

import argparse
import math
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from deploytk.data import labelled
from deploytk.data.preparation import Preparation
from deploytk.files import written_whole

SIZE = 64
PREPARATION = Preparation(kind="resize", size=(SIZE, SIZE))
_ARCHIVE = "images_background_small1.zip"
_TRAINED_BY = 15
_OPSET = 17


def unpacked(archive: Path, out: Path) -> Path:
    """The pictures of the archive in out/train/CLASS and out/val/CLASS; what is there is left as it is."""
    if out.is_dir():
        return out
    with written_whole(out) as partial, zipfile.ZipFile(archive) as held:
        for name in held.namelist():
            if name.endswith(".png"):
                *_, alphabet, character, file = Path(name).parts
                person = int(file.removesuffix(".png").split("_")[1])
                folder = partial / ("train" if person <= _TRAINED_BY else "val") / f"{alphabet}-{character}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(held.read(name))
    return out


def loaded(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(inputs (N, 3, 64, 64) float32 0..1, class of each) of the pictures of one split, prepared as at inference."""
    pool = labelled.read(folder)
    images = [PREPARATION.prepare(one.image.read_bytes(), str(one.image)) for one in pool.train]
    return np.concatenate(images), np.array([next(iter(one.classes)) for one in pool.train])


def network(classes: int) -> nn.Module:
    """A ResNet of four blocks."""
    blocks = {"layers": (1, 1, 1, 1), "channels": (32, 64, 128, 256)}
    made: nn.Module = ResNet(BasicBlock, num_classes=classes, stem_type="deep", stem_width=16, **blocks)
    return made


def trained(images: torch.Tensor, labels: torch.Tensor, epochs: int, batch: int = 64) -> nn.Module:
    """The network after `epochs` over randomly turned, scaled and moved pictures."""
    torch.manual_seed(0)
    model = network(int(labels.max()) + 1).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    steps = epochs * math.ceil(len(images) / batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images)).split(batch):
            loss = nn.functional.cross_entropy(model(moved(images[chosen])), labels[chosen], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(images):.3f}", flush=True)
    return model.eval()


def moved(images: torch.Tensor) -> torch.Tensor:
    """Each picture turned by up to 15 degrees, scaled by up to 15 % and moved by up to a tenth; white around."""
    angle, scale = (0.26 * (2 * torch.rand(len(images)) - 1), 1 + 0.15 * (2 * torch.rand(len(images)) - 1))
    turn = torch.stack([angle.cos() * scale, -angle.sin() * scale, angle.sin() * scale, angle.cos() * scale], 1)
    where = torch.cat([turn.view(-1, 2, 2), 0.2 * (2 * torch.rand(len(images), 2, 1) - 1)], 2)
    grid = nn.functional.affine_grid(where, list(images.shape), align_corners=False)
    return 1 - nn.functional.grid_sample(1 - images, grid, align_corners=False)


def exported(model: nn.Module, out: Path) -> None:
    """Write the ONNX: `images` (batch, 3, 64, 64) -> `logits` (batch, classes)."""
    with written_whole(out) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter, which gives the plainer graph
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, SIZE, SIZE),),
            str(temporary),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )


def main() -> None:
    """Unpack, train and export."""
    asked = argparse.ArgumentParser(description="A small classifier of handwritten characters.")
    asked.add_argument("--data", type=Path, default=Path("../shared/data/omniglot_small1"))
    asked.add_argument("--out", type=Path, default=Path("runs/omniglot"))
    asked.add_argument("--epochs", type=int, default=30)
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pictures = unpacked(given.data / _ARCHIVE, given.out / "data")
    images, labels = loaded(pictures / "train")
    model = trained(torch.from_numpy(images), torch.from_numpy(labels), given.epochs)
    exported(model, given.out / "model.onnx")
    images, labels = loaded(pictures / "val")
    with torch.no_grad():
        found = model(torch.from_numpy(images)).argmax(1).numpy()
    print(f"{given.out / 'model.onnx'}: top-1 {np.mean(found == labels):.3f} on {len(labels)} pictures")


if __name__ == "__main__":
    main()
