"""`validate` looks at everything and trains nothing; `smoke` trains two epochs of all that is switched on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_training import profile

from deploytk.errors import InputError
from deploytk.stages import train_modes
from deploytk.stages.train import train
from deploytk.training.state import Folder
from deploytk.training.tensors import sick

pytestmark = pytest.mark.usefixtures("toy")


def files(run: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_validate_trains_nothing_and_writes_nothing(tmp_path: Path) -> None:
    report = train_modes.validate(profile(), tmp_path / "run")
    assert (report.verdict.status, report.exit_code, report.artifact) == ("pass", 0, None)
    assert "nothing was trained" in report.verdict.reasons[-1]
    assert not list(tmp_path.iterdir())


def test_validate_refuses_what_training_would_refuse(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        train_modes.validate(profile(data={"path": tmp_path / "none.yaml"}), tmp_path / "run")


def test_validate_opens_every_checkpoint_and_names_the_damaged(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(profile(), run)
    assert train_modes.validate(profile(), run).sections["validate"]["checkpoints"] == 5  # keep.at_most
    checkpoints = Folder(run=run).checkpoints
    (checkpoints / "epoch_0006.pt").unlink()
    (checkpoints / "epoch_0005.pt").write_bytes((checkpoints / "epoch_0005.pt").read_bytes()[:50])
    _with_nan(checkpoints / "epoch_0004.pt")
    (run / "model.pt").write_bytes(b"changed")
    before = files(run)
    report = train_modes.validate(profile(), run)
    assert (report.verdict.status, report.exit_code) == ("fail", 2)
    told = {Path(f.where).name: f.rule for f in report.findings}
    assert told["epoch_0006.pt"] == "TRN010"
    assert told["epoch_0005.pt"] == "TRN011"
    assert told["epoch_0004.pt"] == "TRN012"
    assert "model.pt" in told
    assert files(run) == before


def _with_nan(path: Path) -> None:
    from toy_backend import network

    tensors = network.checkpoint_tensors(path)
    tensors["weight"][0] = float("nan")
    network.write(path, tensors)


def test_a_checkpoint_of_torch_is_looked_through_without_unpickling(tmp_path: Path) -> None:
    whole = {"model": {"a.weight": torch.ones(2), "steps": torch.tensor(3)}, "optimizer": [torch.zeros(1)], "epoch": 3}
    torch.save(whole, tmp_path / "whole.pt")
    assert sick(tmp_path / "whole.pt") == []
    torch.save({**whole, "ema": {"b": torch.tensor([1.0, float("inf")])}}, tmp_path / "sick.pt")
    assert sick(tmp_path / "sick.pt") == ["ema.b"]
    torch.save({"code": Path}, tmp_path / "pickle.pt")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        sick(tmp_path / "pickle.pt")


def test_smoke_goes_through_everything_in_two_epochs(tmp_path: Path) -> None:
    wanted = profile(train={"epochs": 100, "effective_batch": 32, "resize": {"start": 32, "until": 50, "steps": 3}})
    report = train_modes.smoke(wanted, tmp_path / "run")
    assert (report.verdict.status, report.exit_code) == ("pass", 0)
    told = report.sections["smoke"]
    assert "image sizes [32, 64]" in told["exercised"]
    assert "a resume in a new process" in told["exercised"]
    assert "accumulated gradients" in told["exercised"]
    assert (told["epochs"], told["estimate"]) == (100, True)
    assert "100 epochs are estimated to take" in report.verdict.reasons[-1]
    assert [row["epochs"] for row in report.sections["train"]["timeline"]] == ["1..1", "2..2"]
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["smoke"]
