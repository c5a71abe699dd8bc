"""The verdict of a gate in examples: each is a history of main, what is judged, and what follows.

The law is in `questions/test_rules`.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions import Session, SessionStatus, TestCase, TestStatus
from buddy_sessions.analysis import Judgement, QuarantinedTest
from buddy_sessions.models import RefType
from helpers.list_source import SUITE, ask_about

START = datetime(2026, 3, 1, tzinfo=UTC)
FIX = "f1" * 20
RUN = "https://ci.example/17"
GREEN, RED, RUNNING = SessionStatus.SUCCESSFUL, SessionStatus.ERROR, SessionStatus.IN_PROGRESS


class History:
    """Sessions of a suite, one after the other, with their failing tests."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.cases: dict[str, list[TestCase]] = {}

    def add(self, failing: str = "", *, branch: str = "main", **fields: Any) -> History:
        """Add a session of 30 tests of a commit of its own, of which those of `failing` fail. Return the history."""
        number = len(self.sessions) + 1
        created = START + timedelta(minutes=5 * number)
        names = failing.split()
        values: dict[str, Any] = {
            "status": RED if names else GREEN,
            "revision": f"{number:040x}",
            "ref_type": RefType.BRANCH,
            "ref_name": branch,
            "create_date": created,
            "finish_date": created + timedelta(minutes=4),
            "tests_count": 30,
            "failed_count": len(names),
        }
        self.sessions.append(Session(id=f"s{number}", relative_id=number, **{**values, **fields}))
        self.cases[f"s{number}"] = [
            TestCase(id=name, name=name, status=TestStatus.FAILED, test_group_name="a", test_group_id="g")
            for name in names
        ]
        return self

    def judge(self, name: Any = FIX, **options: Any) -> Judgement:
        now = (self.sessions[-1].create_date or START) + timedelta(hours=1)
        ask = ask_about(self.sessions, lambda session: self.cases[session], as_of=now)
        return asyncio.run(ask.judge(SUITE, name, **options))


def main(*failing: str, **fields: Any) -> History:
    """Return a history of main: the failing tests of each commit, oldest first."""
    history = History()
    for names in failing:
        history.add(names, **fields)
    return history


def two_jobs() -> History:
    """Return a history with a red job #3, and a green one that began before #3 ended."""
    history = main("", "").add("pays", branch="fix", revision=FIX)
    return history.add(branch="fix", revision=FIX, create_date=history.sessions[-1].create_date)


def matrix() -> History:
    """Return a history of main with two commits, each of which was tested by two CI runs."""
    history = History()
    for number in range(4):
        history.add(revision=f"{number // 2:040x}", ci_run_url=f"https://ci.example/{number}")
    return history


def verdict(history: History, failing: str = "", *, options: dict[str, Any] | None = None, **fields: Any) -> Judgement:
    """Judge a session of a fix with these failing tests."""
    history.add(failing, branch="fix", **{"revision": FIX, **fields})
    return history.judge(**(options or {}))


OUTAGE = " ".join(f"t{number}" for number in range(16))
ELEVEN = " ".join(f"t{number}" for number in range(11))
CRASH: dict[str, Any] = {"status": RED}
SUCCESS, FAILURE = {"outcome": "success"}, {"outcome": "failure"}
NEW = "fails: 1 new failure"
TITLES = {True: "passes", False: "fails", None: "no verdict"}
AT_LAST, AFTER_ALL = START + timedelta(minutes=15), START + timedelta(minutes=16)

VERDICTS = {
    "green": (verdict(main("", "")), "passes"),
    "red after #2": (two_jobs().judge(after=2), NEW),
    "red, but not after #3": (two_jobs().judge(after=3), "passes"),
    "red after a time": (two_jobs().judge(after=AT_LAST), NEW),
    "red before the attempt, of which no session is left": (
        two_jobs().judge(after=AFTER_ALL),
        "no verdict: no session was created since this attempt began: run all jobs again",
    ),
    "green at an unknown time": (
        verdict(main("", ""), options={"after": AT_LAST}, create_date=None),
        "no verdict: no session was created since this attempt began: run all jobs again",
    ),
    "green before the attempt": (two_jobs().judge(after=AFTER_ALL, outcome="success"), "passes"),
    "no session since this attempt began, and the tests failed": (
        two_jobs().judge(after=AFTER_ALL, outcome="failure"),
        "fails: the tests failed, but no test did: a file or the configuration is broken, or an upload was lost",
    ),
    "killed in this attempt, and green before it": (
        main("", "")
        .add(branch="fix", revision=FIX)
        .add(branch="fix", revision=FIX, status=RUNNING)
        .add(create_date=START + timedelta(days=2))
        .judge(after=AFTER_ALL),
        "no verdict: no session was created since this attempt began: run all jobs again",
    ),
    "green of another ref": (
        main("", "").add("pays", branch="fix", revision=FIX).add(branch="7/merge", revision=FIX).judge(**SUCCESS),
        NEW,
    ),
    "green of another type of ref": (
        main("", "")
        .add("pays", branch="fix", revision=FIX)
        .add(branch="fix", revision=FIX, ref_type=RefType.TAG)
        .judge(**SUCCESS),
        NEW,
    ),
    "new failure": (verdict(main("", ""), "pays"), NEW),
    "known failure": (verdict(main("", "pays"), "pays"), "passes"),
    "main failed only later": (main("", "").add("pays", branch="fix", revision=FIX).add("pays").judge(), NEW),
    "failed earlier": (verdict(main("pays", ""), "pays"), "passes"),
    "compared with nothing": (verdict(main("", "pays"), "pays", options={"baseline": None}), "fails: 1 failing test"),
    "an outage excuses nothing": (verdict(main("", OUTAGE), "t1"), NEW),
    "half of the tests is no outage": (verdict(main("", " ".join(OUTAGE.split()[:15])), "t1"), "passes"),
    "11 of 20 tests are an outage": (verdict(main("", ELEVEN, tests_count=20), "t1", tests_count=20), NEW),
    "11 of 19 tests are none": (verdict(main("", ELEVEN, tests_count=19), "t1", tests_count=19), "passes"),
    "nothing but outages": (verdict(main(OUTAGE), "t1"), "no verdict: main has only outages to compare with"),
    "before 19 outages": (verdict(main("t1", *[OUTAGE] * 19), "t1"), "passes"),
    "before 20 outages": (
        verdict(main("t1", *[OUTAGE] * 20), "t1"),
        "no verdict: main has only outages to compare with",
    ),
    "first session of a suite": (verdict(main()), "passes"),
    "first session fails": (verdict(main(), "pays"), "fails: 1 failing test"),
    "crash": (
        verdict(main("", ""), **CRASH, error_message="disk full"),
        "fails: #3 failed without a failing test: disk full",
    ),
    "the same crash on main": (verdict(main("", "", **CRASH), **CRASH), "passes"),
    "another crash on main": (
        verdict(main("", **CRASH), **CRASH, error_message="disk full"),
        "fails: #2 failed without a failing test: disk full",
    ),
    "crash, but the tests succeeded": (verdict(main("", ""), **CRASH, options=SUCCESS), "passes"),
    "the tests failed, but no test did": (
        verdict(main("", ""), options=FAILURE),
        "fails: the tests failed, but no test did: a file or the configuration is broken, or an upload was lost",
    ),
    "the tests failed, a known one": (verdict(main("", "pays"), "pays", options=FAILURE), "passes"),
    "too few tests": (
        verdict(main("", ""), tests_count=20),
        "fails: 20 tests ran, at least 30 in each commit of main before",
    ),
    "fewer jobs than a commit of main": (
        verdict(matrix()),
        "fails: 30 tests ran, at least 60 in each commit of main before",
    ),
    "enough of fewer": (verdict(main("", ""), tests_count=20, options={"min_tests": 0.5}), "passes"),
    "too few, but the tests succeeded": (verdict(main("", ""), tests_count=20, options=SUCCESS), "passes"),
    "as few as once on main": (verdict(main("", "", "", tests_count=20)), "passes"),
    "no test ran": (verdict(main("", ""), tests_count=0, options=SUCCESS), "fails: no test ran in #3"),
    "a null count while others have one": (
        verdict(main("", ""), tests_count=None),
        "no verdict: the number of tests is not known: whether all ran cannot be said",
    ),
    "a null count, but the tests succeeded": (verdict(main("", ""), tests_count=None, options=SUCCESS), "passes"),
    "all counts are null": (verdict(main("", "", tests_count=None), tests_count=None), "passes"),
    "one session with few tests": (
        verdict(main("", ""), tests_count=3, options={"name": "s3"}),
        "fails: 3 tests ran, at least 30 in each session of main before",
    ),
    "one job of two": (verdict(matrix(), options={"name": "s5"}), "passes"),
    "lists too few": (verdict(main("", ""), failed_count=2, **CRASH), "no verdict: #3 lists 0 of its 2 failing tests"),
    "lists too few, but a new one": (verdict(main("", ""), "pays", failed_count=2), NEW),
    "main lists too few": (
        verdict(main("", failed_count=2, **CRASH), "pays"),
        "no verdict: to compare with: #1 lists 0 of its 2 failing tests",
    ),
    "running": (verdict(main("", ""), status=RUNNING, finish_date=None), "no verdict: #3 did not finish"),
    "one of two is running": (
        verdict(main("", "").add(branch="fix", revision=FIX), status=RUNNING, finish_date=None),
        "no verdict: #4 did not finish",
    ),
    "running, but the tests have failed": (
        verdict(main("", ""), status=RUNNING, finish_date=None, options=FAILURE),
        "fails: the tests failed, and #3 did not finish",
    ),
    "skipped": (verdict(main("", ""), status=SessionStatus.SKIPPED), "no verdict: #3 neither passed nor failed"),
    "an unknown status with failing tests": (
        verdict(main("", ""), "pays", status=SessionStatus("TIMED_OUT"), finish_date=None),
        NEW,
    ),
    "an unknown status, finished": (
        verdict(main("", ""), status=SessionStatus("PARTIAL")),
        "no verdict: #3 has the status PARTIAL, which is not known",
    ),
    "an unknown status for a day": (
        verdict(main("", ""), status=SessionStatus("QUEUED"), finish_date=None, create_date=START - timedelta(days=2)),
        "no verdict: #3 did not finish",
    ),
}


@pytest.mark.parametrize(("judgement", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_verdict(judgement: Judgement, expected: str) -> None:
    reasons = "; ".join(map(str, judgement.reasons))
    assert TITLES[judgement.passes] + (f": {reasons}" if reasons else "") == expected


def test_novelties() -> None:
    history = main("old known", "known late", "", "known now", "known now")
    quarantine = [QuarantinedTest("a > late", date.max, "SHOP-7"), QuarantinedTest("gone", date.max)]
    options = {"quarantine": quarantine, "last": 4}
    judgement = verdict(history, "old known now late fresh", options=options)
    assert [
        (test.case.name, test.novelty, test.failed_in, test.since and test.since.first.relative_id)
        for test in judgement.tests
    ] == [
        ("fresh", "new", 0, None),
        ("old", "new", 0, None),
        ("known", "known", 3, 4),
        ("now", "known", 2, 4),
        ("late", "quarantined", 1, None),
    ]
    assert (judgement.passes, judgement.unused) == (False, quarantine[1:])
    assert judgement.baseline is not None
    assert [commit.first.relative_id for commit in judgement.baseline.commits] == [5, 4, 3, 2]


def three_jobs(*failing: str, **fields: Any) -> History:
    """Return main with three jobs a commit, and a fix with a job for each of these, one after the other."""
    history = History()
    for number in range(6):
        history.add(revision=f"{number // 3:040x}")
    for names in failing:
        history.add(names, branch="fix", revision=FIX, **fields)
    return history


@pytest.mark.parametrize("name", [FIX, RUN])
def test_no_rerun_is_guessed(name: str) -> None:
    """Jobs that run one after the other look like re-runs: each one that is red counts, and a remark says so."""
    history = three_jobs("pays", "sells", "", "", ci_run_url=RUN)
    judgement = history.judge(name)
    assert (judgement.is_failing, judgement.passes) == (True, False)
    assert [test.case.name for test in judgement.tests] == ["pays", "sells"]
    assert list(map(str, judgement.remarks)) == ["#8 began after #7 had failed: perhaps it was run again"]


def test_push_and_pull_request_of_one_commit() -> None:
    history = three_jobs("pays", "", "")
    for _ in range(3):
        history.add(branch="7/merge", revision=FIX)
    assert history.judge().passes is False
    assert history.judge(outcome="success").passes is True


@pytest.mark.parametrize(
    ("options", "passes", "remarks"),
    [({"after": 8}, True, []), ({"outcome": "success"}, True, ["rerun", "rerun"]), ({"outcome": "failure"}, False, [])],
    ids=str,
)
def test_known_rerun(options: dict[str, Any], passes: bool, remarks: list[str]) -> None:
    history = three_jobs("pays", "pays sells", "", "", "")
    judgement = history.judge(**options)
    assert (judgement.passes, [remark.kind for remark in judgement.remarks]) == (passes, remarks)
    assert not any("run again" in str(remark) for remark in judgement.remarks)  # that is not known


@pytest.mark.parametrize(
    ("later", "passes"),
    [({}, True), ({"tests_count": 40}, True), ({"tests_count": 29}, False), ({"ref_name": "7/merge"}, False)],
    ids=str,
)
def test_which_green_session_repairs(later: dict[str, Any], passes: bool) -> None:
    """One of the same ref with at least as many tests: a run that stopped at its first failure had fewer."""
    history = main("", "").add("pays", branch="fix", revision=FIX).add(branch="fix", **{"revision": FIX, **later})
    assert history.judge(outcome="success").passes is passes


def test_green_session_with_failing_counts_is_named() -> None:
    judgement = verdict(main("", ""), failed_count=2)
    assert (judgement.passes, list(map(str, judgement.remarks))) == (True, ["#3 passed, but counts 2 failing tests"])


def test_judged_commit_is_not_its_own_baseline() -> None:
    assert main("", "").add("pays", revision=FIX).add("pays", revision=FIX).judge().passes is False
