"""The state that the syncs of all suites in one `SessionStore.sync` share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from attrs import Factory, define

from .._api import Api
from .._base.figures import Stats
from .._base.workers import LongBodies
from ..errors import BuddyError, NotFoundError
from ..models import Session, Suite, SuiteKey
from .file import DatabaseThread
from .prune import load_newest_date, time_before
from .suites import clear_suite_marks, is_project_listed, mark_suite_missing, save_names

_log = logging.getLogger("buddy_sessions")


@define(eq=False, repr=False)
class SyncRun:
    """The state of one `SessionStore.sync`. `now` is the time of all marks that it sets; `wait` is its argument."""

    api: Api
    thread: DatabaseThread
    wait: float = 0.0
    now: datetime = Factory(partial(datetime.now, UTC))
    long_bodies: LongBodies = Factory(LongBodies)
    _listed_projects: set[tuple[str, str]] = Factory(set)
    _newest: datetime | None = None  # the latest `create_date` in the file, once it was needed

    async def time_before(self, age: timedelta, sessions: Sequence[Session] = ()) -> datetime:
        """Return the time that was an age ago. See `prune.time_before`; the dates of `sessions` count, too."""
        if self._newest is None:
            self._newest = await self.thread.run(load_newest_date)
        dates = (self._newest, *(session.create_date for session in sessions))
        self._newest = max(filter(None, dates), default=None)
        return time_before(age, self.now, self._newest, self.api.transport.server_time)

    async def update_names(self, key: SuiteKey) -> Stats:
        """Save the names of the suites of a project, at most once per project and day. Return the cost.

        A suite that was synced, and is not listed, is requested by itself: a narrower token may list fewer suites.
        """
        project = key[:2]
        if project in self._listed_projects:
            return Stats()
        self._listed_projects.add(project)
        if await self.thread.run(is_project_listed, *project, self.now):
            return Stats()
        suites: list[Suite] = []
        try:
            suites = await self.api.suites(*project)
        except BuddyError as error:
            _log.warning("cannot read the names of the suites of %s/%s: %s", *project, error)
            if error.retryable:  # the next sync tries again
                return Stats(requests=1)
            if not isinstance(error, NotFoundError):
                await self.thread.run(save_names, *project, suites, self.now)
                return Stats(requests=1)
        not_listed = await self.thread.run(save_names, *project, suites, self.now)
        for each in not_listed:
            await self._check_suite(each)
        return Stats(requests=1 + len(not_listed))

    async def _check_suite(self, key: SuiteKey) -> None:
        try:
            await self.api.suite(key)
        except NotFoundError:
            await self.thread.run(mark_suite_missing, key, self.now)
        except BuddyError as error:
            _log.warning("cannot check whether the suite %s still exists: %s", key, error)
        else:
            await self.thread.run(clear_suite_marks, key)
