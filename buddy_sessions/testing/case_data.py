"""The JUnit XML of a test case, as test runners write it and Buddy keeps it in `data`. No HTTP."""

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
_RANDOM_SKIPS = ("needs a browser", "slow, runs at night only", "unsupported on this platform")


def random_failure(case: JsonObject, cause: str) -> Failure:
    """Return a plausible failure of a test case. Test cases with the same `cause` fail for the same reason."""
    rng, number = random.Random(cause), 13 + len(case["name"])  # noqa: S311 - nothing secret
    if case["status"] not in _RANDOM_FAILURES:
        return {"message": rng.choice(_RANDOM_SKIPS)}
    templates = rng.choice(_RANDOM_FAILURES[case["status"]])
    error_type, message, code = (template.format(n=number) for template in templates)
    return {"type": error_type, "message": message, "text": _traceback(case, number, code, f"{error_type}: {message}")}


def given_failure(case: JsonObject, given: Mapping[str, Any]) -> Failure:
    """Return the failure of a test case of which a test gives some parts. The other ones fit them and the status."""
    if case["status"] == "SKIPPED":
        return given
    failure: JsonObject = {"type": "RuntimeError" if case["status"] == "ERROR" else "AssertionError", **given}
    last_line = ": ".join(str(failure[name]) for name in ("type", "message") if failure.get(name) is not None)
    return {"text": _traceback(case, 12, "check(result)", last_line), **failure}


def write_testcase(case: JsonObject, failure: Failure) -> str:
    """Return the `<testcase>` element of a test case; one that passed has no failure.

    Characters that XML cannot hold become U+FFFD.
    """
    element = ET.Element("testcase", _attributes(case, "name", "classname", "time"))
    if tag := _ELEMENTS.get(case["status"]):
        child = ET.SubElement(element, tag, _attributes(failure, "message", "type"))
        child.text = _clean(failure.get("text") or "")
    return ET.tostring(element, encoding="unicode")


def _traceback(case: JsonObject, line: int, code: str, last_line: str) -> str:
    place = f'File "{case["test_group_name"]}", line {line}, in {case["name"]}'
    return f"Traceback (most recent call last):\n  {place}\n    {code}\n{last_line}\n"


def _attributes(values: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: _clean(str(values[name])) for name in names if values.get(name) is not None}


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
