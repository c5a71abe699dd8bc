"""JUnit XML of test cases, as CI tools read it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TextIO, TypeAlias
from xml.etree import ElementTree as ET

from buddy_sessions import Failure, Session, TestCase, TestStatus
from buddy_sessions.analysis.judgement import crash_text

from .result import Result
from .rows import prepare_stream
from .text import trace_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML 1.0 does not allow."""
_Test: TypeAlias = tuple[TestCase, str]
"""A test case, and why it does not count; an empty text if it does."""
_MAX_TRACE = 16_000  # characters of a failure that is excused


def write_junit(stream: TextIO, result: Result) -> None:
    """Write the test cases of a result as a document with one test suite for each group of tests.

    A test with a remark, which says why it does not count, is skipped. A session that failed without a failing test is
    an error, and so is another reason for which the verdict is not green.
    """
    tests = [(item.case, item.remark) for item in result.items if item.case is not None]
    crashed = [(f"session #{each.relative_id}", each.error_message or crash_text(each)) for each in result.crashed]
    errors = [*crashed, *(("verdict", problem) for problem in result.problems)]
    for name, message in errors:
        failure = Failure(kind="error", message=message)
        tests.append((TestCase(id="", name=name, status=TestStatus.ERROR, failure=failure), ""))
    escape_line = prepare_stream(stream)
    numbers = ", ".join(f"#{session.relative_id}" for session in result.sessions)
    root = _document(f"{result.suite} {numbers}", result.sessions[0], tests)
    ET.indent(root)
    stream.write('<?xml version="1.0" encoding="utf-8"?>\n')
    stream.writelines(f"{escape_line(line)}\n" for line in ET.tostring(root, encoding="unicode").split("\n"))
    stream.flush()


def _document(name: str, session: Session, tests: Sequence[_Test]) -> ET.Element:
    groups: dict[str, list[_Test]] = {}
    for case, excuse in tests:
        groups.setdefault(case.test_group_name or name, []).append((case, excuse))
    root = ET.Element("testsuites", {"name": _clean(name), **_totals(tests)})
    for group, members in (groups or {name: []}).items():
        suite = ET.SubElement(root, "testsuite", {"name": _clean(group), **_totals(members)})
        if session.create_date is not None:
            suite.set("timestamp", session.create_date.isoformat(timespec="seconds"))
        suite.extend(_case_element(*member) for member in members)
    return root


def _totals(tests: Sequence[_Test]) -> dict[str, str]:
    kinds = [_kind(*test) for test in tests]
    return {
        "tests": str(len(tests)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": f"{sum(case.time or 0 for case, _ in tests):.3f}",
    }


def _kind(case: TestCase, excuse: str) -> str:
    """Return the name of the element that says how a test ended; empty for one that passed."""
    if case.status == TestStatus.PASSED:
        return ""
    if excuse or not case.is_failing:
        return "skipped"
    return case.failure.kind if case.failure is not None else "error" if case.status == TestStatus.ERROR else "failure"


def _case_element(case: TestCase, excuse: str) -> ET.Element:
    element = ET.Element(
        "testcase",
        classname=_clean(case.classname or case.test_group_name or ""),
        name=_clean(case.name),
        time=f"{case.time or 0:.3f}",
    )
    failure = case.failure or Failure(kind="failure")
    kind = _kind(case, excuse)
    if kind == "skipped":
        reason = excuse or ("" if case.status == TestStatus.SKIPPED else case.status.value)
        skipped = ET.SubElement(element, kind, message=_clean(reason))
        skipped.text = _clean(trace_of(failure, limit=_MAX_TRACE))
    elif kind:
        child = ET.SubElement(element, kind, message=_clean(failure.message or ""))
        if failure.type is not None:
            child.set("type", _clean(failure.type))
        child.text = _clean(failure.text or "")
    return element


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: json.dumps(match[0])[1:-1], text)
