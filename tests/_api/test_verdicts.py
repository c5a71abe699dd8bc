"""The status of suites: of a client over HTTP, and of a database that has synced the same suites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from buddy_sessions import (
    MAIN,
    AuthenticationError,
    BuddyClient,
    ConfigError,
    ServerError,
    SessionStore,
    SuiteStatus,
    UnstableListingError,
)
from buddy_sessions._api.verdicts import UnverifiedListError
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.unverified_list import serve_unverified_list


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


def create_tags(suite: FakeSuite) -> None:
    suite.create(status="ERROR", ref_type="TAG", ref_name="main")


def create_matrix(*statuses: str, others: int = 0, newer: int = 0) -> Callable[[FakeSuite], object]:
    """Return a function that creates three CI runs of two sessions each: two green ones, then one of these statuses.

    Before the last one are `others` of another branch, after it `newer` ones.
    """

    def make(suite: FakeSuite) -> None:
        for run, jobs in enumerate([("SUCCESSFUL", "SUCCESSFUL")] * 2 + [statuses]):
            for _ in range(others if run == 2 else 0):
                suite.create("fix")
            for status in jobs:
                suite.create(status=status, ci_run_url=f"https://ci.example/{run}", tests_count=8)
        for _ in range(newer):
            suite.create("fix")

    return make


CASES = {
    "red, and since when": Case(create("main+", "main-", "main-"), ("main", 3, 2, True)),
    "green, and the first session": Case(create("main+", "main+"), ("main", 2, 1, False)),
    "the main branch decides": Case(create("main+", "main-", "fix+"), ("main", 2, 2, True)),
    "another branch": Case(create("main+", "fix-", "main+"), ("fix", 2, 2, False), "fix"),
    "all sessions": Case(create("main+", "fix-", "main-"), (None, 3, 2, True), None),
    "a running session does not decide": Case(create("main-", "main?", "maino"), ("main", 1, 1, False)),
    "above 100 running ones of the branch": Case(create("main+", "main-", *["main?"] * 120), ("main", 2, 2, True)),
    "below 100 sessions of another branch": Case(
        create("main+", "main-", *["fix+"] * 99, "main?"), ("main", 2, 2, True)
    ),
    "a matrix with one red job": Case(create_matrix("ERROR", "SUCCESSFUL"), ("main", 5, 5, True)),
    "a matrix that is not complete": Case(create_matrix("SUCCESSFUL", "IN_PROGRESS"), ("main", 4, 2, False)),
    "a matrix whose second job has not started": Case(create_matrix("SUCCESSFUL"), ("main", 4, 2, False)),
    "a matrix whose first job is red": Case(create_matrix("ERROR"), ("main", 5, 5, True)),
    "100 sessions end in an older matrix": Case(
        create_matrix("ERROR", "SUCCESSFUL", others=97), ("main", 102, 102, True)
    ),
    "100 sessions end in an older matrix, and a job is to come": Case(
        create_matrix("SUCCESSFUL", others=98), ("main", 4, 2, False)
    ),
    "100 sessions end in the newest matrix": Case(create_matrix("ERROR", "SUCCESSFUL", newer=99), ("main", 5, 5, True)),
    "no session": Case(create(), "no session"),
    "no session of the branch": Case(create("main+"), "no session", "fix"),
    "running": Case(create("maino", "main?"), "running"),
    "skipped": Case(create("maino"), "no verdict"),
    "no main branch": Case(create_tags, "no main branch"),
}


def short(status: SuiteStatus) -> tuple[Any, ...] | str:
    if status.session is None or status.since is None:
        assert status.is_failing is None
        assert status.reason is not None
        return status.reason
    assert status.is_failing is status.session.is_failing
    assert (status.reason, status.error) == (None, None)
    return status.branch, status.session.relative_id, status.since.relative_id, status.is_since_exact


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_status(case: Case, buddy: BuddyClient, suite: FakeSuite, tmp_path: Path) -> None:
    case.make(suite)
    (status,) = await buddy.status([suite.key], branch=case.branch)
    assert short(status) == case.expected
    latest = await buddy.latest(suite.key, branch=case.branch)
    assert latest == status.session
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key]).run()
        (saved,) = await store.status(branch=case.branch)
    assert short(saved) == case.expected
    assert (status.name, saved.name) == (None, "Unit tests")


async def test_one_request_each_in_their_order(fake: FakeBuddy, buddy: BuddyClient) -> None:
    suites = [fake.add_suite("acme", "shop", f"s{number}") for number in range(20)]
    for suite in suites:
        suite.populate(110)
    keys = [suite.key for suite in suites]
    assert [status.suite for status in await buddy.status(keys)] == keys
    assert len(fake.requests) == 20
    for branch in ["fix"] * 99 + ["main"]:  # the newest 100 have no verdict of main
        suites[0].create(branch)
    fake.requests.clear()
    await buddy.status(keys[:1])
    assert len(fake.requests) == 2
    assert await buddy.status([]) == []


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
        for reason in ("missing", "deleted"):
            await store.sync(buddy, keys, on_failure="collect").run()
            first, second = await store.status()
            assert first.reason is None
            assert (second.suite, second.reason, second.is_failing) == (deleted.key, reason, None)
            assert second.missing_since is not None
        (unknown,) = await store.status(["acme/shop/c"])
        with pytest.raises(ConfigError):
            await store.status(branch="*")
        assert (unknown.name, unknown.reason) == (None, "no session")


async def test_out_of_order_the_highest_number_is_the_newest(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, tmp_path: Path
) -> None:
    create("main-", "main-", "main+")(suite)
    fake.on_request = lambda _: fake.inject(Fault.swapped(0))
    latest = await buddy.latest(suite.key)
    assert latest is not None
    assert latest.relative_id == 3
    assert short((await buddy.status([suite.key]))[0]) == ("main", 3, 3, True)
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key]).run()
        assert short((await store.status())[0]) == ("main", 3, 3, True)


@pytest.mark.parametrize("ends", ["status", "latest"])
async def test_no_verdict_from_a_list_that_may_lack_sessions(
    ends: str, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    serve_unverified_list(fake, suite)
    if ends == "status":
        (status,) = await buddy.status([suite.key])
        assert (status.is_failing, type(status.error)) == (None, UnverifiedListError)
    else:
        with pytest.raises(
            UnstableListingError, match=r"^no verdict: .* not verified, some may be missing: try again$"
        ):
            await buddy.latest(suite.key)
    fake.on_request = None
    assert (await buddy.status([suite.key]))[0].is_failing is False


async def test_red_session_that_one_list_lacks(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """A commit is not green because one response lacks a number."""
    for status in ("SUCCESSFUL", "ERROR", "SUCCESSFUL"):
        suite.create(status=status, revision="f00d" * 10, ci_run_url="https://ci.example/17")
    fake.inject(Fault.missing_row(1))
    latest = await buddy.latest(suite.key, revision="f00df00")
    assert latest is not None
    assert latest.relative_id == 2
    suite.delete(suite.sessions[1])
    latest = await buddy.latest(suite.key, revision="f00df00")
    assert latest is not None
    assert latest.relative_id == 3


@pytest.mark.parametrize(("older", "expected"), [(["main-"], "main"), (["master-", "main-"], "main"), ([], "fix")])
async def test_main_branch_below_the_newest_100(
    older: list[str], expected: str, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, tmp_path: Path
) -> None:
    """It costs a request for `main` and one for `master`, once."""
    create(*older, *["fix+"] * 110)(suite)
    for cost in (2, 0):
        fake.requests.clear()
        assert (await buddy.status([suite.key]))[0].branch == expected
        assert len([request for request in fake.requests if request.per_page == 1]) == cost
        create("fix+")(suite)
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [suite.key]).run()
        assert (await store.status())[0].branch == expected
