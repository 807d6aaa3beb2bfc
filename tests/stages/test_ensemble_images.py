"""Detectors and classifiers that answer as one: real runtimes, tiny models, labelled images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")
import onnx
import tiny_pipeline
from onnx import numpy_helper

from deploytk.data.detections import Detections
from deploytk.errors import InputError
from deploytk.pipelines.accuracy import average_precision, taken
from deploytk.stages import ensemble_images, ensemble_models, ensemble_scores
from deploytk.stages.ensemble_child import answered
from deploytk.stages.ensemble_images import combined
from deploytk.stages.ensemble_scores import Objects

RED, MAGENTA = "007", "042"
NAMES = list(tiny_pipeline.NAMES)
PHOTOS: list[list[tuple[str, tiny_pipeline.Square]]] = [
    [(RED, (16 * (i % 2), 16, 16 * (i % 2) + 16, 32)), (MAGENTA, (32, 16 * (i % 3), 48, 16 * (i % 3) + 16))]
    for i in range(5)
]


def told_of(path: Path, **facts: Any) -> Path:
    """The ONNX with facts of deploytk's in its metadata."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {f"deploytk.{name}": json.dumps(value) for name, value in facts.items()})
    onnx.save(model, path)
    return path


def classifier(path: Path, blue: float, names: list[str] = NAMES) -> Path:
    """It calls what has blue in it "042", a negative one everything else."""
    preparation = tiny_pipeline.NAMES_IT.model_dump(mode="json")
    return told_of(tiny_pipeline.classifier(path, 1, blue), names=names, preparation=preparation)


def detector(path: Path, colour: tuple[float, float, float], names: list[str] | None = None) -> Path:
    """It finds squares of a colour, as the class "thing"."""
    model = onnx.load(tiny_pipeline.detector(path))
    weight = next(one for one in model.graph.initializer if one.name == "w")
    weight.CopyFrom(numpy_helper.from_array(np.array(colour, np.float32).reshape(1, 3, 1, 1), "w"))
    onnx.save(model, path)
    return told_of(path, names=names or ["thing"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("ensemble")
    (found / "models").mkdir()
    classifier(found / "models/right.onnx", 10.0)
    classifier(found / "models/unsure.onnx", 2.0)
    classifier(found / "models/wrong.onnx", -4.0)
    detector(found / "models/red.onnx", (1, -1, -1))
    detector(found / "models/magenta.onnx", (0, -1, 1))
    for split, count in (("train", 1), ("val", 6)):
        for i in range(count):
            for name in NAMES:
                tiny_pipeline.photo(found / f"photos/{split}/{name}/{i}.png", [(name, (0, 0, 8, 8 - i % 2))], (8, 8))
    data = tiny_pipeline.dataset(found / "data", PHOTOS)
    # For detectors all squares are things.
    data.write_text(data.read_text(encoding="utf-8").split("names:")[0] + "names: [thing]\n", encoding="utf-8")
    for label in (found / "data/labels").rglob("*.txt"):
        lines = label.read_text(encoding="utf-8").splitlines()
        label.write_text("".join(f"0 {line.split(' ', 1)[1]}\n" for line in lines), encoding="utf-8")
    return found


def asked(root: Path, *names: str, strategy: Any, tta: bool = False, out: Path | None = None) -> dict[str, Any]:
    """What the child tells, in this process."""
    models = [
        {"name": name, "path": str(root / f"models/{name}.onnx"), "sha256": name, "weight": 1.0} for name in names
    ]
    data = root / ("data/data.yaml" if strategy == "wbf" else "photos")
    return answered(models, str(data), strategy, "val", tta, str(out) if out else None)


@pytest.mark.e2e
def test_two_detectors_find_what_each_alone_does_not(root: Path, tmp_path: Path) -> None:
    models = [root / "models/red.onnx", root / "models/magenta.onnx"]
    told = combined(models, root / "data/data.yaml", strategy="wbf", out=tmp_path)

    assert (told["kind"], told["metric"], told["samples"], told["passthrough"]) == ("detector", "mAP50", 5, False)
    assert [one["score"] for one in told["systems"]] == pytest.approx([0.5, 0.5])
    assert told["ensemble"]["score"] == pytest.approx(1.0)
    apart = told["difference"]
    assert (apart["told"], apart["to"]) == ("better", "red") and apart["mean"] == pytest.approx(0.5)
    assert apart["low"] <= apart["mean"] <= apart["high"]
    assert told["ensemble"]["ms_per_sample"] > sum(one["ms_per_sample"] for one in told["systems"]) > 0

    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [Path(line["image"]).name for line in lines] == [f"val{i}.png" for i in range(5)]
    # Each square is found by one of the two models: half as certain, but where it is.
    for line, photo in zip(lines, PHOTOS, strict=True):
        assert np.array(sorted(line["boxes"][:2])) == pytest.approx(np.array(sorted(square for _, square in photo)))
        assert line["scores"][:2] == [0.5, 0.5] and set(line["labels"]) == {"thing"}


@pytest.mark.e2e
def test_two_classifiers_of_two_runtimes_answer_as_one(root: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    exported = tmp_path / "run/export"
    classifier(_made(exported / "onnx/model.onnx"), 2.0)
    openvino.save_model(openvino.convert_model(exported / "onnx/model.onnx"), _made(exported / "openvino/fp32.xml"))
    models = [root / "models/wrong.onnx", exported / "openvino/fp32.xml"]

    told = combined(models, root / "photos", strategy="average", weights=[1, 3], out=tmp_path / "out")

    assert (told["kind"], told["metric"], told["samples"]) == ("classifier", "top1", 12)
    assert [one["score"] for one in told["systems"]] == [0.0, 1.0]
    # An IR does not say what its classes are called or how images are prepared: the ONNX it was made from does.
    assert told["systems"][1]["preparation"] == told["systems"][0]["preparation"] != ""
    assert told["notes"] == [] and told["ensemble"]["score"] == 1.0
    assert (told["difference"]["told"], told["difference"]["to"]) == ("not told apart", "fp32")
    assert [one["weight"] for one in told["members"]] == [1, 3]
    rows = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == [Path(row["image"]).parent.name for row in rows]
    assert [sum(row["probabilities"]) for row in rows] == pytest.approx([1.0] * 12, abs=1e-5)


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.e2e
def test_the_same_model_twice_is_one_and_passes_through(root: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy.onnx"
    copied.write_bytes((root / "models/unsure.onnx").read_bytes())
    told = combined([root / "models/unsure.onnx", copied], root / "photos", strategy="vote", out=tmp_path)
    assert told["passthrough"] and len(told["systems"]) == len(told["members"]) == 1
    assert told["notes"] == [f"{copied} is the same model as {root / 'models/unsure.onnx'}, and counts once"]
    assert told["ensemble"] == {name: told["systems"][0][name] for name in ("score", "ms_per_sample")}
    row = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    assert 0.5 < max(row["probabilities"]) < 0.99  # its own, not a vote's


def test_stacking_learns_that_a_model_is_always_wrong(root: Path, tmp_path: Path) -> None:
    told = asked(root, "wrong", "wrong", strategy="stacking", out=tmp_path)
    assert told["systems"][0]["score"] == 0.0 and told["ensemble"]["score"] == 1.0
    assert told["difference"]["told"] == "better" and told["learnt"]["stratified"]
    assert all(weight < 0 for weight in told["learnt"]["weights"])
    kept = json.loads((tmp_path / "stacking.json").read_text())
    assert kept["names"] == NAMES and np.shape(kept["coefficients"]) == (2, 4)


def test_stacking_on_too_few_samples_is_refused_before_a_model_runs(root: Path) -> None:
    for name in NAMES:
        for split in ("train", "val"):
            tiny_pipeline.photo(root / f"few/{split}/{name}/0.png", [(name, (0, 0, 8, 8))], (8, 8))
    model = {"name": "right", "path": str(root / "models/right.onnx"), "sha256": "a", "weight": 1.0}
    with pytest.raises(InputError, match="needs 10 labelled samples or more; 2 are there"):
        answered([model], str(root / "few"), "stacking", "val", False, None)


def test_a_vote_of_three_is_that_of_two(root: Path) -> None:
    told = asked(root, "right", "wrong", "unsure", strategy="vote")
    assert told["ensemble"]["score"] == 1.0 and [one["score"] for one in told["systems"]] == [1.0, 0.0, 1.0]


def test_the_digest_is_that_of_the_samples_not_of_the_models(root: Path) -> None:
    one, other = asked(root, "right", strategy="average"), asked(root, "wrong", strategy="average")
    assert one["digest"] == other["digest"] != asked(root, "red", strategy="wbf")["digest"]


def test_a_mirror_makes_a_further_member_and_boxes_are_flipped_back(root: Path, tmp_path: Path) -> None:
    alone, both = asked(root, "red", strategy="wbf"), asked(root, "red", strategy="wbf", tta=True, out=tmp_path)
    assert not both["passthrough"] and [one["flip"] for one in both["members"]] == [False, True]
    assert both["ensemble"]["score"] == pytest.approx(alone["ensemble"]["score"])
    first = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[1])
    assert (first["boxes"][0], first["scores"][0]) == (pytest.approx(list(map(float, PHOTOS[1][0][1]))), 1.0)
    assert any("mirror" in note for note in both["notes"])


@given(st.lists(st.tuples(*[st.integers(0, 100)] * 4), max_size=5), st.integers(100, 200))
def test_the_mirror_of_a_mirror_is_the_image(corners: list[Any], width: int) -> None:
    boxes = np.array(corners, np.float32).reshape(-1, 4)
    found = Detections(boxes=boxes, scores=np.ones(len(boxes)), labels=np.zeros(len(boxes), np.int64), candidates=0)
    mirrored = ensemble_models.flipped(found, width)
    assert ensemble_models.flipped(mirrored, width).boxes.tolist() == boxes.tolist()
    assert (mirrored.boxes[:, 2] - mirrored.boxes[:, 0]).tolist() == (boxes[:, 2] - boxes[:, 0]).tolist()


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_images_that_are_drawn_again_count_as_if_they_were_there_again(seed: int, images: int) -> None:
    chance = np.random.default_rng(seed)

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        corner = chance.integers(0, 12, (count, 2)).astype(np.float32)
        return np.concatenate([corner, corner + chance.integers(6, 14, (count, 2))], 1), chance.integers(0, 2, count)

    found, truth = [], []
    for _ in range(images):
        boxes, labels = some(5)
        scores = chance.random(5).astype(np.float32)
        found.append(Detections(boxes=boxes, scores=scores, labels=labels, candidates=5))
        truth.append(Objects(**dict(zip(("boxes", "labels"), some(3), strict=True))))
    counts = chance.integers(0, 3, images)
    again = [i for i in range(images) for _ in range(counts[i])]
    each = []
    for label in range(2):
        sure: list[float] = []
        right: list[bool] = []
        for said, there in ((found[i], truth[i]) for i in again):
            mine = said.labels == label
            sure += said.scores[mine].tolist()
            took = taken(said.boxes[mine], said.scores[mine], there.boxes[there.labels == label])
            right += (took >= 0).tolist()
        each.append(average_precision(sure, right, sum(int((truth[i].labels == label).sum()) for i in again)))
    known = [value for value in each if value is not None]
    told = ensemble_scores.mean_precision(found, truth)(counts)
    assert told == pytest.approx(float(np.mean(known)) if known else float("nan"), nan_ok=True)


def test_a_difference_is_told_where_it_is_one() -> None:
    right, wrong = np.eye(2)[[0] * 40], np.eye(2)[[1] * 40]
    truth = np.zeros(40, np.int64)
    mixed = np.eye(2)[[0, 1] * 20]
    ours, theirs = ensemble_scores.top1(right, truth), ensemble_scores.top1(mixed, truth)
    better = ensemble_scores.difference(ours, theirs, 40)
    assert (better["mean"], better["told"]) == (0.5, "better") and 0.3 < better["low"] < 0.5 < better["high"] < 0.7
    assert ensemble_scores.difference(theirs, ours, 40)["told"] == "worse"
    same = ensemble_scores.difference(ensemble_scores.top1(wrong, truth), ensemble_scores.top1(wrong, truth), 40)
    assert (same["mean"], same["low"], same["high"], same["told"]) == (0, 0, 0, "not told apart")


def test_detectors_and_classifiers_are_no_ensemble(root: Path) -> None:
    with pytest.raises(InputError, match="red is a detector, right is a classifier"):
        asked(root, "red", "right", strategy="wbf")


def test_a_strategy_is_for_its_kind_of_models(root: Path) -> None:
    with pytest.raises(InputError, match="wbf is not for classifiers; theirs: average, vote, stacking"):
        asked(root, "right", strategy="wbf")


@pytest.mark.parametrize("names", [["042", "007"], ["007", "043"]])
def test_other_classes_or_another_order_are_no_ensemble(root: Path, names: list[str]) -> None:
    other = classifier(root / f"models/other-{names[1]}.onnx", 10.0, names)
    with pytest.raises(
        InputError, match=rf"in the same order: right: 2 classes \(007, 042\); .*\({', '.join(names)}\)"
    ):
        asked(root, "right", other.stem, strategy="average")


def test_data_of_classes_that_the_models_do_not_know_is_refused(root: Path) -> None:
    classifier(root / "models/others.onnx", 10.0, ["007", "043"])
    with pytest.raises(InputError, match=r"1 of 2 are not \(first: '042'; theirs: 007, 043\)"):
        asked(root, "others", strategy="average")


def test_a_detector_of_one_class_finds_objects_of_any(root: Path) -> None:
    model = {"name": "red", "path": str(root / "models/red.onnx"), "sha256": "a", "weight": 1.0}
    data = tiny_pipeline.dataset(root / "two", PHOTOS)
    told = answered([model], str(data), "wbf", "val", False, None)
    assert told["ensemble"]["score"] == pytest.approx(0.5)
    assert "the models know one class, 'thing': every object of the dataset counts as one" in told["notes"]


def test_names_that_no_file_says_are_the_datasets(root: Path) -> None:
    tiny_pipeline.classifier(root / "models/nameless.onnx", 1)
    told = asked(root, "nameless", strategy="average")
    assert any(note.startswith("nameless: no preparation.yaml beside the file") for note in told["notes"])
    assert "nameless: no names of classes in the file; the dataset's are taken, in their order" in told["notes"]
    told = asked(root, "right", "nameless", strategy="average")
    assert any("the other models' are taken" in note for note in told["notes"])


def test_a_split_that_is_not_there_is_said(root: Path) -> None:
    model = {"name": "a", "path": str(root / "models/right.onnx"), "sha256": "a", "weight": 1.0}
    with pytest.raises(InputError, match="no split 'test'; it has train, val"):
        answered([model], str(root / "photos"), "average", "test", False, None)


def test_nan_is_no_answer(root: Path) -> None:
    classifier(root / "models/nan.onnx", float("nan"))
    with pytest.raises(InputError, match=r"nan.onnx: its output y for .*0.png holds NaN"):
        asked(root, "nan", strategy="average")


def test_what_is_no_deployed_model_says_what_to_do(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "profile.json").write_text("{}", encoding="utf-8")
    ask: Callable[..., Any] = lambda *models, **more: combined(models, root / "photos", strategy="average", **more)  # noqa: E731
    with pytest.raises(InputError, match=f"run: deploytk export {run} --target onnx"):
        ask(run)
    with pytest.raises(InputError, match="no such file"):
        ask(tmp_path / "no.onnx")
    with pytest.raises(InputError, match="give one or more"):
        ask()
    with pytest.raises(InputError, match="1 weights for 2 models"):
        ask(root / "models/right.onnx", root / "models/wrong.onnx", weights=[1.0])
    with pytest.raises(InputError, match="learns what each model is worth"):
        combined([root / "models/right.onnx"], root / "photos", strategy="stacking", weights=[1.0])


def test_names_tell_models_apart(tmp_path: Path) -> None:
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
    models = [tmp_path / "a/model.onnx", tmp_path / "b/model.onnx", tmp_path / "b/other.onnx", tmp_path / "a"]
    files = [*models[:3], tmp_path / "a/export/onnx/model.onnx"]
    assert ensemble_images._names(models, files) == ["a/model", "b/model", "other", "a"]
