"""What the syncs of all suites in one `SessionStore.sync` share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from .._stats import Stats
from ..client import BuddyClient
from ..errors import BuddyError, StoreError
from ..models import Suite, SuiteKey
from .file import DatabaseFile, is_file_error
from .sessions import is_listed, save_names
from .thread import DatabaseThread

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = logging.getLogger("buddy_sessions")


class SyncRun:
    """One `SessionStore.sync`."""

    def __init__(self, buddy: BuddyClient, thread: DatabaseThread) -> None:
        self.buddy = buddy
        self.started: set[SuiteKey] = set()
        self._thread = thread
        self._file_failure: str | None = None
        self._listed_projects: set[tuple[str, str]] = set()

    async def call(
        self, function: Callable[Concatenate[DatabaseFile, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Call a function in the thread of the database.

        Once the file fails (locked, full, damaged), every other call fails at once with the same message, so that no
        more requests are made for sessions that cannot be saved. A value that cannot be saved fails only its own call.

        Raises:
            StoreError: The function failed, or the file has failed before.
        """

        def call(file: DatabaseFile) -> _T:
            if self._file_failure is not None:  # maybe while this call was waiting
                raise StoreError(self._file_failure)
            try:
                with file.translate_errors():
                    return function(file, *args, **kwargs)
            except StoreError as error:
                if error.__cause__ is None or is_file_error(error.__cause__):
                    self._file_failure = str(error)
                raise

        return await self._thread.run(call)

    async def update_names(self, key: SuiteKey) -> Stats:
        """Save the names of the suites of a project, at most once per project and day. Return the cost."""
        project = key[:2]
        if project in self._listed_projects:
            return Stats()
        self._listed_projects.add(project)
        if await self.call(is_listed, *project):
            return Stats()
        suites: list[Suite] = []
        is_final = True
        try:
            suites = await self.buddy.suites(*project)
        except BuddyError as error:
            is_final = not error.retryable  # otherwise the next sync tries again
            _log.warning("cannot read the names of the suites of %s/%s: %s", *project, error)
        if is_final:
            await self.call(save_names, *project, suites)
        return Stats(requests=1)
