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


def test_each_failure_counts() -> None:
    """Of a test that fails in two sessions, the case of the newest one is kept, whatever the order."""
    judgement = judge([run(2, "adds", "pays"), run(3, "pays"), run(4)])
    assert [each.relative_id for each in judgement.sessions] == [4, 3, 2]
    assert [test.case.id for test in judgement.tests] == ["pays in 3", "adds in 2"]
    assert [each.relative_id for each in judgement.crashed] == [4]
    assert judgement.is_red


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
RUNNING, SKIPPED = SessionStatus.IN_PROGRESS, SessionStatus.SKIPPED


def did_not_run(ran: int) -> str:
    """Return that fewer than eight tests ran."""
    return (
        f"{ran} tests ran, on main 8: {8 - ran} did not run. A file that cannot be loaded uploads nothing. If the "
        "change removed them, runs only a part, or is older than main: --min-tests 0"
    )


def verdict(judged: TestRun | list[TestRun], past: list[TestRun] | None = None, **options: Any) -> Judgement:
    runs = [judged] if isinstance(judged, TestRun) else judged
    return judge(runs, Baseline("main", MAIN_RUNS if past is None else past, last=10), **options)


GREEN_CASES = {
    "green": verdict(session(20)),
    "V1: no count": verdict(session(20, failed_count=None)),
    "V3: switched off": verdict(session(20, tests=3), min_tests=0.0),
    "V3: lower share": verdict(session(20, tests=3), min_tests=0.3),
    "V3: no count": verdict(session(20, tests=None)),
    "V3: removed on main, too": verdict(
        session(20, tests=3), [session(9, tests=3), session(8, tests=3), *MAIN_RUNS[2:]]
    ),
    "V3: the number differs": verdict(session(20, tests=3), [session(9 - i, tests=8 - 5 * (i % 2)) for i in range(9)]),
    "V4: null is not 0": judge([session(20, tests=None)]),
    "V5: known": verdict(session(20, **CRASH), [session(9, **CRASH)]),
    "V5: never lists its failing tests": verdict(
        session(20, failed_count=2, **CRASH), [session(9, failed_count=1, **CRASH)]
    ),
}

CRASHED = "session #20 failed without a failing test"
RED_CASES = {
    "new failure": (verdict(session(20, "pays")), ["1 new failure"]),
    "V1: the listed one is new": (verdict(session(20, "pays", failed_count=2)), ["1 new failure"]),
    "V3": (verdict(session(20, tests=3)), [did_not_run(3)]),
    "V3: one": (verdict(session(20, tests=7)), [did_not_run(7)]),
    "V4: V3 is first": (verdict(session(20, tests=0)), [did_not_run(0)]),
    "V5": (verdict(session(20, **CRASH, error_message="disk full")), [f"{CRASHED}: disk full"]),
    "V5: other message": (
        verdict(session(20, **CRASH, error_message="disk full"), [session(9, **CRASH)]),
        [f"{CRASHED}: disk full"],
    ),
    "V5: tests did not run": (
        verdict(session(20, tests=3, **CRASH), [session(9, **CRASH), *MAIN_RUNS[1:]]),
        [CRASHED, did_not_run(3)],
    ),
    "V5: no test ran": (verdict(session(20, tests=0, **CRASH), [session(9, tests=0, **CRASH)]), [CRASHED]),
}

NO_TEST = "no test ran in #20: check that the test runner finds the tests"
NO_VERDICT = {
    "V1": (verdict(session(20, failed_count=2)), "#20 lists 0 of its 2 failing tests: try again later"),
    "V1: the listed one is known": (
        verdict(session(20, "pays", failed_count=2), [session(9, "pays")]),
        "#20 lists 1 of its 2 failing tests: try again later",
    ),
    "V1: one cannot be read": (
        verdict(session(20), unread=[session(21).session]),
        "#21: its failing tests cannot be read: try again later",
    ),
    "V2": (verdict([session(21, "pays"), session(20, status=RUNNING)]), "#20 has not finished: wait for it"),
    "V4": (judge([session(20, tests=0)]), NO_TEST),
    "V4: another session was skipped": (
        judge([session(21, tests=0, status=SKIPPED), session(20, tests=0)]),
        NO_TEST.replace("#20", "#21, #20"),
    ),
    "V4: none on main either": (verdict(session(20, tests=0), [session(9, tests=0)]), NO_TEST),
    "no baseline": (verdict(session(20), []), "main has no session to compare with"),
    "skipped": (verdict(session(20, status=SKIPPED)), "#20 neither passed nor failed: name another session"),
}


@pytest.mark.parametrize("judgement", GREEN_CASES.values(), ids=GREEN_CASES)
def test_green(judgement: Judgement) -> None:
    assert (judgement.is_red, judgement.reasons) == (False, [])


@pytest.mark.parametrize(("judgement", "reasons"), RED_CASES.values(), ids=RED_CASES)
def test_red(judgement: Judgement, reasons: list[str]) -> None:
    assert (judgement.is_red, judgement.reasons) == (True, reasons)


@pytest.mark.parametrize(("judgement", "reason"), NO_VERDICT.values(), ids=NO_VERDICT)
def test_incomplete_evidence_is_no_verdict(judgement: Judgement, reason: str) -> None:
    assert (judgement.is_red, judgement.reasons) == (None, [reason])


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
