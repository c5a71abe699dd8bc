"""JUnit XML of test cases, as CI tools read it."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from xml.etree import ElementTree as ET

from buddy_sessions import Failure, TestCase, TestStatus

from .result import CommandResult
from .text import trace_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML 1.0 does not allow."""
_COMMAND = re.compile(r"(?:(?<=\n)|(?<=\r)):(?=:)|(?<=##)\[")
"""What would be a workflow command in a log of GitHub. A reference to the character is the same in XML."""
_MAX_TRACE = 16_000  # characters of a failure that is excused


def render_junit(result: CommandResult) -> str:
    """Return the test cases of a result as a document with one test suite for each group of tests.

    A test with a remark, which says why it does not count, is skipped. A problem without a failing test is an error.
    """
    tests = [(item.case, item.remark) for item in result.items if item.case is not None]
    for problem in result.problems:
        failure = Failure(kind="error", message=problem)
        tests.append((TestCase(id="", name="verdict", status=TestStatus.ERROR, failure=failure), ""))
    name = f"{result.suite} {', '.join(f'#{session.relative_id}' for session in result.sessions) or result.about}"
    groups: dict[str, list[ET.Element]] = {}
    for case, excuse in tests:
        groups.setdefault(case.test_group_name or name, []).append(_case_element(case, excuse))
    root = ET.Element("testsuites", name=_clean(name))
    for group, cases in (groups or {name: []}).items():
        ET.SubElement(root, "testsuite", name=_clean(group)).extend(cases)
    for element in (root, *root):
        _set_totals(element)
    ET.indent(root)
    root.tail = "\n"
    document = io.StringIO(newline="")
    document.write('<?xml version="1.0" encoding="utf-8"?>\n')
    ET.ElementTree(root).write(document, encoding="unicode")
    root.clear()  # texts may be long: one copy is enough
    return _COMMAND.sub(lambda match: f"&#{ord(match[0])};", document.getvalue())


def _set_totals(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    kinds = Counter(child.tag for case in cases for child in case)
    element.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(kinds[kind]))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")


def _case_element(case: TestCase, excuse: str) -> ET.Element:
    """Return a test case with its failure; `excuse` says why that does not count, and is empty if it does."""
    element = ET.Element(
        "testcase",
        classname=_clean(case.classname or case.test_group_name or ""),
        name=_clean(case.name),
        time=f"{case.time or 0:.3f}",
    )
    failure = case.failure or Failure(kind="error" if case.status == TestStatus.ERROR else "failure")
    if case.status == TestStatus.PASSED:
        return element
    if excuse or not case.is_failing:
        reason = excuse or ("" if case.status == TestStatus.SKIPPED else case.status.value)
        skipped = ET.SubElement(element, "skipped", message=_clean(reason))
        skipped.text = _clean(trace_of(failure, limit=_MAX_TRACE))
        return element
    child = ET.SubElement(element, failure.kind, message=_clean(failure.message or ""))
    if failure.type is not None:
        child.set("type", _clean(failure.type))
    child.text = _clean(failure.text or "")
    return element


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: json.dumps(match[0])[1:-1], text)
