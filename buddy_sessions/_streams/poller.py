"""`Poller`: polls suites, each in a task of its own, and passes their events to one stream."""

from __future__ import annotations

import asyncio
import itertools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from datetime import UTC, datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, get_args

from attrs import evolve

from .._api import Api
from .._base.validate import validate_branch, validate_key, validate_seconds, validate_suites
from .._base.workers import Channel, run_workers
from .._paging.reconciler import ReadSpec
from ..analysis.commits import SessionList
from ..errors import AuthenticationError, BuddyError, ClientClosedError, ConfigError, ForbiddenError, NotFoundError
from ..models import Session, SuiteKey, SuiteRef
from ..questions.suite_reader import list_of
from ..questions.wait import add_jitter
from .polled import LOOK_UP, FollowedGroup, WatchedSuite

_log = logging.getLogger("buddy_sessions")

_MAX_DOUBLINGS = 4
"""The maximum number of times that the interval of a failing suite is doubled."""

OnFirstFailure = Literal["raise", "retry"]

_T = TypeVar("_T")
_S = TypeVar("_S")


class SavedStates(Protocol):
    """Saves what a watch has seen of each suite, as JSON values, so that a later watch continues."""

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Refuse other watches of this kind and name until the block ends."""
        ...

    async def load(self, suite: SuiteKey) -> Any:
        """Return what was saved of a suite; None if it was never watched."""

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for what was saved of a suite."""


class Pending(NamedTuple, Generic[_T]):
    """An event of a suite, or None.

    Attributes:
        event: The event.
        acknowledge: What its acknowledgement changes in the saved state of the suite.
        announce: What changes there before it is delivered; None for nothing.
    """

    event: _T | None
    acknowledge: Callable[[Any], object]
    announce: Callable[[Any], object] | None = None


class Poller(ABC, Generic[_T, _S]):
    """Polls suites, each once per interval, and puts their events into a channel.

    It knows nothing of the stream that reads them, so that a stream that is left without `aclose` is collected.

    Attributes:
        suites: The watched suites.
        failures: The error of each suite whose latest poll has failed.
        channel: The events.
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
        if on_failure not in get_args(OnFirstFailure):
            raise ConfigError(f"on_failure must be 'raise' or 'retry', not {on_failure!r}")
        self.api = api
        self._group = FollowedGroup.parse(suites) if isinstance(suites, str) else None
        keys = [] if self._group else [validate_key(suite) for suite in validate_suites(suites)]
        self.suites: dict[SuiteKey, WatchedSuite[_S]] = {}
        self.failures: dict[SuiteKey, BuddyError] = {}
        self.channel = Channel[tuple[WatchedSuite[_S], Pending[_T]]](self._run, size=api.max_concurrency, name="watch")
        self._spec = ReadSpec(branch=validate_branch(branch), read_ahead=1)  # most polls need one page
        self._interval = validate_seconds("interval", interval)
        self._on_failure = on_failure
        self._saved = saved
        self._due: asyncio.PriorityQueue[tuple[bool, int, WatchedSuite[_S] | FollowedGroup]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        if self._group is not None:
            self._make_due(self._group)
        elif not keys:
            raise ConfigError("suites is empty: name one or more, or a workspace or project as a text")
        for index, key in enumerate(keys):
            self.add(WatchedSuite(key=key, phase=index / len(keys)))

    @abstractmethod
    def restore(self, suite: WatchedSuite[_S], saved: Any, /) -> Pending[_T] | None:
        """Continue with the saved state of a suite. Return what was not acknowledged."""

    @abstractmethod
    async def events(self, suite: WatchedSuite[_S], newest: SessionList, /) -> list[Pending[_T]]:
        """Return the events of a poll that has read the newest sessions: 100 or more, or all."""

    def add(self, suite: WatchedSuite[_S]) -> None:
        """Watch one more suite, unless it is watched already."""
        if suite.key not in self.suites:
            self.suites[suite.key] = suite
            self._make_due(suite)

    def remove(self, key: SuiteKey) -> None:
        """Do not watch a suite any more."""
        self.failures.pop(key, None)
        suite = self.suites.pop(key, None)
        if suite is not None:
            suite.stop()

    def is_watched(self, polled: WatchedSuite[_S] | FollowedGroup) -> bool:
        """Return whether a suite was not removed, also if it was added again meanwhile."""
        return polled is self._group or self.suites.get(polled.key) is polled

    def refresh(self, keys: Iterable[SuiteKey]) -> None:
        """Poll suites now, before those that are due; without any, all suites, also those that a look-up finds."""
        for polled in [self.suites[key] for key in keys] or self._all():
            self._make_due(polled, is_first=True)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being polled, or due."""
        return all(polled.timer is not None for polled in self._all())

    async def save(self, key: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for the saved state of a suite."""
        if self._saved is not None:
            await self._saved.update(key, change)

    def _all(self) -> list[WatchedSuite[_S] | FollowedGroup]:
        return [*self.suites.values()] if self._group is None else [self._group, *self.suites.values()]

    def _make_due(self, polled: WatchedSuite[_S] | FollowedGroup, *, is_first: bool = False) -> None:
        """Poll something now, or once more after the poll that is running."""
        polled.stop()
        polled.is_due = True
        if not polled.is_running:
            self._due.put_nowait((not is_first, next(self._order), polled))

    async def _run(self) -> None:
        """Poll all suites until an error ends the watch."""
        async with nullcontext() if self._saved is None else self._saved.hold():
            try:
                await run_workers(self._work, self.api.max_concurrency)
            finally:
                for polled in self._all():
                    polled.stop()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            _, _, polled = await self._due.get()
            if not polled.is_due or polled.is_running:
                continue  # it was removed, or is in the queue twice
            started = loop.time()
            polled.is_due, polled.is_running = False, True
            polled.polls += 1
            wait = await (self._poll_suite(polled) if isinstance(polled, WatchedSuite) else self._look_up(polled))
            polled.is_running = False
            if polled.is_due:
                self._make_due(polled, is_first=True)
            elif self.is_watched(polled):
                polled.timer = loop.call_at(started + add_jitter(wait), self._make_due, polled)

    async def _look_up(self, group: FollowedGroup) -> float:
        """Watch the suites of a group that are new. Return the seconds from now to the next look-up."""
        now = datetime.now(UTC)
        try:
            listed = [suite.key for suite in await self.api.suites(group.key.workspace, group.key.project or None)]
            if group.looked_up is None and self._saved is not None:
                saved = await self._saved.load(group.key)
                group.looked_up = None if saved is None else datetime.fromisoformat(saved)
            since, new = group.new_since, group.find_new(listed, now)
            for index, key in enumerate(new):
                self.add(WatchedSuite[_S](key=key, phase=index / len(new), is_followed=True, new_since=since))
            await self.save(group.key, lambda _: now.isoformat())
        except BuddyError as error:
            self._on_failed_poll(group, f"list the suites of {group}", error)
            return self._pause(group)
        group.failed_polls = 0
        return LOOK_UP.total_seconds()

    async def _poll_suite(self, suite: WatchedSuite[_S]) -> float:
        """Poll a suite, and pass on its events. Return the seconds from now to the next poll."""
        try:
            events = await self._read_events(suite)
        except BuddyError as error:
            if self.is_watched(suite):
                self._on_failed_poll(suite, f"read {suite.key}", error)
                self.failures[suite.key] = error.with_traceback(None)  # the frames would keep the sessions of the poll
                if isinstance(error, NotFoundError):
                    self._on_missing(suite)
        else:
            suite.failed_polls, suite.is_missing = 0, False
            self.failures.pop(suite.key, None)
            for pending in events:
                await self.channel.put((suite, pending))
        pause = self._pause(suite)
        # All suites start at once; spread their second polls over the interval.
        return pause - self._interval * suite.phase if suite.polls == 1 else pause

    def _on_missing(self, suite: WatchedSuite[_S]) -> None:
        is_listed = self._group is None or suite.key in self._group.listed
        if suite.is_missing and suite.is_followed and not is_listed:
            _log.info("%s is not listed any more, and was not found twice: it is not watched any more", suite.key)
            self.remove(suite.key)
        suite.is_missing = True

    def _on_failed_poll(self, polled: WatchedSuite[_S] | FollowedGroup, what: str, error: BuddyError) -> None:
        """Raise an error that ends the watch. Of the others in a row, log the first."""
        may_end_watch = polled.polls == 1 and self._on_failure == "raise" and not polled.is_followed
        is_setup_error = isinstance(error, AuthenticationError | ForbiddenError | NotFoundError)
        if isinstance(error, ClientClosedError) or (is_setup_error and may_end_watch):
            raise error
        if not polled.failed_polls:
            _log.warning("cannot %s, trying again at longer intervals: %s", what, error)
        polled.failed_polls += 1

    def _pause(self, polled: WatchedSuite[_S] | FollowedGroup) -> float:
        return self._interval * 2.0 ** min(polled.failed_polls, _MAX_DOUBLINGS)

    async def _read_events(self, suite: WatchedSuite[_S]) -> Sequence[Pending[_T]]:
        """Read the newest sessions of a suite, and return the events."""
        if suite.highest_id is None and self._saved is not None:
            saved = await self._saved.load(suite.key)
            if saved is not None and (pending := self.restore(suite, saved)) is not None:
                await self.channel.put((suite, pending))
        reader = self.api.read(suite.key, evolve(self._spec, known_digest=suite.digest))
        sessions: list[Session] = []
        is_complete, first_page = False, 0
        async with aclosing(reader.pages()) as pages:
            async for page in pages:
                sessions += page.sessions
                is_complete = page.is_last
                first_page = first_page or len(sessions)
                if suite.has_enough(sessions):
                    break
        if reader.is_not_modified:
            return ()
        listed = list_of(sessions, is_complete=is_complete, is_verified=reader.stats.verified)
        events = await self.events(suite, listed)
        suite.remember_poll(sessions, first_page=first_page, digest=reader.first_digest or b"")
        return events
