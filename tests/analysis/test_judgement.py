"""The verdict on sessions, with and without earlier sessions of a branch."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from buddy_sessions import QuarantinedTest, Session, SessionStatus, TestCase, TestRun, TestStatus
from buddy_sessions.analysis.judgement import Baseline, Judgement, find_causes, judge


def run(number: int, *failing: str, status: SessionStatus = SessionStatus.ERROR) -> TestRun:
    """Return a session in which these tests fail."""
    cases = tuple(TestCase(id=f"{name} in {number}", name=name, status=TestStatus.FAILED) for name in failing)
    return TestRun(Session(id=str(number), relative_id=number, status=status), cases)


GREEN = SessionStatus.SUCCESSFUL


@pytest.mark.parametrize(
    ("runs", "failing", "crashed", "is_red"),
    [
        ([run(2, status=GREEN)], [], [], False),
        ([run(2, "pays", "adds")], ["pays in 2", "adds in 2"], [], True),
        ([run(3, "pays"), run(2, "adds", "pays")], ["pays in 3", "adds in 2"], [], True),
        ([run(3, status=GREEN), run(2)], [], [2], True),
        ([run(2, "pays", status=SessionStatus.IN_PROGRESS)], ["pays in 2"], [], None),
    ],
    ids=["green", "red", "two sessions", "crashed", "unfinished"],
)
def test_each_failure_counts(runs: list[TestRun], failing: list[str], crashed: list[int], is_red: bool | None) -> None:
    """Of a test that fails in two sessions, the case of the newest one is kept."""
    judgement = judge(runs)
    assert [test.case.id for test in judgement.tests] == failing
    assert [session.relative_id for session in judgement.crashed] == crashed
    assert judgement.is_red is is_red


def test_baseline_excuses_failures() -> None:
    past = [run(4, "old", "known"), run(3, "known", "flaky"), run(2, "known"), run(1, "x")]
    baseline = Baseline("main", past, last=2)
    quarantine = [QuarantinedTest("late", date.max, "SHOP-7"), QuarantinedTest("gone", date.max)]
    judgement = judge([run(9, "flaky", "known", "new", "late")], baseline, quarantine=quarantine)
    assert [(test.case.name, test.failed_in, test.excuse, test.mark) for test in judgement.tests] == [
        ("new", 0, "", "new"),
        ("known", 2, "known: failed in 2 of the last 2 on main", "failing since #2"),
        ("flaky", 1, "flaky: failed in 1 of the last 2 on main", "flaky: failed in 1 of the last 2 on main"),
        ("late", 0, f"quarantined until {date.max}: SHOP-7", f"quarantined until {date.max}: SHOP-7"),
    ]
    assert (judgement.is_red, judgement.unused) == (True, quarantine[1:])
    assert not judge([run(9, "known")], baseline).is_red
    assert str(Baseline(None, [])) == "all branches"


def test_streak_that_may_be_longer() -> None:
    """All sessions that are known have the failure."""
    (test,) = judge([run(9, "known")], Baseline("main", [run(2, "known"), run(1, "known")])).tests
    assert test.mark == "failing since #1 or earlier"
    assert [cause.tests for cause in find_causes([test])] == [[test]]


def session(number: int, failing: str = "", *, tests: int | None = 8, **fields: Any) -> TestRun:
    """Return a session of eight tests, of which those of `failing` fail, and its counts say so."""
    names = failing.split()
    status = SessionStatus.ERROR if names else GREEN
    fields = {"status": status, "tests_count": tests, "failed_count": len(names), **fields}
    cases = tuple(TestCase(id=name, name=name, status=TestStatus.FAILED) for name in names)
    return TestRun(Session(id=str(number), relative_id=number, **fields), cases)


CRASH: dict[str, Any] = {"status": SessionStatus.ERROR}
MAIN_RUNS = [session(number) for number in range(9, 0, -1)]
TESTS_MISSING = (
    "3 tests ran, on main 8: 5 did not run. A file that cannot be loaded uploads nothing. If the change removed them, "
    "runs only a part, or is older than main: --min-tests 0"
)
RUNNING = SessionStatus.IN_PROGRESS


def verdict(judged: TestRun | list[TestRun], past: list[TestRun] | None = None, **options: Any) -> Judgement:
    runs = [judged] if isinstance(judged, TestRun) else judged
    return judge(runs, Baseline("main", MAIN_RUNS if past is None else past, last=10), **options)


@pytest.mark.parametrize(
    ("judgement", "is_red", "reasons"),
    [
        pytest.param(verdict(session(20)), False, [], id="green"),
        pytest.param(verdict(session(20, "pays")), True, ["1 new failure"], id="new failure"),
        pytest.param(
            verdict(session(20, failed_count=2)), None, ["#20 lists 0 of its 2 failing tests: try again later"], id="V1"
        ),
        pytest.param(
            verdict(session(20, "pays", failed_count=2), [session(9, "pays")]),
            None,
            ["#20 lists 1 of its 2 failing tests: try again later"],
            id="V1: the listed one is known",
        ),
        pytest.param(
            verdict(session(20, "pays", failed_count=2)), True, ["1 new failure"], id="V1: the listed one is new"
        ),
        pytest.param(verdict(session(20, failed_count=None)), False, [], id="V1: no count"),
        pytest.param(
            verdict(session(20), unread=[session(21).session]),
            None,
            ["#21: its failing tests cannot be read: try again later"],
            id="V1: one cannot be read",
        ),
        pytest.param(
            verdict([session(21, "pays"), session(20, status=RUNNING)]),
            None,
            ["#20 has not finished: wait for it"],
            id="V2",
        ),
        pytest.param(verdict(session(20, tests=3)), True, [TESTS_MISSING], id="V3"),
        pytest.param(
            verdict(session(20, tests=7)),
            True,
            [TESTS_MISSING.replace("3 t", "7 t", 1).replace(": 5", ": 1")],
            id="V3: one",
        ),
        pytest.param(verdict(session(20, tests=3), min_tests=0.0), False, [], id="V3: switched off"),
        pytest.param(verdict(session(20, tests=3), min_tests=0.3), False, [], id="V3: lower share"),
        pytest.param(verdict(session(20, tests=None)), False, [], id="V3: no count"),
        pytest.param(
            verdict(session(20, tests=3), [session(9, tests=3), session(8, tests=3), *MAIN_RUNS[2:]]),
            False,
            [],
            id="V3: removed on main, too",
        ),
        pytest.param(
            verdict(session(20, tests=3), [session(number, tests=3 + 5 * (number % 2)) for number in range(9, 0, -1)]),
            False,
            [],
            id="V3: the number differs",
        ),
        pytest.param(
            judge([session(20, tests=0)]),
            None,
            ["no test ran in #20: check that the test runner finds the tests"],
            id="V4",
        ),
        pytest.param(
            judge([session(21, tests=0, status=SessionStatus.SKIPPED), session(20, tests=0)]),
            None,
            ["no test ran in #21, #20: check that the test runner finds the tests"],
            id="V4: another session was skipped",
        ),
        pytest.param(
            verdict(session(20, tests=0)),
            True,
            [TESTS_MISSING.replace("3 t", "0 t", 1).replace(": 5", ": 8")],
            id="V4: V3 is first",
        ),
        pytest.param(
            verdict(session(20, tests=0), [session(9, tests=0)]),
            None,
            ["no test ran in #20: check that the test runner finds the tests"],
            id="V4: none on main either",
        ),
        pytest.param(judge([session(20, tests=None)]), False, [], id="V4: null is not 0"),
        pytest.param(
            verdict(session(20, **CRASH, error_message="disk full")),
            True,
            ["session #20 failed without a failing test: disk full"],
            id="V5",
        ),
        pytest.param(verdict(session(20, **CRASH), [session(9, **CRASH)]), False, [], id="V5: known"),
        pytest.param(
            verdict(session(20, **CRASH, error_message="disk full"), [session(9, **CRASH)]),
            True,
            ["session #20 failed without a failing test: disk full"],
            id="V5: other message",
        ),
        pytest.param(
            verdict(session(20, tests=3, **CRASH), [session(9, **CRASH), *MAIN_RUNS[1:]]),
            True,
            ["session #20 failed without a failing test", TESTS_MISSING],
            id="V5: tests did not run",
        ),
        pytest.param(
            verdict(session(20, tests=0, **CRASH), [session(9, tests=0, **CRASH)]),
            True,
            ["session #20 failed without a failing test"],
            id="V5: no test ran",
        ),
        pytest.param(
            verdict(session(20, failed_count=2, **CRASH), [session(9, failed_count=1, **CRASH)]),
            False,
            [],
            id="V5: never lists its failing tests",
        ),
        pytest.param(verdict(session(20), []), None, ["main has no session to compare with"], id="no baseline"),
        pytest.param(
            verdict(session(20, status=SessionStatus.SKIPPED)),
            None,
            ["#20 neither passed nor failed: name another session"],
            id="skipped",
        ),
    ],
)
def test_verdict_rests_on_complete_evidence(judgement: Judgement, is_red: bool | None, reasons: list[str]) -> None:
    assert (judgement.is_red, judgement.reasons) == (is_red, reasons)


MATRIX = [session(number, tests=4, ci_run_url=f"https://ci/{(number + 1) // 2}") for number in range(10, 0, -1)]


@pytest.mark.parametrize(
    ("tests", "others", "is_red"),
    [
        ([4, 4], [], False),
        ([4], [], True),
        ([4], [4], False),
        ([4], [1], True),
        ([4, 4], [4], False),
        ([4, 1], [4], True),
    ],
    ids=["both jobs", "one", "one of two is judged", "the other is short", "re-run", "short re-run"],
)
def test_tests_of_matrix_are_added(tests: list[int], others: list[int], is_red: bool) -> None:
    """Usually, a CI run has two sessions of four tests."""
    run_url = {"ci_run_url": "https://ci/new"}
    judged = [session(20 + number, tests=count, **run_url) for number, count in enumerate(tests)]
    earlier = [session(12 + number, tests=count, **run_url).session for number, count in enumerate(others)]
    judgement = verdict(judged, MATRIX, others=earlier)
    assert (judgement.is_red, len(judgement.missing_tests)) == (is_red, int(is_red))


MANY = " ".join(f"test-{number}" for number in range(15))


@pytest.mark.parametrize(
    ("past", "is_red", "outage"),
    [
        ([session(9, tests=20), session(8, MANY, tests=20), session(7, tests=20)], True, "#8"),
        ([session(9, MANY, tests=20), session(8, tests=20), session(7, tests=20)], True, "#9"),
        ([session(9, tests=20), session(8, MANY, tests=40), session(7, tests=20)], False, ""),
        ([session(9, tests=15), session(8, MANY, tests=15), session(7, tests=15)], False, ""),
        ([session(9, tests=20), session(8, MANY, tests=15), session(7, tests=20)], True, "#8"),
        ([session(9, MANY, tests=15), session(8, tests=20), session(7, tests=20)], False, ""),
        ([session(9, tests=20), session(8, MANY, tests=20)], False, ""),
    ],
    ids=["outage", "the newest", "less than half failed", "few tests", "tests did not run", "no newer one", "half"],
)
def test_outage_excuses_nothing(past: list[TestRun], is_red: bool, outage: str) -> None:
    judgement = verdict(session(20, "test-3", tests=20), past)
    assert (judgement.is_red, [text.split()[0] for text in judgement.remarks]) == (is_red, [outage] if outage else [])


def test_outage_is_replaced_by_an_older_run() -> None:
    past = [session(9, tests=20), session(8, MANY, tests=20), session(7, tests=20), session(6, "test-3", tests=20)]
    runs = [session(20, "test-3", tests=20)]
    (test,) = judge(runs, Baseline("main", past, last=3)).tests
    assert test.excuse == "flaky: failed in 1 of the last 3 on main"


def test_failure_that_also_passed() -> None:
    """It counts, with a remark: it was run again, or by another job."""
    judged = session(20, "pays")
    passed = TestCase(id="2", name="pays", status=TestStatus.PASSED)
    judgement = verdict(TestRun(judged.session, (*judged.cases, passed)))
    assert [test.baseline for test in judgement.tests] == ["new"]
    assert judgement.remarks == ["pays also passed in #20: a retry, or another job"]


def test_failures_of_both_jobs_of_baseline_excuse() -> None:
    """A CI run is one of the last runs, whatever jobs it has: the test failed in the latest one."""
    past = [MATRIX[0], TestRun(MATRIX[1].session, session(9, "pays").cases), *MATRIX[2:]]
    (test,) = judge([session(20, "pays", tests=8)], Baseline("main", past, last=5)).tests
    assert (test.baseline, test.excuse) == ("known", "known: failed in 1 of the last 5 on main")


def test_sessions_of_baseline_without_cases_are_named() -> None:
    baseline = Baseline("main", MAIN_RUNS, unread=[session(10).session])
    assert judge([session(20)], baseline).remarks == ["left out, because their failing tests cannot be read: #10"]


def test_newest_session_decides_whatever_the_order() -> None:
    judgement = verdict([session(20, "pays"), session(21, "pays")])
    assert [each.relative_id for each in judgement.sessions] == [21, 20]
    assert judgement.tests[0].session.relative_id == 21
