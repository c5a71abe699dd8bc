"""Syncs of a suite whose server sometimes responds wrongly, tested as a state machine: the database recovers."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from buddy_sessions import BuddyClient, NotFoundError, Session
from buddy_sessions.models import is_before
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.intervals import contains
from buddy_sessions.store.messages import SyncScope
from buddy_sessions.store.prune import prune_suite
from buddy_sessions.store.rows import FIELDS, to_session
from buddy_sessions.store.sessions import load_covered, load_sessions
from buddy_sessions.store.sync import SuiteSync
from buddy_sessions.store.sync_run import SyncRun
from buddy_sessions.store.thread import DatabaseThread
from helpers.effort import repeats
from helpers.model_server import BRANCHES, FIRST_DATE, WRONG_RESPONSES, ModelClient, ModelServer, of_branch
from helpers.stores import KEY

PER_PAGE = 20


class InlineThread:
    """Calls the database at once, so that an example can be repeated."""

    def __init__(self, database: DatabaseFile) -> None:
        self.database = database

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self.database, *args, **kwargs)


class SyncMachine(RuleBasedStateMachine):
    """Normal changes, wrong responses, crashes, and several writers to one file."""

    @initialize(random=st.randoms(use_true_random=False), count=st.sampled_from([0, 1, 19, 20, 70, 130]))
    def begin(self, random: Any, count: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "sessions.db"
        self.databases = [DatabaseFile(str(self.path)), DatabaseFile(str(self.path))]
        for database in self.databases:
            database.open()
        self.server = ModelServer(random)
        self.server.create(count)
        self.random = random
        self.bad_syncs = 0
        """The number of syncs with wrong responses since the last healthy one."""
        self.is_repairable = True
        """Whether bad syncs were always followed by a healthy one since the last full check."""
        self.is_always_right = True
        """Whether no response was wrong so far."""
        self.pruned_before = FIRST_DATE
        """All sessions created before this time were pruned."""
        self.run_sync(0, branch=random.choice([None, *BRANCHES]))

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

    @rule(writer=st.integers(0, 1), share=st.floats(0, 1))
    def prune(self, writer: int, share: float) -> None:
        before = FIRST_DATE + timedelta(minutes=int(share * self.server.created))
        old = {session.id for session in self.rows() if is_before(session, before)}
        assert prune_suite(self.databases[writer], KEY, before) == len(old)
        if old:
            self.pruned_before = before

    @rule(request=st.integers(1, 6), share=st.floats(0, 1), full=st.booleans())
    def sync_while_another_process_prunes(self, request: int, share: float, full: bool) -> None:
        async def interrupt() -> None:
            self.prune(1, share)

        self.server.interrupt(request, interrupt)
        self.run_sync(0, full=full)
        self.server.interrupt(0, None)
        self.check_after_healthy_sync(repairs_everything=full)

    @invariant()
    def pruned_sessions_stay_away(self) -> None:
        found = [session.relative_id for session in self.rows() if not self.is_kept(session)]
        assert not found, f"pruned sessions have come back: {found}"

    @invariant()
    def next_sync_reads_what_is_missing(self) -> None:
        """Whatever several syncs have read at the same time."""
        rows = self.query("SELECT relative_id FROM sessions WHERE missing_since IS NOT NULL AND deleted_at IS NULL")
        covered = load_covered(self.databases[0], KEY)
        assert not [number for (number,) in rows if contains(covered, number)], "a missing session is covered"

    def is_kept(self, session: Session) -> bool:
        return not is_before(session, self.pruned_before)

    @rule(writer=st.integers(0, 1), full=st.sampled_from([False, False, True]))
    def sync(self, writer: int, full: bool) -> None:
        first_page = {session.id for session in self.server.rows[:PER_PAGE]}
        reappears = not first_page.isdisjoint(self.marked("deleted_at"))
        self.run_sync(writer, full=full)
        self.check_after_healthy_sync(repairs_everything=full or reappears)

    @rule(request=st.integers(1, 6))
    def sync_while_a_response_is_on_its_way(self, request: int) -> None:
        """Another sync reads the whole suite between a response and the save of its page."""

        async def interrupt() -> None:
            self.server.change(0)
            self.server.create(self.random.randrange(3))
            await self.take(self.new_sync(1), None)
            self.interruption = self.revisions()

        self.interruption = self.revisions()
        self.server.interrupt(request, interrupt)
        self.run_sync(0, is_alone=False)
        self.server.interrupt(0, None)
        revisions = self.revisions()
        assert all(revisions[id_] >= revision for id_, revision in self.interruption.items()), "older values were saved"
        lost = self.marked("missing_since") & self.interruption.keys() & {session.id for session in self.server.rows}
        assert not lost or not self.is_repairable or self.bad_syncs, f"living sessions are marked as missing: {lost}"

    @rule(writer=st.integers(0, 1), branch=st.sampled_from(BRANCHES), full=st.sampled_from([False, False, True]))
    def sync_branch(self, writer: int, branch: str, full: bool) -> None:
        self.run_sync(writer, branch=branch, full=full)
        known = {session.id for session in self.rows()}
        living = {session.id for session in of_branch(self.server.rows, branch) if self.is_kept(session)}
        stable = [id_ for id_ in self.existing if id_ in living]
        lost = set(stable if full or self.is_always_right else stable[:PER_PAGE]) - known
        assert not lost, f"living sessions of the branch are not saved: {lost}"

    @rule(
        writer=st.integers(0, 1),
        branch=st.sampled_from([None, *BRANCHES]),
        wrong=st.sampled_from([0.0, 1 / 3]),
        crash_after=st.none() | st.integers(0, 3),
    )
    def sync_that_may_crash(self, writer: int, branch: str | None, wrong: float, crash_after: int | None) -> None:
        """Responses may be wrong, too."""
        self.server.wrong = wrong
        self.run_sync(writer, branch=branch, crash_after=crash_after)
        self.server.wrong = 0.0
        self.bad_syncs += bool(wrong and branch is None)
        self.is_always_right = self.is_always_right and not wrong

    @rule(kind=st.sampled_from(WRONG_RESPONSES), times=st.integers(1, 3))
    def syncs_with_the_same_wrong_responses(self, kind: str, times: int) -> None:
        """For instance with the token of another user."""
        self.server.wrong, self.server.kinds = 1.0, (kind,)
        for _ in range(times):
            self.run_sync(0)
        self.server.wrong, self.server.kinds = 0.0, WRONG_RESPONSES
        self.bad_syncs += times
        self.is_always_right = False

    @rule(order=st.lists(st.integers(0, 1), min_size=1, max_size=12), wrong=st.sampled_from([0.0, 1 / 3]))
    def sync_at_the_same_time(self, order: list[int], wrong: float) -> None:
        """Two syncs take turns."""
        self.server.wrong = wrong
        self.existing = [session.id for session in self.server.rows]
        syncs = [self.new_sync(writer).pages() for writer in range(2)]
        with asyncio.Runner() as runner:
            for turn in [*order, *[0] * 500, *[1] * 500]:
                runner.run(anext_or_none(syncs[turn]))
        self.server.wrong = 0.0
        if wrong:
            self.bad_syncs += 2
            self.is_always_right = False
        else:
            self.check_after_healthy_sync()

    def new_sync(self, writer: int, *, branch: str | None = None, full: bool = False) -> SuiteSync:
        client = ModelClient(self.server, per_page=PER_PAGE, read_ahead=self.random.choice([1, 4]))
        thread = cast("DatabaseThread", InlineThread(self.databases[writer]))
        run = SyncRun(cast("BuddyClient", client), thread)
        return SuiteSync(run, KEY, SyncScope(branch=branch), full=full)

    def run_sync(
        self,
        writer: int,
        *,
        branch: str | None = None,
        full: bool = False,
        crash_after: int | None = None,
        changes: float | None = None,
        is_alone: bool = True,
    ) -> None:
        """Run one sync to its end, or until it crashes after some pages."""
        before, missing, requests = self.rows(), self.marked("missing_since"), self.server.requests
        deleted = self.marked("deleted_at")
        self.server.changes = self.random.choice([0.0, 0.0, 0.2]) if changes is None else changes
        self.existing = [session.id for session in self.server.rows]
        yielded = asyncio.run(self.take(self.new_sync(writer, branch=branch, full=full), crash_after))
        self.server.changes = 0.0
        new = self.marked("deleted_at") - deleted
        assert new <= missing or not is_alone, "one sync alone has marked a session as deleted"
        is_marked = new or self.marked("missing_since") - missing
        assert branch is None or not is_marked, "a sync of a branch has marked a session"
        states = [(session.id, session.revision) for session in yielded]
        assert len(states) == len(set(states)), "a state was yielded twice"
        if crash_after is None and is_alone:
            changed = {row for row in self.rows() if row not in before}
            assert {(session.id, session.revision) for session in changed} <= set(states), "a state was not yielded"
        pages = (len(self.server.rows) + len(before)) // PER_PAGE + 1
        assert self.server.requests - requests <= 60 + 12 * pages or not is_alone, "too many requests"

    async def take(self, sync: SuiteSync, crash_after: int | None) -> list[Session]:
        sessions: list[Session] = []
        pages = sync.pages()
        with suppress(NotFoundError):
            async for page in pages:
                sessions += page.sessions
                if crash_after is not None and (crash_after := crash_after - 1) < 0:
                    break
        await pages.aclose()
        return sessions

    def check_after_healthy_sync(self, *, repairs_everything: bool = False) -> None:
        """Check the sessions that have existed during the whole sync."""
        self.is_repairable = repairs_everything or (self.is_repairable and self.bad_syncs <= 1)
        self.bad_syncs = 0
        known = {session.id for session in self.rows()}
        living = {session.id for session in self.server.rows if self.is_kept(session)}
        stable = [id_ for id_ in self.existing if id_ in living]
        if self.is_repairable:
            lost = self.marked("missing_since") & set(stable)
            assert not lost, f"living sessions are marked as missing: {lost}"
            lost = set(stable if repairs_everything else stable[:PER_PAGE]) - known
            assert not lost, f"living sessions are not saved: {lost}"

    def rows(self) -> set[Session]:
        return {to_session(row, {}) for row in self.query(f"SELECT {', '.join(FIELDS)} FROM sessions")}

    def revisions(self) -> dict[str, int]:
        """Return the state of each saved session: a later one has a higher number."""
        return {session.id: int(session.revision or 0) for session in self.rows()}

    def marked(self, column: str) -> set[str]:
        return {id_ for (id_,) in self.query(f"SELECT id FROM sessions WHERE {column} IS NOT NULL")}

    def query(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def teardown(self) -> None:
        """Two full syncs of a list that does not change make the database equal to it."""
        if not hasattr(self, "server"):
            return
        try:
            for _ in range(2):
                self.run_sync(0, full=True, changes=0.0)
            saved = {(session.id, session.revision) for session in load_sessions(self.databases[0], KEY)}
            kept = filter(self.is_kept, self.server.rows)
            assert saved == {(session.id, session.revision) for session in kept}
        finally:
            for database in self.databases:
                database.close()
            self.folder.cleanup()


async def anext_or_none(pages: Any) -> None:
    with suppress(NotFoundError):
        await anext(pages, None)


def test_database_recovers_from_wrong_responses() -> None:
    run_state_machine_as_test(SyncMachine, settings=settings(stateful_step_count=repeats(quick=8, thorough=15)))
