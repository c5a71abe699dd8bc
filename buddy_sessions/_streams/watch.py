"""`Watch`: the changes in many suites, as one stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Literal, Self, TypeVar, get_args

import attrs

from .._api.api import Api
from .._api.wait import add_jitter
from .._base.validate import validate_key, validate_seconds, validate_suite, validate_suites
from .._base.workers import WorkerPool
from .._decoding.converter import NotModified
from .._paging.scope import ReadSpec
from ..errors import AuthenticationError, BuddyError, ClientClosedError, ConfigError, ForbiddenError, NotFoundError
from ..models import Session, SuiteKey, SuiteRef
from .changes import Change, Newest, WatchedSuite
from .events import EventSource, Pending
from .schedule import Schedule

_log = logging.getLogger("buddy_sessions")

_MAX_DOUBLINGS = 4
"""The maximum number of times that the interval of a failing suite is doubled."""
_POLL = 0.01
"""Seconds between two checks of `settled`."""

OnFirstFailure = Literal["raise", "retry"]

_T = TypeVar("_T")


class SuiteWatch(AsyncIterator[_T]):
    """Polls suites, each once per interval, and passes the events of a source to one loop."""

    def __init__(
        self,
        api: Api,
        suites: Iterable[SuiteRef],
        source: EventSource[_T],
        *,
        interval: float,
        on_failure: OnFirstFailure,
        hold: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,  # entered while the watch runs
    ) -> None:
        if on_failure not in get_args(OnFirstFailure):
            raise ConfigError(f"on_failure must be 'raise' or 'retry', not {on_failure!r}")
        self._api = api
        keys = [validate_key(suite) for suite in validate_suites(suites)]
        self._suites = {key: WatchedSuite(key, index) for index, key in enumerate(dict.fromkeys(keys))}
        self._spec = ReadSpec(branch=source.listed_branch, read_ahead=1)  # most polls need one page
        self._source = source
        self._interval = validate_seconds("interval", interval)
        self._on_failure = on_failure
        self._schedule = Schedule(self._suites.values())
        self._failures: dict[SuiteKey, BuddyError] = {}
        self._pool: WorkerPool[tuple[WatchedSuite, Pending[_T]]] = WorkerPool(
            self._work, size=api.max_concurrency, name="watch", hold=hold
        )
        self._is_closed = False
        self._unacknowledged: Pending[_T] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the watch, and wait until its requests have ended. A loop that waits for a change ends, too."""
        self._is_closed = True
        await self._pool.close()

    def add(self, suite: SuiteRef) -> None:
        """Watch one more suite, as if it had been passed at the start: it is polled at once.

        Does nothing if the suite is watched already.

        Raises:
            ConfigError: The suite is invalid.
            RuntimeError: The watch has ended.
        """
        key = validate_key(suite)
        self._raise_if_ended()
        if key not in self._suites:
            self._suites[key] = WatchedSuite(key, 0)
            self._schedule.add_due(self._suites[key])

    def remove(self, suite: SuiteRef) -> None:
        """Do not watch a suite any more. Its changes that the loop has not received yet are dropped.

        Does nothing if the suite is not watched. A store keeps what it has saved of it: if the suite is added again,
        the watch continues from there. A watch without suites waits for `add`.

        Raises:
            ConfigError: The suite is invalid.
        """
        watched = self._suites.pop(key := validate_key(suite), None)
        if watched is not None:
            self._failures.pop(key, None)
            self._schedule.remove(watched)

    async def refresh(self, *suites: SuiteRef) -> None:
        """Poll suites now, for instance because you were notified that a session has ended.

        Returns at once, so you can also call it inside the loop; the changes arrive in the loop as usual. These polls
        precede the scheduled ones. A suite that is being polled at this moment is polled once more afterwards. The
        next interval of a suite, or its wait after a failure, starts with this poll. Before the loop has started, the
        call has no effect, because the loop starts with a poll of every suite.

        Args:
            suites: The suites (default: all suites of the watch).

        Raises:
            ConfigError: A suite is invalid, or is not watched. None is polled then.
            RuntimeError: The watch has ended.
        """
        keys = [validate_suite(suite) for suite in suites] or list(self._suites)
        for key in keys:
            if key not in self._suites:
                raise ConfigError(f"the suite {key} is not watched: pass it to `watch` as well")
        self._raise_if_ended()
        for key in keys:
            self._schedule.refresh(self._suites[key])

    async def settled(self) -> None:
        """Poll all suites now, and wait until the loop has handled every change. For tests, in place of a `sleep`.

        The loop runs in another task. If it has not started yet, this waits until it has.

        Example:
            >>> async with asyncio.TaskGroup() as group, buddy.watch([suite.key]) as changes:
            ...     group.create_task(report(buddy, changes, posts.append))
            ...     await changes.settled()  # sessions that exist now are not reported
            ...     suite.create(status="ERROR")
            ...     await changes.settled()
            >>> assert len(posts) == 1

        Raises:
            RuntimeError: The watch has ended, or no other task iterates over it any more.
        """
        await self.refresh()
        while not (self._schedule.are_waiting(len(self._suites)) and self._pool.is_empty and not self._unacknowledged):
            self._raise_if_ended()
            self._pool.raise_if_unconsumed()
            await asyncio.sleep(_POLL)

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The error of each suite whose latest poll has failed."""
        return self._failures

    async def __anext__(self) -> _T:
        if self._is_closed or not self._suites:
            raise StopAsyncIteration
        self._api.check_event_loop()  # otherwise each suite would fail, and be tried again
        self._pool.claim()
        while True:
            if self._unacknowledged is not None:  # the loop has handled it, since it asks for the next one
                await self._unacknowledged.acknowledge()
            self._unacknowledged = None
            item = await self._pool.get()
            if item is None:
                raise StopAsyncIteration
            suite, pending = item
            if self._is_watched(suite):
                self._unacknowledged = pending
                if pending.event is not None:
                    return pending.event

    def _is_watched(self, suite: WatchedSuite) -> bool:
        """Return whether a suite was not removed, also if it was added again meanwhile."""
        return self._suites.get(suite.key) is suite

    def _raise_if_ended(self) -> None:
        if self._is_closed or self._pool.failure is not None:
            raise RuntimeError("this watch has ended: create another one")

    async def _work(self) -> None:
        try:
            while True:
                await self._check_next()
        finally:  # the watch ends
            self._schedule.clear()

    async def _check_next(self) -> None:
        suite = await self._schedule.next()
        if not self._is_watched(suite):
            return
        started = asyncio.get_running_loop().time()
        is_first = suite.polls == 0
        await self._check(suite)
        if not self._is_watched(suite):
            return
        wait = self._interval * 2 ** min(suite.failed_polls, _MAX_DOUBLINGS)
        if is_first:  # all suites start at once; spread their second polls over the interval
            wait -= self._interval * suite.index / len(self._suites)
        self._schedule.add(started + add_jitter(wait), suite)

    async def _check(self, suite: WatchedSuite) -> None:
        """Poll a suite, and pass on its events."""
        suite.polls += 1
        try:
            events = await self._read_events(suite)
        except ClientClosedError:
            raise  # no other suite can be read either
        except BuddyError as error:
            if not self._is_watched(suite):
                return
            is_setup_error = isinstance(error, AuthenticationError | ForbiddenError | NotFoundError)
            if is_setup_error and suite.polls == 1 and self._on_failure == "raise":
                raise
            self._on_failed_poll(suite, error)
            return
        suite.failed_polls, suite.is_missing = 0, False
        self._failures.pop(suite.key, None)
        for pending in events:
            await self._pool.put((suite, pending))

    def _on_failed_poll(self, suite: WatchedSuite, error: BuddyError) -> None:
        if not suite.failed_polls:
            _log.warning("cannot read %s, trying again at longer intervals: %s", suite.key, error)
        suite.failed_polls += 1
        suite.is_missing = suite.is_missing or isinstance(error, NotFoundError)
        self._failures[suite.key] = error.with_traceback(None)  # the frames would keep the sessions of the poll

    async def _read_events(self, suite: WatchedSuite) -> Sequence[Pending[_T]]:
        """Read the newest sessions of a suite, and return the events."""
        if not suite.is_started and (saved := await self._source.load(suite)) is not None:
            suite.restore(saved)
        newest = await self._read_newest(suite)
        if isinstance(newest, NotModified) or not self._is_watched(suite):  # it was removed meanwhile
            return ()
        known = suite.known_sessions()
        if suite.needs_baseline(newest, known):
            known = suite.start(newest)
            await self._source.start(suite, known.values())
        changes = suite.compare(newest.sessions, known)
        lowest_id = 0 if newest.is_complete else min((each.relative_id for each in newest.sessions), default=0)
        older = [session for session in known.values() if session.relative_id < lowest_id]  # of earlier polls
        events = await self._source.events(suite, newest._replace(sessions=[*newest.sessions, *older]), changes)
        suite.remember(newest, known | {change.session.id: change.session for change in changes})
        return events

    async def _read_newest(self, suite: WatchedSuite) -> Newest | NotModified:
        """Return the newest sessions of a suite, as many as this poll needs."""
        reader = self._api.read(suite.key, attrs.evolve(self._spec, known_digest=suite.known_digest))
        sessions: list[Session] = []
        is_complete = False
        async with aclosing(reader.pages()) as pages:
            async for page in pages:
                sessions += page.sessions
                is_complete = page.is_last
                if suite.has_enough(sessions):
                    break
        if reader.is_not_modified:
            return NotModified()
        digest = reader.first_digest if reader.stats.pages == 1 else None
        return Newest(sessions, is_complete, digest or b"")


class Watch(SuiteWatch[Change]):
    """The changes in many suites, as one stream that ends when it is closed.

    Created by `BuddyClient.watch` and `SessionStore.watch`. Use it as `async with`, so that leaving the block stops the
    requests at once. Only one task can iterate over it: another one gets `RuntimeError`, until the first has ended.
    After a `break`, the next loop continues with the next change. `add` and `remove` change which suites are watched,
    while it runs, too. A watch that is created without any suite ends at once, unless one was added before.

    Each suite is polled once per interval. Sessions that exist in the first poll are not reported; the unfinished ones
    among them are watched until they finish. A later poll reads the first page, with one request, and more pages only
    if they contain new or unfinished sessions. A change of a finished session is noticed only on the pages that are
    read. Only the newest 100 sessions of a suite are watched (about 15 kB of memory).

    The changes of a poll arrive oldest first, each once. They wait in a short queue, and a suite is not polled again
    before its changes are in the queue, so a slow loop slows the watch down. `refresh` polls at once.

    With a store (`SessionStore.watch`), a watch continues where the last one stopped, and reports what has happened in
    between. A change is acknowledged when you ask for the next one, so it is delivered at least once.

    If the first poll of a suite gets a 401, 403 or 404, the watch ends with that error, because the token or the name
    of the suite is probably wrong. With `on_failure="retry"`, it is treated like other failures.

    A suite that cannot be read does not stop the others: one warning is logged, `failures` lists the suite, and it is
    polled again after 2, 4, 8, then 16 intervals, until it succeeds. If its first poll fails, the second one follows
    after 1 to 2 intervals. A closed client ends the watch with `ClientClosedError`, and any error that is not a
    `BuddyError` ends it, too.

    Example:
        >>> async with buddy.watch(["acme/storefront/MNbyVedg"], interval=60) as watch:
        ...     async for change in watch:
        ...         print(change.kind, change.suite, change.session.status)
    """
