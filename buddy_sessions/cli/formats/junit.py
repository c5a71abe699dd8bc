"""JUnit XML of failing test cases, as CI tools read it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TextIO
from xml.etree import ElementTree as ET

from buddy_sessions import Failure, Session, SuiteKey, TestCase, TestStatus

from .writers import prepare_stream

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML 1.0 does not allow."""


def write_junit(stream: TextIO, suite: SuiteKey, session: Session, cases: Sequence[TestCase]) -> None:
    """Write failing test cases of a session as a document with one test suite for each group of tests."""
    if session.is_failing and not cases:
        cases = [_crash(session)]
    escape_line = prepare_stream(stream)
    root = _document(f"{suite} #{session.relative_id}", session, cases)
    ET.indent(root)
    stream.write('<?xml version="1.0" encoding="utf-8"?>\n')
    stream.writelines(f"{escape_line(line)}\n" for line in ET.tostring(root, encoding="unicode").split("\n"))
    stream.flush()


def _crash(session: Session) -> TestCase:
    """Return a test case that stands for the failure of the session itself."""
    failure = Failure(kind="error", message=session.error_message or "the session failed without a failing test")
    return TestCase(id="", name=f"session #{session.relative_id}", status=TestStatus.ERROR, failure=failure)


def _document(name: str, session: Session, cases: Sequence[TestCase]) -> ET.Element:
    groups: dict[str, list[TestCase]] = {}
    for case in cases:
        groups.setdefault(case.test_group_name or name, []).append(case)
    root = ET.Element("testsuites", {"name": _clean(name), **_totals(cases)})
    for group, members in (groups or {name: []}).items():
        suite = ET.SubElement(root, "testsuite", {"name": _clean(group), **_totals(members)})
        if session.create_date is not None:
            suite.set("timestamp", session.create_date.isoformat(timespec="seconds"))
        suite.extend(_case_element(case) for case in members)
    return root


def _totals(cases: Sequence[TestCase]) -> dict[str, str]:
    kinds = [_failure(case).kind for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "time": _seconds(sum(case.time or 0 for case in cases)),
    }


def _case_element(case: TestCase) -> ET.Element:
    element = ET.Element(
        "testcase",
        classname=_clean(case.classname or case.test_group_name or ""),
        name=_clean(case.name),
        time=_seconds(case.time or 0),
    )
    failure = _failure(case)
    child = ET.SubElement(element, failure.kind, message=_clean(failure.message or ""))
    if failure.type is not None:
        child.set("type", _clean(failure.type))
    child.text = _clean(failure.text or "")
    return element


def _failure(case: TestCase) -> Failure:
    return case.failure or Failure(kind="error" if case.status == TestStatus.ERROR else "failure")


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: json.dumps(match[0])[1:-1], text)
