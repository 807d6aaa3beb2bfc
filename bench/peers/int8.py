"""INT8 as deploytk deploys it beside what a user gets by default, all in turns in one run.

python bench/peers/int8.py [--run runs/bccd-relu] [--seconds 40] [--make]    # writes bench/results/int8.{json,md}

Every ratio is to the first way of its model: for the detector `yolo export format=onnx` in ONNX Runtime with its
defaults. `--make` only makes the files, which is slow and need not be alone on the machine; what stands is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import int8_turns
from int8_turns import Timed
from int8_ways import DEFAULT, MAX_DROP, Way, is_kept, of_detector, of_drawn, score
from results import MODELS, keep, parser

from deploytk.artifact import versions_of
from deploytk.data import dataset
from deploytk.files import size_of
from deploytk.stages.real_inputs import real_inputs
from deploytk.stages.run_folder import RunFolder, opened

#: How many times as fast as the default the detector is to be, by what stands inside the clock.
AIMS = {"": 1.9, ", end to end": 2.5}
#: A choice is never to be slower than the default: the lower end of its interval.
LEAST = 0.97
DRAWN = ("resnet18", "mobilenetv3-small")


def allowed(timed: Sequence[Timed], scores: Mapping[str, float], source: float) -> list[Timed]:
    """What deploytk may choose: its own INT8 within the drop, and what is in float."""
    ours = [t for t in timed if t.way.ours and t.rounds_ms]
    return [t for t in ours if is_kept(source, scores.get(t.way.name, source))]


def rows(model: str, timed: Sequence[Timed], chosen: Timed, scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row for each way; what could not be measured says why."""
    return [row(model, timed[0], t, t is chosen, scores.get(t.way.name)) for t in timed]


def row(model: str, default: Timed, timed: Timed, chosen: bool, metric: float | None) -> dict[str, Any]:
    """One way of one model."""
    told = {"model": model, "contender": timed.way.name, "mAP50": metric}
    found = int8_turns.times_as_fast(timed, default)
    if found is None:
        return told | {"deploytk": f"not measured: {timed.reason}"}
    return told | {
        "median ms": round(timed.ms, 2),
        "times as fast": round(found.value, 2),
        "interval": None if timed is default else int8_turns.interval(found),
        "size MB": round(size_of(timed.way.path) / 1e6, 2),
        "operators": timed.details["precision"],
        "deploytk": "its choice" if chosen else None,
    }


def sentence(model: str, timed: Sequence[Timed], chosen: Timed, lossy: Collection[str], aim: float | None) -> str:
    """What deploytk's choice comes to beside the default and the fastest single peer that kept its accuracy.

    Args:
        lossy: the ways that lost more than is allowed; where such a peer is faster still, it is told too.
    """
    default, peers = timed[0], [t for t in timed if t.way.peer and t.rounds_ms]
    peer = int8_turns.fastest([t for t in peers if t.way.name not in lossy])
    words = [f"{model}: {chosen.way.name}"]
    if chosen is default:
        words.append("the default itself")
    else:
        found = int8_turns.times_as_fast(chosen, default)
        assert found
        never = "never worse" if found.low >= LEAST else f"**lower end below {LEAST}**"
        words.append(f"{found.value:.2f} times as fast as the default ({int8_turns.interval(found)}: {never})")
        if aim:
            words.append(f"the aim of {aim:g} is {'reached' if found.value >= aim else '**not reached**'}")
    words.append(_beside(chosen, peer))
    if (other := int8_turns.fastest(peers)) is not peer:
        found = int8_turns.times_as_fast(other, chosen)
        assert found
        words.append(f"while {other.way.name} lost more than is allowed, at {found.value:.2f} times its speed")
    return ", ".join(words) + "."


def _beside(chosen: Timed, peer: Timed) -> str:
    """The choice beside the fastest peer: slower only where the whole interval says so."""
    if chosen is peer:
        return "which is also the fastest peer that kept its accuracy"
    found = int8_turns.times_as_fast(chosen, peer)
    assert found
    word = "**slower than**" if found.high < 1 else "not slower than"
    told = f"{found.value:.2f}; {int8_turns.interval(found)}"
    return f"{word} the fastest peer that kept its accuracy, {peer.way.name} ({told})"


def judged(
    model: str, timed: Sequence[Timed], scores: Mapping[str, float], source: float, aim: float | None
) -> tuple[list[dict[str, Any]], str]:
    """The rows of one model and what they say; the choice is the fastest that is allowed."""
    chosen = int8_turns.fastest(allowed(timed, scores, source))
    lossy = [name for name, value in scores.items() if not is_kept(source, value)]
    words = sentence(model, timed, chosen, lossy, aim)
    if chosen.way.name in scores:
        words += f" mAP50 {scores[chosen.way.name]:.3f}, the default's {source:.3f}."
    return rows(model, timed, chosen, scores), words


def of_run(run: RunFolder, ways: Sequence[Way], folder: Path, seconds: float) -> list[Any]:
    """(name, timed, scores, the trained model's score, aim) of the detector: the model alone, and end to end."""
    logs, profile = folder / "logs", run.profile()
    scores: dict[str, float] = {}
    for way in ways:
        # The preparation in front of a model changes none of its boxes: the export has proved it.
        scores[way.name] = scores[way.inside_of] if way.inside_of else round(score(run, way, logs), 3)
        print(f"mAP50 {scores[way.name]:.3f}: {way.name}")
    assert profile.data.path
    feeds, images = real_inputs(profile, run, None), dataset.read(profile.data.path).splits["val"]
    measured = []
    for what, aim in AIMS.items():
        print(f"in turns: {run.path.name}{what}")
        files = [sample.image for sample in images] if what else []
        able = [way for way in ways if files or not way.inside_of]
        timed = int8_turns.in_turns(able, seconds=seconds, logs=logs, feeds=feeds, images=files)
        measured.append((f"{run.path.name}{what}", timed, scores, scores[DEFAULT], aim))
    return measured


def main() -> None:
    """Make, measure, print and keep the table."""
    asked = parser("INT8 as deploytk deploys it beside the defaults.", "int8")
    asked.add_argument("--run", type=Path, default=Path("runs/bccd-relu"), help="a trained detector")
    asked.add_argument("--models", type=Path, default=MODELS, help="folder of the classifiers with drawn weights")
    asked.add_argument("--files", type=Path, default=Path("runs/int8"), help="folder for what is made")
    asked.add_argument("--seconds", type=float, default=40.0, help="at most, for each model")
    asked.add_argument("--make", action="store_true", help="make the files and measure nothing")
    given = asked.parse_args()
    run, files = opened(given.run.absolute()), given.files.absolute()
    data = run.profile().data.path
    assert data
    detector = of_detector(run, files / run.path.name)
    drawn = {name: of_drawn((given.models / f"{name}.onnx").absolute(), data, files / name) for name in DRAWN}
    if given.make:
        return
    measured = of_run(run, detector, files / run.path.name, given.seconds)
    for name, ways in drawn.items():
        print(f"in turns: {name}")
        feeds, logs = files / name / "images.npz", files / name / "logs"
        timed = int8_turns.in_turns(ways, seconds=given.seconds, logs=logs, feeds=feeds)
        measured.append((name, timed, {}, 0.0, None))
    told = [judged(*each) for each in measured]
    keep(
        given.out,
        "int8",
        sentence=" ".join(words for _, words in told),
        how=f"Batch 1, default threads, each way in a process of its own, in turns for at most {given.seconds:g} s for "
        "each model; ratios within the rounds, intervals of 95 % over all looks. deploytk chooses the fastest of its "
        f"INT8 models that lost at most {100 * MAX_DROP:g} point of mAP50 and of the float ones. The classifiers have "
        "drawn weights: their speed only.",
        rows=[row for each, _ in told for row in each],
        versions=versions_of("deploytk", "onnxruntime", "openvino", "nncf", "ultralytics"),
        rounds_ms={model: {t.way.name: t.rounds_ms for t in timed} for model, timed, *_ in measured},
    )


if __name__ == "__main__":
    main()
