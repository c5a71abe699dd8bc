"""Watches that follow a project or a workspace, in virtual time: suites come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, Change, SessionStore, StatusChange, SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.collector import Collector, collecting

pytestmark = pytest.mark.virtual_time

INTERVAL = 60.0
LOOK_UP = 3600 * 1.1  # seconds in which the suites are looked up at least once, with the jitter
DONE: dict[str, Any] = {"status": "SUCCESSFUL"}

Short = tuple[str, int]


def short(changes: Sequence[Change | StatusChange]) -> list[Short]:
    sessions = [each.commit.session if isinstance(each, StatusChange) else each.session for each in changes]
    return [(str(each.suite), session.relative_id) for each, session in zip(changes, sessions, strict=True)]


def following(buddy: BuddyClient, group: str, **options: Any) -> AbstractAsyncContextManager[Collector[Change, Short]]:
    return collecting(buddy.watch(group, interval=INTERVAL, **options), short)


@pytest.mark.parametrize(
    ("group", "expected"), [("acme", ["acme/shop/new", "acme/pay/new"]), ("acme/shop", ["acme/shop/new"])]
)
async def test_all_sessions_of_a_new_suite_are_new(
    fake: FakeBuddy, buddy: BuddyClient, group: str, expected: list[str]
) -> None:
    fake.add_project("acme", "shop")  # without suites: they may come
    async with following(buddy, group) as changes:
        assert await changes.settled() == []
        for project in ("shop", "pay"):
            fake.add_suite("acme", project, "new").create(**DONE)
        fake.add_suite("other", "shop", "new").create(**DONE)
        assert sorted(await changes.after(LOOK_UP)) == sorted((key, 1) for key in expected)
        fake.suites["acme", "shop", "new"].create()
        assert await changes.after(INTERVAL * 1.2) == [("acme/shop/new", 2)]


async def test_sessions_before_the_last_look_up_are_not_new(fake: FakeBuddy, buddy: BuddyClient) -> None:
    """A suite that only could not be seen before."""
    fake.add_suite("acme", "shop", "unit")
    async with following(buddy, "acme/shop") as changes:
        assert await changes.settled() == []
        seen_later = fake.add_suite("acme", "shop", "seen-later")
        seen_later.populate(5, until=datetime.now(UTC) - timedelta(days=1))
        seen_later.create(**DONE)
        assert await changes.after(LOOK_UP) == [("acme/shop/seen-later", 6)]


async def test_look_up_costs_one_request_an_hour(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    async with following(buddy, "acme/shop") as changes:
        await changes.after(LOOK_UP * 5)
    look_ups = [request for request in fake.requests if request.path.endswith("/suites")]
    assert 5 <= len(look_ups) <= 7


async def test_refresh_looks_up_at_once(fake: FakeBuddy, buddy: BuddyClient) -> None:
    fake.add_project("acme", "shop")
    async with following(buddy, "acme") as changes:
        await changes.settled()
        fake.add_suite("acme", "shop", "new").create()
        await changes.watch.refresh()
        assert await changes.after(1) == [("acme/shop/new", 1)]


@pytest.mark.parametrize("is_listed", [False, True])
async def test_suite_that_was_deleted_is_polled_until_two_404s(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, is_listed: bool
) -> None:
    """A suite that is still listed is polled on."""
    other = fake.add_suite("acme", "shop", "other")
    async with following(buddy, "acme/shop") as changes:
        await changes.settled()
        if is_listed:
            fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/unit/" in request.path else None
        else:
            fake.delete_suite(suite)
        assert await changes.after(LOOK_UP + 16 * INTERVAL * 1.2) == []
        assert list(changes.watch.failures) == ([suite.key] if is_listed else [])
        fake.requests.clear()
        other.create()
        assert await changes.after(16 * INTERVAL * 1.2) == [("acme/shop/other", 1)]
        assert any("/unit/" in request.path for request in fake.requests) == is_listed


async def test_suite_that_is_not_listed_any_more_is_polled_on(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    async with following(buddy, "acme/shop") as changes:
        await changes.settled()
        none = Fault.body(b'{"suites": []}')
        fake.on_request = lambda request: fake.inject(none) if request.path.endswith("/suites") else None
        await changes.after(LOOK_UP)
        fake.inject(Fault.status(404))  # one is not enough
        await changes.watch.refresh(suite.key)
        assert await changes.after(1) == []
        suite.create()
        assert await changes.after(INTERVAL * 2.4) == [("acme/shop/unit", 1)]


async def test_suites_are_added_and_removed_by_hand(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """No look-up undoes that."""
    other = fake.add_suite("other", "shop", "unit")
    async with following(buddy, "acme") as changes:
        await changes.settled()
        changes.watch.add(other.key)
        changes.watch.remove(suite.key)
        await changes.after(2 * LOOK_UP)
        for each in (suite, other):
            each.create()
        assert await changes.after(INTERVAL * 1.2) == [("other/shop/unit", 1)]


async def test_suite_that_cannot_be_read_does_not_end_the_watch(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """It may be deleted as soon as it was listed."""
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/unit/" in request.path else None
    async with following(buddy, "acme/shop") as changes:
        assert await changes.settled() == []
        assert list(changes.watch.failures) == [suite.key]


async def test_look_up_that_fails_is_tried_again(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(buddy, "acme/shop", on_failure="retry") as changes:
        fake.inject(Fault.status(404), Fault.status(404))
        assert await changes.after(INTERVAL * 2.4) == []
        assert list(changes.watch.failures) == [SuiteKey("acme", "shop", "")]
        assert await changes.after(INTERVAL * 4.8) == []
        assert changes.watch.failures == {}
        suite.create()
        assert await changes.after(INTERVAL * 1.2) == [("acme/shop/unit", 1)]
    assert len(caplog.messages) == 1
    assert "cannot list the suites of acme/shop, trying again" in caplog.text


@pytest.mark.parametrize("kind", ["watch", "watch_status"])
async def test_store_continues_with_suites_that_came_meanwhile(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, tmp_path: Path, kind: str
) -> None:
    suite.create(**DONE)

    async def events(store: SessionStore) -> list[Short]:
        collector: Callable[..., Any] = getattr(store, kind)
        async with collecting(collector(buddy, "acme", interval=INTERVAL), short) as changes:
            return await changes.settled()

    async with SessionStore(tmp_path / "watch.db") as store:
        first = await events(store)
        fake.add_suite("acme", "pay", "new").create(**DONE)
        assert await events(store) == [("acme/pay/new", 1)]
        assert await events(store) == []
    assert first == ([] if kind == "watch" else [("acme/shop/unit", 1)])
