"""Waits until the sessions of a commit or a CI run exist and have finished."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime

import attrs

from .._api import Api
from .._base.figures import format_duration
from .._base.workers import add_jitter
from .._paging.reconciler import ReadSpec
from ..analysis.commits import may_lack_sessions
from ..analysis.remarks import name_sessions
from ..errors import BuddyError, ResponseError, StatusError, TransportError, WaitTimeoutError
from ..models import Session, SuiteKey, has_revision, has_run_url

_log = logging.getLogger("buddy_sessions")

_SEARCHED = 1000
"""How many sessions a poll searches at most. The first ones search so many: the awaited ones may exist already."""
_POLLED = 100
"""How many sessions each later poll searches, unless more were created since the poll before."""


@attrs.frozen(kw_only=True)
class WaitSpec:
    """Which sessions are awaited, and how long: the arguments of `BuddyClient.wait`."""

    suite: SuiteKey
    revision: str | None
    run_url: str | None
    branch: str | None
    after: int | datetime | None
    count: int
    interval: float
    timeout: float
    appear_timeout: float
    fail_fast: int | None

    def __str__(self) -> str:
        after = f"#{self.after}" if isinstance(self.after, int) else self.after
        names = {"commit": self.revision, "CI run": self.run_url, "branch": self.branch, "after": after}
        selectors = [f"{name} {value}" for name, value in names.items() if value is not None]
        return f"{self.suite} ({', '.join(selectors)})"

    @property
    def belong_together(self) -> bool:
        """Whether all matching sessions are awaited; otherwise, only the newest `count`."""
        return self.revision is not None or self.run_url is not None

    def is_enough(self, sessions: Sequence[Session]) -> bool:
        """Return whether nothing has to be awaited any more: all have finished, or enough are red."""
        red = sum(session.is_failing for session in sessions)
        if self.fail_fast is not None and red >= self.fail_fast:
            return True
        return len(sessions) >= self.count and all(session.is_finished for session in sessions)


class _Search:
    """Polls the newest sessions of a suite for the awaited ones."""

    def __init__(self, spec: WaitSpec, api: Api) -> None:
        self.found: list[Session] = []  # the awaited ones that exist, newest first
        self.failure: BuddyError | None = None  # of the last poll
        self.has_gap = False  # whether a `relative_id` is missing in its list: one response may lack a session
        self._spec = spec
        self._api = api
        self._read_spec = ReadSpec(
            branch=spec.branch,
            after=spec.after if isinstance(spec.after, int) else 0,
            since=spec.after if isinstance(spec.after, datetime) else None,
            max_sessions=_SEARCHED,
            read_ahead=1,
        )
        self._newest: int | None = None  # the highest relative_id of an earlier poll; None before the first success

    async def poll(self, count: int) -> None:
        """Search at least the newest `count` sessions. Raises an error unless another poll may succeed."""
        try:
            await self._read(count)
        except BuddyError as error:
            # Once a poll has succeeded, the token and the suite are known to be right.
            if not error.retryable and (self._newest is None or not isinstance(error, StatusError | ResponseError)):
                raise
            if self.failure is None:
                _log.warning("cannot read %s, trying again: %s", self._spec.suite, error)
            self.failure = error
        else:
            self.failure = None

    def too_late(self, seconds: float) -> WaitTimeoutError:
        """Return the error of a timeout after these seconds: what is missing, and what to do."""
        spec, found = self._spec, self.found
        if self._newest is None:
            text, advice = f"{spec} could not be read", "check the network, or wait longer"
            self.failure = self.failure or TransportError("no response so far")
        elif len(found) < spec.count:
            counts = f"{len(found):,} of {spec.count:,} sessions"
            some = f"only {counts} ({name_sessions(found)})" if found else "no session"
            text, advice = f"{some} of {spec} appeared", "check that its tests have started, or wait longer"
        elif unfinished := [session for session in found if not session.is_finished]:
            text = f"{name_sessions(unfinished)} of {spec} did not finish"
            advice = "wait longer, or if an earlier run was killed, for what is after it"
        else:
            text, advice = f"{name_sessions(found)} of {spec} could not be read twice", "try again"
        last = f"; the last request failed: {self.failure}" if self.failure is not None else ""
        return WaitTimeoutError(f"{text} within {format_duration(round(seconds))}: {advice}{last}", found)

    async def _read(self, count: int) -> None:
        """Also read what is new: down to the newest session of the poll before, and to those that had not finished."""
        spec = self._spec
        unfinished = [session.relative_id for session in self.found if not session.is_finished]
        known_id = min([self._newest or 0, *unfinished])
        reader = self._api.read(spec.suite, self._read_spec)
        sessions: list[Session] = []
        is_complete = False
        async with aclosing(reader.pages()) as pages:
            async for page in pages:
                sessions += page.sessions
                is_complete = page.is_last
                reaches_known = len(sessions) >= count and sessions[-1].relative_id <= known_id
                is_enough = reaches_known if spec.belong_together else len(sessions) >= spec.count
                if is_enough:
                    break
        self._newest = max([self._newest or 0, *(session.relative_id for session in sessions)])
        lowest = self._read_spec.after + 1 if is_complete and self._read_spec.since is None else None
        self.has_gap = spec.belong_together and may_lack_sessions(sessions, lowest=lowest)
        ids = {session.id for session in sessions}
        # Finished ones may be below what was read. One that had not finished was read, unless it was deleted.
        sessions += [each for each in self.found if each.is_finished and each.id not in ids]
        found = [each for each in sessions if has_revision(each, spec.revision) and has_run_url(each, spec.run_url)]
        found.sort(key=lambda session: -session.relative_id)
        self.found = found if spec.belong_together else found[: spec.count]


async def await_sessions(api: Api, spec: WaitSpec) -> list[Session]:
    """Return the awaited sessions once all have finished."""
    search = _Search(spec, api)
    loop = asyncio.get_running_loop()
    started = loop.time()
    deadline = asyncio.timeout_at(started + min(spec.appear_timeout, spec.timeout))
    previous: list[Session] | None = None  # what a list with a gap has shown
    count = _SEARCHED
    try:
        async with deadline:
            while True:
                await search.poll(count)
                if search.failure is None and spec.is_enough(search.found):
                    if not search.has_gap or search.found == previous:
                        return search.found
                    previous = search.found
                    continue  # once more, at once
                if len(search.found) >= spec.count:
                    deadline.reschedule(started + spec.timeout)
                if search.failure is None:
                    count = _POLLED
                await asyncio.sleep(add_jitter(spec.interval))
    except TimeoutError:
        if not deadline.expired():
            raise
        error = search.too_late(loop.time() - started)
        raise error from search.failure
