"""The command `slowest`; and how it and `flaky` read sessions with their test cases."""

from __future__ import annotations

import asyncio

import pytest

from buddy_sessions import BuddyClient
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, rows

SUITE = "acme/shop/a"


@pytest.fixture
def timed(suite: FakeSuite) -> None:
    for time in (9.0, 2.0, 1.0):
        cases = [{"name": "fast", "time": 0.004}, {"name": "slow", "time": time}, {"name": "medium", "time": time / 4}]
        suite.create(cases=cases)
    suite.create(cases=[{"name": "fast", "time": 0.006}, {"name": "slow", "time": 0, "status": "SKIPPED"}])


@pytest.mark.usefixtures("timed")
def test_jsonl_has_the_times_slowest_median_first(call: Call) -> None:
    code, out, err = call("slowest", SUITE)
    names = {"key": SUITE, "workspace": "acme", "project": "shop", "suite_id": "a"}
    test = {**names, "test_group_name": "tests/cart/test_total.py", "classname": "CartTest"}
    sessions = {"branch": "main", "oldest": 1, "newest": 4}
    assert (code, err, rows(out)) == (
        0,
        "",
        [
            {**test, "name": "slow", **sessions, "median": 2.0, "slowest": 9.0, "sessions": 3},
            {**test, "name": "medium", **sessions, "median": 0.5, "slowest": 2.25, "sessions": 3},
            {**test, "name": "fast", **sessions, "median": 0.004, "slowest": 0.006, "sessions": 4},
        ],
    )


@pytest.mark.usefixtures("timed")
def test_table_for_80_columns(call: Call) -> None:
    code, out, err = call("slowest", SUITE, "--format", "table")
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        f"{SUITE}, branch main",
        "MEDIAN  SLOWEST  SESSIONS  TEST",
        "    2s       9s         3  tests/cart/test_total.py > CartTest > slow",
        " 500ms     2.2s         3  tests/cart/test_total.py > CartTest > medium",
        "   4ms      6ms         4  tests/cart/test_total.py > CartTest > fast",
        "",
        "3 tests in 4 sessions, #1 to #4",
    ]


@pytest.fixture
def branches(suite: FakeSuite) -> FakeSuite:
    """A suite with 30 sessions of 250 tests on several branches; the newest one is running."""
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
        runs = await buddy.recent_tests("acme/shop/a", last=32)
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


def test_1000_sessions_are_searched(fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    """After the newest 100, which say which branch is the main one."""
    for number in range(1202):
        suite.create(status="SKIPPED" if number > 1 else "SUCCESSFUL", cases=[{"name": "adds"}])
    code, _, err = call("flaky", SUITE)
    assert (code, len(fake.requests)) == (5, 11)
    assert err == f"error: {SUITE} has no finished session of branch 'main' yet\n"


@pytest.mark.usefixtures("branches")
def test_ten_commits_of_the_main_branch_by_default(call: Call) -> None:
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
def test_deleted_session_is_left_out(command: str, fake: FakeBuddy, branches: FakeSuite, call: Call) -> None:
    newest = branches.sessions[1]["id"]
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if f"/{newest}/" in request.path else None
    code, out, _ = call(command, SUITE, "--last", "3", "--format", "table", "--limit", "999")
    assert (code, " in 2 sessions, #27 to #29" in out) == (0, True)
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/cases" in request.path else None
    code, out, err = call(command, SUITE, "--last", "3")
    assert (code, out) == (5, "")
    assert err == f"error: the sessions of {SUITE} were deleted meanwhile: try again\n"
