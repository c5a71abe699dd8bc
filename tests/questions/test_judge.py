"""What a verdict reads, and that none rests on less than all of its evidence: over HTTP, and from a database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, NoVerdictError, SessionStore
from buddy_sessions.analysis.judgement import ProgramOutcome
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.list_source import Ask

FIX = "f1" * 20
PAYS = [{"name": "pays", "status": "FAILED"}, {"name": "adds", "status": "PASSED"}]


def fail(suite: FakeSuite, branch: str = "fix", **fields: Any) -> Any:
    """Add a session in which `pays` fails."""
    return suite.create(branch, cases=PAYS, **{"revision": FIX if branch == "fix" else None, **fields})


async def test_sessions_below_the_newest_100(buddy: BuddyClient, suite: FakeSuite) -> None:
    """Of the baseline, and of the commit itself."""
    fail(suite, "main")
    fail(suite)
    for _ in range(190):
        suite.create("other", "SUCCESSFUL")
    fail(suite)
    judgement = await buddy.judge(suite.key, FIX)
    assert (judgement.passes, [test.novelty for test in judgement.tests]) == (True, ["known"])
    assert [session.relative_id for session in judgement.sessions] == [193, 2]


async def test_nothing_to_compare_with(buddy: BuddyClient, suite: FakeSuite) -> None:
    """In a new suite, each failure counts; in a larger one, there is no verdict, and what failed is listed."""
    fail(suite)
    judgement = await buddy.judge(suite.key, FIX)
    assert (judgement.passes, list(map(str, judgement.remarks))) == (
        False,
        ["nothing to compare with yet: each failure counts"],
    )
    for _ in range(110):
        suite.create("other", "SUCCESSFUL")
    judgement = await buddy.judge(suite.key, FIX)
    assert (judgement.passes, [reason.kind for reason in judgement.reasons]) == (None, ["no baseline"])
    assert [test.case.name for test in judgement.tests] == ["pays"]
    assert "other" in str(judgement.reasons[0])
    judgement = await buddy.judge(suite.key, FIX, baseline="dev")
    assert "no session of branch 'dev'" in str(judgement.reasons[0])
    suite.create("dev")
    judgement = await buddy.judge(suite.key, FIX, baseline="dev")
    assert str(judgement.reasons[0]) == "dev has no session to compare with"


@pytest.mark.parametrize(("others", "passes"), [([], True), (["fix"], True), (["main"], None)], ids=str)
async def test_first_push_to_a_named_baseline(
    others: list[str], passes: bool | None, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """A suite is new, too, if its main branch is named; beside main, another branch may be misspelt."""
    for branch in [*others, "develop"]:
        suite.create(branch, "SUCCESSFUL", tests_count=2, revision=FIX if branch == "develop" else None)
    assert (await buddy.judge(suite.key, FIX, baseline="develop")).passes is passes


@pytest.mark.parametrize("faulty", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("branch", ["fix", "main"])
@pytest.mark.virtual_time
async def test_list_that_is_too_short_is_read_again(
    branch: str, faulty: int, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """Of a judged session and of the baseline alike. Twice: no verdict, although the list is a 200."""
    bad = fail(suite, "main")["id"]
    bad = bad if branch == "main" else fail(suite)["id"]
    if branch == "main":
        suite.create("fix", cases=[{"name": "sells", "status": "FAILED"}], revision=FIX)
    left = faulty

    def empty(request: RecordedRequest) -> None:
        nonlocal left
        if f"/{bad}/cases" in request.path and left:
            left -= 1
            fake.inject(Fault.body(b'{"cases": []}'))

    fake.on_request = empty
    judgement = await buddy.judge(suite.key, FIX, details=False)
    if faulty == 1:
        assert judgement.passes is (branch == "fix")
    else:
        assert (judgement.passes, [reason.kind for reason in judgement.reasons]) == (None, ["incomplete cases"])


@pytest.mark.parametrize("outcome", [None, "success"])
@pytest.mark.parametrize("fault", [Fault.status(404), Fault.body(b"<html>")], ids=["404", "not JSON"])
@pytest.mark.virtual_time
async def test_cases_that_cannot_be_read(
    fault: Fault, outcome: ProgramOutcome | None, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    fail(suite, "main")
    fail(suite)
    fake.on_request = lambda request: fake.inject(fault) if "/cases" in request.path else None
    judgement = await buddy.judge(suite.key, FIX, outcome=outcome)
    assert (judgement.is_failing, judgement.passes) == (True, None)
    assert [str(reason) for reason in judgement.reasons] == ["the failing tests of #2 cannot be read"]


async def test_message_that_cannot_be_read(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """The verdict does not need it."""
    fail(suite)
    fake.on_request = lambda request: fake.inject(Fault.body(b"<html>")) if "/test-groups/" in request.path else None
    judgement = await buddy.judge(suite.key, FIX)
    assert (judgement.passes, [test.case.has_details for test in judgement.tests]) == (False, [False])


@pytest.mark.parametrize("name", ["latest", FIX, FIX[:7]])
async def test_rerun_without_a_baseline(name: str, buddy: BuddyClient, suite: FakeSuite) -> None:
    """The commits of the branch say how many sessions a commit has, however it is named."""
    start = datetime.now(UTC) - timedelta(hours=1)
    for minutes, cases in ((0, PAYS), (5, [{**case, "status": "PASSED"} for case in PAYS])):
        began, ended = (str(start + timedelta(minutes=minutes + each)) for each in (0, 1))
        suite.create("fix", cases=cases, revision=FIX, create_date=began, finish_date=ended)
    options: dict[str, Any] = {"branch": "fix"} if name == "latest" else {}
    judgement = await buddy.judge(suite.key, name, baseline=None, **options)
    assert (judgement.passes, list(map(str, judgement.remarks))) == (True, ["#2 replaced #1: it was run again"])


async def test_retry_is_one_request(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    cases = [{"name": "pays", "status": status, "id": status} for status in ("FAILED", "PASSED")]
    suite.create("main", "SUCCESSFUL", tests_count=2)
    suite.create("fix", cases=cases, revision=FIX)
    before = len(fake.requests)
    judgement = await buddy.judge(suite.key, FIX, details=False)
    assert judgement.passes is False
    costs = len(fake.requests) - before
    judgement = await buddy.judge(suite.key, FIX, details=False, outcome="success")
    assert (judgement.passes, [test.novelty for test in judgement.tests]) == (True, ["retried"])
    assert len(fake.requests) - before - costs == costs + 1
    assert any(request.path.endswith("/cases") and "/test-groups/" in request.path for request in fake.requests)


async def test_no_session_of_a_commit(buddy: BuddyClient, suite: FakeSuite) -> None:
    suite.create("main", "SUCCESSFUL")
    with pytest.raises(NoVerdictError, match=rf"^no session {FIX} in acme/shop/unit: the newest is #1; "):
        await buddy.judge(suite.key, FIX, outcome="success")
    judgement = await buddy.judge(suite.key, FIX, outcome="failure")
    assert (judgement.passes, str(judgement.reasons[0])) == (
        False,
        "the tests failed, but no session of them was found",
    )


async def test_latest_without_a_verdict(buddy: BuddyClient, suite: FakeSuite) -> None:
    suite.create("main", "IN_PROGRESS")
    judgement = await buddy.judge(suite.key)
    assert (judgement.passes, str(judgement.reasons[0])) == (None, "main: #1 is running")
    suite.create("fix", "SUCCESSFUL", revision=FIX, tests_count=2)
    for old, new in ((FIX, "latest"), ("latest", FIX)):
        with pytest.raises(NoVerdictError, match=r"^nothing to compare: main: #1 is running$"):
            await buddy.compare(suite.key, old, new)
    suite.create("", "SUCCESSFUL")
    with pytest.raises(NoVerdictError, match=r"^no session of branch 'nope' in .* of no branch, fix, main; check"):
        await buddy.judge(suite.key, branch="nope")


@pytest.mark.parametrize(("baseline", "times"), [("main", 9), (None, 9), (None, 1)], ids=str)
async def test_unverified_list_is_no_verdict(
    baseline: str | None, times: int, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """A red session of the commit may be missing, whatever it is compared with: also if a second list is verified."""
    for revision in (FIX, "ab" * 20, "cd" * 20, FIX):
        last = suite.create("fix", "SUCCESSFUL", revision=revision, tests_count=2)
    suite.create("fix", "SUCCESSFUL", revision="ef" * 20, tests_count=2)
    suite.delete(last)
    fake.inject(Fault.swapped(1), times=times)
    judgement = await buddy.judge(suite.key, FIX, baseline=baseline)
    assert (judgement.is_failing, judgement.passes) == (None, None)
    assert [reason.kind for reason in judgement.reasons] == ["incomplete list"]


async def test_branch_of_pull_requests(ask: Ask, suite: FakeSuite) -> None:
    """CircleCI uploads a branch as PULL_REQUEST: its name is enough."""
    suite.create("main", "SUCCESSFUL", tests_count=2)
    fail(suite, ref_type="PULL_REQUEST")
    source = await ask()
    (status,) = await source.status([suite.key], branch="fix")
    assert (status.is_failing, (await source.judge(suite.key, branch="fix")).passes) == (True, False)
    assert (await source.status([suite.key]))[0].is_failing is False


async def test_pruned_database_is_not_new(buddy: BuddyClient, suite: FakeSuite, tmp_path: Path) -> None:
    """What was pruned is unknown: there is nothing to compare with, but the suite is not new."""
    suite.create("main", "SUCCESSFUL", create_date="2020-01-01T00:00:00Z", tests_count=2)
    suite.create("main", "SUCCESSFUL", create_date="2020-01-01T00:00:00Z", tests_count=2)
    fail(suite, "main", revision=FIX)
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key], cases="failed").run()
        assert (await store.judge(suite.key, FIX)).passes is False
        await store.prune(older_than=timedelta(days=30))
        judgement = await store.judge(suite.key, FIX)
        assert (judgement.passes, [reason.kind for reason in judgement.reasons]) == (None, ["no baseline"])


@pytest.mark.parametrize(
    "counts",
    [{"failed_count": 0}, {"tests_count": 0, "failed_count": 0}, {"failed_count": None, "error_count": 1}],
    ids=str,
)
async def test_red_session_that_does_not_count_its_failure(counts: dict[str, Any], ask: Ask, suite: FakeSuite) -> None:
    """What it lists decides, in a database as over HTTP; and a database has nothing to wait for."""
    suite.create("main", "ERROR", cases=[], revision="aa" * 20)
    suite.create("main", "SUCCESSFUL", cases=[{"name": "adds"}], revision="bb" * 20)
    fail(suite, **counts)
    source = await ask()
    async with asyncio.timeout(None if isinstance(source, BuddyClient) else 5):
        judgement = await source.judge(suite.key, FIX)
    assert (judgement.passes, [test.case.name for test in judgement.tests]) == (False, ["pays"])


async def test_requests_of_a_gate(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """One for the newest 100 sessions, one for each red session: each counts only one kind of failure."""
    for _ in range(12):
        fail(suite, "main", revision=None)
    fail(suite)
    judgement = await buddy.judge(suite.key, FIX, details=False)
    assert (judgement.passes, judgement.tests[0].novelty) == (True, "known")
    assert len(fake.requests) == 1 + 1 + 10
    fake.requests.clear()
    suite.create("fix", "SUCCESSFUL", revision="ab" * 20, tests_count=2)
    assert (await buddy.judge(suite.key, "ab" * 20)).passes is True
    assert len(fake.requests) == 1


async def test_session_is_no_rerun_of_itself(buddy: BuddyClient, suite: FakeSuite) -> None:
    """It began in the second in which it ended."""
    suite.create("main", "SUCCESSFUL", tests_count=2)
    moment = "2026-01-31T08:30:00Z"
    fail(suite, create_date=moment, finish_date=moment)
    assert (await buddy.judge(suite.key, FIX)).remarks == []


@pytest.mark.virtual_time
async def test_verdict_that_is_awaited(buddy: BuddyClient, suite: FakeSuite) -> None:
    """Of a commit, which appears later, and of what else was named, which has to finish."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    suite.create("main", "SUCCESSFUL", tests_count=2)
    loop.call_later(25, fail, suite)
    judgement = await buddy.judge(suite.key, FIX, timeout=300)
    assert (judgement.passes, loop.time() - started < 60) == (False, True)
    running = suite.create("fix", revision="ab" * 20)
    loop.call_later(25, suite.finish, running, "ERROR")
    for name in (running["relative_id"], "latest"):
        judgement = await buddy.judge(suite.key, name, timeout=300, details=False)
        assert judgement.passes is not None
    started = loop.time()
    judgement = await buddy.judge(suite.key, running["relative_id"], baseline="dev", timeout=300)
    assert (judgement.reasons[0].kind, loop.time() - started < 5) == ("no baseline", True)  # waiting does not help
    judgement = await buddy.judge(suite.key, FIX, count=2, timeout=20, fail_fast=False)
    assert [reason.kind for reason in judgement.reasons] == ["new failure"]
    with pytest.raises(NoVerdictError, match=r"^no session of .* \(commit cdcdcdc\) appeared within 20s"):
        await buddy.judge(suite.key, "cdcdcdc", timeout=20)


@pytest.mark.virtual_time
async def test_awaited_session_is_compared_with_main_below_the_newest_100(buddy: BuddyClient, suite: FakeSuite) -> None:
    """Also in a later poll, although `develop`, where it fails, is among them."""
    for _ in range(12):
        suite.create("main", "SUCCESSFUL", tests_count=2)
    for _ in range(120):
        suite.create("other", "SUCCESSFUL")
    for _ in range(3):
        fail(suite, "develop", revision=None)
    running = suite.create("fix", revision=FIX)
    asyncio.get_running_loop().call_later(25, lambda: suite.finish(running, cases=PAYS))
    judgement = await buddy.judge(suite.key, FIX, timeout=300)
    assert judgement.baseline is not None
    assert (judgement.passes, judgement.baseline.branch) == (False, "main")


@pytest.mark.virtual_time
async def test_latest_waits_for_the_first_verdict(buddy: BuddyClient, suite: FakeSuite) -> None:
    running = suite.create("main")
    asyncio.get_running_loop().call_later(25, suite.finish, running, "ERROR")
    assert (await buddy.judge(suite.key, timeout=300)).passes is False


@pytest.mark.virtual_time
async def test_success_waits_for_the_session_that_replaces_a_red_one(buddy: BuddyClient, suite: FakeSuite) -> None:
    suite.create("main", "SUCCESSFUL", tests_count=2)
    earlier = (datetime.now(UTC) - timedelta(minutes=9)).isoformat()
    fail(suite, create_date=earlier, finish_date=earlier)
    again = suite.create("fix", revision=FIX)
    cases = [{**case, "status": "PASSED"} for case in PAYS]
    asyncio.get_running_loop().call_later(25, lambda: suite.finish(again, cases=cases))
    assert (await buddy.judge(suite.key, FIX, timeout=300, outcome="success")).passes is True


async def test_killed_job_is_no_session_of_the_count(ask: Ask, suite: FakeSuite) -> None:
    suite.create("main", "SUCCESSFUL", tests_count=2)
    suite.create("fix", revision=FIX, create_date=(datetime.now(UTC) - timedelta(days=2)).isoformat())
    suite.create("fix", "SUCCESSFUL", revision=FIX, tests_count=2)
    source = await ask()
    judgement = await source.judge(suite.key, FIX, count=2)
    assert (judgement.passes, str(judgement.reasons[0])) == (None, "only 1 of 2 sessions exist (#3)")
    assert (await source.judge(suite.key, FIX, count=2, outcome="success")).passes is True


async def test_new_failure_of_other_branches(ask: Ask, suite: FakeSuite) -> None:
    """It is counted, and no excuse: a pull request and its branch are one, and neither main nor its own count."""
    suite.create("main", "SUCCESSFUL", tests_count=2)
    for branch, revision in (("a", "a1"), ("7/merge", "a1"), ("a", "a2"), ("b", "b1"), ("fix", "f0")):
        fail(suite, branch, revision=revision * 20)
    suite.create("c", cases=[{"name": "sells", "status": "FAILED"}], revision="c1" * 20)
    fail(suite)
    fail(suite, "8/merge", revision=FIX)
    judgement = await (await ask()).judge(suite.key, FIX)
    assert judgement.passes is False
    assert [(test.novelty, test.failed_elsewhere) for test in judgement.tests] == [("new", 2)]


async def test_long_details_are_not_kept(buddy: BuddyClient, suite: FakeSuite) -> None:
    """Only their failure is, which is cut: forty of 4 MB would take 500 MiB."""
    data = f"<testcase><failure message='lost'>{'frame ' * 300_000}</failure></testcase>"
    suite.create("fix", revision=FIX, cases=[{"name": "pays", "status": "FAILED", "data": data}])
    (test,) = (await buddy.judge(suite.key, FIX)).tests
    assert test.case.failure is not None
    assert (test.case.has_details, len(test.case.data or "")) == (True, 0)
    assert 1_000_000 < len(test.case.failure.text or "") < 1_000_100
    (case,) = await buddy.failures(suite.key, 1, details=True)
    assert case.data == data
