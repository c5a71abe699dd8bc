"""The JUnit XML of a test case, as test runners write it and Buddy keeps it in `data`."""

import random
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import attrs

_ELEMENTS = {"FAILED": "failure", "ERROR": "error", "SKIPPED": "skipped"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# The type of an exception, its message, and the line that raises it. {a} and {b} are numbers.
_FAILURES = (
    ("AssertionError", "assert {a} == {b}", "assert order.total == {b}"),
    ("AssertionError", "expected status 200, got 50{digit}", "assert response.status == 200, describe(response)"),
    ("AssertionError", "order {a} is 'confirmed', expected 'pending'", "assert order.state == 'pending', str(order)"),
    ("AssertionError", "{a} rows left in the outbox, expected none", "assert not outbox.rows(), outbox.describe()"),
    ("TypeError", "unsupported operand type(s) for +: 'NoneType' and 'int'", "total = invoice.amount + {a}"),
    ("KeyError", "'currency'", "currency = response.json()['currency']"),
    ("ValueError", "time data '2026-02-3{digit}' does not match format '%Y-%m-%d'", "due = parse_date(row.due)"),
    ("TimeoutError", "no event 'order.paid' within {digit} s", "event = await events.wait_for('order.paid')"),
    ("Failed", "DID NOT RAISE <class 'shop.errors.OutOfStock'>", "with pytest.raises(OutOfStock):"),
)
_ERRORS = (
    ("ConnectionRefusedError", "[Errno 111] Connection refused: localhost:5432", "database = connect(settings.url)"),
    ("KeyError", "'PAYMENT_API_KEY'", "api_key = os.environ['PAYMENT_API_KEY']"),
    ("ModuleNotFoundError", "No module named 'shop.legacy'", "from shop.legacy import rates"),
    ("MemoryError", "cannot allocate {a} MiB", "rows = load_fixture('orders-{b}.json')"),
    ("OperationalError", "database is locked ({a} ms)", "connection.execute(schema)"),
)
_SKIPS = ("needs a browser", "slow, runs at night only", "known bug, see SHOP-{a}", "unsupported on this platform")


@attrs.frozen
class Failure:
    """The reason why a test case did not pass.

    Attributes:
        type: The type of the exception; None if there is none.
        message: The message, in one line.
        text: The traceback; None if there is none.
    """

    type: str | None
    message: str | None
    text: str | None


def choose_failure(case: Mapping[str, Any], *, cause: str, variant: str) -> Failure | None:
    """Return a plausible reason for the status of a test case; None if the status needs none.

    Args:
        case: The test case, in the API's JSON.
        cause: The seed of the kind of failure: tests that break for the same reason fail in the same way.
        variant: The seed of the details.
    """
    if case["status"] not in _ELEMENTS:
        return None
    rng = random.Random(variant)  # noqa: S311 - nothing secret
    numbers = {"a": rng.randint(2, 900), "b": rng.randint(901, 999), "digit": rng.randint(1, 3)}
    kind = random.Random(cause)  # noqa: S311 - nothing secret
    if case["status"] == "SKIPPED":
        return Failure(None, kind.choice(_SKIPS).format(**numbers), None)
    templates = kind.choice(_FAILURES if case["status"] == "FAILED" else _ERRORS)
    error_type, message, code = (text.format(**numbers) for text in templates)
    return Failure(error_type, message, _traceback(case, rng.randint(12, 190), code, f"{error_type}: {message}"))


def given_failure(case: Mapping[str, Any], given: Mapping[str, Any]) -> Failure:
    """Return the reason that a test gives for the status of a test case.

    Args:
        case: The test case, in the API's JSON.
        given: Some of `type`, `message` and `text`. The defaults fit each other and the status.
    """
    is_skipped = case["status"] == "SKIPPED"
    default_type = None if is_skipped else "RuntimeError" if case["status"] == "ERROR" else "AssertionError"
    error_type, message = given.get("type", default_type), given.get("message")
    last_line = ": ".join(str(part) for part in (error_type, message) if part is not None)
    text = None if is_skipped else _traceback(case, 12, "check(result)", last_line)
    return Failure(error_type, message, given.get("text", text))


def write_testcase(case: Mapping[str, Any], failure: Failure | None) -> str:
    """Return the `<testcase>` element of a test case. Characters that XML cannot hold become U+FFFD.

    Args:
        case: The test case, in the API's JSON.
        failure: The content of its `<failure>`, `<error>` or `<skipped>`, if it did not pass.
    """
    element = ET.Element("testcase", _attributes(case, "name", "classname", "time"))
    tag = _ELEMENTS.get(case["status"])
    if tag is not None and failure is not None:
        child = ET.SubElement(element, tag, _attributes(attrs.asdict(failure), "message", "type"))
        child.text = None if failure.text is None else _clean(failure.text)
    return ET.tostring(element, encoding="unicode")


def _traceback(case: Mapping[str, Any], line: int, code: str, last_line: str) -> str:
    return (
        "Traceback (most recent call last):\n"
        f'  File "{case["test_group_name"]}", line {line}, in {case["name"]}\n'
        f"    {code}\n"
        f"{last_line}\n"
    )


def _attributes(values: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: _clean(str(values[name])) for name in names if values[name] is not None}


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
