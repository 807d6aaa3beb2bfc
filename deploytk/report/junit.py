"""A report as JUnit XML, which CI systems show: red exactly when the exit code is not 0.

One test case for each measured point, one for each finding, and one named "verdict" for the whole. A test case that
is no `failure` and no `error` never makes the file red, so what a point lacks without failing the whole is `skipped`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from deploytk.errors import EXIT_PASS
from deploytk.report import Finding, Report
from deploytk.report.points import Point, points

_BROKEN = ("crash", "oom", "timeout", "bad_output", "fixed_batch")
#: What XML 1.0 has no way to write: control characters and surrogates (section 2.2, production Char).
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """The report as one XML document."""
    suite = ET.Element("testsuite", name=_text(f"deploytk {report.command}: {report.title}".rstrip(": ")))
    _properties(suite, report)
    red = report.exit_code != EXIT_PASS
    for point in points(report):
        _point_case(suite, point, red=red)
    for finding in report.findings:
        _finding_case(suite, finding, red=red)
    _verdict_case(suite, report)
    _counts(suite)
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _point_case(suite: ET.Element, p: Point, *, red: bool) -> None:
    """The case of one point; `time` is the seconds its samples took."""
    name = " ".join(part for part in (p.artifact, p.runtime, _threads(p), f"batch {p.batch}") if part)
    time_s = sum(p.samples_ms) / 1000 if not p.estimated else 0.0
    case = _case(suite, name, "bench", time_s)
    if p.status in _BROKEN:
        _wrong(case, "error", p.status, p.reason or p.status, red=red)
    elif p.status == "not_run":
        _skipped(case, p.reason or "not run")
    elif p.verdict == "fail":
        _wrong(case, "failure", "over budget", p.reason or "over budget", red=red)
    elif p.verdict == "inconclusive":
        _skipped(case, f"inconclusive: {p.reason}")
    told = {
        "p50_ms": p.p50_ms,
        "judged_ms": p.judged_ms,
        "items_per_second": p.items_per_second,
        "samples": p.n or None,
    }
    values = {key: f"{value:.6g}" for key, value in told.items() if value is not None}
    if values:
        ET.SubElement(case, "system-out").text = ", ".join(f"{key} {value}" for key, value in values.items())


def _threads(p: Point) -> str:
    return f"{p.threads} threads" if p.threads is not None and "thread" in p.series else ""


def _finding_case(suite: ET.Element, finding: Finding, *, red: bool) -> None:
    """An error fails; a warning or a remark is only said."""
    case = _case(suite, f"{finding.rule} {finding.where}", "finding")
    if finding.severity == "error":
        _wrong(case, "failure", finding.rule, str(finding), red=red)
    else:
        ET.SubElement(case, "system-out").text = _text(str(finding))


def _wrong(case: ET.Element, tag: str, kind: str, reason: str, *, red: bool) -> None:
    """A failure or an error; in a report that passes all the same (one batch size is enough), a skip that says so."""
    if red:
        ET.SubElement(case, tag, type=_text(kind), message=_text(reason)).text = _text(reason)
    else:
        _skipped(case, f"{kind.replace('_', ' ')}, which the verdict allows: {reason}")


def _skipped(case: ET.Element, message: str) -> None:
    ET.SubElement(case, "skipped", message=_text(message))


def _verdict_case(suite: ET.Element, report: Report) -> None:
    case = _case(suite, "verdict", "verdict")
    reasons = "\n".join(report.verdict.reasons) or report.verdict.status
    if report.exit_code == EXIT_PASS:
        ET.SubElement(case, "system-out").text = _text(reasons)
        return
    first = report.verdict.reasons[0] if report.verdict.reasons else report.verdict.status
    told = f"{report.verdict.status}, exit code {report.exit_code}: {first}"
    ET.SubElement(case, "failure", type=report.verdict.status, message=_text(told)).text = _text(reasons)


def _case(suite: ET.Element, name: str, kind: str, time_s: float = 0.0) -> ET.Element:
    attributes = {"name": _text(name), "classname": f"deploytk.{kind}", "time": f"{time_s:.6f}"}
    return ET.SubElement(suite, "testcase", attributes)


def _properties(suite: ET.Element, report: Report) -> None:
    parent = ET.SubElement(suite, "properties")
    for name, value in _named(report):
        ET.SubElement(parent, "property", name=_text(name), value=_text(value))


def _named(report: Report) -> Iterator[tuple[str, str]]:
    yield "verdict", report.verdict.status
    yield "exit_code", str(report.exit_code)
    if report.artifact:
        yield "sha256", report.artifact.sha256
    if report.budget:
        b = report.budget
        confidence = f"{100 * b.confidence:g} % confidence"
        yield "budget", f"p{b.percentile:g} under {b.latency_ms:g} ms per {b.per} at {confidence}, {b.boundary}"
    if report.machine:
        m = report.machine
        yield "machine", f"{m.cpu}, {m.cores} cores, {m.memory_gib:g} GiB, {m.system}, Python {m.python}"
    for name, version in sorted(report.versions.items()):
        yield f"version.{name}", str(version)


def _counts(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.6f}")


def _text(told: str) -> str:
    """The text with what XML cannot hold written out: `\\x00` for a zero byte."""
    return _UNWRITABLE.sub(lambda found: repr(found[0])[1:-1], told)
