"""What the watches of a store have seen, so that a watch continues where the last one stopped."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from .._changes import REMEMBERED_SESSIONS, Change
from .._decoding.converter import case_from_dict, session_from_dict, to_dict
from ..models import Session, SuiteKey, TestRun
from ..status import ReadFailing, Statuses
from ..watch import Changes
from .file import DatabaseFile
from .rows import from_json
from .thread import DatabaseThread

_WATCH = "workspace = ? AND project = ? AND suite_id = ? AND branch = ?"


class StoreChanges(Changes):
    """Saves what the watches of one branch have seen, or those of all branches if it is None."""

    def __init__(self, thread: DatabaseThread, *, branch: str | None) -> None:
        self._thread = thread
        self._branch = branch or ""  # not null: in SQL, null is not equal to null

    async def load(self, key: SuiteKey) -> list[Session] | None:
        """Return the sessions of a suite that were saved; None if the suite was never watched."""
        return await self._thread.run(load_watch, key, self._branch)

    async def start(self, key: SuiteKey, sessions: Iterable[Session]) -> None:
        """Save the sessions that exist when the watch of a suite starts, in place of all that were saved before."""
        await self._thread.run(save_watch, key, self._branch, list(sessions), is_start=True)

    async def save(self, change: Change) -> None:
        """Save the session of a change that was acknowledged."""
        await self._thread.run(save_watch, change.suite, self._branch, [change.session])


class StoreStatuses(Statuses):
    """Saves the statuses that the watches of one branch have seen, of the main branches (None), or of all ("*")."""

    def __init__(self, thread: DatabaseThread, read_failing: ReadFailing, *, branch: str | None) -> None:
        super().__init__(read_failing, branch=branch)
        self._thread = thread

    async def load_status(self, key: SuiteKey) -> tuple[TestRun, bool] | None:
        """Return the saved session of a suite with its failing tests, and whether its event was acknowledged."""
        return await self._thread.run(load_status, key, self._branch or "")

    async def save_status(self, key: SuiteKey, run: TestRun, *, is_acknowledged: bool) -> None:
        """Save the session that decides the status of a suite, with its failing tests."""
        await self._thread.run(save_status, key, self._branch or "", run, is_acknowledged=is_acknowledged)


def load_watch(file: DatabaseFile, key: SuiteKey, branch: str) -> list[Session] | None:
    """Return the sessions that a watch of a suite has seen; None if the suite was never watched."""
    row = file.execute(f"SELECT sessions FROM watches WHERE {_WATCH}", (*key, branch)).fetchone()
    return None if row is None else list(map(session_from_dict, from_json(row[0])))


def save_watch(
    file: DatabaseFile, key: SuiteKey, branch: str, sessions: Sequence[Session], *, is_start: bool = False
) -> None:
    """Save sessions as a watch has seen them, with those saved before unless it starts. Keep only the newest."""
    with file.transaction():
        known = () if is_start else load_watch(file, key, branch) or ()
        latest = {session.id: session for session in (*known, *sessions)}.values()
        newest = sorted(latest, key=lambda session: session.relative_id)[-REMEMBERED_SESSIONS:]
        text = json.dumps(list(map(to_dict, newest)))
        file.execute("INSERT OR REPLACE INTO watches VALUES (?, ?, ?, ?, ?)", (*key, branch, text))


def load_status(file: DatabaseFile, key: SuiteKey, branch: str) -> tuple[TestRun, bool] | None:
    """Return the session that decided the status of a suite with its failing tests, and if this was acknowledged."""
    sql = f"SELECT session, failing, is_acknowledged FROM statuses WHERE {_WATCH}"
    row = file.execute(sql, (*key, branch)).fetchone()
    if row is None:
        return None
    session, failing = map(from_json, row[:2])
    return TestRun(session_from_dict(session), tuple(map(case_from_dict, failing))), bool(row[2])


def save_status(file: DatabaseFile, key: SuiteKey, branch: str, run: TestRun, *, is_acknowledged: bool) -> None:
    """Save the session that decides the status of a suite, with its failing tests."""
    session, failing = json.dumps(to_dict(run.session)), json.dumps([to_dict(case) for case in run.cases])
    with file.transaction():
        sql = "INSERT OR REPLACE INTO statuses VALUES (?, ?, ?, ?, ?, ?, ?)"
        file.execute(sql, (*key, branch, session, failing, is_acknowledged))
