"""Test cases and test groups of a session in the API's JSON: fields, counts, statuses. No HTTP."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .data import Session, path_segment
from .junit import given_failure, write_testcase

Case = dict[str, Any]
"""A test case in the API's JSON."""

CASE_STATUSES = ("PASSED", "FAILED", "SKIPPED", "ERROR")

# The order of a test case's fields in Buddy's documented example.
_FIELDS = (
    *("url", "html_url", "id", "name", "test_group_name", "test_group_id", "classname", "status", "time"),
    "data",
)
_FAILURE_FIELDS = ("type", "message", "text")
_DEFAULT_GROUP = "tests/cart/test_total.py"
_DEFAULT_CLASS = "CartTest"
_DEFAULT_TIME = 0.1  # seconds


def make_case(session: Mapping[str, Any], given: Mapping[str, Any]) -> Case:
    """Return a test case with all fields that a list shows.

    It has `data` only if that, or a part of the failure, is given.

    Args:
        session: The session that the test case belongs to.
        given: The fields that are given; `message`, `type` and `text` describe the failure in `data`.

    Raises:
        ValueError: `name` is missing.
    """
    if "name" not in given:
        raise ValueError(f"a test case needs a name: {dict(given)!r}")
    fields = {name: value for name, value in given.items() if name not in _FAILURE_FIELDS}
    group, classname = fields.get("test_group_name", _DEFAULT_GROUP), fields.get("classname", _DEFAULT_CLASS)
    group_id = fields.get("test_group_id", _new_id(session, group))
    case_id = fields.get("id", _new_id(session, group, classname, fields["name"]))
    case: Case = {
        "url": f"{session['url']}/test-groups/{path_segment(group_id)}/cases/{path_segment(case_id)}",
        "html_url": session["html_url"],
        "id": case_id,
        "test_group_name": group,
        "test_group_id": group_id,
        "classname": classname,
        "status": "PASSED",
        "time": _DEFAULT_TIME,
        **fields,
    }
    if "data" not in case and len(fields) < len(given):
        case["data"] = write_testcase(case, given_failure(case, given))
    return {**{field: case[field] for field in _FIELDS if field in case}, **case}


def shown_in_list(case: Case) -> Case:
    """Return a copy of a test case as a list shows it, without `data`."""
    return {field: value for field, value in case.items() if field != "data"}


def list_cases(session: Mapping[str, Any], cases: Iterable[Mapping[str, Any]]) -> dict[str, Case]:
    """Return test cases by ID. If two have the same ID, the second one replaces the first.

    Args:
        session: The session that the test cases belong to.
        cases: The given fields of each test case.

    Raises:
        ValueError: A test case has no name.
    """
    made = (make_case(session, given) for given in cases)
    return {str(case["id"]): case for case in made}


def count_cases(cases: Iterable[Mapping[str, Any]]) -> Session:
    """Return the counts of a session or test group with these test cases."""
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


def group_cases(session: Mapping[str, Any], cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Return the test groups of a session in the API's JSON, in the order of their first test cases."""
    cases_by_group: dict[Any, list[Case]] = {}
    for case in cases:
        cases_by_group.setdefault(case["test_group_id"], []).append(case)
    groups: list[dict[str, Any]] = []
    for group_id, members in cases_by_group.items():
        counts = count_cases(members)
        group = {
            "url": f"{session['url']}/test-groups/{path_segment(group_id)}",
            "html_url": session["html_url"],
            "id": group_id,
            "name": members[0]["test_group_name"],
            "time": round(sum(case["time"] or 0 for case in members), 3),
            **counts,
            "status": _group_status(counts),
        }
        groups.append(group)
    return groups


def _group_status(counts: Mapping[str, int]) -> str:
    if counts["error_count"]:
        return "ERROR"
    if counts["failed_count"]:
        return "FAILED"
    return "SKIPPED" if counts["skipped_count"] == counts["tests_count"] else "PASSED"


def _new_id(session: Mapping[str, Any], *names: object) -> str:
    """Return 24 hexadecimal digits, like the documented IDs. The same test has another one in each session."""
    key = "\0".join(map(str, (session["url"], *names)))
    return hashlib.sha256(key.encode(errors="backslashreplace")).hexdigest()[:24]
