"""Syncs of a suite with a server and a database whose time is an argument.

A state machine whose server sometimes responds wrongly: the database recovers. And a week of hourly syncs.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from buddy_sessions import Session, SessionStatus
from buddy_sessions.models import is_before
from buddy_sessions.store.copies import load_changes
from buddy_sessions.store.prune import prune_suite
from buddy_sessions.store.saved_source import find_deciding_sessions, load_saved_suites, load_sessions
from buddy_sessions.store.schema import FIELDS, to_sessions, to_time
from buddy_sessions.store.suites import SyncScope, load_state
from helpers.effort import repeats
from helpers.model_server import FIRST_DATE, WRONG_RESPONSES, ModelApi, ModelServer, ModelStore
from helpers.stores import ABSENCES, KEY, DatabaseCopy, query

PER_PAGE = 20


@lru_cache(maxsize=50_000)
def parse(row: tuple[Any, ...]) -> Session:
    """Return the session of a row. The same rows are read after each step."""
    return to_sessions([row])[0]


class SyncMachine(RuleBasedStateMachine):
    """Normal changes, wrong responses and crashes."""

    @initialize(
        chance=st.randoms(use_true_random=False),
        count=st.sampled_from([0, 1, 19, 20, 70, 130]),
        since=st.none() | st.floats(0, 1),
    )
    def begin(self, chance: Any, count: int, since: float | None) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "sessions.db"
        self.store = ModelStore(self.path)
        self.now = FIRST_DATE
        self.server = ModelServer(chance)
        self.server.create(count)
        self.random = chance
        self.copy = DatabaseCopy()
        self.store.on_page = self.copy_is_equal  # marks may be withdrawn later in a sync
        self.bad_syncs = 0  # with wrong responses, since the last healthy sync
        self.is_repairable = True  # bad syncs were always followed by a healthy one since the last full check
        self.is_always_right = True  # no response was wrong since the last full check
        self.is_recreated = False  # since the last sync that has read down to the covered range
        self.pruned: dict[str, Session] = {}  # the sessions that were pruned
        self.since = FIRST_DATE if since is None else self.time_at(since)  # the earliest one of all syncs
        self.pruned_before = self.since  # no older session is saved again
        self.run_sync(scope=SyncScope(since=None if since is None else self.since))

    def time_at(self, share: float) -> datetime:
        """Return a time at which a session was created."""
        return FIRST_DATE + timedelta(minutes=int(share * self.server.created))

    @rule(count=st.integers(1, 60))
    def create(self, count: int) -> None:
        self.server.create(count)

    @rule(offsets=st.lists(st.integers(0, 300), min_size=1, max_size=5))
    def change(self, offsets: list[int]) -> None:
        for offset in offsets:
            self.server.change(offset)

    @rule(offsets=st.lists(st.integers(0, 300), min_size=1, max_size=20))
    def delete(self, offsets: list[int]) -> None:
        for offset in offsets:
            self.server.delete(offset)

    @rule(count=st.integers(0, 150))
    def recreate(self, count: int) -> None:
        self.server.recreate(count)
        self.is_recreated = True

    @rule(share=st.floats(0, 1))
    def retain(self, share: float) -> None:
        """Buddy deletes old sessions."""
        self.server.retain(share)

    @rule(share=st.floats(0, 1))
    def prune(self, share: float) -> None:
        before = self.time_at(share)
        kept = {session.id for session in asyncio.run(find_deciding_sessions(self.store.thread, KEY))}
        old = {each.id: each for each in self.rows() if is_before(each, before) and each.id not in kept}
        assert asyncio.run(prune_suite(self.store.thread, KEY, before)) == len(old)
        self.pruned.update(old)
        if old:
            self.pruned_before = max(before, self.pruned_before)

    @invariant()
    def copy_is_equal(self) -> None:
        """A copy that applies the changes is equal to the database."""
        while changes := load_changes(self.store.database, self.copy.position):
            for change in changes:
                self.copy.apply(change)
        rows = query(self.path, f"SELECT {', '.join(FIELDS)}, missing_since, deleted_at FROM sessions")
        saved = [(parse(row[:-2]), to_time(row[-2]), to_time(row[-1]), None) for row in rows]
        assert self.copy.sessions == {(KEY, values[0].id): values for values in saved}

    @invariant()
    def pruned_sessions_stay_away(self) -> None:
        found = [session.relative_id for session in self.rows() if session.id in self.pruned]
        assert not found, f"pruned sessions have come back: {found}"

    def is_kept(self, session: Session) -> bool:
        return not is_before(session, self.pruned_before)

    @rule(full=st.sampled_from([False, False, True]))
    def sync(self, full: bool) -> None:
        first_page = {session.id for session in self.server.rows[:PER_PAGE]}
        reappears = not first_page.isdisjoint(self.marked("deleted_at"))
        self.run_sync(full=full)
        self.is_recreated &= not self.existing  # an empty list changes nothing
        self.check_after_healthy_sync(repairs_everything=full or reappears)

    @rule(
        minutes=st.integers(1, 300),
        ahead=st.sampled_from([-1000, 0, 1000, 10**6]),
        has_date=st.booleans(),
        full=st.booleans(),
    )
    def sync_with_keep(self, minutes: int, ahead: int, has_date: bool, full: bool) -> None:
        """The clock may be wrong: nothing is deleted or left out that was created in the last minutes."""
        keep, before, time = timedelta(minutes=minutes), self.rows(), self.server.time
        clock, self.now = self.now, time + timedelta(minutes=ahead, seconds=self.random.randrange(1000))
        self.run_sync(full=full, keep=keep, server_time=time if has_date else None, changes=0.0)
        self.now = clock
        removed = {session.id: session for session in before}
        for session in self.rows():
            removed.pop(session.id, None)
        assert all(is_before(session, time - keep) for session in removed.values())
        self.pruned.update(removed)
        self.pruned_before = max(self.pruned_before, load_state(self.store.database, KEY).limit or FIRST_DATE)
        self.check_after_healthy_sync(SyncScope(since=time - keep))

    @rule(since=st.floats(0, 1), crash_after=st.none() | st.integers(0, 3))
    def sync_a_part(self, since: float, crash_after: int | None) -> None:
        """What was pruned comes back if that time is earlier than ever, also after a crash by another sync."""
        scope = SyncScope(since=self.time_at(since))
        self.allow(scope)
        self.run_sync(scope=scope, crash_after=crash_after)
        if crash_after is None:
            self.check_after_healthy_sync(scope)
        elif load_state(self.store.database, KEY).since != scope.since:
            self.run_sync(scope=scope)  # the crash came before the limit was saved

    def allow(self, scope: SyncScope) -> None:
        """Move the limit down if a sync does."""
        if scope.since is not None and scope.since < self.since:
            self.since = self.pruned_before = scope.since
            self.pruned = {id_: each for id_, each in self.pruned.items() if is_before(each, self.since)}

    @rule(wrong=st.sampled_from([0.0, 1 / 3]), crash_after=st.none() | st.integers(0, 3))
    def sync_that_may_crash(self, wrong: float, crash_after: int | None) -> None:
        """Responses may be wrong, too."""
        self.server.wrong = wrong
        self.run_sync(crash_after=crash_after)
        self.server.wrong = 0.0
        self.bad_syncs += bool(wrong)
        self.is_always_right &= not wrong

    @rule(counts=st.lists(st.tuples(st.integers(20, 150), st.integers(0, 4)), min_size=2, max_size=4))
    def interrupted_catch_ups(self, counts: list[tuple[int, int]]) -> None:
        for count, crash_after in counts:
            self.server.create(count)
            self.run_sync(crash_after=crash_after)
        self.sync(full=False)

    @rule(kind=st.sampled_from(WRONG_RESPONSES), times=st.integers(1, 3))
    def syncs_with_the_same_wrong_responses(self, kind: str, times: int) -> None:
        """For instance with the token of another user."""
        self.server.wrong, self.server.kinds = 1.0, (kind,)
        for _ in range(times):
            self.run_sync()
        self.server.wrong, self.server.kinds = 0.0, WRONG_RESPONSES
        self.bad_syncs += times
        self.is_always_right = False

    def run_sync(
        self,
        *,
        scope: SyncScope = SyncScope(),  # noqa: B008 - it is frozen
        full: bool = False,
        keep: timedelta | None = None,
        crash_after: int | None = None,
        changes: float | None = None,
        server_time: datetime | None = None,
    ) -> None:
        """Run one sync to its end, or until it crashes after some pages."""
        before, missing, requests = self.rows(), self.marked("missing_since"), self.server.requests
        deleted = self.marked("deleted_at")
        self.server.changes = self.random.choice([0.0, 0.0, 0.2]) if changes is None else changes
        self.existing = [session.id for session in self.server.rows]
        self.now += timedelta(minutes=self.random.choice([0.01, 2, 2000]))
        read_ahead = self.random.choice([1, 4])
        client = ModelApi(self.server, per_page=PER_PAGE, read_ahead=read_ahead, server_time=server_time)
        yielded = self.store.sync(client, now=self.now, scope=scope, full=full, keep=keep, crash_after=crash_after)
        self.server.changes = 0.0
        assert self.marked("deleted_at") - deleted <= missing, "one sync alone has marked a session as deleted"
        states = [(session.id, session.revision) for session in yielded]
        if not self.server.wrong:  # otherwise an outdated response may come between two equal ones
            assert len(states) == len(set(states)), "a state was yielded twice"
        latest: dict[str, str | None] = {}
        for session in yielded:
            assert latest.get(session.id, "") != session.revision, "a state was yielded twice in a row"
            latest[session.id] = session.revision
        if crash_after is None:
            changed = {row for row in self.rows() if row not in before}
            assert {(session.id, session.revision) for session in changed} <= set(states), "a state was not yielded"
        if self.is_always_right and not self.server.wrong and not self.is_recreated:
            self.check_known_range()
        pages = (len(self.server.rows) + len(before)) // PER_PAGE + 1
        assert self.server.requests - requests <= 60 + 12 * pages, "too many requests"

    def check_known_range(self) -> None:
        """Check that the database has every session in the range that it claims to know."""
        suite, saved = load_state(self.store.database, KEY), {session.id for session in self.rows()}
        lost = [
            session.relative_id
            for session in self.server.rows
            if session.id in self.existing and suite.claims(session) and session.id not in saved
        ]
        assert not lost, f"sessions in the covered range are not saved: {lost}"

    def check_after_healthy_sync(
        self,
        scope: SyncScope = SyncScope(),  # noqa: B008 - it is frozen
        *,
        repairs_everything: bool = False,
    ) -> None:
        """Check the sessions that have existed during the whole sync."""
        self.is_repairable = repairs_everything or (self.is_repairable and self.bad_syncs <= 1)
        self.is_always_right |= repairs_everything
        self.bad_syncs = 0
        known = {session.id for session in self.rows()}
        living = {session.id: session for session in self.server.rows if self.is_kept(session)}
        stable = [id_ for id_ in self.existing if id_ in living]
        if self.is_repairable:
            in_scope = {id_ for id_ in stable if not is_before(living[id_], scope.since)}
            lost = self.marked("missing_since") & in_scope
            assert not lost, f"living sessions are marked as missing: {lost}"
            lost = in_scope.intersection(stable if self.is_always_right else stable[:PER_PAGE]) - known
            assert not lost, f"living sessions are not saved: {lost}"

    def rows(self) -> set[Session]:
        return {parse(row) for row in query(self.path, f"SELECT {', '.join(FIELDS)} FROM sessions")}

    def marked(self, column: str) -> set[str]:
        return {id_ for (id_,) in query(self.path, f"SELECT id FROM sessions WHERE {column} IS NOT NULL")}

    def teardown(self) -> None:
        """Full syncs of a list that does not change make the database equal to it, down to the end of the list.

        What Buddy has deleted because it was old stays as it was saved.
        """
        if not hasattr(self, "server"):
            return
        try:
            for _ in range(ABSENCES):
                self.run_sync(full=True, changes=0.0)
            end = self.server.rows[-1].relative_id if self.server.rows else 2**63
            saved = list(filter(self.is_kept, load_sessions(self.store.database, KEY)))
            listed = {(each.id, each.revision) for each in saved if each.relative_id >= end}
            assert listed == {(session.id, session.revision) for session in filter(self.is_kept, self.server.rows)}
            if self.is_always_right:
                assert self.marked("deleted_at").isdisjoint(self.server.expired), "an old session is deleted"
        finally:
            self.store.database.close()
            self.folder.cleanup()


@pytest.mark.fault
def test_database_recovers_from_wrong_responses() -> None:
    examples, steps = repeats(quick=20, thorough=100, long=2000), repeats(quick=8, thorough=15)
    run_state_machine_as_test(SyncMachine, settings=settings(max_examples=examples, stateful_step_count=steps))


def test_hourly_sync_with_since_beside_a_nightly_one_with_keep(path: Path) -> None:
    """In a week, each session is read once, and what was pruned stays away."""
    server, store = ModelServer(random.Random(1)), ModelStore(path)
    yielded: list[int] = []

    def sync(hour: int, *, since: timedelta | None = None, keep: timedelta | None = None) -> int:
        """Sync at the end of an hour; return the number of requests."""
        now, requests = FIRST_DATE + timedelta(hours=hour, minutes=1), server.requests
        scope = SyncScope(since=None if since is None else now - since)
        found = store.sync(ModelApi(server, per_page=PER_PAGE), now=now, scope=scope, keep=keep)
        yielded.extend(session.relative_id for session in found if session.is_finished)
        return server.requests - requests

    def create(hour: int) -> None:
        server.created = 60 * hour - 1
        server.create()
        server.rows[0] = attrs.evolve(server.rows[0], status=SessionStatus.SUCCESSFUL)

    for hour in range(1, 40 * 24):
        create(hour)
    sync(40 * 24, since=timedelta(days=30))
    for hour in range(40 * 24, 47 * 24):
        create(hour)
        assert sync(hour, since=timedelta(days=30)) == 1
        if hour % 24 == 0:
            assert sync(hour, keep=timedelta(days=14)) == 1
    assert sorted(yielded) == list(range(10 * 24 + 1, 47 * 24))
    (saved,) = load_saved_suites(store.database)
    assert (saved.sessions, saved.below) == (15 * 24, "limit")
    store.database.close()
