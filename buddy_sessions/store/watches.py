"""What the watches of a store have seen, so that a watch continues where the last one of its name stopped."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Literal

from ..analysis.branches import MAIN, Main
from ..errors import ConfigError
from ..models import SuiteKey
from .file import DatabaseFile, DatabaseThread
from .lock import hold_watch
from .schema import OF_SUITE, from_json

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
        self._is_held = False
        # Git forbids "*" in a name. Not null for all sessions: in SQL, null is not equal to null.
        self._key = kind, name, "*" if branch is MAIN else branch or ""

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Refuse other watches of this kind and name until the block ends. The workers of one watch share it."""
        is_first, self._is_held = not self._is_held, True
        try:
            async with hold_watch(self._thread.path, *self._lock) if is_first else nullcontext():
                yield
        finally:
            self._is_held = False

    async def load(self, suite: SuiteKey) -> Any:
        """Return the state of a suite, as JSON values; None if it was never watched."""
        return await self._thread.run(load_watch, self._key, suite)

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for the state of a suite; both are JSON values."""
        await self._thread.run(update_watch, self._key, suite, change)


def load_watch(file: DatabaseFile, watch: Sequence[str], suite: SuiteKey) -> Any:
    """Return the state of a watch; None if there is none."""
    sql = f"SELECT state FROM watches WHERE (kind, name, branch) = (?, ?, ?) AND {OF_SUITE}"  # noqa: S608 - a constant
    row = file.execute(sql, (*watch, *suite)).fetchone()
    return None if row is None else from_json(row[0])


def update_watch(file: DatabaseFile, watch: Sequence[str], suite: SuiteKey, change: Callable[[Any], object]) -> None:
    """Change the state of a watch, in one transaction."""
    with file.transaction():
        state = json.dumps(change(load_watch(file, watch, suite)))
        file.execute("INSERT OR REPLACE INTO watches VALUES (?, ?, ?, ?, ?, ?, ?)", (*watch, *suite, state))
