"""The cases of each test in one session, and the order of the lists that the analyses return."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from ..errors import ConfigError
from ..models import TestCase, TestKey, TestStatus

_SEVERITY = {TestStatus.PASSED: 0, TestStatus.FAILED: 2, TestStatus.ERROR: 3}
_UNKNOWN_SEVERITY = 1
_NAMED = 20
"""The maximum number of tests that an error names."""


def group_by_test(cases: Iterable[TestCase]) -> dict[TestKey, list[TestCase]]:
    """Return the cases of one session that are not skipped, by their keys."""
    tests: dict[TestKey, list[TestCase]] = {}
    for case in cases:
        if case.status != TestStatus.SKIPPED:
            tests.setdefault(case.key, []).append(case)
    return tests


def worst(cases: list[TestCase]) -> TestCase:
    """Return the case with the worst status: ERROR, then FAILED, then any unknown one, then PASSED."""
    return _highest(cases, lambda case: (_SEVERITY.get(case.status, _UNKNOWN_SEVERITY), case.status, _time(case)))


def longest(cases: list[TestCase]) -> TestCase:
    """Return the case that took longest. One without a time comes last."""
    return _highest(cases, _time)


def _highest(cases: list[TestCase], rank: Callable[[TestCase], object]) -> TestCase:
    """Return the case with the highest rank. The other fields decide between equal ones, and not their order."""
    if len(cases) == 1:
        return cases[0]
    return max(cases, key=lambda case: (rank(case), repr(case)))


def _time(case: TestCase) -> float:
    return -math.inf if case.time is None else case.time


def sort_cases(cases: Iterable[TestCase]) -> list[TestCase]:
    """Return the cases in the order of their keys."""
    return sorted(cases, key=lambda case: sort_key(case.key))


def sort_key(key: TestKey) -> tuple[str, str, str, str]:
    """Return what to sort a key by. Its `repr` distinguishes None from an empty text."""
    return key.group or "", key.classname or "", key.name, repr(key)


def find_tests(keys: Iterable[TestKey], text: TestKey | str) -> list[TestKey]:
    """Return the tests that a text names: those with this key or name, or else those whose keys contain it.

    White space of any length is one space, as where names are shown. In a part, upper and lower case are the same, and
    … stands for any text, because the middle of a long name is not shown.
    """
    if isinstance(text, TestKey):
        return [key for key in keys if key == text]
    names = {key: " ".join(str(key).split()) for key in keys}
    wanted = " ".join(text.split())
    exact = [key for key, name in names.items() if wanted in {name, " ".join(key.name.split())}]
    part = re.compile(".*".join(map(re.escape, wanted.split("…", 1))), re.IGNORECASE)
    return exact or [key for key, name in names.items() if part.search(name)]


def find_test(keys: Iterable[TestKey], text: TestKey | str, *, searched: str) -> TestKey:
    """Return the only test that a text names. Raises ConfigError, with the names as notes, if there are several.

    If there is none, the note says what was searched.
    """
    found = find_tests(keys, text)
    if len(found) == 1:
        return found[0]
    if not found:
        error = ConfigError(f"no test is named {str(text)!r}: write a part of the name that is shown")
        error.add_note(f"searched: {searched}")
        raise error
    more = f"; the first {_NAMED} are" if len(found) > _NAMED else ""
    error = ConfigError(f"{text!r} fits {len(found):,} tests: write more of the name{more}")
    for key in sorted(found, key=sort_key)[:_NAMED]:
        error.add_note(str(key))
    raise error
