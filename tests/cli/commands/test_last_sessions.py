"""Sessions with their test cases: the cost of a read from the API, and the same results from a database."""

from __future__ import annotations

import asyncio

import pytest

from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, rows

SUITE = "acme/shop/a"


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite with 30 sessions of 250 tests on several branches; the newest one is running."""
    suite = fake.add_suite("acme", "shop", "a")
    for number in range(30):
        branch = "dev" if number % 3 == 0 else "main"
        suite.create(branch=branch, status="ERROR" if number % 5 == 0 else "SUCCESSFUL", tests_count=250)
    suite.create(status="IN_PROGRESS", tests_count=10)
    return suite


@pytest.mark.virtual_time
async def test_sessions_are_read_at_once() -> None:
    """The time is that of the requests, divided by their concurrency."""
    fake = FakeBuddy(latency=0.1)
    suite = fake.add_suite("acme", "shop", "a")
    for _ in range(40):
        suite.create(status="SUCCESSFUL", tests_count=200)
    loop = asyncio.get_running_loop()
    async with fake, BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=8) as buddy:
        started = loop.time()
        runs = await buddy.runs("acme/shop/a", last=32)
        seconds = loop.time() - started
    assert [len(run.cases) for run in runs] == [200] * 32
    assert [run.session.relative_id for run in runs] == [*range(9, 41)]
    assert len(fake.requests) == 1 + 32 * 3  # the last request of each session shows that its list has ended
    assert fake.max_in_flight == 8
    assert seconds <= 1.15 * len(fake.requests) * fake.latency / 8


@pytest.mark.parametrize("fields", [{"id": "\ud800"}, {"test_group_id": None}], ids=["id", "group"])
def test_case_that_no_url_can_name_has_no_message(fields: dict[str, str | None], fake: FakeBuddy, call: Call) -> None:
    fake.add_suite("acme", "shop", "b").create(cases=[{"name": "adds", "status": "FAILED", **fields}])
    code, out, err = call("cases", "acme/shop/b")
    assert (code, [(row["name"], row["failure"]) for row in rows(out)], err) == (0, [("adds", None)], "")


def test_1000_sessions_are_searched(fake: FakeBuddy, call: Call) -> None:
    """After the newest 100, which say which branch is the main one."""
    suite = fake.add_suite("acme", "shop", "a")
    for number in range(1202):
        suite.create(status="SKIPPED" if number > 1 else "SUCCESSFUL", cases=[{"name": "adds"}])
    code, _, err = call("flaky", SUITE)
    assert (code, len(fake.requests)) == (5, 11)
    assert err == f"error: {SUITE} has no finished session of branch 'main' yet\n"


def test_ten_commits_of_the_main_branch_by_default(suite: FakeSuite, call: Call) -> None:
    for arguments, branch, sessions in (
        ([], "branch main", "10 sessions, #17 to #30"),
        (["--last", "99"], "branch main", "20 sessions, #2 to #30"),
        (["--last", "2", "--branch", "dev"], "branch dev", "2 sessions, #25 to #28"),
    ):
        code, out, err = call("slowest", SUITE, "--format", "table", *arguments)
        assert (code, f" in {sessions}\n" in out) == (0, True)
        assert out.splitlines()[0] == f"{SUITE}, {branch}"
        assert err.startswith("for the other ")


@pytest.mark.parametrize("command", ["flaky", "slowest"])
def test_deleted_session_is_left_out(command: str, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    newest = suite.sessions[1]["id"]
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if f"/{newest}/" in request.path else None
    code, out, _ = call(command, SUITE, "--last", "3", "--format", "table", "--limit", "999")
    assert (code, " in 2 sessions, #27 to #29" in out) == (0, True)
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/cases" in request.path else None
    code, out, err = call(command, SUITE, "--last", "3")
    assert (code, out) == (5, "")
    assert err == f"error: the sessions of {SUITE} were deleted meanwhile: try again\n"
