"""What a database knows of a suite, and its SQL: the known range, marks, names, and what watches have seen."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from attrs import evolve, frozen
from cattrs.preconf.json import make_converter

from .._decoding.hooks import unstructure_time
from ..analysis.branches import MAIN, Main
from ..errors import ConfigError
from ..models import CaseScope, Session, Suite, SuiteKey, is_before
from .file import DatabaseFile, DatabaseThread
from .lock import hold_watch
from .schema import OF_SUITE, SUITE_NUMBER, convert, from_json, to_time

MAX_DETAILS = 100
"""The default number of failing cases of a session whose `data` is read: each one costs a request."""

_CASE_SCOPES: tuple[CaseScope | None, ...] = (None, "failed", "all")


@frozen(kw_only=True)
class SyncScope:
    """What a sync saves: the arguments of `SessionStore.sync`. Sessions without a date count as new."""

    since: datetime | None = None
    cases: CaseScope | None = None
    cases_branch: str | None = None
    details: int = MAX_DETAILS

    def includes(self, session: Session) -> bool:
        """Return whether a session was created at `since` or later."""
        return not is_before(session, self.since)

    def limit(self, since: datetime | None) -> SyncScope:
        """Return this scope without the sessions created before a time, if there is one."""
        return self if since is None else evolve(self, since=max(since, self.since or since))

    def is_within(self, other: SyncScope) -> bool:
        """Return whether a sync with the other scope saves everything that is in this one."""
        return (
            (other.since is None or (self.since is not None and other.since <= self.since))
            and _CASE_SCOPES.index(self.cases) <= _CASE_SCOPES.index(other.cases)
            and (self.cases is None or other.cases_branch in {None, self.cases_branch})
            and (self.cases is None or self.details <= other.details)
        )


@frozen
class CompleteSync:
    """A sync that was complete, and left nothing to be checked: the digest of its first page, and its arguments."""

    digest: bytes
    scope: SyncScope


Interval = tuple[int, int]
"""The lowest and the highest of some `relative_id`s, both included."""

ALL_NUMBERS: Interval = (1, 2**63 - 1)


@frozen
class KnownEnd:
    """The end of a list above `relative_id` 1: Buddy has deleted what was older."""

    number: int  # no lower `relative_id` is listed
    found_at: datetime  # the time of the sync that has found it
    is_final: bool = False  # whether a later sync has asked below it once more, and found nothing


Bottom = Literal["start", "retention", "prune", "since"]
"""What is below the known range: nothing, nothing that Buddy still has, what was pruned, or what `since` left out."""


@frozen(kw_only=True)
class SuiteState:
    """What the database knows of a suite. The defaults are those of a suite that was never synced."""

    # The known range: the database has every existing session in it, except what was pruned.
    known: Interval | None = None
    # All sessions below the known range were created before this time; None if that is unknown.
    older_than: datetime | None = None
    # The end of the list, if it is above 1. Sessions below are not listed, but saved: they are not missing.
    end: KnownEnd | None = None
    # The id of the newest session, if the last sync could request it, but no page has listed it.
    unlisted: str | None = None
    # A time. The sessions created before it were pruned: they are not saved again.
    pruned_before: datetime | None = None
    # The last sync, if it was complete and nothing has changed since: then the same first page needs no comparison.
    complete: CompleteSync | None = None

    @property
    def bottom(self) -> Bottom | None:
        """What is below the known range; None if no sync has read that far."""
        if self.known is None or (self.known[0] > 1 and self.end is None and self.older_than is None):
            return None
        if self.pruned_before is not None:
            return "since" if self.older_than is not None and self.older_than > self.pruned_before else "prune"
        if self.known[0] == 1:
            return "start"
        return "since" if self.end is None else "retention"

    def knows(self, number: int) -> bool:
        """Return whether a `relative_id` is in the known range."""
        return self.known is not None and self.known[0] <= number <= self.known[1]

    def was_pruned(self, session: Session) -> bool:
        """Return whether a session was pruned, so that it is not saved again."""
        return is_before(session, self.pruned_before)

    def forget(self) -> SuiteState:
        """Return the state if nothing is known of the list any more."""
        return evolve(self, known=None, older_than=None, end=None, unlisted=None, complete=None)

    def extend(self, read: Interval, *, is_end: bool) -> SuiteState:
        """Return the state after a range was read without a gap.

        If it overlaps the known range, it extends that: a page was compared with both. If they only touch, the suite
        may have been created again. If the list ends there (`is_end`), it extends or replaces the known range.
        """
        known = self.known
        if known is not None and known[0] <= read[1] and read[0] <= known[1] + is_end:
            return evolve(self, known=(min(known[0], read[0]), max(known[1], read[1])))
        return evolve(self, known=read, older_than=None) if known is None or is_end else self

    def end_at(self, number: int, now: datetime) -> SuiteState:
        """Return the state after a sync has found the end of the list. The second sync makes it final."""
        end = self.end
        if end is None or number < end.number or (end.is_final and number > end.number):
            end = KnownEnd(number, now)
        return evolve(self, end=evolve(end, is_final=end.is_final or end.found_at != now))

    def up_to(self, highest: int) -> SuiteState:
        """Return what is known up to a `relative_id`."""
        if self.known is None or highest < self.known[0]:
            return self.forget()
        end = None if self.end is not None and self.end.number > highest else self.end
        return evolve(self, known=(self.known[0], min(self.known[1], highest)), end=end)

    def continues_at(self, scope: SyncScope) -> int | None:
        """Return the `relative_id` at which a sync continues downwards; None if nothing below may be in scope."""
        if self.known is None:
            return None
        if self.end is not None:
            return None if self.end.is_final else self.end.number
        is_older = self.older_than is not None and scope.since is not None and self.older_than <= scope.since
        return None if self.known[0] == 1 or is_older else self.known[0]


ABSENCES = 2
"""The number of syncs that must not find a session, or a suite, until it is deleted."""


class Marks(NamedTuple):
    """The marks of a session or a suite that syncs did not find, as they are stored.

    `absences` is the number of these syncs since it was last found, and `marked_at` the time of the last one.
    """

    missing_since: str | None = None
    deleted_at: str | None = None
    absences: int = 0
    marked_at: str | None = None


MARK_COLUMNS = ", ".join(Marks._fields)
"""Their columns, in SQL."""


def next_marks(marks: Marks, now: str) -> Marks:
    """Return the marks after a sync, whose time is `now`, has not found it. Each sync counts once.

    Both times are those of the first sync, or `now` if that is in the future.
    """
    if marks.deleted_at is not None or marks.marked_at == now:
        return marks
    absences, since = marks.absences + 1, min(marks.missing_since or now, now)
    return Marks(since, since if absences >= ABSENCES else None, absences, now)


MARK_INCOMPLETE = "state = json_remove(state, '$.complete')"
"""Marks that the last sync of a suite was incomplete: the next one compares the first page, even if it is the same."""

_json = make_converter(detailed_validation=False)


def load_state(file: DatabaseFile, key: SuiteKey) -> SuiteState:
    """Return the state of a suite."""
    row = file.execute(f"SELECT state FROM suite_rows WHERE {OF_SUITE}", key).fetchone()
    return SuiteState() if row is None else to_state(row["state"])


def save_state(file: DatabaseFile, key: SuiteKey, state: SuiteState) -> None:
    """Save the state of a suite that is in the database."""
    file.execute(f"UPDATE suite_rows SET state = ? WHERE {OF_SUITE}", (_json.dumps(state), *key))


def add_suite(file: DatabaseFile, key: SuiteKey) -> int:
    """Add a suite that is synced, unless it is in the database. Return its number in other tables."""
    sql = """
        INSERT INTO suite_rows (workspace, project, suite_id, state) VALUES (?, ?, ?, '{}')
        ON CONFLICT (workspace, project, suite_id) DO UPDATE SET state = excluded.state WHERE state IS NULL
    """
    file.execute(sql, key)
    return file.number(f"SELECT {SUITE_NUMBER}", key)


def to_state(text: str | None) -> SuiteState:
    """Return the state of a suite that is stored as JSON."""
    return SuiteState() if text is None else convert(lambda text: _json.loads(text, SuiteState), text)


def mark_suite_missing(file: DatabaseFile, key: SuiteKey, now: datetime) -> None:
    """Record that the server does not know a suite, by `next_marks`. Its sessions and its known range stay."""
    row = file.execute(f"SELECT {MARK_COLUMNS} FROM suite_rows WHERE {OF_SUITE}", key).fetchone()
    if row is not None:
        marks = next_marks(Marks(*row), unstructure_time(now))
        sql = f"UPDATE suite_rows SET ({MARK_COLUMNS}) = (?, ?, ?, ?), {MARK_INCOMPLETE} WHERE {OF_SUITE}"
        file.execute(sql, (*marks, *key))


def mark_suite_found(file: DatabaseFile, key: SuiteKey) -> None:
    """Record that the server knows a suite."""
    sql = f"UPDATE suite_rows SET ({MARK_COLUMNS}) = (?, ?, ?, ?) WHERE {OF_SUITE} AND missing_since NOT NULL"
    file.execute(sql, (*Marks(), *key))


def is_listed(file: DatabaseFile, workspace: str, project: str, now: datetime) -> bool:
    """Return whether the suites of a project were listed within the last day. A time in the future does not count."""
    sql = "SELECT listed_at FROM projects WHERE workspace = ? AND project = ?"
    row = file.execute(sql, (workspace, project)).fetchone()
    listed = None if row is None else to_time(row["listed_at"])
    return listed is not None and timedelta() <= now - listed < timedelta(days=1)


def save_names(
    file: DatabaseFile, workspace: str, project: str, suites: Sequence[Suite], now: datetime
) -> list[SuiteKey]:
    """Save the names of the suites of a project, and when they were listed. Return the suites that were not listed.

    Those that were listed are neither missing nor deleted. The others are suites that were synced, and are not deleted.
    """
    with file.transaction():
        file.execute("INSERT OR REPLACE INTO projects VALUES (?, ?, ?)", (workspace, project, unstructure_time(now)))
        file.execute_many(
            f"""
            INSERT INTO suite_rows (workspace, project, suite_id, name, identifier, html_url) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (workspace, project, suite_id) DO UPDATE
            SET (name, identifier, html_url, {MARK_COLUMNS}) =
                (excluded.name, excluded.identifier, excluded.html_url, NULL, NULL, 0, NULL)
            """,
            [(workspace, project, suite.id, suite.name, suite.identifier, suite.html_url) for suite in suites],
        )
    listed = {suite.id for suite in suites}
    sql = (
        "SELECT suite_id FROM suite_rows WHERE (workspace, project) = (?, ?) AND state NOT NULL AND deleted_at IS NULL"
    )
    saved = [row["suite_id"] for row in file.execute(sql, (workspace, project))]
    return [SuiteKey(workspace, project, suite_id) for suite_id in saved if suite_id not in listed]


_NAME = re.compile("[A-Za-z0-9._-]{1,100}")


class WatchState:
    """What the watches of one kind and name have seen of one branch, of the main branches, or of all sessions."""

    def __init__(
        self, thread: DatabaseThread, kind: Literal["changes", "status"], name: str, branch: str | Main | None
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(f"name must be letters, digits, '.', '_' or '-', because it names a file, not {name!r}")
        self._thread = thread
        # Git forbids "*" in a name. Not null for all sessions: in SQL, null is not equal to null.
        self._key = kind, name, "*" if branch is MAIN else branch or ""

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Refuse other watches of this kind and name until the block ends."""
        return hold_watch(self._thread.path, *self._key[:2])

    async def load(self, suite: SuiteKey) -> Any:
        """Return the state of a suite, as JSON values; None if it was never watched."""
        return await self._thread.run(load_watch, self._key, suite)

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for the state of a suite; both are JSON values."""
        await self._thread.run(update_watch, self._key, suite, change)


def load_watch(file: DatabaseFile, watch: Sequence[str], suite: SuiteKey) -> Any:
    """Return the state of a watch; None if there is none."""
    sql = f"SELECT state FROM watches WHERE (kind, name, branch) = (?, ?, ?) AND {OF_SUITE}"
    row = file.execute(sql, (*watch, *suite)).fetchone()
    return None if row is None else from_json(row[0])


def update_watch(file: DatabaseFile, watch: Sequence[str], suite: SuiteKey, change: Callable[[Any], object]) -> None:
    """Change the state of a watch, in one transaction."""
    with file.transaction():
        state = json.dumps(change(load_watch(file, watch, suite)))
        file.execute("INSERT OR REPLACE INTO watches VALUES (?, ?, ?, ?, ?, ?, ?)", (*watch, *suite, state))
