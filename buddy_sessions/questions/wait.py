"""Waits until the sessions of a commit or a CI run exist and have finished."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from attrs import evolve, frozen

from .._api import Api
from .._base.figures import format_duration
from .._base.workers import add_jitter
from ..analysis.branches import NEWEST
from ..analysis.commits import SessionList
from ..analysis.remarks import CHECK_UPLOAD, name_sessions
from ..errors import BuddyError, ResponseError, StatusError, TransportError, WaitTimeoutError
from ..models import Session, SuiteKey, has_revision, has_run_url
from .suite_reader import MAX_SEARCHED, ApiSource, Source, are_enough, end_search

_log = logging.getLogger("buddy_sessions")


@frozen(kw_only=True)
class WaitSpec:
    """Which sessions are awaited, and how long: the arguments of `BuddyClient.wait`."""

    suite: SuiteKey
    revision: str | None
    run_url: str | None
    branch: str | None = None
    after: int | datetime | None
    count: int
    interval: float
    timeout: float
    appear_timeout: float
    fail_fast: int | None = None
    tests_have_ended: bool = False

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


class Waiting:
    """Polls the newest sessions of a suite for the awaited ones, until the time is over."""

    def __init__(self, spec: WaitSpec, source: Source) -> None:
        self.matching: list[Session] = []  # all sessions of the commit, CI run or branch that exist, newest first
        self.listed: SessionList | None = None  # what the last poll read, and `matching`; None before the first success
        self.failure: BuddyError | None = None  # of the last poll
        self.spec = spec
        self._source = source
        self._highest_id: int | None = None  # `relative_id` in the earlier polls; None before the first success
        self._pause = 0.0  # before the next poll
        self._started = asyncio.get_running_loop().time()

    @property
    def awaited(self) -> list[Session]:
        """The awaited sessions that exist: those since `after`, newest first."""
        awaited = [session for session in self.matching if is_since(session, self.spec.after) is not False]
        return awaited if self.spec.belong_together else awaited[: self.spec.count]

    async def look(self) -> bool:
        """Poll once more, after a pause. Return False if the time is over."""
        spec = self.spec
        seconds = spec.timeout if len(self.awaited) >= spec.count else min(spec.appear_timeout, spec.timeout)
        deadline = asyncio.timeout_at(self._started + seconds)
        try:
            async with deadline:
                await asyncio.sleep(self._pause)
                await self._poll()
        except TimeoutError:
            if not deadline.expired():
                raise
            return False
        self._pause = add_jitter(spec.interval)
        return True

    def is_complete(self) -> bool:
        """Return whether nothing has to be awaited any more, as far as the last poll says."""
        return self.failure is None and self.spec.is_enough(self.awaited)

    def too_late(self) -> WaitTimeoutError:
        """Return the error of a timeout: what is missing, and what to do."""
        spec, awaited = self.spec, self.awaited
        unfinished = [session for session in awaited if not session.is_finished]
        if self.listed is not None and len(awaited) < spec.count:
            counts = f"{len(awaited):,} of {spec.count:,} sessions"
            some = f"only {counts} ({name_sessions(awaited)})" if awaited else "no session"
            text, advice = f"{some} of {spec} appeared", "check that its tests have started, or wait longer"
            if spec.tests_have_ended:
                advice = CHECK_UPLOAD
        elif unfinished:
            text = f"{name_sessions(unfinished)} of {spec} did not finish"
            advice = "wait longer, or if an earlier run was killed, for what is after it"
        else:
            text, advice = f"{spec} could not be read", "check the network, or wait longer"
            self.failure = self.failure or TransportError("no response so far")
        why = f"; the last request failed: {self.failure.without_advice}" if self.failure is not None else ""
        seconds = round(asyncio.get_running_loop().time() - self._started)
        return WaitTimeoutError(f"{text} within {format_duration(seconds)}: {advice}{why}", awaited)

    async def _poll(self) -> None:
        """Read the newest sessions. Raises an error unless another poll may succeed."""
        try:
            await self._read()
        except BuddyError as error:
            # Once a poll has succeeded, the URL, the token and the suite are known to be right.
            is_reached = not isinstance(error, TransportError) or error.is_connected
            if self.listed is None and not (error.retryable and is_reached):
                raise
            if not error.retryable and not isinstance(error, StatusError | ResponseError):
                raise
            if self.failure is None:
                _log.warning("cannot read %s, trying again: %s", self.spec.suite, error)
            self.failure = error
        else:
            self.failure = None

    async def _read(self) -> None:
        """Also read what is new: down to the newest session of the poll before, and to those that had not finished."""
        spec = self.spec
        is_search = self._highest_id is None and spec.belong_together  # earlier ones may belong to them
        count = MAX_SEARCHED if is_search else max(NEWEST, spec.count)
        unfinished = [session.relative_id - 1 for session in self.matching if not session.is_finished]
        stop_at = None if self._highest_id is None else min([self._highest_id, *unfinished])
        listed = SessionList(sessions=(), below="nothing", as_of=datetime.now(UTC))
        sessions: list[Session] = []
        async with aclosing(self._source.parts(spec.suite, spec.branch)) as parts:
            async for part in parts:
                sessions += part.sessions
                listed = evolve(part, doubt=listed.doubt or part.doubt)
                if are_enough(sessions, stop_at=stop_at, count=count):
                    break
        self._highest_id = max([self._highest_id or 0, *(session.relative_id for session in sessions)])
        ids = {session.id for session in sessions}
        # Finished ones may be below what was read. One that had not finished was read, unless it was deleted.
        sessions += [each for each in self.matching if each.is_finished and each.id not in ids]
        matching = [each for each in sessions if has_revision(each, spec.revision) and has_run_url(each, spec.run_url)]
        self.matching = sorted(matching, key=lambda session: -session.relative_id)
        self.listed = end_search(evolve(listed, sessions=sessions))


def is_since(session: Session, after: int | datetime | None) -> bool | None:
    """Return whether a session was created since an attempt of a CI run began; None if that is not known."""
    if after is None:
        return True
    if isinstance(after, int):
        return session.relative_id > after
    return None if session.create_date is None else session.create_date >= after


async def await_sessions(api: Api, spec: WaitSpec) -> list[Session]:
    """Return the awaited sessions once all have finished."""
    waiting = Waiting(spec, ApiSource(api))
    while await waiting.look():
        if waiting.is_complete():
            return waiting.awaited
    error = waiting.too_late()
    raise error from waiting.failure
