"""`data` of a test case: JUnit XML of test runners, or the JSON of Buddy's own reporters. No HTTP."""

import json
import random
import re
from collections.abc import Mapping
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

from .wire import JsonObject

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
