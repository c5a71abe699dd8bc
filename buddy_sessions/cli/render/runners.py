"""Formats of CI tools and test runners: JUnit XML, annotations of GitHub Actions, and arguments to run tests again.

JUnit XML names modules and classes, and a stack trace paths of another machine: the files in this folder tell which.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

from buddy_sessions import Failure, TestCase, TestStatus
from buddy_sessions.analysis.causes import find_place

from .console import Output
from .result import CommandResult
from .text import cut, trace_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML 1.0 does not allow."""
_LOG_COMMAND = re.compile(r"(?:(?<=\n)|(?<=\r)):(?=:)|(?<=##)\[")
"""What would be a workflow command in a log of GitHub. A reference to the character is the same in XML."""
_MAX_COMMANDS = 10  # GitHub shows no more of a step
_MAX_EXCUSED, _MAX_TRACE = 16_000, 4_000  # characters of a failure that is excused in XML, and of an annotation
_IN_TEXT, _IN_PROPERTY = "%\r\n", "%\r\n:,"  # the characters that are encoded


def render_junit(result: CommandResult) -> str:
    """Return the test cases of a result as a document with one test suite for each group of tests.

    A test that is excused is skipped, with its remark. A problem without a failing test is an error. If there is no
    test, a verdict that passes is one: some CIs reject a file without tests.
    """
    tests = [(item.case, item.remark if item.is_excused else "") for item in result.items if item.case is not None]
    for problem in result.problems:
        failure = Failure(kind="error", message=problem)
        tests.append((TestCase(id="", name="verdict", status=TestStatus.ERROR, failure=failure), ""))
    if not tests and result.is_red is False:
        tests.append((TestCase(id="", name="verdict", status=TestStatus.PASSED), ""))
    name = f"{result.suite} {', '.join(f'#{session.relative_id}' for session in result.sessions) or result.about}"
    groups: dict[str, list[ET.Element]] = {}
    for case, excuse in tests:
        groups.setdefault(case.test_group_name or name, []).append(_case_element(case, excuse))
    root = ET.Element("testsuites", name=_clean(name))
    for group, cases in (groups or {name: []}).items():
        ET.SubElement(root, "testsuite", name=_clean(group)).extend(cases)
    for element in (root, *root):
        elements = list(element.iter("testcase"))
        kinds = Counter(child.tag for each in elements for child in each)
        element.set("tests", str(len(elements)))
        for total, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            element.set(total, str(kinds[kind]))
        element.set("time", f"{sum(float(each.get('time', 0)) for each in elements):.3f}")
    ET.indent(root)
    root.tail = "\n"
    document = io.StringIO(newline="")
    document.write('<?xml version="1.0" encoding="utf-8"?>\n')
    ET.ElementTree(root).write(document, encoding="unicode")
    root.clear()  # texts may be long: one copy is enough
    return _LOG_COMMAND.sub(lambda match: f"&#{ord(match[0])};", document.getvalue())


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
        skipped.text = _clean(trace_of(failure, max_length=_MAX_EXCUSED))
        return element
    child = ET.SubElement(element, failure.kind, message=_clean(failure.message or ""))
    if failure.type is not None:
        child.set("type", _clean(failure.type))
    child.text = _clean(failure.text or "")
    return element


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: json.dumps(match[0])[1:-1], text)


def render_github(result: CommandResult) -> str:
    """Return an `::error::` for each reason and each failing test without an excuse: at most 10.

    Uploaded text is encoded, so that each line is one command, whatever it contains.
    """
    commands = [_command(result.title, problem) for problem in result.problems]
    commands += [_command_of(item.case) for item in result.items if item.case is not None and not item.is_excused]
    return "".join(commands[:_MAX_COMMANDS])


def _command_of(case: TestCase) -> str:
    failure = case.failure or Failure(kind="failure")
    where: dict[str, str] = {}
    if (place := find_place(failure)) is not None and (file := _find_end(place[0])) is not None:
        where = {"file": file, "line": str(place[1])}
    title = cut(str(case.key), 300)
    return _command(title, trace_of(failure, max_length=_MAX_TRACE) or title, **where)


def _find_end(path: str) -> str | None:
    """Return the longest end of a path that is a file here; None if there is none."""
    names = path.replace("\\", "/").split("/")
    for start in range(len(names)):
        end = names[start:]
        if all(name.strip(".") for name in end) and os.path.isfile("/".join(end)):
            return "/".join(end)
    return None


def _command(title: str, text: str, **where: str) -> str:
    """Return an `::error::` command, as `@actions/core` encodes it."""
    properties = [f"{name}={_encode(value, _IN_PROPERTY)}" for name, value in {**where, "title": title}.items()]
    return f"::error {','.join(properties)}::{_encode(text, _IN_TEXT)}\n"


def _encode(text: str, characters: str) -> str:
    return "".join(f"%{ord(each):02X}" if each in characters else each for each in text)


def render_arguments(result: CommandResult, messages: Output, *, for_pytest: bool) -> str:
    """Return each failing file, or with `for_pytest` the node ID of each failing test, on one line, once.

    A warning names each test that has none here.
    """
    find = _find_node_id if for_pytest else _find_file
    arguments: dict[str, None] = {}
    for item in result.items:
        argument = None if item.case is None else find(item.case)
        if argument is None:
            messages.print_warning(f"no file in this folder for {item.key}: run this where the tests ran")
        else:
            arguments[argument] = None
    for problem in result.problems:
        messages.print_warning(problem)
    return "".join(f"{argument}\n" for argument in arguments)


def _find_file(case: TestCase) -> str | None:
    """Return the group of Buddy's own reporters if it is a file here, or else the module of pytest."""
    name = case.test_group_name or ""
    is_inside = not os.path.isabs(name) and ".." not in Path(name).parts and name.isprintable()
    if is_inside and os.path.isfile(name):
        return f"./{name}" if name.startswith("-") else name  # no option
    node_id = _find_node_id(case)
    return node_id if node_id is None else node_id.partition("::")[0]


def _find_node_id(case: TestCase) -> str | None:
    """Return the argument with which pytest runs a test here; None if it has no file.

    `tests.test_cart.TestCart` is a class of `tests/test_cart.py`. A file that cannot be loaded has its module as name.
    """
    names = (case.classname or case.name).split(".")
    is_path = all(name.strip() and not {"/", "\\", "\0"}.intersection(name) for name in names)
    for end in range(len(names) if is_path else 0, 0, -1):
        file = Path(*names[:end]).with_suffix(".py")
        if os.path.isfile(file):
            node_id = "::".join([file.as_posix(), *names[end:], *([case.name] if case.classname else [])])
            return node_id if {"\n", "\r", "\0"}.isdisjoint(node_id) else None  # it must be one line
    return None
