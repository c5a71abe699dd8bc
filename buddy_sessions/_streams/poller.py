"""`Poller`: polls suites, of a list or of a project or workspace, and passes their events to one stream.

A kind of watch is a subclass, which says what the events of a poll are, with a `SuiteWatch`, which delivers them:
`ChangePoller` with `Watch`, `StatusPoller` with `StatusWatch`. What was polled of a suite is `WatchedSuite.state`; what
was acknowledged is saved.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from attrs import define, evolve

from .._api import Api
from .._base.validate import (
    validate_branch,
    validate_group,
    validate_key,
    validate_seconds,
    validate_suites,
    validate_word,
)
from .._base.workers import add_jitter, run_workers
from .._paging.selection import ReadSpec
from ..analysis.commits import SessionList
from ..errors import AuthenticationError, BuddyError, ClientClosedError, ConfigError, ForbiddenError, NotFoundError
from ..models import Session, SuiteKey, SuiteRef
from ..questions.suite_reader import are_enough, list_of
from .channel import Channel

_log = logging.getLogger("buddy_sessions")

_MAX_DOUBLINGS = 4
"""The maximum number of times that the interval of a failing suite is doubled."""
LOOK_UP = timedelta(hours=1)
"""The time between two look-ups of the suites of a group."""
REMEMBERED_SESSIONS = 100
"""How many of the newest sessions of a suite are kept to detect changes. This bounds the memory."""

OnFirstFailure = Literal["raise", "retry"]

_T = TypeVar("_T")
_S = TypeVar("_S")


class SavedStates(Protocol):
    """Saves what a watch has seen of each suite, as JSON values, so that a later watch continues."""

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Refuse other watches of this kind and name until the block ends."""
        ...

    async def load(self, suite: SuiteKey) -> Any:
        """Return what was saved of a suite; None if it was never watched."""

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for what was saved of a suite."""


@define(eq=False, kw_only=True)
class PollTarget:
    """A suite, or a group of suites, that is polled again and again."""

    key: SuiteKey
    is_followed: bool = False  # whether a look-up lists it; otherwise it was named
    timer: asyncio.TimerHandle | None = None  # makes it due; None while it is due or being polled
    is_due: bool = False  # whether it is to be polled, or once more if it is being polled
    is_running: bool = False  # whether it is being polled
    polls: int = 0
    failed_polls: int = 0  # since the last success

    def stop(self) -> None:
        """Do not poll it any more."""
        self.is_due = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@define(eq=False, kw_only=True)
class WatchedSuite(PollTarget, Generic[_S]):
    """One suite, and the state that the kind of watch keeps of it."""

    new_since: datetime | None = None  # in the first poll, sessions that were created later are new; None for none
    highest_id: int | None = None  # the highest `relative_id` of the last poll; None before the first success
    digest: bytes = b""  # of a first page which shows that nothing has changed; empty if every page must be compared
    state: _S | None = None

    def remember_poll(self, sessions: Sequence[Session], *, first_page: int, digest: bytes) -> None:
        """Let the next poll skip an equal first page, of so many sessions, unless an unfinished one is below it."""
        self.highest_id = max(map(relative_id_of, sessions), default=self.highest_id or 0)
        is_running_below = any(not each.is_finished for each in sessions[first_page:REMEMBERED_SESSIONS])
        self.digest = b"" if is_running_below else digest

    def is_recreated(self, sessions: Sequence[Session], seen: Collection[Session]) -> bool:
        """Return whether the suite was deleted and created again: its `relative_id`s start at 1 again."""
        ids, highest_id = {session.id for session in seen}, max(map(relative_id_of, seen), default=0)
        latest = max((each.create_date for each in seen if each.create_date is not None), default=None)
        low = [session for session in sessions if session.relative_id <= highest_id]
        # Without a later date, older sessions have moved up, because the seen ones were deleted.
        is_later = any(latest and each.create_date and each.create_date > latest for each in low)
        return is_later and not any(session.id in ids for session in sessions)


@define(eq=False, kw_only=True)
class FollowedGroup(PollTarget):
    """A project or a workspace whose suites are looked up. In its key, the names that it does not have are empty."""

    suites: frozenset[SuiteKey] = frozenset()  # those that were listed in the last look-up
    looked_up: datetime | None = None  # the time of the last one

    def __str__(self) -> str:
        return "/".join(filter(None, self.key))


class Pending(NamedTuple, Generic[_T]):
    """An event of a suite; None if only its saved state changes."""

    event: _T | None
    acknowledge: Callable[[Any], object]  # returns the saved state after its acknowledgement, from the one before
    announce: Callable[[Any], object] | None = None  # returns the one to save before it is delivered


class PollResult(NamedTuple, Generic[_T]):
    """The events that follow from the newest sessions of a suite."""

    events: Sequence[Pending[_T]]
    may_skip: bool = True  # whether the next poll may skip an equal first page: no event is held back


class Poller(ABC, Generic[_T, _S]):
    """Polls suites, each once per interval, and puts their events into a channel.

    It knows nothing of the stream that reads them, so that a stream that is left without `aclose` is collected.
    """

    def __init__(
        self,
        api: Api,
        suites: Iterable[SuiteRef] | str,
        branch: str | None,
        *,
        interval: float,
        on_failure: OnFirstFailure,
        saved: SavedStates | None = None,
    ) -> None:
        self.api = api
        self._group: FollowedGroup | None = None
        self.suites: dict[SuiteKey, WatchedSuite[_S]] = {}
        self.failures: dict[SuiteKey, BuddyError] = {}  # of each suite or group whose latest poll has failed
        self.channel = Channel[tuple[WatchedSuite[_S], Pending[_T]]](self._run, size=api.max_concurrency, name="watch")
        self._spec = ReadSpec(branch=validate_branch(branch), read_ahead=1)  # most polls need one page
        self._interval = validate_seconds("interval", interval)
        self._on_failure = validate_word("on_failure", on_failure, OnFirstFailure)
        self._saved = saved
        self._due: asyncio.PriorityQueue[tuple[bool, int, WatchedSuite[_S] | FollowedGroup]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        if isinstance(suites, str):
            workspace, project = validate_group(suites)
            self._group = FollowedGroup(key=SuiteKey(workspace, project or "", ""))
            self._make_due(self._group)
        else:
            for suite in validate_suites(suites):
                self.add(WatchedSuite(key=validate_key(suite)))
            if not self.suites:
                raise ConfigError("suites is empty: name one or more, or a workspace or project as a text")

    def __str__(self) -> str:
        suites = f"{len(self.suites)} suites"
        return suites if self._group is None else f"{self._group}: {suites}"

    @abstractmethod
    def restore(self, suite: WatchedSuite[_S], saved: Any, /) -> Pending[_T] | None:
        """Set `state` and `highest_id` of a suite from what was saved. Return what was not acknowledged."""

    @abstractmethod
    async def events(self, suite: WatchedSuite[_S], newest: SessionList, /) -> PollResult[_T]:
        """Return the events of a poll that has read the newest sessions: 100 or more, or all.

        After a BuddyError, the suite is polled again: its `state` must not have what was not returned.
        """

    def add(self, suite: WatchedSuite[_S]) -> None:
        """Watch a suite, unless it is watched already."""
        if suite.key not in self.suites:
            self.suites[suite.key] = suite
            self._make_due(suite)

    def remove(self, key: SuiteKey) -> None:
        self.failures.pop(key, None)
        suite = self.suites.pop(key, None)
        if suite is not None:
            suite.stop()

    def is_watched(self, target: WatchedSuite[_S] | FollowedGroup) -> bool:
        """Return whether a suite was not removed, also if it was added again meanwhile."""
        return target is self._group or self.suites.get(target.key) is target

    def refresh(self, keys: Iterable[SuiteKey]) -> None:
        """Poll suites now, before those that are due; without any, all suites, also those that a look-up finds."""
        for target in [self.suites[key] for key in keys] or self._all():
            self._make_due(target, is_first=True)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being polled, or due."""
        return all(target.timer is not None for target in self._all())

    async def save(self, key: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for the saved state of a suite."""
        if self._saved is not None:
            await self._saved.update(key, change)

    def _all(self) -> list[WatchedSuite[_S] | FollowedGroup]:
        return [*self.suites.values()] if self._group is None else [self._group, *self.suites.values()]

    def _make_due(self, target: WatchedSuite[_S] | FollowedGroup, *, is_first: bool = False) -> None:
        """Poll something now, or once more after the poll that is running."""
        target.stop()
        target.is_due = True
        self._due.put_nowait((not is_first, next(self._order), target))

    async def _run(self) -> None:
        """Poll all suites until an error ends the watch."""
        async with nullcontext() if self._saved is None else self._saved.lock():
            try:
                await run_workers(self._work, self.api.max_concurrency)
            finally:
                for target in self._all():
                    target.stop()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            _, _, target = await self._due.get()
            if not target.is_due or target.is_running:
                continue  # it was removed, is in the queue twice, or is due again once its poll has ended
            started = loop.time()
            target.is_due, target.is_running = False, True
            target.polls += 1
            try:
                wait = await (self._poll_suite(target) if isinstance(target, WatchedSuite) else self._look_up(target))
            except BuddyError as error:
                if self.is_watched(target):
                    self._on_failed_poll(target, error)
                wait = self._interval * 2.0 ** min(target.failed_polls, _MAX_DOUBLINGS)
            target.is_running = False
            if target.is_due:
                self._make_due(target, is_first=True)
            elif self.is_watched(target):
                target.timer = loop.call_at(started + add_jitter(wait), self._make_due, target)

    async def _poll_suite(self, suite: WatchedSuite[_S]) -> float:
        """Poll a suite, and pass on its events. Return the seconds from now to the next poll."""
        events = await self._read_events(suite)
        suite.failed_polls = 0
        self.failures.pop(suite.key, None)
        for pending in events:
            await self.channel.put((suite, pending))
        return self._interval

    async def _read_events(self, suite: WatchedSuite[_S]) -> Sequence[Pending[_T]]:
        """Read the newest sessions of a suite, and return the events."""
        if suite.highest_id is None and self._saved is not None:
            saved = await self._saved.load(suite.key)
            if saved is not None and (pending := self.restore(suite, saved)) is not None:
                await self.channel.put((suite, pending))
        reader = self.api.read(suite.key, evolve(self._spec, last_digest=suite.digest))
        sessions: list[Session] = []
        is_complete = False
        async with aclosing(reader.pages()) as pages:
            async for page in pages:
                sessions += page.sessions
                is_complete = page.is_last
                if are_enough(sessions, stop_at=suite.highest_id, count=REMEMBERED_SESSIONS):
                    break
        if reader.first_page.is_unchanged:
            return ()
        listed = list_of(sessions, self.api.now, is_complete=is_complete, is_verified=reader.is_verified)
        result = await self.events(suite, listed)
        digest = reader.first_page.digest if result.may_skip and reader.is_verified else None
        suite.remember_poll(sessions, first_page=len(reader.first_page.sessions), digest=digest or b"")
        return result.events

    async def _look_up(self, group: FollowedGroup) -> float:
        """Watch the suites that were not listed in the last look-up. Return the seconds to the next one."""
        now = datetime.now(UTC)
        suites = [suite.key for suite in await self.api.suites(group.key.workspace, group.key.project or None)]
        if group.looked_up is None and self._saved is not None:
            text = await self._saved.load(group.key)
            group.looked_up = None if text is None else datetime.fromisoformat(text)
        # An hour earlier: clocks differ, and a watch may end before it has polled all suites of the look-up.
        since = None if group.looked_up is None else group.looked_up - LOOK_UP
        await self.save(group.key, lambda _: now.isoformat())
        for key in suites:
            if key not in group.suites:
                self.add(WatchedSuite(key=key, is_followed=True, new_since=since))
        group.looked_up, group.suites, group.failed_polls = now, frozenset(suites), 0
        self.failures.pop(group.key, None)
        return LOOK_UP.total_seconds()

    def _on_failed_poll(self, target: WatchedSuite[_S] | FollowedGroup, error: BuddyError) -> None:
        """Raise an error that ends the watch. Of the others in a row, log the first."""
        may_end_watch = target.polls == 1 and self._on_failure == "raise" and not target.is_followed
        is_setup_error = isinstance(error, AuthenticationError | ForbiddenError | NotFoundError)
        if isinstance(error, ClientClosedError) or (is_setup_error and may_end_watch):
            raise error
        if not target.failed_polls:
            what = f"read {target.key}" if isinstance(target, WatchedSuite) else f"list the suites of {target}"
            _log.warning("cannot %s, trying again at longer intervals: %s", what, error)
        target.failed_polls += 1
        is_missing = isinstance(error, NotFoundError)
        was_missing = isinstance(self.failures.get(target.key), NotFoundError)
        self.failures[target.key] = error.with_traceback(None)  # the frames would keep the sessions of the poll
        is_listed = self._group is not None and target.key in self._group.suites
        if is_missing and was_missing and target.is_followed and not is_listed:
            _log.info("%s is not listed, and was not found twice: it is not watched any more", target.key)
            self.remove(target.key)


def relative_id_of(session: Session) -> int:
    return session.relative_id
