"""The statistics of the test cases of a suite in a report."""

from __future__ import annotations

from buddy_sessions import Failure, TestCase, TestRun, TestStatus
from buddy_sessions.cli.report.case_statistics import CaseStatistics, compute_case_statistics
from helpers.report_sessions import FAILED, PASSED, session, sessions


def case(
    name: str, status: TestStatus = TestStatus.FAILED, *, time: float = 1, failure: Failure | None = None
) -> TestCase:
    return TestCase(id=name, name=name, status=status, time=time, failure=failure, html_url=f"https://x/{name}")


def failing(*names: list[str]) -> CaseStatistics:
    """Return the statistics of sessions in which these tests fail, listed oldest first."""
    finished = sessions([FAILED] * len(names))
    runs = [TestRun(it, tuple(map(case, tests))) for it, tests in zip(reversed(finished), names, strict=True)]
    return compute_case_statistics(finished, runs, [])


def complete(*statuses: list[TestStatus]) -> CaseStatistics:
    """Return the statistics of tests with these statuses. The time of a test is its index."""
    runs = [
        TestRun(session(number), tuple(case(str(index), status, time=index) for index, status in enumerate(column)))
        for number, column in enumerate(zip(*statuses, strict=True), 1)
    ]
    return compute_case_statistics([], [], runs)


def test_tests_that_began_to_fail_last_come_first() -> None:
    it = failing(["old", "fixed"], ["old", "b", "a"], ["a", "b", "old", "new"])
    assert it.failing is not None
    assert [(test.key.name, test.streak.first.relative_id, test.streak.length) for test in it.failing] == [
        ("new", 3, 1),
        ("a", 2, 2),
        ("b", 2, 2),
        ("old", 1, 3),
    ]
    assert it.failing[0].html_url == "https://x/new"


def test_twenty_failing_tests_are_listed() -> None:
    it = failing([str(number) for number in range(25)])
    assert it.failing is not None
    assert (len(it.failing), it.failing_count) == (20, 25)


def test_failing_tests_are_unknown_if_the_cases_of_the_newest_session_were_not_saved() -> None:
    finished = sessions([FAILED, FAILED])
    it = compute_case_statistics(finished, [TestRun(finished[1], (case("a"),))], [])
    assert (it.failing, it.failing_count) == (None, 0)


def test_newest_session_without_failing_tests() -> None:
    assert failing(["a"], []).failing == []


def test_message_is_the_most_telling_part_of_a_failure() -> None:
    failures = {
        "a": Failure(kind="failure", type="AssertionError", message="1 != 2", text="Traceback"),
        "b": Failure(kind="failure", type="AssertionError", text="\n  first line\nsecond line"),
        "c": Failure(kind="error", type="TimeoutError"),
        "d": Failure(kind="error"),
        "e": None,
    }
    newest = session(1, FAILED)
    run = TestRun(newest, tuple(case(name, failure=failure) for name, failure in failures.items()))
    it = compute_case_statistics([newest], [run], [])
    assert it.failing is not None
    assert [test.message for test in it.failing] == ["1 != 2", "first line", "TimeoutError", None, None]


def test_parametrised_test_is_listed_once_with_its_first_failure() -> None:
    newest = session(1, FAILED)
    cases = [case("a", failure=Failure(kind="failure", message=message)) for message in ("first", "second")]
    it = compute_case_statistics([newest], [TestRun(newest, tuple(cases))], [])
    assert it.failing is not None
    assert [test.message for test in it.failing] == ["first"]


def test_flaky_and_slow_tests_are_listed() -> None:
    good, bad = TestStatus.PASSED, TestStatus.FAILED
    it = complete([good, bad, good, bad], [good] * 4, *[[bad, good, bad, good]] * 9)
    assert [(test.key.name, test.changes, test.failed, test.runs) for test in it.flaky[:1]] == [("0", 3, 2, 4)]
    assert (len(it.flaky), it.flaky_count) == (8, 10)
    assert [(test.key.name, test.median) for test in it.slowest] == [(str(time), time) for time in range(10, 2, -1)]
    assert it.complete_runs == 4


def test_suite_that_never_finished_has_no_failing_tests() -> None:
    assert compute_case_statistics([], [TestRun(session(1, PASSED), ())], []).failing is None
