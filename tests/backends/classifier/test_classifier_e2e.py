"""A classifier trained in segments on a few drawn pictures: learns, goes on exactly, survives want of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import manifest_files
import pytest
import segments_here
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("timm", reason="timm is not installed")

from deploytk.backends import classifier as backend  # noqa: E402
from deploytk.backends.classifier import checkpoint, network, training  # noqa: E402
from deploytk.data import class_index  # noqa: E402
from deploytk.errors import InputError, RuleFailed  # noqa: E402
from deploytk.profile import Profile  # noqa: E402
from deploytk.training.loop import snapshots  # noqa: E402
from deploytk.training.segments import Segment, as_dict  # noqa: E402
from deploytk.training.shelf import Shelf  # noqa: E402
from deploytk.training.state import Folder, State  # noqa: E402

pytestmark = pytest.mark.e2e

_COLOURS = {"007": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes told by their colour: 8 pictures each to train on, 3 to validate with."""
    root = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 8), ("val", 3)):
        for name, colour in _COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.new("RGB", (40, 36), (4 * i, 4 * i, 4 * i))
                image.paste(colour, (6 + i, 6, 28 + i, 28))
                image.save(root / split / name / f"{i}.png")
    return root


def profile(data: Path, **sections: Any) -> Profile:
    train = {
        "epochs": 6, "imgsz": 32, "batch": 8, "optimizer": "AdamW", "lr0": 0.004, "warmup_epochs": 0, "dropout": 0.1,
        "device": "cpu", "workers": 0, "ema": {"decay": 0.8, "warmup_updates": 4}, **sections.pop("train", {}),
    }  # fmt: skip
    model = {"arch": "mobilenetv3_small_050", "activation": {"kind": "relu"}, **sections.pop("model", {})}
    told = {"name": "pictures", "backend": "classifier", "model": model, "data": {"path": data}, "train": train}
    return Profile.model_validate({**told, **sections})


def trained(wanted: Profile, run: Path) -> State:
    """The state at the end of a training in this process."""
    return segments_here.trained(backend, wanted, run)


def last(run: Path, wanted: Profile) -> dict[str, Any]:
    shelf = Shelf(Folder(run=run).checkpoints, wanted.keep)
    assert shelf.last is not None
    return snapshots.load(shelf.path(shelf.last))


def _best(run: Path, wanted: Profile) -> str:
    best = Shelf(Folder(run=run).checkpoints, wanted.keep).best
    assert best is not None and best.file
    return best.file


def test_it_learns_and_its_checkpoint_opens_without_a_pickle(pictures: Path, tmp_path: Path) -> None:
    wanted = profile(pictures, train={"epochs": 12, "rdrop": 0.5, "label_smoothing": 0.1, "layer_lr": 0.5})
    assert trained(wanted, tmp_path).status == "done"
    summary = backend.finish_training(wanted.model_dump(mode="json", by_alias=True), str(tmp_path))
    assert summary["metrics"]["top1"] > 0.6
    told = backend.describe(tmp_path / "model.pt")
    assert (told["arch"], told["classes"]) == ("mobilenetv3_small_050", ["007", "blue", "green"])
    assert summary["activations"]["network"].keys() == {"relu"}
    assert (tmp_path / "training_report.md").is_file() and (tmp_path / "curves.png").is_file()
    evaluator = backend.evaluator(wanted.model_dump(mode="json", by_alias=True), str(tmp_path))
    best = evaluator.weights(Shelf(Folder(run=tmp_path).checkpoints, wanted.keep).folder / _best(tmp_path, wanted))
    assert sorted(evaluator.modules()) == ["backbone", "head"]
    assert 0.0 <= evaluator.score(evaluator.settled(best), "held_out") <= 1.0
    evaluator.write(best, tmp_path / "again.pt")
    again, kept = (checkpoint.payload(tmp_path / name)["state_dict"] for name in ("again.pt", "model.pt"))
    assert all(torch.equal(again[name], kept[name]) for name in kept)
    rebuilt = checkpoint.rebuild(checkpoint.payload(tmp_path / "model.pt"))
    assert rebuilt(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_parts_of_a_training_are_the_whole_to_the_last_bit(pictures: Path, tmp_path: Path) -> None:
    wanted = profile(pictures, train={"resize": {"start": 32, "until": 3, "steps": 1}, "imgsz": 64, "epochs": 4})
    trained(wanted, tmp_path / "whole")
    assert last(tmp_path / "whole", wanted)["epoch"] == 4
    run = tmp_path / "parts"
    (run / "training").mkdir(parents=True)
    told = wanted.model_dump(mode="json", by_alias=True)
    for first, ends, imgsz in ((1, 1, 32), (2, 2, 32), (3, 4, 64)):
        part = Segment(
            first_epoch=first, last_epoch=ends, total_epochs=4, imgsz=imgsz, batch=8, accumulate=1, precision="auto"
        )
        assert backend.train_segment(told, str(run), as_dict(part))["ended"] == "done"
    whole, parts = last(tmp_path / "whole", wanted), last(run, wanted)
    assert all(torch.equal(whole["model"][name], parts["model"][name]) for name in whole["model"])


def test_boxes_of_a_manifest_are_learned_and_the_model_says_its_classes_and_crops(
    pictures: Path, tmp_path: Path
) -> None:
    rows = [
        f"{pictures}/{split}/{name}/{i}.png,{name},{split},4,4,36,32"
        for split, counts in (("train", {"007": 8, "blue": 4, "green": 2}), ("val", dict.fromkeys(_COLOURS, 2)))
        for name, count in counts.items()
        for i in range(count)
    ]
    csv = manifest_files.written(tmp_path / "all.csv", *rows, header="path,label,split,x1,y1,x2,y2")
    wanted = profile(csv, train={"epochs": 2, "balance": "sampler"})
    assert trained(wanted, tmp_path / "run").status == "done"
    summary = backend.finish_training(wanted.model_dump(mode="json", by_alias=True), str(tmp_path / "run"))
    told = backend.describe(tmp_path / "run" / "model.pt")
    index = class_index.read(tmp_path / "run" / "class_index.json")
    assert told["classes"] == list(index.classes) == ["007", "blue", "green"]
    assert (told["class_index"], told["crops"]) == (index.sha256, {"margin": 0.1, "square": True})
    assert summary["data"]["images"] == {"train": 14, "val": 6}
    class_index.write(tmp_path / "turned.json", class_index.ClassIndex(classes=index.classes[::-1]))
    data = wanted.data.model_copy(update={"class_index": tmp_path / "turned.json"})
    with pytest.raises(InputError, match="begun with other classes"):
        trained(wanted.model_copy(update={"data": data}), tmp_path / "run")


@pytest.mark.parametrize("balance", ["weights", "none"])
def test_weights_of_classes_scale_the_loss_of_their_images(balance: str) -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    by_class = torch.tensor([0.5, 3.0]) if balance == "weights" else None
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = (each * torch.tensor([0.5, 3.0])).mean() if by_class is not None else each.mean()
    assert torch.isclose(training._loss(logits, (logits, labels), 0.0, by_class), expected)


def test_want_of_memory_halves_the_batch_and_goes_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploytk.backends.classifier import pictures as inputs

    plain, seen = inputs.collate, []

    def collate(items: Any) -> Any:
        seen.append(len(items))
        if len(items) > 4 and len(seen) > 5:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(items)

    monkeypatch.setattr(inputs, "collate", collate)
    state = trained(profile(pictures, train={"epochs": 3}), tmp_path)
    assert [s.outcome.ended for s in state.steps if s.outcome] == ["oom", "done"]
    assert (state.steps[1].segment.batch, state.steps[1].segment.accumulate) == (4, 2)


def test_a_new_head_is_put_on_weights_that_were_trained_before(tmp_path: Path) -> None:
    before = network.build("mobilenetv3_small_050", 9, "relu")
    torch.save(before.state_dict(), tmp_path / "before.pt")
    model = network.build("mobilenetv3_small_050", 3, "relu")
    taken = checkpoint.take_weights(model, tmp_path / "before.pt")
    assert taken["left"] == ["classifier.bias", "classifier.weight"]
    assert torch.equal(model.conv_stem.weight, before.conv_stem.weight)


def test_activations_are_swapped_but_gates_are_not() -> None:
    model = network.build("efficientnet_b0", 3, "leaky_relu", 0.2)
    counts = network.require(model, "leaky_relu", 0.2, "model")
    assert counts == {"network": {"leaky_relu(0.2)": 49}}
    assert any(isinstance(m, torch.nn.Sigmoid) for m in model.modules())
    with pytest.raises(RuleFailed, match=r"49 x leaky_relu\(0.2\) instead of relu"):
        network.require(model, "relu", 0.2, "model")


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    torch.save({"format": "other", "weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="no classifier"):
        backend.describe(tmp_path / "model.pt")
