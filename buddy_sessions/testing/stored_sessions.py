"""Test cases of a session in the API's JSON: fields, counts, statuses, and their `data`. No HTTP.

`data` is JUnit XML of test runners, or the JSON of Buddy's own reporters.
"""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

import attrs

from .random_history import Runner, random_cause, random_statuses, random_tests
from .wire import JsonObject, check_fields, check_status, path_segment

# The order of a test case's fields in Buddy's documented example.
_FIELDS = (
    *("url", "html_url", "id", "name", "test_group_name", "test_group_id", "classname", "status", "time"),
    "data",
)
_GROUP, _CLASS, _TIME = "tests/cart/test_total.py", "CartTest", 0.1  # the defaults


@attrs.frozen(eq=False)
class StoredSession:
    """A state of a session with its test cases, which never changes: a change of the session replaces it."""

    fields: JsonObject
    given: Mapping[str, JsonObject] | None  # the test cases that a test gave, by ID; None for random ones
    seed: str  # of the suite
    runner: Runner

    def cases(self, *, status: str | None = None) -> list[JsonObject]:
        """Return the test cases with this status; do not change them. Random ones have no `data`."""
        cases = _random_cases(self) if self.given is None else self.given.values()
        return [case for case in cases if status is None or case["status"] == status]

    def case(self, case_id: str) -> JsonObject:
        """Return a copy of one test case, with `data`; KeyError if there is none with this ID, as text."""
        case = self.cases_by_id()[case_id]
        cause = f"{self.seed}/{random_cause(_number(self.fields['relative_id']))}"
        return {**case, "data": case.get("data", write_data(case, random_failure(case, cause)))}

    def cases_by_id(self) -> dict[str, JsonObject]:
        """Return the test cases by ID, as text."""
        return {str(case["id"]): case for case in self.cases()}


Snapshot: TypeAlias = tuple[StoredSession, ...]
"""The sessions of a suite at one time, newest first."""


def make_cases(session: JsonObject, given: Iterable[Mapping[str, Any]]) -> dict[str, JsonObject]:
    """Return the test cases that a test gives for a session, by ID as text. The last one with an ID wins."""
    cases = (_make_case(session, fields) for fields in given)
    return {str(case["id"]): case for case in cases}


def shown_in_list(case: JsonObject) -> JsonObject:
    """Return a copy of a test case as a list shows it, without `data`."""
    return {field: value for field, value in case.items() if field != "data"}


def count_cases(cases: Iterable[JsonObject]) -> dict[str, int]:
    """Return the counts of a session with these test cases."""
    numbers = Counter(case["status"] for case in cases)
    return {
        "tests_count": numbers.total(),
        "failed_count": numbers["FAILED"],
        "skipped_count": numbers["SKIPPED"],
        "error_count": numbers["ERROR"],
    }


def session_status(counts: Mapping[str, int]) -> str:
    """Return the status of a finished session with these counts."""
    if counts["failed_count"] or counts["error_count"]:
        return "ERROR"
    return "SKIPPED" if 0 < counts["tests_count"] == counts["skipped_count"] else "SUCCESSFUL"


def _make_case(session: JsonObject, given: Mapping[str, Any]) -> JsonObject:
    """Return a test case. It has `data` only if that, or a part of the failure, is given."""
    check_fields("test case", given, (*_FIELDS, *FAILURE_FIELDS))
    if "name" not in given:
        raise TypeError(f"a test case needs a name: {dict(given)!r}")
    fields = {name: value for name, value in given.items() if name not in FAILURE_FIELDS}
    failure = {name: value for name, value in given.items() if name in FAILURE_FIELDS}
    group, classname = fields.get("test_group_name", _GROUP), fields.get("classname", _CLASS)
    group_id = fields.get("test_group_id", new_id(session["url"], group))
    case_id = fields.get("id", new_id(session["url"], group, classname, fields["name"]))
    case: JsonObject = {
        "url": f"{session['url']}/test-groups/{path_segment(group_id)}/cases/{path_segment(case_id)}",
        "html_url": session["html_url"],
        "id": case_id,
        "test_group_name": group,
        "test_group_id": group_id,
        "classname": classname,
        "status": "PASSED",
        "time": _TIME,
        **fields,
    }
    check_status("test case", case["status"])
    if failure and "data" not in case:
        case["data"] = write_data(case, given_failure(case, failure))
    return {field: case[field] for field in _FIELDS if field in case}


@lru_cache(maxsize=16)  # sessions of all suites together
def _random_cases(session: StoredSession) -> Sequence[JsonObject]:
    """Return random test cases that match the counts of a session, as far as these are possible."""
    fields, seed, number = session.fields, session.seed, _number(session.fields["relative_id"])
    tests, failed, errors, skipped = (
        _number(fields[name]) for name in ("tests_count", "failed_count", "error_count", "skipped_count")
    )
    statuses = random_statuses(seed, number, tests=tests, failed=failed, errors=errors, skipped=skipped)
    rng = random.Random(f"{seed}/times/{fields['id']!r}")  # noqa: S311 - nothing secret
    cases: list[JsonObject] = []
    for status, (names, seconds) in zip(statuses, random_tests(seed, tests, session.runner), strict=True):
        time = 0.0 if status == "SKIPPED" else max(0.001, round(seconds * rng.uniform(0.85, 1.2), 3))
        cases.append(_make_case(fields, {**names, "status": status, "time": time}))
    return cases


def new_id(*names: object) -> str:
    """Return 24 hexadecimal digits, like the documented IDs: the same ones for the same names."""
    key = "\0".join(map(str, names))
    return hashlib.sha256(key.encode(errors="backslashreplace")).hexdigest()[:24]


def _number(value: object) -> int:
    """Return a number of a session's JSON; 0 if a test serves an invalid one on purpose."""
    return max(0, value) if isinstance(value, int) else 0


Failure: TypeAlias = Mapping[str, Any]
"""Why a test case did not pass: `type`, the type of the exception; `message`; `text`, the traceback."""

FAILURE_FIELDS = ("type", "message", "text")

_ELEMENTS = {"FAILED": "failure", "ERROR": "error", "SKIPPED": "skipped"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# The type of an exception, its message, and the line that raises it. {n} is a number.
_RANDOM_FAILURES = {
    "FAILED": (
        ("AssertionError", "assert {n} == 12", "assert order.total == 12"),
        ("AssertionError", "expected status 200, got 502", "assert response.status == 200, describe(response)"),
        ("KeyError", "'currency'", "currency = response.json()['currency']"),
        ("TimeoutError", "no event 'order.paid' within {n} ms", "event = await events.wait_for('order.paid')"),
        ("TypeError", "unsupported operand type(s) for +: 'NoneType' and 'int'", "total = invoice.amount + {n}"),
    ),
    "ERROR": (
        ("ConnectionRefusedError", "[Errno 111] Connection refused: localhost:5432", "database = connect(settings)"),
        ("ModuleNotFoundError", "No module named 'shop.legacy'", "from shop.legacy import rates"),
        ("OperationalError", "database is locked ({n} ms)", "connection.execute(schema)"),
    ),
}
_RANDOM_JAVASCRIPT_FAILURES = (
    ("Error", "expect(received).toBe(expected) // Object.is equality\n\nExpected: 12\nReceived: {n}"),
    ("Error", "expected status 200, got 502"),
    ("TypeError", "Cannot read properties of undefined (reading 'currency')"),
    ("Error", "no event 'order.paid' within {n} ms"),
    ("RangeError", "page {n} is out of range"),
)
_JAVASCRIPT_FRAMES = """
    at Object.<anonymous> (/repo/{file}:{n}:17)
    at Promise.finally.completed (/repo/node_modules/jest-circus/build/jestAdapterInit.js:1834:28)
    at new Promise (<anonymous>)
    at callAsyncCircusFn (/repo/node_modules/jest-circus/build/jestAdapterInit.js:1774:10)
    at processTicksAndRejections (node:internal/process/task_queues:105:5)"""
_RANDOM_SKIPS = ("needs a browser", "slow, runs at night only", "unsupported on this platform")


def random_failure(case: JsonObject, cause: str) -> Failure:
    """Return a plausible failure of a test case. Those of one file with the same `cause` have the same reason."""
    rng, number = random.Random(f"{cause}/{_file(case)!r}"), 13 + len(case["name"])  # noqa: S311 - nothing secret
    if case["status"] not in _RANDOM_FAILURES:
        return {"message": rng.choice(_RANDOM_SKIPS)}
    if _is_reported(case):
        error_type, message = rng.choice(_RANDOM_JAVASCRIPT_FAILURES)
        return given_failure(case, {"type": error_type, "message": message.format(n=number)})
    templates = rng.choice(_RANDOM_FAILURES[case["status"]])
    error_type, message, code = (template.format(n=number) for template in templates)
    message = f"{error_type}: {message}"  # pytest writes no type
    return {"message": message, "text": _traceback(case, number, code, message)}


def given_failure(case: JsonObject, given: Mapping[str, Any]) -> Failure:
    """Return the failure of a test case of which a test gives some parts. The other ones fit them and the status."""
    if case["status"] == "SKIPPED":
        return given
    failure: JsonObject = {"type": "RuntimeError" if case["status"] == "ERROR" else "AssertionError", **given}
    headline = ": ".join(str(failure[name]) for name in ("type", "message") if failure.get(name) is not None)
    if _is_reported(case):
        return {"text": headline + _JAVASCRIPT_FRAMES.format(file=_file(case), n=12), **failure}
    return {"text": _traceback(case, 12, "check(result)", headline), **failure}


def write_data(case: JsonObject, failure: Failure) -> str:
    """Return `data` of a test case; one that passed has no failure."""
    if not _is_reported(case):
        return _write_testcase(case, failure)
    data = {name: case[name] for name in ("name", "classname", "test_group_name", "status", "time")}
    if case["status"] in {"FAILED", "ERROR"}:
        data["failure"] = {"message": failure.get("message") or "", "stackTrace": failure.get("text") or ""}
    elif case["status"] == "SKIPPED":
        data["failure"] = {"message": "", "stackTrace": ""}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _is_reported(case: JsonObject) -> bool:
    """Return whether a test case is one of Buddy's own reporters: its group and its class are the file."""
    return case["test_group_name"] is not None and case["test_group_name"] == case["classname"]


def _write_testcase(case: JsonObject, failure: Failure) -> str:
    """Return the `<testcase>` element of a test case. Characters that XML cannot hold become U+FFFD."""
    element = ET.Element("testcase", _attributes(case, "name", "classname", "time"))
    if tag := _ELEMENTS.get(case["status"]):
        child = ET.SubElement(element, tag, _attributes(failure, "message", "type"))
        child.text = _clean(failure.get("text") or "")
    return ET.tostring(element, encoding="unicode")


def _file(case: JsonObject) -> str:
    """Return the file of a test. pytest's XML has it in the class only: `tests.cart.test_total.CartTest`."""
    if case["test_group_name"] != "pytest":
        return str(case["test_group_name"])
    return str(case["classname"]).rpartition(".")[0].replace(".", "/") + ".py"


def _traceback(case: JsonObject, line: int, code: str, last_line: str) -> str:
    place = f'File "{_file(case)}", line {line}, in {case["name"]}'
    return f"Traceback (most recent call last):\n  {place}\n    {code}\n{last_line}\n"


def _attributes(values: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: _clean(str(values[name])) for name in names if values.get(name) is not None}


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
