"""Syncs of suites into a store: real files and a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions.testing import FakeSuite, Fault
from helpers.stores import (
    ABSENCES,
    KEY,
    OTHER_KEY,
    SyncedSuite,
    collect_numbers,
    create_daily,
    create_finished,
    list_requests,
    pass_two_days,
    query,
)
from helpers.wrong_servers import refuse_pages_after_the_end


@pytest.mark.parametrize("count", [19, 20, 55])
async def test_only_new_sessions_are_read(db: SyncedSuite, count: int) -> None:
    create_finished(db.suite, 100)
    await db.sync()
    create_finished(db.suite, count)
    db.fake.requests.clear()
    assert await db.sync() == list(range(100 + count, 100, -1))
    assert len(list_requests(db.fake)) == -(-(count + 1) // 20)  # down to a living session
    assert await db.is_complete()
    assert await db.covered_range() == (1, 100 + count)


async def test_unfinished_session_is_checked_until_it_finishes(db: SyncedSuite) -> None:
    create_finished(db.suite, 100)
    db.suite.reopen(db.suite.sessions[50]["id"])
    requests = [await db.count_requests() for _ in range(2)]
    pass_two_days(db.path)
    assert (requests[1], await db.count_requests()) == (1, 2), "it was saved less than a minute ago"
    db.suite.finish(db.suite.sessions[50]["id"])
    pass_two_days(db.path)
    assert await db.sync() == [50]
    pass_two_days(db.path)
    assert await db.count_requests() == 1


async def test_few_unfinished_sessions_are_checked_in_one_sync(db: SyncedSuite) -> None:
    for _ in range(12):
        db.suite.create()
    create_finished(db.suite, 40)
    await db.sync()
    pass_two_days(db.path)
    assert await db.count_requests() == 1 + 10


async def test_value_that_cannot_be_read_stays_as_it_was_saved(db: SyncedSuite) -> None:
    session = db.suite.create(status="IN_PROGRESS", duration=12, revision="ab" * 20)
    await db.sync()
    changed = {**session, "status": "ERROR", "duration": "long", "revision": "cd" * 20, "finish_date": 5}
    body = json.dumps({"sessions": [changed]}).encode()
    db.fake.on_request = lambda _: db.fake.inject(Fault.body(body))
    assert await db.sync() == [1]
    db.fake.on_request = None
    (saved,) = await db.store.sessions(KEY)
    assert (saved.status, saved.duration, saved.revision) == ("ERROR", 12, "cd" * 20)


Action = Callable[[SyncedSuite], Any]


def nothing(db: SyncedSuite) -> None:
    pass


def delete(number: int) -> Action:
    return lambda db: db.suite.delete(next(each["id"] for each in db.suite.sessions if each["relative_id"] == number))


def delete_unfinished(db: SyncedSuite) -> None:
    pass_two_days(db.path)
    delete(3)(db)


def respond(*faults: Fault) -> Action:
    return lambda db: db.fake.inject(*faults)


def respond_with_older_list(db: SyncedSuite) -> None:
    db.fake.inject(Fault.stale(db.suite.snapshot()[10:]))


Sync = tuple[Action, list[int], list[int], tuple[int, int] | None, bool]
"""What happens before a sync; then the missing and deleted sessions, the covered range, and if page 1 was compared."""

ALL = (1, 50)
TOP = [*range(41, 51)]
lose_47 = respond(Fault.missing_row(3))
LACKS_47: Sync = (lose_47, [47], [], ALL, True)
UNCHANGED: Sync = (nothing, [], [], ALL, False)
COMPARED: Sync = (nothing, [], [], ALL, True)


def deleted(number: int, first: Action, again: Action = nothing) -> list[Sync]:
    """Return the syncs that do not find a session: the last one deletes it."""
    actions = [first, *[again] * (ABSENCES - 1)]
    return [(action, [number], [number] * (count == ABSENCES), ALL, True) for count, action in enumerate(actions, 1)]


SYNCS: dict[str, list[Sync]] = {
    "nothing": [UNCHANGED],
    "deletion": [*deleted(45, delete(45)), (nothing, [45], [45], ALL, False)],
    "deletion-on-a-page-that-is-not-read": [(delete(20), [], [], ALL, False)],
    "deletion-of-an-unfinished-session": deleted(3, delete_unfinished),
    "row-not-listed-once": [LACKS_47, COMPARED, UNCHANGED, LACKS_47, COMPARED],
    "row-not-listed-twice": [*deleted(47, lose_47, lose_47), COMPARED, UNCHANGED],
    "outdated-list": [(respond_with_older_list, TOP, [], ALL, True), COMPARED, UNCHANGED],
    "outdated-list-many-times": [*[(respond_with_older_list, TOP, [], ALL, True)] * 3, COMPARED, UNCHANGED],
    "empty-list": [*[(respond(*[Fault.short_page(0)] * 2), [], [], ALL, True)] * 3, COMPARED, UNCHANGED],
    "list-out-of-order": [(respond(Fault.swapped(5)), [], [], ALL, True), COMPARED, UNCHANGED],
}


class TestMissingSessions:
    @pytest.mark.parametrize("syncs", SYNCS.values(), ids=SYNCS)
    async def test_next_syncs_decide(self, db: SyncedSuite, syncs: list[Sync]) -> None:
        create_finished(db.suite, 50)
        db.suite.reopen(db.suite.sessions[47]["id"])
        await db.sync()
        for action, missing, deleted, covered, is_compared in syncs:
            action(db)
            async with db.store.sync(db.buddy, [KEY]) as harvest:
                assert await collect_numbers(harvest) == []
            assert (db.marked("missing_since"), db.marked(), await db.covered_range()) == (missing, deleted, covered)
            assert (harvest.stats.pages > 0) is is_compared


NOT_LISTED = Fault.body(json.dumps({"suites": []}).encode())
Day = tuple[Fault | None, Fault | None, tuple[bool, bool], int]
"""The responses for the list of suites, and for the suite; then its marks, and the number of requests for them."""

GONE: Day = (NOT_LISTED, Fault.status(404), (True, False), 2)
DELETED: list[Day] = [*[GONE] * (ABSENCES - 1), (NOT_LISTED, Fault.status(404), (True, True), 2)]
DAYS: dict[str, list[Day]] = {
    "deleted": DELETED,
    "narrower-token": [(NOT_LISTED, None, (False, False), 2)] * 2,
    "found-by-itself": [GONE, (NOT_LISTED, None, (False, False), 2)],
    "not-readable": [(NOT_LISTED, Fault.status(500), (False, False), 2)],
    "project-not-found": [(Fault.status(404), Fault.status(404), (True, False), 3)],  # of both suites
    "project-not-readable": [(Fault.status(403), None, (False, False), 1)],
    "listed-again": [
        *[GONE, (None, None, (False, False), 1), *DELETED],
        *[(NOT_LISTED, None, (True, True), 1), (None, None, (False, False), 1)],
    ],
}


class TestSuiteThatIsNotListed:
    """Another suite of the project is synced once a day."""

    @pytest.mark.parametrize("days", DAYS.values(), ids=DAYS)
    async def test_it_is_deleted_on_the_second_day(self, db: SyncedSuite, days: list[Day]) -> None:
        other = create_finished(db.fake.add_suite(*OTHER_KEY), 3)
        create_finished(db.suite, 3)
        await db.sync(KEY, OTHER_KEY)
        sql = "SELECT missing_since IS NOT NULL, deleted_at IS NOT NULL FROM suites WHERE suite_id = 'other'"
        for listing, response, marks, requests in days:
            pass_two_days(db.path)
            known = [{"id": suite.key[2]} for suite in (db.suite, other)]
            given = Fault.body(json.dumps({"suites": known[:1]}).encode()) if listing is NOT_LISTED else listing
            db.fake.inject(*(fault or Fault.stall(0) for fault in (None, given, response, response)))
            db.fake.requests.clear()
            for _ in range(2):
                await db.sync()
                db.fake.faults.clear()
                assert query(db.path, sql) == [marks]
            assert len(db.fake.requests) - len(list_requests(db.fake)) == requests
            assert (OTHER_KEY in [suite.key for suite in await db.store.suites()]) is not marks[1]
        assert len(await db.store.sessions(OTHER_KEY)) == 3


def retain(suite: FakeSuite, count: int) -> None:
    for session in suite.sessions[count:]:
        suite.delete(session["id"])


class TestRetention:
    """Buddy deletes old sessions."""

    @pytest.mark.parametrize("syncs", [1, ABSENCES], ids=["missing", "deleted"])
    async def test_marks_below_the_end_of_the_list(self, db: SyncedSuite, syncs: int) -> None:
        """The list does not reach so far down any more: nothing is read there. A missing session is not deleted."""
        create_finished(db.suite, 100)
        await db.sync()
        delete(20)(db)
        for _ in range(syncs):
            await db.sync(full=True)
        assert db.marked("missing_since") == [20]
        retain(db.suite, 70)
        requests = [await db.count_requests(full=full) for full in (True, True, False)]
        assert requests == [5, 5, 1], "four pages, and below the end"
        deleted = [20] if syncs == ABSENCES else []
        assert db.marked("missing_since") == db.marked() == deleted
        assert len(await db.store.sessions(KEY)) == 100 - len(deleted)

    async def test_second_sync_asks_once_more_below_the_end(self, db: SyncedSuite) -> None:
        create_finished(db.suite, 100)
        retain(db.suite, 70)
        for below, requests in (("more", 5), ("nothing", 3), ("nothing", 1)):
            assert await db.count_requests() == requests
            (info,) = await db.store.info()
            assert (info.covered, info.below) == ((31, 100), below)

    async def test_404_beyond_the_end_marks_nothing(self, db: SyncedSuite) -> None:
        """A suite is missing only if page 1 of its list, or the suite itself, is a 404."""
        create_finished(db.suite, 100)
        await db.sync()
        retain(db.suite, 70)
        refuse_pages_after_the_end(db.fake)
        for requests in (1, 5, 5):
            create_finished(db.suite, 1)
            assert await db.count_requests(full=requests > 1) == requests
            assert db.marked("missing_since") == []
            assert query(db.path, "SELECT missing_since, deleted_at FROM suites") == [(None, None)]
        assert len(await db.store.sessions(KEY)) == 103


class TestRecreatedSuite:
    """A suite was deleted, and another one was created with the same name."""

    @pytest.mark.parametrize("count", [5, 200])
    async def test_every_new_session_is_read(self, db: SyncedSuite, count: int) -> None:
        """Also if page 1 contains no saved number: the new list is longer. The second sync deletes the old ones."""
        create_finished(db.suite, 130)
        await db.sync()
        db.recreate(count)
        assert sorted(await db.sync()) == list(range(1, count + 1))
        assert db.marked("missing_since") == list(range(1, 131))
        for _ in range(1, ABSENCES):
            assert await db.sync() == []
        assert db.marked() == list(range(1, 131))
        assert await db.is_complete()
        assert await db.covered_range() == (1, count)

    async def test_list_of_another_suite_is_not_a_new_one(self, db: SyncedSuite) -> None:
        """It is shown once: nothing is deleted, also below the end of the list, and what was pruned stays away."""
        create_daily(db.suite, 130)
        await db.sync()
        await db.store.prune(older_than=timedelta(days=60))
        retain(db.suite, 40)
        for _ in range(2):
            await db.sync(full=True)
        saved = await db.store.sessions(KEY)
        other = create_finished(db.fake.add_suite(*OTHER_KEY), 130)
        db.fake.suites[KEY] = other
        assert len(await db.sync()) == 130
        db.fake.suites[KEY] = db.suite
        for _ in range(3):
            await db.sync()
        found = await db.store.sessions(KEY)
        assert [session for session in found if session in saved] == saved
        assert {session.id for session in found if session.relative_id > 90} == {each.id for each in saved[:40]}


async def test_only_sessions_since_a_time_are_saved(db: SyncedSuite) -> None:
    create_daily(db.suite, 120)
    now = datetime.now(UTC) + timedelta(hours=1)
    assert await db.sync(since=now - timedelta(10)) == list(range(120, 110, -1))
    assert await db.sync(since=now - timedelta(30)) == list(range(110, 90, -1))
    assert await db.covered_range() == (91, 120)
    for days in (30, 25):
        assert await db.count_requests(since=now - timedelta(days)) == 1
    assert await db.sync() == []
    assert await db.covered_range() == (91, 120), "the limit stays"
    assert len(await db.sync(since=now - timedelta(1000))) == 90
    assert await db.covered_range() == (1, 120)
    assert [each.below for each in await db.store.info()] == ["nothing"]


async def test_last_page_has_no_session(db: SyncedSuite) -> None:
    create_finished(db.suite, 30)
    pages = [page async for page in db.store.sync(db.buddy, [KEY]).pages()]
    assert [(len(page.sessions), page.is_last) for page in pages] == [(20, False), (10, False), (0, True)]


class TestUnverifiedRead:
    @pytest.mark.parametrize(
        ("has_new_rows", "fails"),
        [(True, False), (True, True), (False, True)],
        ids=["read-to-the-end", "failed", "no-row"],
    )
    async def test_claims_of_earlier_pages_are_withdrawn(
        self, db: SyncedSuite, has_new_rows: bool, fails: bool
    ) -> None:
        """Page 2 is out of order; maybe without a new row, so that there is nothing to save."""
        create_finished(db.suite, 60)
        seen = json.dumps({"sessions": [*db.suite.sessions[15:20][::-1], *db.suite.sessions[:15]]}).encode()
        db.fake.inject(Fault.stall(0), Fault.swapped(25) if has_new_rows else Fault.body(seen))
        if fails:
            db.fake.inject(Fault.status(500))
        await db.sync(on_failure="collect")
        assert await db.covered_range() is None
        await db.sync()
        assert await db.covered_range() == (1, 60), "the same first page is read again"

    @pytest.mark.parametrize(
        "faults",
        [[Fault.swapped(25)], [Fault.missing_row(5), Fault.stall(0), Fault.missing_row(5)]],
        ids=["out-of-order", "a-page-is-too-short-twice"],
    )
    async def test_no_session_is_marked(self, db: SyncedSuite, faults: list[Fault]) -> None:
        """Page 1 lacks a session, and what follows cannot be verified."""
        create_finished(db.suite, 60)
        await db.sync()
        delete(57)(db)
        db.fake.inject(Fault.stall(0), *faults)
        assert not (await db.store.sync(db.buddy, [KEY], full=True).run()).verified
        assert db.marked("missing_since") == []
        assert await db.covered_range() == (1, 60)

    async def test_new_sessions_are_saved_down_to_the_covered_range(self, db: SyncedSuite) -> None:
        create_finished(db.suite, 60)
        await db.sync()
        create_finished(db.suite, 50)
        db.fake.inject(Fault.swapped(5))
        db.fake.requests.clear()
        assert sorted(await db.sync()) == list(range(61, 111))
        assert len(list_requests(db.fake)) < 5
        assert await db.covered_range() == (1, 60)


@pytest.mark.parametrize(("faults", "known"), [([], (1, 60)), ([Fault.stall(0), Fault.swapped(25)], None)])
async def test_deleted_session_that_reappears_drops_the_covered_range(
    db: SyncedSuite, faults: list[Fault], known: tuple[int, int] | None
) -> None:
    """All of it is read again, whatever `since` is; if that is out of order, it is not restored."""
    create_daily(db.suite, 60)
    await db.sync()
    for _ in range(ABSENCES):
        db.fake.inject(Fault.missing_row(3))
        await db.sync()
    assert db.marked() == [57]
    db.fake.inject(*faults)
    await db.sync(since=datetime.now(UTC) - timedelta(days=10))
    assert (db.marked(), await db.covered_range()) == ([], known)


async def test_deleted_session_that_reappears_below_the_covered_range(db: SyncedSuite) -> None:
    """What this sync has not read itself is read again, also above: there, a session was lost."""
    create_finished(db.suite, 100)
    await db.sync()
    marks = "missing_since = '2026-01-01T00:00:00Z', deleted_at = '2026-01-01T00:00:00Z'"
    for sql in (
        "UPDATE suite_rows SET state = json_set(state, '$.covered', json('[41, 100]'), '$.below', 'more')",
        "UPDATE suite_rows SET state = json_remove(state, '$.clean')",
        f"UPDATE session_rows SET {marks} WHERE relative_id = 35",
        "DELETE FROM session_rows WHERE relative_id = 60",
    ):
        query(db.path, sql)
    assert await db.sync() == [60]
    assert await db.is_complete()
