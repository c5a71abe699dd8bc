"""The state of a suite in a database, and its SQL: covered range, marks, names, and what watches have seen."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from attrs import evolve, frozen
from cattrs.preconf.json import make_converter

from .._decoding.hooks import unstructure_time
from ..analysis.branches import MAIN, Main
from ..analysis.commits import Below
from ..errors import ConfigError
from ..models import CaseScope, Session, Suite, SuiteKey, is_before
from .file import DatabaseFile, DatabaseThread
from .lock import lock_watch
from .schema import OF_SUITE, SUITE_NUMBER, convert, to_time

MAX_DETAILS = 100
"""The default number of failing cases of a session whose `data` is read: each one costs a request."""


@frozen(kw_only=True)
class SyncScope:
    """The arguments of `SessionStore.sync` that limit what it saves."""

    since: datetime | None = None
    cases: CaseScope | None = None
    cases_branch: str | None = None
    details: int = MAX_DETAILS

    def is_within(self, other: SyncScope) -> bool:
        """Return whether a sync with the other scope saves all test cases that are in this one."""
        return self.cases is None or (
            other.cases in {"all", self.cases}
            and (other.since is None or (self.since is not None and other.since <= self.since))
            and other.cases_branch in {None, self.cases_branch}
        )


@frozen
class LastCleanSync:
    """A sync that was complete, and left nothing in doubt: the digest of its first page, and its arguments."""

    digest: bytes
    scope: SyncScope


Interval = tuple[int, int]
"""The lowest and the highest of some `relative_id`s, both included."""

ALL_NUMBERS: Interval = (1, 2**63 - 1)

ALL_TIME = datetime.min.replace(tzinfo=UTC)
"""The limit of a suite of which everything is saved."""

BelowCovered = Literal[Below, "end"]
"""What is below the covered range; "end" is nothing, as one sync has found, so that the next one asks again."""


@frozen(kw_only=True)
class SuiteState:
    """The claims of the database about a suite. The defaults are those of a suite that was never synced."""

    # Every existing session in this range is saved, if it was created at `limit` or later.
    covered: Interval | None = None
    below: BelowCovered = "more"
    # Sessions that were created before are not saved. The first sync sets it, and a prune moves it up.
    limit: datetime | None = None
    # The earliest `since` of all syncs: an earlier one moves the limit down.
    since: datetime | None = None
    # The last sync, if it was clean and nothing has changed since: then the same first page needs no comparison.
    clean: LastCleanSync | None = None

    @property
    def lowest(self) -> int:
        """The lowest `relative_id` that a list can show: nothing is proved about the sessions below its end."""
        return self.covered[0] if self.covered and self.below in {"nothing", "end"} else 1

    def limit_to(self, since: datetime | None) -> SuiteState:
        """Return the state for a sync with this `since`: the first one sets the limit, an earlier one moves it down."""
        if self.limit is None or self.since is None:
            return evolve(self, limit=since or ALL_TIME, since=since or ALL_TIME)
        if since is None or since >= self.since:
            return self
        below = "more" if self.below == "limit" else self.below
        return evolve(self, limit=since, since=since, below=below, clean=None)

    def claims(self, session: Session) -> bool:
        """Return whether a listed session must be in the database, if what it claims is right."""
        if self.covered is None or session.relative_id > self.covered[1] or is_before(session, self.limit):
            return False
        if session.relative_id >= self.covered[0]:
            return True
        return self.below == "nothing" or (self.below == "limit" and session.create_date is not None)


class Marks(NamedTuple):
    """The marks of a session or a suite that a sync has not found, as they are stored: times."""

    missing_since: str | None = None
    deleted_at: str | None = None


NO_MARKS = "missing_since = NULL, deleted_at = NULL"
"""Removes both, in SQL."""


def next_marks(marks: Marks, now: str, *, may_delete: bool = True) -> Marks:
    """Return the marks after a sync, whose time is `now`, has not found it: missing, and the next time deleted.

    Each sync counts once. Both times are those of the first one, or `now` if that is in the future.
    """
    since = min(marks.missing_since or now, now)
    if marks.missing_since in {None, now} or not may_delete:
        return Marks(since, marks.deleted_at)
    return Marks(since, since) if marks.deleted_at is None else marks


NOT_CLEAN = "state = json_remove(state, '$.clean')"
"""Records that the last sync of a suite was not clean: the next one compares the first page, even if it is the same."""

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
    """Record that the server does not know a suite. Its sessions and its covered range stay."""
    row = file.execute(f"SELECT missing_since, deleted_at FROM suite_rows WHERE {OF_SUITE}", key).fetchone()
    if row is not None:
        marks = next_marks(Marks(*row), unstructure_time(now))
        sql = f"UPDATE suite_rows SET missing_since = ?, deleted_at = ?, {NOT_CLEAN} WHERE {OF_SUITE}"
        file.execute(sql, (*marks, *key))


def clear_suite_marks(file: DatabaseFile, key: SuiteKey) -> None:
    """Record that the server knows a suite."""
    file.execute(f"UPDATE suite_rows SET {NO_MARKS} WHERE {OF_SUITE} AND missing_since NOT NULL", key)


def is_project_listed(file: DatabaseFile, workspace: str, project: str, now: datetime) -> bool:
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
            ON CONFLICT (workspace, project, suite_id) DO UPDATE SET {NO_MARKS},
                (name, identifier, html_url) = (excluded.name, excluded.identifier, excluded.html_url)
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
    """The saved state of the watches of one kind and name, of one branch, the main branches, or all sessions."""

    def __init__(
        self, thread: DatabaseThread, kind: Literal["changes", "status"], name: str, branch: str | Main | None
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(f"name must be letters, digits, '.', '_' or '-', because it names a file, not {name!r}")
        self._thread = thread
        # Git forbids "*" in a name. Not null for all sessions: in SQL, null is not equal to null.
        self._key = kind, name, "*" if branch is MAIN else branch or ""

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Refuse other watches of this kind and name until the block ends."""
        return lock_watch(self._thread.path, *self._key[:2])

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
    return None if row is None else convert(json.loads, row[0])


def update_watch(file: DatabaseFile, watch: Sequence[str], suite: SuiteKey, change: Callable[[Any], object]) -> None:
    """Change the state of a watch, in one transaction."""
    with file.transaction():
        state = json.dumps(change(load_watch(file, watch, suite)))
        file.execute("INSERT OR REPLACE INTO watches VALUES (?, ?, ?, ?, ?, ?, ?)", (*watch, *suite, state))
