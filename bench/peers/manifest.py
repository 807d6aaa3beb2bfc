"""Half a million rows read and checked beside the standard library's csv, and planted faults looked for in JPEGs.

python bench/peers/manifest.py [--rows 500000] [--images 20000]    # writes bench/results/manifest.*

The rows: each way in a fresh process, in turns, the ratio within each round. The images are drawn; faults of every
kind are planted in them, and every finding of a deep check must be one of those. How fast one core looks at images is
measured beside the bare decoder, in turns.
"""

from __future__ import annotations

import csv
import io
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from int8_ways import call
from PIL import Image, ImageOps
from results import keep, parser

from deploytk import usage
from deploytk.artifact import versions_of
from deploytk.data.manifests import copies, manifest
from deploytk.data.manifests.seeing import Known, see
from deploytk.stages.manifest_check import check

CLASSES, ROUNDS, PLANTED = 4523, 5, 25
#: So many JPEGs of each size are looked at.
_PACED = 200


def rows_in(folder: Path, count: int) -> list[str]:
    """train.csv and val.csv with so many rows, a tenth of them in val; one row in ten thousand is there twice."""
    chance = random.Random(0)
    rows = []
    for number in range(count):
        label = chance.randrange(CLASSES)
        rows.append((f"images/class_{label:04d}/photo_{number:07d}_{chance.randrange(10**9)}.jpg", f"{label:05d}"))
    for number in range(0, count * 9 // 10, 10_000):
        rows[number + 1] = rows[number]
    for name, part in (("train", rows[: count * 9 // 10]), ("val", rows[count * 9 // 10 :])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("path", "label"), *part])
    return [str(folder / f"{name}.csv") for name in ("train", "val")]


def ours(files: list[str]) -> dict[str, Any]:
    """Seconds, peak memory and what was found, by deploytk."""
    import polars  # noqa: F401 - what is measured is the work, not the import

    started = time.perf_counter()
    told = manifest.read(*map(Path, files))
    counts = told.counts()
    twice = sum(1 for _ in copies.of_rows(told, told.images))
    return _measured(started, len(told), len(counts), twice)


def by_csv(files: list[str]) -> dict[str, Any]:
    """The same by the standard library: rows, rows of each class and split, paths that are there twice."""
    started = time.perf_counter()
    counts: Counter[tuple[str, str]] = Counter()
    seen: dict[tuple[str, str], str] = {}
    rows = twice = 0
    for file in files:
        root = str(Path(file).parent)
        with Path(file).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                rows += 1
                counts[file, row["label"]] += 1
                key = (file, f"{root}/{row['path']}")
                twice += key in seen
                seen[key] = row["label"]
    return _measured(started, rows, len({label for _, label in counts}), twice)


def _measured(started: float, rows: int, classes: int, twice: int) -> dict[str, Any]:
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "peak_mb": round(usage.peak_rss_mb() or 0.0, 1),
        "rows": rows,
        "classes": classes,
        "twice": twice,
    }


def compared(files: list[str]) -> list[dict[str, Any]]:
    """A row for each way: median seconds and peak memory; the ratio is the median of those of the rounds."""
    found: dict[str, list[dict[str, Any]]] = {"by_csv": [], "ours": []}
    with tempfile.TemporaryDirectory() as logs:
        for number in range(ROUNDS):
            for name in found if number % 2 else reversed(found):
                found[name].append(call(f"manifest:{name}", "rows", Path(logs), files=files))
    if any(a[key] != b[key] for a, b in zip(*found.values(), strict=True) for key in ("rows", "classes", "twice")):
        raise SystemExit("the two ways do not find the same")
    ratio = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(found["by_csv"], found["ours"], strict=True))
    return [
        {
            "what": f"{each[0]['rows']:,} rows, {each[0]['classes']:,} classes: read, counted, {each[0]['twice']} "
            "rows that are there twice found",
            "way": {"ours": "deploytk (polars)", "by_csv": "csv of the standard library"}[name],
            "s": round(statistics.median(one["seconds"] for one in each), 3),
            "peak MB": max(one["peak_mb"] for one in each),
            "times as fast": round(ratio, 2) if name == "ours" else 1.0,
        }
        for name, each in found.items()
    ]


def photo(
    number: int,
    *,
    mirror: bool = False,
    quality: int = 90,
    kind: str = "JPEG",
    size: tuple[int, int] = (320, 240),
) -> bytes:
    """A drawn picture, like no other."""
    noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    drawn = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(number).integers(-6, 7, (*size[::-1], 1))
    drawn = Image.fromarray(np.clip(np.asarray(drawn, np.int16) + grain, 0, 255).astype(np.uint8))
    stream = io.BytesIO()
    (ImageOps.mirror(drawn) if mirror else drawn).save(stream, kind, quality=quality)
    return stream.getvalue()


def _zeroed(data: bytes) -> bytes:
    return data[:4096] + bytes(2048) + data[6144:]


def _overwritten(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + b"\xff" * 120 + data[middle + 120 :]


#: What is done to a file of train -> the rule that must say so.
DAMAGES: dict[str, tuple[str, Callable[[int, bytes], bytes | None]]] = {
    "not there": ("DAT001", lambda _number, _data: None),
    "empty": ("DAT002", lambda _number, _data: b""),
    "a web page": ("DAT003", lambda number, _data: f"<html>404 {number}</html>".encode()),
    "a PNG named .jpg": ("DAT004", lambda number, _data: photo(number, kind="PNG")),
    "cut off": ("DAT005", lambda _number, data: data[: len(data) * 2 // 3]),
    "a header and nothing": (
        "DAT006",
        lambda number, _data: b"\xff\xd8\xff\xfe\x00\x06%04d\xff\xd9" % (number % 10_000),
    ),
    "a block of zeros": ("DAT015", lambda _number, data: _zeroed(data)),
    "bytes overwritten": ("DAT009", lambda _number, data: _overwritten(data)),
}
#: What is done to a row of train and one of val -> the rule.
PAIRS = {
    "the same file in val": "DAT050",
    "saved again in val": "DAT052",
    "mirrored in val": "DAT052",
    "a path in two splits": "DAT073",
    "the same file twice in train": "DAT053",
    "a row twice": "DAT074",
    "a path under two labels": "DAT072",
    "no label": "DAT070",
}


def planted(folder: Path, count: int) -> tuple[list[Path], dict[tuple[str, int], str]]:
    """(the manifest, (file, line) -> what was planted there)."""
    train, val = count * 8 // 10, count * 2 // 10
    rows = {"train": [[f"{i}.jpg", f"{i % 40:03d}"] for i in range(train)], "val": []}
    rows["val"] = [[f"{i}.jpg", f"{i % 40:03d}"] for i in range(train, train + val)]
    for number in range(train + val):
        (folder / f"{number}.jpg").write_bytes(photo(number))
    at: dict[tuple[str, int], str] = {}
    for kind, number in _places(DAMAGES, 0):
        file = folder / f"{number}.jpg"
        changed = DAMAGES[kind][1](number, file.read_bytes())
        file.unlink() if changed is None else file.write_bytes(changed)
        at["train.csv", number + 2] = kind
    for kind, number in _places(PAIRS, len(DAMAGES) * PLANTED):
        line = _plant(folder, rows, kind, number, train)
        at["train.csv", line] = kind
    for name, told in rows.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("path", "label"), *told])
    return [folder / "train.csv", folder / "val.csv"], at


def _places(kinds: Any, first: int) -> Iterator[tuple[str, int]]:
    for place, kind in enumerate(kinds):
        for number in range(PLANTED):
            yield kind, first + place * PLANTED + number


def _plant(folder: Path, rows: dict[str, list[list[str]]], kind: str, number: int, train: int) -> int:
    """The line of train.csv at which the fault must be told."""
    other = train + number
    if kind == "the same file in val":
        (folder / f"{other}.jpg").write_bytes((folder / f"{number}.jpg").read_bytes())
        rows["val"][number][1] = rows["train"][number][1]
    elif kind == "the same file twice in train":
        (folder / f"{train - 1 - number}.jpg").write_bytes((folder / f"{number}.jpg").read_bytes())
        rows["train"][train - 1 - number][1] = rows["train"][number][1]
        return train - 1 - number + 2
    elif kind in ("saved again in val", "mirrored in val"):
        (folder / f"{other}.jpg").write_bytes(photo(number, mirror=kind[0] == "m", quality=60))
    elif kind == "a path in two splits":
        rows["val"].append(list(rows["train"][number]))
    elif kind == "no label":
        rows["train"][number][1] = ""
    else:
        path, label = rows["train"][number]
        rows["train"].append([path, label if kind == "a row twice" else f"{(int(label) + 1) % 40:03d}"])
        return len(rows["train"]) + 1
    return number + 2


def searched(folder: Path, count: int) -> list[dict[str, Any]]:
    """A row for each kind of fault: planted, found; and one for what was told and not planted."""
    files, at = planted(folder, count)
    started = time.perf_counter()
    check(files, deep=True, out=folder / "out")
    print(f"{count:,} images checked in {time.perf_counter() - started:.1f} s", flush=True)
    told = json.loads((folder / "out" / "data-check.json").read_text(encoding="utf-8"))["problems"]
    found = {(each["file"], each["line"], each["rule"]) for each in told}
    wanted = {(*place, DAMAGES[kind][0] if kind in DAMAGES else PAIRS[kind]): kind for place, kind in at.items()}
    hit = Counter(kind for place, kind in wanted.items() if place in found)
    rows = [
        {"fault": kind, "rule": rule, "planted": PLANTED, "found": hit[kind]}
        for kind, rule in [*((k, r) for k, (r, _) in DAMAGES.items()), *PAIRS.items()]
    ]
    invented = sorted(place for place in found if place not in wanted)
    print("told and not planted:", invented[:10], flush=True)
    return [*rows, {"fault": "none", "rule": "any", "planted": 0, "found": len(invented)}]


def paced(folder: Path) -> list[dict[str, Any]]:
    """Images per second of one core, of each size: the bare decoder, and both tiers, in turns."""
    return [row for size in ((320, 240), (640, 480), (1280, 960)) for row in _paced(folder, size)]


def _paced(folder: Path, size: tuple[int, int]) -> list[dict[str, Any]]:
    width, height = size
    paths = [str(folder / f"{width}-{number}.jpg") for number in range(_PACED)]
    for number, path in enumerate(paths):
        Path(path).write_bytes(photo(number, size=size))
    known = [Known(path) for path in paths]

    def decoded() -> None:
        for path in paths:
            data = Path(path).read_bytes()
            simplejpeg.decode_jpeg(data, "GRAY", min_height=height // 8, min_width=width // 8)

    ways: dict[str, Callable[[], Any]] = {
        "read and decoded grey at 1/8 by simplejpeg": decoded,
        "--deep": lambda: see(known, deep=True),
        "--quick": lambda: see(known, deep=False),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            started = time.process_time()
            run()
            spent[name].append(time.process_time() - started)
    bare = spent["read and decoded grey at 1/8 by simplejpeg"]
    return [
        {
            "JPEG": f"{width}x{height}",
            "way": name,
            "images per second and core": round(len(paths) / statistics.median(of)),
            "against the bare decoder": round(statistics.median(b / o for b, o in zip(bare, of, strict=True)), 2),
        }
        for name, of in spent.items()
    ]


def main() -> None:
    """Measure, print and keep the tables."""
    asked = parser("Half a million rows, and planted faults in JPEGs.", "manifest")
    asked.add_argument("--rows", type=int, default=500_000)
    asked.add_argument("--images", type=int, default=20_000)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = compared(rows_in(place, given.rows))
        (place / "images").mkdir()
        faults = searched(place / "images", given.images)
        pace = paced(place / "images")
    missed = sum(row["planted"] - row["found"] for row in faults[:-1])
    invented = faults[-1]["found"]
    total = sum(row["planted"] for row in faults)
    keep(
        given.out,
        "manifest",
        sentence=f"{rows[1]['times as fast']} times as fast as the csv module. {given.images:,} images, {total} "
        f"planted faults: {total - missed} found, {invented} told that are none.",
        how=f"{ROUNDS} rounds, each way of reading in a fresh process, CPU seconds of one core for the images; "
        "drawn JPEGs, with the faults in those of 320x240.",
        rows=rows,
        faults=faults,
        pace=pace,
        versions=versions_of("deploytk", "polars", "simplejpeg", "pillow"),
    )
    for row in (*faults, *pace):
        print(row)
    if missed or invented:
        raise SystemExit(f"{missed} faults not found, {invented} told that are none")


if __name__ == "__main__":
    main()
