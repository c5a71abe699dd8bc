"""What the watches of a store have seen, so that a watch continues where the last one of its name stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from .._api.api import Api
from .._decoding.converter import case_from_dict, session_from_dict, to_dict
from .._streams.changes import REMEMBERED_SESSIONS, Change
from .._streams.status import Statuses
from .._streams.watch import Changes
from ..analysis.branches import MAIN, Main
from ..errors import ConfigError
from ..models import Session, SuiteKey, TestRun
from .columns import from_json
from .file import DatabaseFile, DatabaseThread
from .lock import hold_watch

_NAME = re.compile("[A-Za-z0-9._-]{1,100}")


class WatchState:
    """What the watches of one kind and name have seen of one branch, of the main branches, or of all sessions."""

    def __init__(
        self, thread: DatabaseThread, kind: Literal["changes", "status"], name: str, branch: str | Main | None
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(f"name must be letters, digits, '.', '_' or '-', because it names a file, not {name!r}")
        self._thread = thread
        self._lock = kind, name
        # Git forbids "*" in a name. Not null for all sessions: in SQL, null is not equal to null.
        self._key = kind, name, "*" if branch is MAIN else branch or ""

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Refuse other watches of this kind and name until the block ends."""
        return hold_watch(self._thread.path, *self._lock, owner=self)

    async def load(self, suite: SuiteKey) -> Any:
        """Return the state of a suite, as JSON values; None if it was never watched."""
        return await self._thread.run(load_watch, self._key, suite)

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for the state of a suite; both are JSON values."""
        await self._thread.run(update_watch, self._key, suite, change)


class SavedChanges(Changes):
    """Saves the newest sessions that a watch has seen of each suite."""

    def __init__(self, state: WatchState) -> None:
        self._state = state

    async def load(self, key: SuiteKey) -> list[Session] | None:
        """Return the sessions of a suite that were saved; None if the suite was never watched."""
        saved = await self._state.load(key)
        return None if saved is None else list(map(session_from_dict, saved))

    async def start(self, key: SuiteKey, sessions: Iterable[Session]) -> None:
        """Save the sessions that exist when the watch of a suite starts, in place of all that were saved before."""
        rows = list(map(to_dict, sessions))
        await self._state.update(key, lambda _: _newest(rows))

    async def save(self, change: Change) -> None:
        """Save the session of a change that was acknowledged."""
        row = to_dict(change.session)
        await self._state.update(change.suite, lambda saved: _newest([*(saved or ()), row]))


class SavedStatuses(Statuses):
    """Saves the status that a watch has seen of each suite, and whether its event was acknowledged."""

    def __init__(self, state: WatchState, api: Api, *, branch: str | Main | None) -> None:
        super().__init__(api, branch=branch)
        self._state = state

    async def load_status(self, key: SuiteKey) -> tuple[TestRun, bool] | None:
        """Return the saved session of a suite with its failing tests, and whether its event was acknowledged."""
        saved = await self._state.load(key)
        if saved is None:
            return None
        cases = tuple(map(case_from_dict, saved["failing"]))
        return TestRun(session_from_dict(saved["session"]), cases), saved["is_acknowledged"]

    async def save_status(self, key: SuiteKey, run: TestRun, *, is_acknowledged: bool) -> None:
        """Save the session that decides the status of a suite, with its failing tests."""
        failing = list(map(to_dict, run.cases))
        state = {"session": to_dict(run.session), "failing": failing, "is_acknowledged": is_acknowledged}
        await self._state.update(key, lambda _: state)


def _newest(sessions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest sessions, each as it is listed last."""
    latest = {session["id"]: session for session in sessions}.values()
    return sorted(latest, key=lambda session: session["relative_id"])[-REMEMBERED_SESSIONS:]


def load_watch(file: DatabaseFile, watch: Sequence[str], suite: SuiteKey) -> Any:
    """Return the state of a watch; None if there is none."""
    sql = """
        SELECT state FROM watches
        WHERE kind = ? AND name = ? AND branch = ? AND workspace = ? AND project = ? AND suite_id = ?
    """
    row = file.execute(sql, (*watch, *suite)).fetchone()
    return None if row is None else from_json(row[0])


def update_watch(file: DatabaseFile, watch: Sequence[str], suite: SuiteKey, change: Callable[[Any], object]) -> None:
    """Change the state of a watch, in one transaction."""
    with file.transaction():
        state = json.dumps(change(load_watch(file, watch, suite)))
        file.execute("INSERT OR REPLACE INTO watches VALUES (?, ?, ?, ?, ?, ?, ?)", (*watch, *suite, state))
