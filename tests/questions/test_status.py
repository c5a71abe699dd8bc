"""The status of suites: of a client over HTTP, and of a database that has synced the same suites."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from buddy_sessions import MAIN, AuthenticationError, BuddyClient, NoVerdictError, ServerError, SessionStore
from buddy_sessions.analysis import SuiteStatus
from buddy_sessions.analysis.remarks import remarks_text
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.list_source import Ask
from helpers.stores import ABSENCES


class Case(NamedTuple):
    """A suite, and its status: the branch, the session, the start of the streak, whether it is exact; or the reason."""

    make: Callable[[FakeSuite], object]
    expected: tuple[Any, ...] | str
    branch: Any = MAIN


def create(*sessions: str) -> Callable[[FakeSuite], object]:
    """Return a function that creates sessions, oldest first: a branch with + for green, - for red, ? for running."""
    statuses = {"+": "SUCCESSFUL", "-": "ERROR", "?": "IN_PROGRESS", "o": "SKIPPED"}

    def make(suite: FakeSuite) -> None:
        for session in sessions:
            suite.create(session[:-1], status=statuses[session[-1]])

    return make


def create_matrix(*statuses: str, others: int = 0, newer: int = 0, commits: int = 2) -> Callable[[FakeSuite], object]:
    """Return a function that creates commits of two sessions each: green ones, then one of these statuses.

    Before the last one are `others` of another branch, after it `newer` ones.
    """

    def make(suite: FakeSuite) -> None:
        for number, jobs in enumerate([("SUCCESSFUL", "SUCCESSFUL")] * commits + [statuses]):
            for _ in range(others if number == commits else 0):
                suite.create("fix")
            for status in jobs:
                suite.create(status=status, revision=f"{number:040x}", tests_count=8)
        for _ in range(newer):
            suite.create("fix")

    return make


CASES = {
    "red, and since when": Case(create("main+", "main-", "main-"), ("main", 3, 2, True)),
    "green, and the first session": Case(create("main+", "main+"), ("main", 2, 1, False)),
    "the main branch decides": Case(create("main+", "main-", "fix+"), ("main", 2, 2, True)),
    "another branch": Case(create("main+", "fix-", "main+"), ("fix", 2, 2, False), "fix"),
    "a running session does not decide": Case(create("main-", "main?", "maino"), ("main", 1, 1, False)),
    "above 99 running ones of the branch": Case(create("main+", "main-", *["main?"] * 90), ("main", 2, 2, True)),
    "below 100 sessions of another branch": Case(
        create("main+", "main-", *["fix+"] * 99, "main?"), ("main", 2, 2, True)
    ),
    "100 sessions end in an older matrix": Case(
        create_matrix("ERROR", "SUCCESSFUL", others=97), ("main", 102, 102, True)
    ),
    "100 sessions end in an older matrix, and a job is to come": Case(
        create_matrix("SUCCESSFUL", others=98), ("main", 4, 2, False)
    ),
    "100 sessions end in the newest matrix": Case(create_matrix("ERROR", "SUCCESSFUL", newer=99), ("main", 5, 5, True)),
    "100 sessions have few commits of the branch": Case(
        create_matrix("ERROR", "SUCCESSFUL", newer=94, commits=8), ("main", 17, 17, True)
    ),
    "100 sessions have three commits of the branch": Case(
        create("main+", "main-", *["fix+"] * 96, *["main-"] * 3), ("main", 101, 2, True)
    ),
    "no session": Case(create(), "no session"),
    "no session of the branch": Case(create("main+"), "no session", "fix"),
    "running": Case(create("maino", "main?"), "running"),
    "skipped": Case(create("maino"), "no verdict"),
    "no test ran": Case(lambda suite: suite.create("main", "SUCCESSFUL", tests_count=0), "few tests"),
    "no main branch": Case(
        lambda suite: suite.create(status="ERROR", ref_type="TAG", ref_name="main"), "no main branch"
    ),
}


def short(status: SuiteStatus) -> tuple[Any, ...] | str:
    if status.commit is None or status.since is None:
        assert status.is_failing is None
        assert status.reason is not None
        return status.reason
    assert (status.reason, status.error) == (None, None)
    session, since = status.commit.session, status.since.session
    return status.branch, session.relative_id, since.relative_id, status.is_since_exact


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_status(case: Case, buddy: BuddyClient, suite: FakeSuite, tmp_path: Path) -> None:
    case.make(suite)
    (status,) = await buddy.status(await buddy.suites(*suite.key[:2]), branch=case.branch)
    assert short(status) == case.expected
    latest = await buddy.latest(suite.key, branch=case.branch)
    assert latest == status.commit
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key]).run()
        (saved,) = await store.status(branch=case.branch)
    assert short(saved) == case.expected
    assert status.name == saved.name == "Unit tests"


async def test_verdicts_of_the_last_20_commits(buddy: BuddyClient, suite: FakeSuite) -> None:
    create("main+", *["main-"] * 19, "main+", "other-", "main?")(suite)
    (status,) = await buddy.status([suite.key])
    assert status.recent == [None, False, *[True] * 18]


async def test_last_commit_that_was_good(buddy: BuddyClient, suite: FakeSuite) -> None:
    create("main+", *["main-"] * 120)(suite)
    latest = await buddy.latest(suite.key, is_failing=False)
    assert latest is not None
    assert latest.session.relative_id == 1
    assert await buddy.latest(suite.key, branch="fix") is None


async def test_one_request_each_in_their_order(fake: FakeBuddy, buddy: BuddyClient) -> None:
    keys = [fake.add_suite("acme", "shop", f"s{number}").populate(110).key for number in range(20)]
    assert [status.suite for status in await buddy.status(keys)] == keys
    assert len(fake.requests) == 20


@pytest.mark.parametrize("code", [403, 404, 500])
async def test_error_is_that_of_its_suite(code: int, fake: FakeBuddy, buddy: BuddyClient) -> None:
    keys = [fake.add_suite("acme", "shop", name).populate(3).key for name in "abc"]
    fake.on_request = lambda request: fake.inject(Fault.status(code)) if "/b/" in request.path else None
    first, second, third = await buddy.status(keys)
    assert first.is_failing is not None
    assert third.is_failing is not None
    assert second.error is not None
    assert str(code) in str(second.error)
    assert (second.suite, second.is_failing, second.reason) == (keys[1], None, None)


@pytest.mark.parametrize(("code", "error", "limit"), [(401, AuthenticationError, 10), (503, ServerError, 30)])
async def test_rejected_token_and_outage_end_it(
    code: int, error: type[Exception], limit: int, fake: FakeBuddy, buddy: BuddyClient
) -> None:
    fake.on_request = lambda _: fake.inject(Fault.status(code))
    with pytest.raises(error):
        await buddy.status([f"acme/shop/s{number}" for number in range(200)])
    assert len(fake.requests) <= limit


async def test_deleted_suites_of_a_database(fake: FakeBuddy, buddy: BuddyClient, tmp_path: Path) -> None:
    kept, deleted = (fake.add_suite("acme", "shop", name).populate(3) for name in "ab")
    keys = [kept.key, deleted.key]
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, keys).run()
        fake.delete_suite(deleted)
        for reason in ("missing",) * (ABSENCES - 1) + ("deleted",):
            await store.sync(buddy, keys, on_failure="collect").run()
            first, second = await store.status()
            assert first.reason is None
            assert (second.suite, second.reason, second.is_failing) == (deleted.key, reason, None)
            assert await store.status([deleted.key, kept.key]) == [second, first]
            assert second.missing_since is not None
            judgement = await store.judge(deleted.key)
            assert (judgement.is_failing, judgement.passes) == (None, None)
            with pytest.raises(NoVerdictError, match=r": the last sync did not find the suite$"):
                await store.latest(deleted.key)
        fake.suites[deleted.key] = deleted
        await store.sync(buddy, keys).run()
        assert [(each.suite, each.missing_since) for each in await store.status()] == [(key, None) for key in keys]
        (unknown,) = await store.status(["acme/shop/c"])
        assert (unknown.reason, remarks_text(unknown.remarks)) == ("incomplete", "the suite was not synced")
        with pytest.raises(NoVerdictError, match=r"^no session #7 in acme/shop/c: the suite was not synced$"):
            await store.judge(unknown.suite, 7)
        judgement = await store.judge(unknown.suite)
        assert str(judgement.reasons[0]) == f"{unknown.suite}: the suite was not synced"


async def test_no_verdict_from_a_list_that_may_lack_sessions(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    create(*["main+"] * 10)(suite)
    fake.on_request = lambda _: fake.inject(Fault.swapped(1))
    (status,) = await buddy.status([suite.key])
    assert (status.is_failing, status.reason) == (None, "incomplete")
    with pytest.raises(NoVerdictError, match=r"the list cannot be verified"):
        await buddy.latest(suite.key)
    fake.on_request = None
    assert (await buddy.status([suite.key]))[0].is_failing is False


@pytest.mark.parametrize("traffic", [0, 60, 88, 99, 150, 400])
async def test_traffic_of_other_branches_changes_nothing(
    traffic: int, buddy: BuddyClient, suite: FakeSuite, tmp_path: Path
) -> None:
    """Main is the same, however many sessions of pull requests are above it: from the API and from a database."""
    for number in range(14):
        fields: dict[str, Any] = {
            "revision": f"{number:040x}",
            "tests_count": 4 if number == 1 else 5 if number == 13 else 10,
        }
        suite.create("main", "ERROR" if number == 3 else "SUCCESSFUL", **fields)
    create(*["fix+"] * traffic)(suite)
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key]).run()
        for source in (buddy, store):
            (status,) = await source.status([suite.key])
            assert status.commit is not None
            assert status.since is not None
            found = [status.commit.session.relative_id, status.since.session.relative_id]
            assert (found, [str(remark) for remark in status.remarks]) == (
                [13, 5],
                ["#14: 5 tests ran, at least 10 in each of the 10 commits before"],
            )


@pytest.mark.parametrize(
    ("older", "newer", "count", "expected", "cost"),
    [
        ("main-", "fix+", 110, "main", 2),
        ("master-", "fix+", 110, "master", 4),
        ("o-", "fix+", 110, None, 5),
        ("o-", "fix+", 10, None, 1),
        ("main-", "develop+", 110, "main", 2),
    ],
)
async def test_main_branch_below_the_newest_100(
    older: str,
    newer: str,
    count: int,
    expected: str | None,
    cost: int,
    fake: FakeBuddy,
    buddy: BuddyClient,
    suite: FakeSuite,
    tmp_path: Path,
) -> None:
    create(older, *[newer] * count)(suite)
    assert (await buddy.status([suite.key]))[0].branch == expected
    assert len(fake.requests) == cost
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key]).run()
        assert (await store.status())[0].branch == expected


@pytest.mark.parametrize(("is_again", "decides", "advice"), [(False, 1, "; run it again"), (True, 3, "")])
async def test_session_that_never_finished_is_named(
    is_again: bool, decides: int, advice: str, suite: FakeSuite, ask: Ask
) -> None:
    yesterday = datetime.now(UTC) - timedelta(hours=25)
    suite.create("main", "SUCCESSFUL", tests_count=8)
    suite.create("main", "IN_PROGRESS", revision="ab" * 20, create_date=yesterday.isoformat(), tests_count=0)
    if is_again:
        suite.create("main", "SUCCESSFUL", revision="ab" * 20, tests_count=8)
    source = await ask()
    (status,) = await source.status([suite.key])
    assert status.commit is not None
    assert (status.is_failing, status.commit.session.relative_id) == (False, decides)
    assert remarks_text(status.remarks) == f"#2 never finished: that run was killed{advice}"
    judgement = await source.judge(suite.key, "ab" * 20)
    assert judgement.passes is (True if is_again else None)
    assert "#2" in " ".join([*map(str, judgement.reasons), *map(str, judgement.remarks)])


async def test_clock_of_the_server_says_what_never_finished(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """This machine's clock is 25 hours ahead."""
    server_time = datetime.now(UTC) - timedelta(hours=25)

    async def handle(_request: web.BaseRequest, make_response: Callable[[], web.Response]) -> web.Response:
        response = make_response()
        response.headers["Date"] = format_datetime(server_time, usegmt=True)
        return response

    fake.inject(Fault("clock", handle), times=9)
    suite.create("main", "SUCCESSFUL", tests_count=8)
    suite.create("main", "IN_PROGRESS", create_date=(server_time - timedelta(hours=1)).isoformat())
    (status,) = await buddy.status([suite.key])
    assert remarks_text(status.remarks) == "#2 is running"


async def test_commit_that_since_has_cut(buddy: BuddyClient, suite: FakeSuite, tmp_path: Path) -> None:
    """Its red session is not in the database: it has no verdict."""
    start = datetime.now(UTC) - timedelta(hours=9)
    for result, minutes in (("ERROR", 0), ("SUCCESSFUL", 2)):
        created = str(start + timedelta(minutes=minutes))
        suite.create("main", result, revision="a" * 40, create_date=created, finish_date=None, tests_count=2)
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key], since=start + timedelta(minutes=1)).run()
        (status,) = await store.status()
        assert (status.is_failing, status.reason) == (None, "no verdict")
        await store.sync(buddy, [suite.key], since=start).run()
        assert (await store.status())[0].is_failing is True


async def test_hole_in_a_database(buddy: BuddyClient, suite: FakeSuite, tmp_path: Path) -> None:
    """Sessions below the new ones are unknown after a sync that was left: no verdict."""
    create("main+", "main+")(suite)
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key]).run()
        create(*["main-"] * 250, *["main+"] * 100)(suite)
        async with store.sync(buddy, [suite.key]) as sync:
            async for _ in sync:
                break
        (status,) = await store.status()
        assert (status.is_failing, status.reason) == (None, "incomplete")
        await store.sync(buddy, [suite.key]).run()
        assert (await store.status())[0].is_failing is False
