"""JUnit XML of failing test cases, as CI tools read it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TextIO
from xml.etree import ElementTree as ET

from buddy_sessions import Failure, Session, SuiteKey, TestCase, TestStatus
from buddy_sessions.analysis.judgement import FailingTest, Judgement

from .failure_text import trace_of
from .rows import prepare_stream

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML 1.0 does not allow."""
_MAX_TRACE = 16_000  # characters of a failure that is excused


def write_junit(stream: TextIO, suite: SuiteKey, judgement: Judgement) -> None:
    """Write the failing tests as a document with one test suite for each group of tests.

    A test with an excuse is skipped, and a session that failed without a failing test is an error.
    """
    tests = [*judgement.tests, *map(_crash, judgement.crashed)]
    escape_line = prepare_stream(stream)
    numbers = ", ".join(f"#{session.relative_id}" for session in judgement.sessions)
    root = _document(f"{suite} {numbers}", judgement.sessions[0], tests)
    ET.indent(root)
    stream.write('<?xml version="1.0" encoding="utf-8"?>\n')
    stream.writelines(f"{escape_line(line)}\n" for line in ET.tostring(root, encoding="unicode").split("\n"))
    stream.flush()


def _crash(session: Session) -> FailingTest:
    """Return a test that reports the failure of the session itself."""
    failure = Failure(kind="error", message=session.error_message or "the session failed without a failing test")
    case = TestCase(id="", name=f"session #{session.relative_id}", status=TestStatus.ERROR, failure=failure)
    return FailingTest(session, case)


def _document(name: str, session: Session, tests: Sequence[FailingTest]) -> ET.Element:
    groups: dict[str, list[FailingTest]] = {}
    for test in tests:
        groups.setdefault(test.case.test_group_name or name, []).append(test)
    root = ET.Element("testsuites", {"name": _clean(name), **_totals(tests)})
    for group, members in (groups or {name: []}).items():
        suite = ET.SubElement(root, "testsuite", {"name": _clean(group), **_totals(members)})
        if session.create_date is not None:
            suite.set("timestamp", session.create_date.isoformat(timespec="seconds"))
        suite.extend(map(_case_element, members))
    return root


def _totals(tests: Sequence[FailingTest]) -> dict[str, str]:
    kinds = ["skipped" if test.excuse else _failure(test.case).kind for test in tests]
    return {
        "tests": str(len(tests)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": f"{sum(test.case.time or 0 for test in tests):.3f}",
    }


def _case_element(test: FailingTest) -> ET.Element:
    case = test.case
    element = ET.Element(
        "testcase",
        classname=_clean(case.classname or case.test_group_name or ""),
        name=_clean(case.name),
        time=f"{case.time or 0:.3f}",
    )
    failure = _failure(case)
    if test.excuse:
        skipped = ET.SubElement(element, "skipped", message=_clean(test.excuse))
        skipped.text = _clean(trace_of(failure, limit=_MAX_TRACE))
        return element
    child = ET.SubElement(element, failure.kind, message=_clean(failure.message or ""))
    if failure.type is not None:
        child.set("type", _clean(failure.type))
    child.text = _clean(failure.text or "")
    return element


def _failure(case: TestCase) -> Failure:
    return case.failure or Failure(kind="error" if case.status == TestStatus.ERROR else "failure")


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: json.dumps(match[0])[1:-1], text)
