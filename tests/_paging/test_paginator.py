"""Reads of one suite over HTTP: pages, limits, cursors, and what is left behind when a loop is left."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions import BadRequestError, BuddyClient, Cursor, Session, SuiteKey, UnstableListingError
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.effort import repeats
from helpers.fake_list import assert_exact

KEY = SuiteKey("acme", "shop", "MNbyVedg")


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite(*KEY)


@pytest.fixture
async def buddy(fake: FakeBuddy) -> AsyncIterator[BuddyClient]:
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1, per_page=20) as client:
        yield client


def ids_of(sessions: list[Session]) -> list[int]:
    return [session.relative_id for session in sessions]


class TestPages:
    @pytest.mark.parametrize("read_ahead", [1, 16])
    async def test_each_page_costs_one_request(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, read_ahead: int
    ) -> None:
        suite.populate(1000)
        fake.latency = 0.002
        paginator = buddy.sessions(KEY, read_ahead=read_ahead)
        seen = [session async for session in paginator]
        assert ids_of(seen) == list(range(1000, 0, -1))
        stats = paginator.stats
        assert len(fake.requests) == stats.requests == stats.pages == 50
        assert (stats.sessions, stats.verified) == (1000, True)
        assert fake.max_in_flight <= read_ahead

    async def test_refused_size_is_tried_with_100_and_then_20(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each is said once, also if two reads learn it."""
        fake.refuse_above = 100
        suite.populate(150)
        reads = [buddy.sessions(KEY, per_page=1000).collect() for _ in range(2)]
        assert [len(sessions) for sessions in await asyncio.gather(*reads)] == [150, 150]
        assert [request.per_page for request in fake.requests] == [1000, 1000, 100, 100, 100, 100]
        fake.refuse_above = 20
        assert len(await buddy.sessions(KEY, per_page=1000, max_sessions=1).collect()) == 1
        assert [request.per_page for request in fake.requests[6:]] == [100, 20]
        assert [record.args for record in caplog.records] == [(1000, 100), (100, 20)]

    async def test_other_bad_request_is_raised(self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite) -> None:
        fake.inject(Fault.status(400), times=2)
        with pytest.raises(BadRequestError):
            await buddy.sessions(KEY, per_page=100).collect()
        assert [request.per_page for request in fake.requests] == [100, 20]
        await buddy.sessions(KEY, per_page=100).collect()
        assert fake.requests[-1].per_page == 100


class TestLimits:
    @pytest.mark.parametrize(
        ("options", "requests", "proven"),
        [
            ({"max_sessions": 0}, 0, []),
            ({"max_sessions": 21}, 2, [(81, 100), (80, 80)]),
            ({"max_sessions": 99}, 5, [(81, 100), (61, 80), (41, 60), (21, 40), (2, 20)]),
            ({"max_sessions": 1000}, 5, [(81, 100), (61, 80), (41, 60), (21, 40), (1, 20)]),
            ({"after": 80}, 1, [(81, 100)]),
            ({"after": 79}, 2, [(81, 100), (80, 80)]),
        ],
        ids=str,
    )
    async def test_limit_requests_no_more_than_needed(
        self,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        options: dict[str, Any],
        requests: int,
        proven: list[tuple[int, int]],
    ) -> None:
        suite.populate(100)
        pages = [page async for page in buddy.sessions(KEY, read_ahead=16, **options).pages()]
        seen = [session.relative_id for page in pages for session in page.sessions]
        assert seen == list(range(100, options.get("after", 0), -1))[: options.get("max_sessions")]
        assert [page.proven_range for page in pages if page.proven_range] == proven
        assert any(page.is_last for page in pages) == ("after" in options or len(seen) == 100)
        assert len(fake.requests) == requests

    @pytest.mark.parametrize("max_sessions", [None, 10])
    async def test_sessions_of_other_branches_are_left_out(
        self,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        max_sessions: int | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The server ignores the branch. The type of a reference does not matter; one without a name may be it."""
        refs = [("BRANCH", "main"), ("BRANCH", "dev"), ("TAG", "main"), ("PULL_REQUEST", "main"), (None, None)]
        for number in range(100):
            kind, name = refs[number % 5]
            suite.create(ref_type=kind, ref_name=name)

        def ignore_branch(request: Any) -> None:
            request.query.pop("branch", None)

        fake.on_request = ignore_branch
        paginator = buddy.sessions(KEY, branch="main", max_sessions=max_sessions)
        found = ids_of(await paginator.collect())
        expected = [number for number in range(100, 0, -1) if number % 5 != 2]
        assert found == expected[:max_sessions]
        assert paginator.stats.verified
        resumed = buddy.sessions(KEY, branch="main", cursor=paginator.cursor)
        assert found + ids_of(await resumed.collect()) == expected
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "of other branches than 'main'" in caplog.text

    async def test_session_whose_branch_or_date_cannot_be_read(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """It is of no branch, and counts as new. The read is in doubt, and says so in its cursor."""
        start = datetime(2026, 1, 1, tzinfo=UTC)

        def ignore_branch(request: Any) -> None:
            request.query.pop("branch", None)

        fake.on_request = ignore_branch
        invalid: dict[int, Any] = {26: {"ref_name": 7}, 25: {"create_date": 7}}
        for number in range(1, 31):
            suite.create(**invalid.get(number, {}))
        selections: list[tuple[Any, list[int]]] = [({"branch": "main"}, [26]), ({"since": start}, []), ({}, [])]
        for options, missing in selections:
            sessions = buddy.sessions(KEY, **options)
            found = ids_of(await sessions.collect())
            assert found == [number for number in range(30, 0, -1) if number not in missing]
            is_in_doubt = bool(options)
            assert (sessions.stats.verified, str(sessions.cursor)[-1] == "?") == (not is_in_doubt, is_in_doubt)
            assert sessions.stats.invalid_fields == 2

    async def test_since_stops_at_the_first_page_that_is_entirely_older(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """A session without a date counts as new, but nothing is proven below one that is left out."""
        start = datetime(2026, 1, 1, tzinfo=UTC)
        for minute in range(1, 101):
            moment = (start + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")
            suite.create(create_date=None if minute == 64 else moment)
        paginator = buddy.sessions(KEY, since=start + timedelta(minutes=76), read_ahead=1)
        pages = [page async for page in paginator.pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == [*range(100, 75, -1), 64]
        assert [(page.proven_range, page.is_last) for page in pages] == [
            ((81, 100), False),
            ((76, 80), False),
            (None, True),
        ]
        assert len(fake.requests) == 3
        assert paginator.stats.verified


class TestMovingList:
    @pytest.mark.parametrize("seed", range(repeats(quick=10, thorough=300)))
    async def test_remaining_sessions_are_yielded_exactly_once(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, seed: int
    ) -> None:
        chance = random.Random(seed)
        for _ in range(chance.randrange(400)):
            suite.create(branch=chance.choice(["main", "main", "develop"]))
        for session in suite.sessions:
            if chance.random() < chance.choice([0, 0.2]):
                suite.delete(session["id"])
        fake.largest_page = chance.choice([None, None, 20, 30])
        branch = chance.choice([None, None, "main"])
        stable = {session["relative_id"] for session in suite.sessions if branch in (None, session["ref_name"])}

        def churn(_: object) -> None:
            for _ in range(chance.choice([0, 0, 1, 1, 5])):
                suite.create(branch="main")
            alive = suite.sessions
            for session in chance.sample(alive, min(len(alive), chance.choice([0, 0, 1, 4]))):
                suite.delete(session["id"])
                stable.discard(session["relative_id"])

        fake.on_request = churn
        per_page, read_ahead = chance.choice([10, 20, 50, 100]), chance.choice([1, 4, 16])
        paginator = buddy.sessions(KEY, branch=branch, per_page=per_page, read_ahead=read_ahead)
        seen = await paginator.collect()
        assert_exact(ids_of(seen), stable)
        assert paginator.stats.verified

    async def test_unordered_list_is_read_and_reported_as_unverified(
        self, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        order = list(range(1, 101))
        random.Random(3).shuffle(order)
        for relative_id in order:
            suite.create(relative_id=relative_id)
        paginator = buddy.sessions(KEY, per_page=50)
        pages = [page async for page in paginator.pages()]
        assert [session.relative_id for page in pages for session in page.sessions] == order[::-1]
        assert ({page.proven_range for page in pages}, pages[-1].is_last) == ({None}, True)
        assert (paginator.stats.verified, paginator.cursor) == (False, None)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    async def test_unordered_page_repeats_none_of_the_last_200_rows(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """They were read in ten pages. Page 11 lists some of them, oldest first, in place of its own rows."""
        body = json.dumps({"sessions": suite.populate(300).sessions[190::-10]}).encode()
        fake.on_request = lambda request: fake.inject(Fault.body(body)) if request.page == 11 else None
        sessions = buddy.sessions(KEY, read_ahead=1)
        assert ids_of(await sessions.collect()) == [*range(300, 100, -1), *range(80, 0, -1)]
        assert not sessions.stats.verified


class TestEndlessList:
    @pytest.mark.parametrize("is_ordered", [True, False])
    async def test_same_page_for_every_number(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, is_ordered: bool
    ) -> None:
        sessions = suite.populate(100).sessions[:20]
        if not is_ordered:
            sessions[2:4] = reversed(sessions[2:4])
        body = json.dumps({"sessions": sessions}).encode()
        fake.on_request = lambda _: fake.inject(Fault.body(body))
        with pytest.raises(UnstableListingError) as caught:
            [_ async for _ in buddy.sessions(KEY)]
        assert 100 < len(fake.requests) < 110
        assert caught.value.cursor == (Cursor(81, 20, verified=False) if is_ordered else None)


class TestCursor:
    async def test_cursor_is_valid_after_every_session(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(45)
        paginator = buddy.sessions(KEY)
        assert paginator.cursor is None
        cursors: list[Cursor] = []
        async for session in paginator:
            cursors.append(Cursor(session.relative_id, 46 - session.relative_id))
            assert paginator.cursor == cursors[-1]
            assert paginator.stats.sessions == len(cursors)
        for cursor in (cursors[0], cursors[19], cursors[20], cursors[44]):
            resumed = buddy.sessions(KEY, cursor=Cursor.parse(str(cursor)))
            assert resumed.cursor == cursor
            assert str(cursor) in repr(resumed)
            assert ids_of(await resumed.collect()) == list(range(cursor.lowest_id - 1, 0, -1))
        async for _ in paginator.pages():
            assert paginator.cursor in (cursors[19], cursors[39], cursors[44])

    @pytest.mark.parametrize("max_sessions", [30, None])
    async def test_doubt_goes_on_in_the_cursor(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, max_sessions: int | None
    ) -> None:
        """It stays before a page that is out of order, also in the middle of that page."""
        suite.populate(100)
        fake.on_request = lambda request: fake.inject(Fault.swapped(25)) if request.page == 2 else None
        sessions = buddy.sessions(KEY, read_ahead=1, max_sessions=max_sessions)
        async for _ in sessions:
            if sessions.stats.sessions == 30:
                break
        fake.on_request = None
        assert (sessions.stats.verified, str(sessions.cursor)) == (False, "81@20?")
        resumed = buddy.sessions(KEY, cursor=Cursor.parse("81@20?"))
        assert len(await resumed.collect()) == 80
        assert (resumed.stats.verified, str(resumed.cursor)) == (False, "1@100?")

    async def test_doubt_goes_on_in_the_cursors_of_a_harvest(
        self, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        suite.populate(100)
        faults = {2: Fault.swapped(25), 3: Fault.status(500)}
        fake.on_request = lambda request: fake.inject(faults[request.page]) if request.page in faults else None
        harvest = buddy.harvest([KEY], concurrency=1, on_failure="collect")
        await harvest.run()
        assert (str(harvest.cursors[KEY]), str(harvest.failures[KEY].cursor)) == ("81@20?", "81@20?")

    async def test_progress_has_an_upper_bound(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.populate(50)
        suite.delete(suite.sessions[10]["id"])
        sessions = buddy.sessions(KEY)
        assert sessions.total_at_most is None
        await anext(sessions)
        assert sessions.total_at_most == 50
        assert buddy.sessions(KEY, cursor=Cursor(31, 19)).total_at_most == 30
        filters: list[Any] = [{"branch": "main"}, {"after": 5}, {"since": datetime(2026, 1, 1, tzinfo=UTC)}]
        for options in filters:
            filtered = buddy.sessions(KEY, **options)
            await anext(filtered)
            assert filtered.total_at_most is None
