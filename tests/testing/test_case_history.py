"""The random test cases of the fake Buddy: they match the sessions, and are realistic and reproducible."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.effort import repeats

UNTIL = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)
Test = tuple[str, str, str]


def populated(*, seed: int = 0, suite_id: str = "MNbyVedg", count: int = 200) -> FakeSuite:
    return FakeSuite("acme", "shop", suite_id, seed=seed).populate(count, until=UNTIL)


def test_of(case: dict[str, Any]) -> Test:
    """Return the names of a test, which are the same in all sessions."""
    return case["test_group_name"], case["classname"], case["name"]


test_of.__test__ = False  # type: ignore[attr-defined] # not a test


@lru_cache
def runs(*, seed: int = 0) -> list[dict[Test, dict[str, Any]]]:
    """Return the test cases of each session of a suite by test, oldest session first."""
    suite = populated(seed=seed)
    return [{test_of(case): case for case in suite.cases(each["id"])} for each in reversed(suite.sessions)]


def failing(run: dict[Test, dict[str, Any]]) -> set[Test]:
    return {test for test, case in run.items() if case["status"] in {"FAILED", "ERROR"}}


def counts(suite: FakeSuite, session: dict[str, Any]) -> list[int]:
    """Return the numbers of all test cases, and of those that failed, were skipped and had errors."""
    numbers = Counter(case["status"] for case in suite.cases(session["id"]))
    return [numbers.total(), numbers["FAILED"], numbers["SKIPPED"], numbers["ERROR"]]


def counts_of(session: dict[str, Any]) -> list[int]:
    return [session[name] for name in ("tests_count", "failed_count", "skipped_count", "error_count")]


@pytest.mark.parametrize("seed", range(repeats(quick=1, thorough=3)))
def test_cases_match_the_counts_of_populated_sessions(seed: int) -> None:
    suite = populated(seed=seed)
    assert {each["status"] for each in suite.sessions} >= {"SUCCESSFUL", "ERROR", "SKIPPED"}
    for session in suite.sessions:
        assert counts(suite, session) == counts_of(session)


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0))
def test_cases_match_any_consistent_counts(passed: int, failed: int, skipped: int, errors: int, number: int) -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    session = suite.create(
        status="ERROR",
        relative_id=number,
        tests_count=passed + failed + skipped + errors,
        failed_count=failed,
        skipped_count=skipped,
        error_count=errors,
    )
    assert counts(suite, session) == counts_of(session)
    assert len({case["id"] for case in suite.cases(session["id"])}) == session["tests_count"]


anything = st.one_of(st.none(), st.text(max_size=3), st.integers(-5, 30), st.floats())


@example(tests=3, failed=2, skipped=9, errors=2, number=-7)
@given(tests=anything, failed=anything, skipped=anything, errors=anything, number=anything)
def test_invalid_counts_give_valid_cases(
    tests: object, failed: object, skipped: object, errors: object, number: object
) -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    session = suite.create(
        tests_count=tests, failed_count=failed, skipped_count=skipped, error_count=errors, relative_id=number
    )
    assert len(suite.cases(session["id"])) == (max(0, tests) if isinstance(tests, int) else 0)


@pytest.mark.parametrize("status", ["SUCCESSFUL", "ERROR", "SKIPPED"])
def test_finish_gives_cases_that_match_the_counts(status: str) -> None:
    suite = populated(count=20)
    created = suite.create()
    assert suite.cases(created["id"]) == suite.test_groups(created["id"]) == []
    finished = suite.finish(created["id"], status)
    assert counts(suite, finished) == counts_of(finished)
    assert finished["tests_count"] > 0
    assert suite.cases(suite.reopen(created["id"])["id"])
    explicit = suite.finish(suite.create()["id"], tests_count=30, failed_count=3, skipped_count=2, error_count=1)
    assert counts(suite, explicit) == [30, 3, 2, 1]


def test_only_a_session_in_progress_has_no_cases() -> None:
    suites = [populated(seed=seed, count=3) for seed in range(40)]
    newest = [suite.sessions[0] for suite in suites]
    assert {session["status"] for session in newest} >= {"IN_PROGRESS", "SUCCESSFUL"}
    for suite, session in zip(suites, newest, strict=True):
        assert bool(suite.cases(session["id"])) == (session["status"] != "IN_PROGRESS")


def test_same_seed_gives_same_cases_in_any_order() -> None:
    suites = [populated(count=30) for _ in range(2)]
    ids = [session["id"] for session in suites[0].sessions]
    forward = [(suites[0].cases(each), suites[0].test_groups(each)) for each in ids]
    backward = [(suites[1].cases(each), suites[1].test_groups(each)) for each in reversed(ids)]
    assert forward == backward[::-1]


def test_other_sessions_do_not_matter() -> None:
    suite, others = populated(count=30), populated(count=30)
    for session in others.sessions[1:]:
        others.delete(session["id"])
    others.create(status="ERROR", tests_count=900, failed_count=20)
    session_id = suite.sessions[0]["id"]
    assert others.cases(session_id) == suite.cases(session_id) != []


def test_other_seed_or_name_gives_other_tests() -> None:
    suites = [populated(count=5), populated(count=5, seed=1), populated(count=5, suite_id="other")]
    assert len({str([test_of(case) for case in suite.cases(suite.sessions[-1]["id"])]) for suite in suites}) == 3


@pytest.mark.slow
def test_other_process_gives_same_cases() -> None:
    program = f"""
import hashlib
from datetime import datetime
from buddy_sessions.testing import FakeSuite

suite = FakeSuite("acme", "shop", "MNbyVedg").populate(40, until=datetime.fromisoformat({UNTIL.isoformat()!r}))
ids = [(session["id"], case["id"]) for session in suite.sessions for case in suite.cases(session["id"])]
print(suite.token, hashlib.sha256(repr([suite.case(*each) for each in ids]).encode()).hexdigest())
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_names_look_like_those_of_a_project() -> None:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in runs()[0].values():
        assert re.fullmatch(r"tests/[a-z]+/test_[a-z]+\.py", case["test_group_name"])
        assert case["classname"].lower() == case["test_group_name"].split("/")[1] + "test"
        assert re.fullmatch("[a-z_]+", case["name"])
        groups[case["test_group_name"]].append(case)
    assert len(groups) > 10
    assert all(len(cases) <= 14 for cases in groups.values())


def test_sessions_run_the_same_tests() -> None:
    for before, after in pairwise(runs()):
        fewer, more = sorted([list(before), list(after)], key=len)
        assert more[: len(fewer)] == fewer


def test_ids_differ_between_sessions() -> None:
    ids = [case["id"] for run in runs()[:20] for case in run.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{24}", each) for each in ids)


@pytest.mark.slow
def test_same_tests_fail_in_successive_sessions() -> None:
    pairs = [pair for seed in range(5) for pair in pairwise(runs(seed=seed)) if failing(pair[0]) and failing(pair[1])]
    again = sum(len(failing(before) & failing(after)) for before, after in pairs)
    fixed = sum(len(failing(before) - failing(after)) for before, after in pairs)
    assert again > fixed > 0


@pytest.mark.slow
def test_failures_cluster_in_few_files() -> None:
    several = [failing(run) for seed in range(5) for run in runs(seed=seed) if len(failing(run)) > 2]
    files = [len({group for group, _, _ in tests}) for tests in several]
    assert sum(files) < 0.6 * sum(map(len, several))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_few_tests_are_flaky(seed: int) -> None:
    """By Buddy's definition: at least three changes within ten sessions."""
    flaky: set[Test] = set()
    for start in range(len(runs(seed=seed)) - 9):
        changes: Counter[Test] = Counter()
        last: dict[Test, bool] = {}
        for run in runs(seed=seed)[start : start + 10]:
            for test, case in run.items():
                if case["status"] != "SKIPPED":
                    has_failed = case["status"] != "PASSED"
                    changes[test] += last.get(test, has_failed) != has_failed
                    last[test] = has_failed
        flaky.update(test for test, number in changes.items() if number >= 3)
    assert 0 < len(flaky) < len(runs(seed=seed)[0]) / 5


def test_some_tests_become_slower() -> None:
    early, late = ([run for run in part if len(failing(run)) < 5] for part in (runs()[:20], runs()[-20:]))

    def mean_time(part: list[dict[Test, dict[str, Any]]], test: Test) -> float:
        times = [run[test]["time"] for run in part if test in run and run[test]["status"] != "SKIPPED"]
        return float(sum(times) / len(times)) if times else 0.0

    tests = [test for test in runs()[0] if mean_time(early, test) > 0.01]
    growth = [mean_time(late, test) / mean_time(early, test) for test in tests]
    slower = [each for each in growth if each > 1.5]
    assert 0 < len(slower) < len(tests) / 10
    assert sum(0.8 < each < 1.2 for each in growth) > 0.8 * len(tests)


def test_times_fit_the_duration_of_the_session() -> None:
    suite = populated()
    for session in suite.sessions:
        if session["status"] in {"SUCCESSFUL", "ERROR"}:
            total = sum(case["time"] for case in suite.cases(session["id"]))
            assert 0.3 * session["duration"] < total < 2.5 * session["duration"]


def test_skipped_cases_take_no_time() -> None:
    cases = [case for run in runs() for case in run.values()]
    assert {case["time"] for case in cases if case["status"] == "SKIPPED"} == {0.0}
    assert all(case["time"] >= 0.001 for case in cases if case["status"] != "SKIPPED")


def test_failures_have_a_message_and_a_traceback() -> None:
    suite, tags = populated(), {"FAILED": "failure", "ERROR": "error"}
    types: set[str | None] = set()
    for session in suite.sessions:
        for status, tag in tags.items():
            for case in suite.cases(session["id"], status=status):
                root = ET.fromstring(suite.case(session["id"], case["id"])["data"])
                assert root.attrib == {"name": case["name"], "classname": case["classname"], "time": str(case["time"])}
                (child,) = root
                assert child.tag == tag
                text = child.text or ""
                assert f'File "{case["test_group_name"]}", line ' in text
                assert f", in {case['name']}\n" in text
                assert text.endswith(f"{child.get('type')}: {child.get('message')}\n")
                assert not re.search(r"[{}]", text)
                types.add(child.get("type"))
    assert len(types) > 5


def test_broken_test_fails_in_the_same_way() -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    messages: list[dict[str, str]] = []
    for _ in range(2):
        session = suite.create(status="ERROR", tests_count=100, failed_count=8)
        cases = [suite.case(session["id"], case["id"]) for case in suite.cases(session["id"], status="FAILED")]
        messages.append({case["name"]: ET.fromstring(case["data"])[0].get("message", "") for case in cases})
    both = messages[0].keys() & messages[1].keys()
    assert len(both) >= 4
    assert all(messages[0][name] == messages[1][name] for name in both)


def test_tests_of_one_file_fail_for_the_same_reason() -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    session = suite.create(status="ERROR", tests_count=200, failed_count=60)
    types: dict[str, set[str | None]] = defaultdict(set)
    for case in suite.cases(session["id"], status="FAILED"):
        data = suite.case(session["id"], case["id"])["data"]
        types[case["test_group_name"]].add(ET.fromstring(data)[0].get("type"))
    assert {len(each) for each in types.values()} == {1}
    assert len(set.union(*types.values())) > 1


@pytest.mark.parametrize("seed", [0, 50])
def test_newest_failed_session_of_the_demo_has_different_failures(seed: int) -> None:
    """50 is the seed of the command `demo`, 0 that of `serve`."""
    suite = FakeBuddy(seed=seed).add_demo_suites()[0]
    session_id = next(session["id"] for session in suite.sessions if session["status"] == "ERROR")
    failed = [suite.case(session_id, case["id"]) for case in suite.cases(session_id, status="FAILED")]
    assert len({ET.fromstring(case["data"])[0].get("message") for case in failed}) >= 3


def test_many_cases_are_cheap() -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    sessions = [suite.create(status="SUCCESSFUL", tests_count=10_000) for _ in range(400)]
    stored, started = suite.snapshot()[0], time.process_time()
    for _ in range(200):
        assert len(stored.cases()) == 10_000
    assert time.process_time() - started < 3  # it takes 0.2 s; without a cache, 15 s
    cases = suite.cases(sessions[0]["id"])
    assert len({test_of(case) for case in cases}) == 10_000
    assert any(case["test_group_name"].endswith("_more.py") for case in cases)
