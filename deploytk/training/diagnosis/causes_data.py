"""Causes in the data: repeated labels, rare classes, objects a pixel wide."""

from __future__ import annotations

from deploytk.data.checks.class_checks import IMBALANCE, RARE
from deploytk.data.checks.object_sizes import LARGEST, STRIDE_PX, UNSEEN_PX, larger_imgsz
from deploytk.training.diagnosis.case import Case, Cause, Found, seen
from deploytk.training.diagnosis.values import Evidence
from deploytk.training.diagnosis.verdict import Word

_TROUBLED = frozenset[Word]({"degraded", "collapsed", "never_learned", "early_stop"})


class DIA009(Cause):
    """Labels are there twice."""

    code = "DIA009"
    words = _TROUBLED

    @staticmethod
    def look(case: Case) -> Found | None:
        notes = list(case.curves.said("duplicates"))
        counted = int(sum(n.value or 0 for n in notes))
        of_data = case.data.repeated if case.data else ()
        if not notes and not of_data:
            return None
        said = f"{counted} were removed, as the log says" if notes else of_data[0]
        evidence = (*seen(*notes[:3]), *(Evidence(where="labels", text=text) for text in of_data))
        return Found(said=said, evidence=evidence, score=0.15, advice="look with: deploytk data check DATA")


class DIA010(Cause):
    """Some classes have hundreds of times as many objects as others, or none."""

    code = "DIA010"
    words = _TROUBLED

    @staticmethod
    def look(case: Case) -> Found | None:
        counts = case.data.counts if case.data else {}
        if len(counts) < 2:
            return None
        most, least = max(counts, key=lambda n: counts[n]), min(counts, key=lambda n: counts[n])
        if counts[least] >= RARE and counts[most] < IMBALANCE * counts[least]:
            return None
        said = f"{counts[most]} of {most}, {counts[least]} of {least}"
        rare = [f"{n} {c}" for n, c in sorted(counts.items(), key=lambda item: item[1]) if c < RARE][:5]
        shown = Evidence(where=case.data.source if case.data else "", text=", ".join(rare) or said)
        return Found(said=said, evidence=(shown,), score=0.3, advice="collect more of them, or leave the class out")


class DIA011(Cause):
    """Objects are too small at this image size: below 2 pixels unseen, below 8 under the finest stride."""

    code = "DIA011"
    words = _TROUBLED

    @staticmethod
    def look(case: Case) -> Found | None:
        data = case.data
        small = {n: px for n, px in data.sides_px.items() if px < STRIDE_PX} if data else {}
        if data is None or not small:
            return None
        worst = min(small, key=lambda n: small[n])
        unseen = [n for n, px in small.items() if px < UNSEEN_PX]
        said = f"{len(small)} of {len(data.sides_px)} classes; {worst} is {small[worst]:g} px wide at {data.imgsz}"
        told = ", ".join(f"{n} {px:g} px" for n, px in sorted(small.items(), key=lambda item: item[1])[:5])
        shown = Evidence(where=data.source, text=told)
        size = larger_imgsz(data.imgsz, small[worst]) or LARGEST
        larger = {"train": {"imgsz": size}} if size > data.imgsz else {}
        advice = f"cut the images into tiles: {size} px is as large as is sensible" if size == LARGEST else ""
        score = 0.7 if unseen else 0.35
        return Found(said=said, evidence=(shown,), score=score, patch=larger, advice=advice)


class DIA020(Cause):
    """Some classes were never found."""

    code = "DIA020"
    words = _TROUBLED

    @staticmethod
    def look(case: Case) -> Found | None:
        classes = list(case.curves.said("class"))
        lost = [n for n in classes if n.value == 0]
        if not lost or len(lost) == len(classes):
            return None
        said = f"mAP50 is 0 for {len(lost)} of {len(classes)}: rare, tiny, or labelled as something else"
        return Found(said=said, evidence=seen(*lost[:5]), score=0.28, advice="look with: deploytk data check DATA")


CAUSES: tuple[type[Cause], ...] = (DIA009, DIA010, DIA011, DIA020)
