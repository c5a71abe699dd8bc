"""Realistic random test cases, reproducible from a seed, for any session on demand. No HTTP.

A suite has the same tests in each session; new tests come at the end. A bug breaks a few tests of one or two files for
several sessions in a row. Some tests are flaky, some become slower from session to session.
"""

import heapq
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import attrs

from .cases import Case, make_case
from .junit import choose_failure, write_testcase

_AREAS = (
    *("account", "api", "auth", "billing", "cart", "catalog", "checkout", "email"),
    *("export", "invoice", "orders", "payments", "reports", "search", "shipping", "webhooks"),
)
_SUBJECTS = ("address", "cache", "filters", "history", "limits", "permissions", "prices", "retries", "total", "views")
_BEHAVIOURS = (
    *("adds_discount", "applies_tax", "caches_rates", "exports_rows", "finds_customer", "hides_drafts", "keeps_order"),
    *("limits_results", "loads_defaults", "logs_change", "merges_accounts", "refunds_payment", "rejects_empty_name"),
    *("removes_item", "retries_request", "rounds_half_up", "saves_changes", "sends_receipt", "shows_total"),
    *("sorts_by_date", "translates_labels", "validates_address"),
)
_CONDITIONS = (
    *("", "_after_timeout", "_for_guest", "_in_other_currency", "_on_leap_day", "_twice", "_with_coupon"),
    "_without_permission",
)
_NAMES = tuple(behaviour + condition for behaviour, condition in product(_BEHAVIOURS, _CONDITIONS))

_SESSIONS_PER_BUG = 20
_NEIGHBOURS = 0.03  # the higher, the more test files a bug breaks
_FLAKY_TESTS = 3
_FLAKY_AMONG = 40  # the first tests of a suite
_FLAKY_FAILS = 0.8  # the probability that a flaky test fails when it is its turn, if the session has enough failures
_FLAKY_ALONE = 0.35  # the probability that a flaky test may fail in a session with one or two failures
_SLOWING_TESTS = 0.04  # the share of the tests that become slower
_MAX_SLOWING_SESSIONS = 1000
_CACHED_SESSIONS = 16  # of all suites together


@attrs.frozen
class _Test:
    """A test that a suite runs in each session.

    Attributes:
        names: Its `test_group_name`, `classname` and `name`.
        seconds: Its usual duration.
        slowing: The part of `seconds` that each session adds.
        skip_rank: Tests with a low number are skipped first.
    """

    names: Mapping[str, str]
    seconds: float
    slowing: float
    skip_rank: float


@attrs.frozen
class _Key:
    """The parts of a session that its test cases depend on."""

    id: Any
    url: Any
    html_url: Any
    position: int
    tests: int
    failed: int
    errors: int
    skipped: int


@attrs.define(eq=False)
class CaseHistory:
    """Generates the test cases of one suite's sessions. Thread-safe.

    The test cases of a session depend on the seed, on the ID and number of the session and on its counts, and on no
    other session.

    Attributes:
        seed: The seed of the random data.
        seconds_per_test: The average duration of a test.
    """

    seed: str
    seconds_per_test: float
    _flaky: Sequence[int] = attrs.field(init=False)  # positions of the flaky tests
    _new_tests: Iterator[_Test] = attrs.field(init=False)
    _tests: list[_Test] = attrs.field(init=False, factory=list[_Test])
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)  # guards _new_tests and _tests

    def __attrs_post_init__(self) -> None:
        self._flaky = self._random("flaky").sample(range(_FLAKY_AMONG), _FLAKY_TESTS)
        self._new_tests = _generate_tests(self._random("tests"), self.seconds_per_test)

    def cases(self, session: Mapping[str, Any]) -> Sequence[Case]:
        """Return the test cases of a session, without `data`. They match its counts; do not change them.

        Counts that are not positive integers are taken as 0. There are never more than `tests_count` test cases.
        """
        tests = _number(session["tests_count"])
        failed = min(tests, _number(session["failed_count"]))
        errors = min(tests - failed, _number(session["error_count"]))
        skipped, position = _number(session["skipped_count"]), _number(session["relative_id"])
        key = _Key(session["id"], session["url"], session["html_url"], position, tests, failed, errors, skipped)
        return _generate_cases(self, key)

    def data(self, session: Mapping[str, Any], case: Case) -> str:
        """Return the JUnit XML of a test case that has no `data`. Tests that a bug breaks fail in the same way."""
        bug = f"{self.seed}/{_number(session['relative_id']) // _SESSIONS_PER_BUG}/{case['test_group_name']!r}"
        failure = choose_failure(case, cause=bug, variant=f"{bug}/{case['classname']!r}/{case['name']!r}")
        return write_testcase(case, failure)

    def tests(self, number: int) -> Sequence[_Test]:
        """Return the first tests of the suite."""
        with self._lock:
            self._tests.extend(next(self._new_tests) for _ in range(number - len(self._tests)))
            return self._tests[:number]

    def statuses(self, tests: Sequence[_Test], key: _Key) -> dict[int, str]:
        """Return the statuses of the tests that did not pass, by position."""
        rng = self._random(f"statuses/{key.id!r}")
        flaky_failures = min(key.failed, max(key.failed // 3, int(rng.random() < _FLAKY_ALONE)))
        flaky = [
            index
            for turn, index in enumerate(self._flaky, key.position)  # each fails in every second session at most
            if rng.random() < _FLAKY_FAILS and turn % 2 == 0 and index < key.tests
        ]
        # A test's rank depends on the number of the bug and on the tests before it, not on the session's counts.
        bug = self._random(f"bug/{key.position // _SESSIONS_PER_BUG}")
        files: dict[str, float] = {}
        ranks = [
            files.setdefault(test.names["test_group_name"], bug.random()) + _NEIGHBOURS * bug.random() for test in tests
        ]
        broken = heapq.nsmallest(key.failed + key.errors, range(key.tests), key=ranks.__getitem__)
        failing = list(dict.fromkeys(flaky[:flaky_failures] + broken))[: key.failed + key.errors]
        statuses = dict.fromkeys(failing[: key.failed], "FAILED") | dict.fromkeys(failing[key.failed :], "ERROR")
        others = (index for index in range(key.tests) if index not in statuses)
        skipped = heapq.nsmallest(key.skipped, others, key=lambda index: tests[index].skip_rank)
        return statuses | dict.fromkeys(skipped, "SKIPPED")

    def times(self, tests: Sequence[_Test], key: _Key) -> Iterator[float]:
        """Yield the duration of each test in seconds."""
        rng, sessions = self._random(f"times/{key.id!r}"), min(key.position, _MAX_SLOWING_SESSIONS)
        for test in tests:
            yield test.seconds * (1 + test.slowing * sessions) * rng.uniform(0.85, 1.2)

    def _random(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}/{name}")  # noqa: S311 - nothing secret


@lru_cache(maxsize=_CACHED_SESSIONS)
def _generate_cases(history: CaseHistory, key: _Key) -> Sequence[Case]:
    """Return the test cases of a session. Not a method, so that all suites share the cache."""
    tests = history.tests(key.tests)
    statuses, session = history.statuses(tests, key), {"url": key.url, "html_url": key.html_url}
    cases: list[Case] = []
    for index, (test, seconds) in enumerate(zip(tests, history.times(tests, key), strict=True)):
        status = statuses.get(index, "PASSED")
        time = 0.0 if status == "SKIPPED" else max(0.001, round(seconds, 3))
        cases.append(make_case(session, {**test.names, "status": status, "time": time}))
    return tuple(cases)


def _generate_tests(rng: random.Random, seconds_per_test: float) -> Iterator[_Test]:
    """Yield the tests of a suite, file by file, without end."""
    files, suffix = list(product(_AREAS, _SUBJECTS)), ""
    while True:
        rng.shuffle(files)
        for area, subject in files:
            path = f"tests/{area}/test_{subject}{suffix}.py"
            for name in rng.sample(_NAMES, rng.randint(4, 14)):
                yield _Test(
                    names={"name": name, "test_group_name": path, "classname": f"{area.capitalize()}Test"},
                    seconds=seconds_per_test * rng.lognormvariate(-0.9, 1.2),  # most are fast; 0.84 on average
                    slowing=rng.uniform(0.004, 0.02) if rng.random() < _SLOWING_TESTS else 0.0,
                    skip_rank=rng.random(),
                )
        suffix += "_more"


def _number(value: object) -> int:
    """Return a number of a session's JSON; 0 if a test serves an invalid one on purpose."""
    return max(0, value) if isinstance(value, int) else 0
