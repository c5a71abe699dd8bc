"""Sessions with their test cases: the cost of a read from the API, and the same results from a database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient
from buddy_sessions.cli.reading.case_source import ApiCases
from buddy_sessions.cli.reading.suite_reader import SuiteReader
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, rows, sync_database, use_terminal

SUITE = "acme/shop/a"
COMMANDS = ("flaky", "slowest")


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
        runs, _ = await SuiteReader(ApiCases(buddy), suite.key).newest_full_runs(None, last=32)
        seconds = loop.time() - started
    assert [len(run.cases) for run in runs] == [200] * 32
    assert [run.session.relative_id for run in runs] == [*range(9, 41)]
    assert len(fake.requests) == 1 + 32 * 3  # the last request of each session shows that its list has ended
    assert fake.max_in_flight == 8
    assert seconds <= 1.15 * len(fake.requests) * fake.latency / 8


@pytest.mark.parametrize("arguments", [[], ["--branch", "dev", "--last", "25"], ["--all-branches"]])
@pytest.mark.parametrize("command", ["flaky --changes 1", "slowest"])
def test_database_and_api_give_the_same_result(
    command: str, arguments: list[str], fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "sessions.db"
    sync_database(fake, path, cases="all")
    assert suite.sessions
    words = [*command.split(), SUITE, *arguments]
    from_api = call(*words)
    fake.requests.clear()
    assert call(*words, "--db", str(path)) == from_api
    assert (from_api.code, from_api.err) == (0, "")
    assert rows(from_api.out)
    assert not fake.requests


@pytest.mark.parametrize("fields", [{"id": "\ud800"}, {"test_group_id": None}], ids=["id", "group"])
def test_case_that_no_url_can_name_has_no_message(fields: dict[str, str | None], fake: FakeBuddy, call: Call) -> None:
    fake.add_suite("acme", "shop", "b").create(cases=[{"name": "adds", "status": "FAILED", **fields}])
    code, out, err = call("failures", "acme/shop/b")
    assert (code, [(row["name"], row["failure"]) for row in rows(out)], err) == (0, [("adds", None)], "")


def test_pruned_test_cases_are_left_out_or_an_error(fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
    """A gate must know all of its baseline."""
    suite = fake.add_suite("acme", "shop", "b")
    for date, status in (("2020-01-01T00:00:00Z", "FAILED"), (None, "PASSED"), (None, "FAILED")):
        created = {} if date is None else {"create_date": date}
        suite.create(cases=[{"name": "adds", "status": status}], revision="feedbeef", **created)
    suite.create(cases=[{"name": "adds", "status": "FAILED"}])
    db = ("--db", str(tmp_path / "sessions.db"))
    sync_database(fake, tmp_path / "sessions.db", cases="all")
    assert call("prune", *db, "--keep", "90d", "--cases-only").code == 0
    (flaky,) = rows(call("flaky", "acme/shop/b", *db).out)
    assert (flaky["failed"], flaky["runs"], flaky["revisions"]) == (2, 3, ["feedbeef"])
    code, out, err = call("failures", "acme/shop/b", "--baseline", "main", *db)
    assert (code, out) == (2, "")
    assert f"failing test cases of session {suite.sessions[-1]['id']} are not in " in err


class TestLongSuite:
    """Two finished sessions, then 1,200 that are skipped."""

    @pytest.fixture(autouse=True)
    def suite(self, fake: FakeBuddy) -> None:
        suite = fake.add_suite("acme", "shop", "a")
        for number in range(1202):
            suite.create(status="SKIPPED" if number > 1 else "SUCCESSFUL", cases=[{"name": "adds"}])

    def test_1000_sessions_are_searched(self, fake: FakeBuddy, call: Call) -> None:
        """After the newest 100, which say which branch is the main one."""
        code, _, err = call("flaky", SUITE)
        assert (code, len(fake.requests)) == (5, 11)
        text = "has no finished session of branch 'main' among its newest 1,000: try again when one has finished"
        assert err == f"error: {SUITE} {text}\n"

    def test_search_begins_below_an_old_session(self, call: Call) -> None:
        assert call("compare", SUITE, "#2").code == 0


@pytest.mark.parametrize("command", COMMANDS)
class TestEachCommand:
    @pytest.mark.usefixtures("suite")
    def test_ten_sessions_of_the_main_branch_by_default(self, command: str, call: Call) -> None:
        for arguments, branch, sessions in (
            ([], "branch main", "10 sessions, #17 to #30"),
            (["--last", "1"], "branch main", "1 session, #30"),
            (["--last", "99"], "branch main", "20 sessions, #2 to #30"),
            (["--last", "2", "--branch", "dev"], "branch dev", "2 sessions, #25 to #28"),
            (["--all-branches"], "all branches", "10 sessions, #21 to #30"),
        ):
            code, out, err = call(command, SUITE, "--format", "table", *arguments)
            assert (code, f" in {sessions}\n" in out) == (0, True)
            assert out.splitlines()[0] == f"{SUITE}, {branch}"
            assert not err or err.startswith("for the other ")

    def test_deleted_session_is_left_out(self, command: str, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
        newest = suite.sessions[1]["id"]
        fake.on_request = lambda request: fake.inject(Fault.status(404)) if f"/{newest}/" in request.path else None
        code, out, _ = call(command, SUITE, "--last", "3", "--format", "table", "--limit", "999")
        assert (code, " in 2 sessions, #27 to #29" in out) == (0, True)
        fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/cases" in request.path else None
        code, out, err = call(command, SUITE, "--last", "3")
        assert (code, out) == (5, "")
        assert err == f"error: the finished sessions of {SUITE} were deleted: try again later\n"

    @pytest.mark.usefixtures("suite")
    def test_progress_is_shown_on_a_terminal(self, command: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = use_terminal(monkeypatch, "stderr", dumb=False)
        assert call(command, SUITE).code == 0
        assert "10 of 10 sessions" in terminal.getvalue()

    @pytest.mark.parametrize("saved", [None, "failed"])
    def test_database_without_all_cases_is_an_error(
        self, command: str, saved: str | None, fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        path = tmp_path / "sessions.db"
        sync_database(fake, path, cases="failed" if saved else None)
        code, out, err = call(command, SUITE, "--db", str(path))
        assert (code, out) == (2, "")
        assert err.startswith("error: the test cases of session ")
        assert err.endswith(f" not in {str(path)!r}: run buddy-sessions sync {SUITE} --db {path} --cases all\n")
        assert suite.sessions

    def test_newer_sessions_with_only_failing_tests_are_named(
        self, command: str, fake: FakeBuddy, call: Call, tmp_path: Path
    ) -> None:
        """The result is not that of the newest sessions."""
        suite, path = fake.add_suite("acme", "shop", "b"), tmp_path / "sessions.db"
        suite.create(cases=[{"name": "adds"}])
        sync_database(fake, path, cases="all")
        for _ in range(2):
            suite.create(cases=[{"name": "adds"}])
        sync_database(fake, path, cases="failed")
        code, out, err = call(command, "acme/shop/b", "--format", "table", "--db", str(path))
        expected = "left out newer sessions: 2 sessions, #2 to #3; sync --cases all saves the tests that passed"
        assert (code, err, " in 1 session, #1\n" in out) == (0, f"warning: {expected}\n", True)
