"""The watches: `SuiteWatch`, a stream of the events of a poller, and `Watch`, the changes in many suites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Any, Generic, Self, TypeVar

from .._base.async_only import AsyncContext
from .._base.validate import validate_key, validate_suite
from .._decoding.converter import session_from_dict, to_dict
from ..errors import BuddyError, ConfigError
from ..models import Session, SuiteKey, SuiteRef
from .changes import REMEMBERED_SESSIONS, Change, Newest, WatchedSuite
from .poller import Pending, Poller

_POLL = 0.01
"""Seconds between two checks of `settled`."""

_T = TypeVar("_T")


class SuiteWatch(AsyncContext, AsyncIterator[_T], Generic[_T]):
    """Passes the events of a poller to one loop."""

    def __init__(self, poller: Poller[_T]) -> None:
        self._poller = poller
        self._channel = poller.channel
        self._unacknowledged: tuple[SuiteKey, Pending[_T]] | None = None

    def __del__(self) -> None:
        self._channel.abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the watch, and wait until its requests have ended. A loop that waits for a change ends, too."""
        await self._channel.close()

    def add(self, suite: SuiteRef) -> None:
        """Watch one more suite, as if it had been passed at the start: it is polled at once.

        Does nothing if the suite is watched already.

        Raises:
            ConfigError: The suite is invalid.
            RuntimeError: The watch has ended.
        """
        watched = WatchedSuite(key=validate_key(suite))
        self._raise_if_ended()
        self._poller.add(watched)

    def remove(self, suite: SuiteRef) -> None:
        """Do not watch a suite any more. Its changes that the loop has not received yet are dropped.

        Does nothing if the suite is not watched. A store keeps what it has saved of it: if the suite is added again,
        the watch continues from there. A watch without suites waits for `add`.

        Raises:
            ConfigError: The suite is invalid.
        """
        self._poller.remove(validate_key(suite))

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
        keys = [validate_suite(suite) for suite in suites]
        for key in keys:
            if key not in self._poller.suites:
                raise ConfigError(f"the suite {key} is not watched: pass it to `watch` as well")
        self._raise_if_ended()
        self._poller.refresh(keys)

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
        while not (self._poller.is_idle and self._channel.is_empty and self._unacknowledged is None):
            self._raise_if_ended()
            self._channel.raise_if_unconsumed()
            await asyncio.sleep(_POLL)

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The error of each suite whose latest poll has failed."""
        return self._poller.failures

    async def __anext__(self) -> _T:
        if self._channel.is_closed:
            raise StopAsyncIteration
        self._poller.api.check_event_loop()  # otherwise each suite would fail, and be tried again
        self._channel.claim()
        while True:
            if self._unacknowledged is not None:  # the loop has handled it, since it asks for the next one
                key, pending = self._unacknowledged
                await self._poller.save(key, pending.change)
            self._unacknowledged = None
            item = await self._channel.get()
            if item is None:
                raise StopAsyncIteration
            suite, pending = item
            if self._poller.is_watched(suite):
                self._unacknowledged = suite.key, pending
                if pending.event is not None:
                    return pending.event

    def _raise_if_ended(self) -> None:
        if self._channel.is_closed or self._channel.failure is not None:
            raise RuntimeError("this watch has ended: create another one")


class Watch(SuiteWatch[Change]):
    """The changes in many suites, as one stream that ends when it is closed.

    Created by `BuddyClient.watch` and `SessionStore.watch`. Use it as `async with`, so that leaving the block stops the
    requests at once. Only one task can iterate over it: another one gets `RuntimeError`, until the first has ended.
    After a `break`, the next loop continues with the next change.

    Each suite is polled once per interval, with one request if nothing has changed. Sessions that exist in the first
    poll are not reported; the unfinished ones among them are watched until they finish. Only the newest 100 sessions of
    a suite are watched (about 15 kB of memory). A change of a finished session may go unnoticed.

    The changes of a poll arrive oldest first, each once. They wait in a short queue, and a suite is not polled again
    before its changes are in the queue, so a slow loop slows the watch down. A change is acknowledged when you ask for
    the next one. With a store, a watch continues after the last acknowledged change: each is delivered at least once.

    If the first poll of a suite that you have named gets a 401, 403 or 404, the watch ends with that error, unless
    `on_failure` is "retry". Other failures do not stop the other suites: one warning is logged, `failures` lists the
    suite, and it is polled again after 2, 4, 8, then 16 intervals, until it succeeds. A closed client ends the watch
    with `ClientClosedError`, and any error that is not a `BuddyError` ends it, too.

    A watch of a workspace or a project looks up its suites at the start, and then once an hour. The sessions of a suite
    that it finds later are new, if they were created since the last look-up. A suite that is not listed any more is
    watched until it is not found in two polls.

    Example:
        >>> async with buddy.watch(["acme/storefront/MNbyVedg"], interval=60) as watch:
        ...     async for change in watch:
        ...         print(change.kind, change.suite, change.session.status)
    """


class ChangePoller(Poller[Change]):
    """Every change is an event. The newest sessions of each suite are saved, as they were acknowledged."""

    def restore(self, suite: WatchedSuite, saved: Any) -> None:
        """As in `Poller`."""
        suite.restore(list(map(session_from_dict, saved)))

    async def events(self, suite: WatchedSuite, newest: Newest) -> list[Pending[Change]]:
        """As in `Poller`."""
        known, is_first = suite.known_sessions(), suite.highest_id is None
        if is_first or suite.is_recreated(newest, known.values()):
            known = suite.old_sessions(newest) if is_first else {}
            await self.save(suite.key, lambda _: _newest(map(to_dict, known.values())))
        changes = suite.compare(newest.sessions, known)
        suite.keep(known | {change.session.id: change.session for change in changes})
        return [Pending(change, partial(_add_session, change.session)) for change in changes]


def _add_session(session: Session, saved: Any) -> list[dict[str, Any]]:
    """Return saved sessions with another one, or a newer version of one."""
    return _newest([*(saved or ()), to_dict(session)])


def _newest(sessions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest of these sessions, each once: the last one with an ID counts."""
    latest = {session["id"]: session for session in sessions}.values()
    return sorted(latest, key=lambda session: session["relative_id"])[-REMEMBERED_SESSIONS:]
