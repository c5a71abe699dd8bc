"""Test cases of a session in the API's JSON: fields, counts, statuses. No HTTP."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import attrs

from .case_data import FAILURE_FIELDS, given_failure, random_failure, write_data
from .random_history import Runner, random_cause, random_statuses, random_tests
from .wire import JsonObject, check_fields, path_segment

CASE_STATUSES = ("PASSED", "FAILED", "SKIPPED", "ERROR")

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
