"""`SuiteWatch`: the events of a poller as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic, Self, TypeVar

from .._base.validate import validate_key, validate_suite
from .._base.workers import AsyncContext
from ..errors import BuddyError, ConfigError
from ..models import SuiteKey, SuiteRef
from .polled import WatchedSuite
from .poller import Pending, Poller

_POLL = 0.01
"""Seconds between two checks of `settled`."""

_T = TypeVar("_T")


class SuiteWatch(AsyncContext, AsyncIterator[_T], Generic[_T]):
    """Passes the events of a poller to one loop."""

    def __init__(self, poller: Poller[_T, Any]) -> None:
        self._poller = poller
        self._channel = poller.channel
        self._current: tuple[WatchedSuite[Any], Pending[_T]] | None = None
        self._is_delivered = False  # the current event

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
        key = validate_key(suite)
        self._raise_if_ended()
        self._poller.add(WatchedSuite(key=key))

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
        while not (self._poller.is_idle and self._channel.is_empty and self._current is None):
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
        self._poller.api.transport.check_event_loop()  # otherwise each suite would fail, and be tried again
        self._channel.claim()
        while True:
            if self._current is None:
                self._current, self._is_delivered = await self._channel.get(), False
                if self._current is None:
                    raise StopAsyncIteration
            suite, pending = self._current
            if self._is_delivered or (pending.event is None and self._poller.is_watched(suite)):
                # The loop has handled it, since it asks for the next one.
                await self._poller.save(suite.key, pending.acknowledge)
            elif pending.event is not None and self._poller.is_watched(suite):
                if pending.announce is not None:
                    await self._poller.save(suite.key, pending.announce)
                self._is_delivered = True
                return pending.event
            self._current = None

    def _raise_if_ended(self) -> None:
        if self._channel.is_closed or self._channel.failure is not None:
            raise RuntimeError("this watch has ended: create another one")
