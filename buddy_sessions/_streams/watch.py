"""`SuiteWatch`: the events of a poller as a stream; `Watch`: the changes in many suites.

What has changed follows from the last and the newest state of each suite.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import frozen

from .._base.streams import Stream
from .._base.validate import validate_key, validate_suite
from .._decoding.converter import session_from_dict, to_dict
from ..analysis.commits import SessionList
from ..errors import BuddyError, ConfigError
from ..models import Session, SuiteKey, SuiteRef, is_before
from .poller import REMEMBERED_SESSIONS, Pending, Poller, PollResult, WatchedSuite, relative_id_of

_POLL = 0.01
"""Seconds between two checks of `settled`."""

_T = TypeVar("_T")


class SuiteWatch(Stream[_T], Generic[_T]):
    """Passes the events of a poller to one loop.

    Its methods raise `ConfigError` for a suite that is invalid, and `RuntimeError` once the watch has ended.
    """

    _whole = ""

    def __init__(self, poller: Poller[_T, Any]) -> None:
        super().__init__()
        self._poller = poller
        self._channel = poller.channel
        self._current: tuple[WatchedSuite[Any], Pending[_T]] | None = None
        self._is_delivered = False  # the current event

    def __del__(self) -> None:
        if hasattr(self, "_channel"):  # otherwise, __init__ has failed
            self._channel.abandon(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._poller}, {len(self._poller.failures)} failing>"

    def add(self, suite: SuiteRef) -> None:
        """Watch one more suite, as if it had been passed at the start: it is polled at once.

        Does nothing if the suite is watched already.
        """
        key = validate_key(suite)
        self._raise_if_ended()
        self._poller.add(WatchedSuite(key=key))

    def remove(self, suite: SuiteRef) -> None:
        """Stop watching a suite. Its changes that the loop has not received yet are dropped.

        Does nothing if the suite is not watched. A store keeps what it has saved of it: if the suite is added again,
        the watch continues from there. A watch without suites waits for `add`.
        """
        self._poller.remove(validate_key(suite))

    async def refresh(self, *suites: SuiteRef) -> None:
        """Poll suites now, for instance because you were notified that a session has ended.

        Returns at once, so you can also call it inside the loop; the changes arrive in the loop as usual. These polls
        precede the scheduled ones. A suite that is being polled at this moment is polled once more afterwards. The
        next interval of a suite, or its wait after a failure, starts with this poll. Before the loop has started, the
        call has no effect, because the loop starts with a poll of every suite.

        Args:
            suites: The suites (default: all suites of the watch). If one is not watched, none is polled (ConfigError).
        """
        keys = [validate_suite(suite) for suite in suites]
        for key in keys:
            if key not in self._poller.suites:
                raise ConfigError(f"the suite {key} is not watched: pass it to `watch` as well")
        self._raise_if_ended()
        self._poller.refresh(keys)

    async def settled(self) -> None:
        """Poll all suites now, and wait until the loop has handled every change. For tests, in place of a `sleep`.

        The loop runs in another task. If it has not started yet, this waits until it has; RuntimeError if it has ended.
        """
        await self.refresh()
        while not (self._poller.is_idle and self._channel.is_empty and self._current is None):
            self._raise_if_ended()
            self._channel.raise_if_unconsumed()
            await asyncio.sleep(_POLL)

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The error of each suite whose latest poll has failed.

        If the suites of a workspace or a project cannot be listed, its error is under a key with empty names.
        """
        return self._poller.failures

    async def _read(self) -> Sequence[_T] | None:
        """Return the next event. Asking for it acknowledges the one before."""
        self._poller.api.transport.check_event_loop()  # otherwise each suite would fail, and be tried again
        while True:
            if self._current is None:
                self._current, self._is_delivered = await self._channel.get(), False
                if self._current is None:
                    return None
            suite, pending = self._current
            if not self._is_delivered and not self._poller.is_watched(suite):
                pass  # it was removed meanwhile
            elif self._is_delivered or pending.event is None:
                # The loop has handled it: it asks for the next one.
                await self._poller.save(suite.key, pending.acknowledge)
            else:
                if pending.announce is not None:
                    await self._poller.save(suite.key, pending.announce)
                self._is_delivered = True
                return (pending.event,)
            self._current = None

    async def _stop(self) -> None:
        await self._channel.close()

    def _raise_if_ended(self) -> None:
        if self._channel.is_closed or self._channel.failure is not None:
            raise RuntimeError("this watch has ended: create another one")


class ChangeKind(StrEnum):
    """The kind of a change."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    FINISHED = "FINISHED"


@frozen(kw_only=True)
class Change:
    """A change of one session.

    Attributes:
        kind: NEW for a session that was not seen before, whether it is finished or not; FINISHED if it was unfinished
            and is finished now; CHANGED for any other difference, such as a reopened session or other counts.
        suite: The suite of the session.
        session: The session as it is now.
        previous: The session as it was when last seen; None for a new one.
    """

    kind: ChangeKind
    suite: SuiteKey
    session: Session
    previous: Session | None = None


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


class ChangePoller(Poller[Change, bytes]):
    """Every change is an event. The newest sessions of each suite are saved, as they were acknowledged.

    The state of a suite is these sessions as compressed JSON: objects take ten times the memory.
    """

    def restore(self, suite: WatchedSuite[bytes], saved: Any) -> None:
        """Continue with the saved sessions: all changes in them were acknowledged."""
        suite.highest_id = max((row["relative_id"] for row in saved), default=0)
        _keep(suite, saved)

    async def events(self, suite: WatchedSuite[bytes], newest: SessionList) -> PollResult[Change]:
        """Return the changes. In a first poll, sessions after `new_since` are new; of a recreated suite, all."""
        # Deleted sessions are kept, too, so that one that returns is not reported as new.
        rows = [] if suite.state is None else json.loads(zlib.decompress(suite.state))
        seen = {session.id: session for session in map(session_from_dict, rows)}
        is_first = suite.highest_id is None
        if is_first or suite.is_recreated(newest.sessions, seen.values()):
            since = suite.new_since
            old = [each for each in newest.sessions if is_first and (since is None or is_before(each, since))]
            seen, rows = {session.id: session for session in old}, _newest_rows(map(to_dict, old))
            await self.save(suite.key, lambda _: rows)
        changes = find_changes(suite.key, newest.sessions, seen)
        _keep(suite, [*rows, *(to_dict(change.session) for change in changes)])
        return PollResult([Pending(change, partial(_add_session, change.session)) for change in changes])


def find_changes(suite: SuiteKey, sessions: Sequence[Session], seen: Mapping[str, Session]) -> list[Change]:
    """Return the changes from the sessions of a suite that were seen to its newest ones, oldest first."""
    changes: list[Change] = []
    lowest_id = min(map(relative_id_of, seen.values())) if len(seen) >= REMEMBERED_SESSIONS else 1
    for session in sorted(sessions, key=relative_id_of):
        previous = seen.get(session.id)
        if session == previous or (previous is None and session.relative_id < lowest_id):
            continue  # the same, or an old session that moved up because newer ones were deleted
        if previous is None:
            kind = ChangeKind.NEW
        else:
            is_now_finished = session.is_finished and not previous.is_finished
            kind = ChangeKind.FINISHED if is_now_finished else ChangeKind.CHANGED
        changes.append(Change(kind=kind, suite=suite, session=session, previous=previous))
    return changes


def _keep(suite: WatchedSuite[bytes], seen: Iterable[dict[str, Any]]) -> None:
    """Keep the newest of the sessions that were reported, or need not be."""
    # The fastest level, and hardly larger.
    suite.state = zlib.compress(json.dumps(_newest_rows(seen)).encode(), level=1)


def _add_session(session: Session, saved: Any) -> list[dict[str, Any]]:
    """Return saved sessions with another one, or a newer version of one."""
    return _newest_rows([*(saved or ()), to_dict(session)])


def _newest_rows(sessions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest of these sessions, each once: the last one with an ID counts."""
    latest = {session["id"]: session for session in sessions}.values()
    return sorted(latest, key=lambda session: session["relative_id"])[-REMEMBERED_SESSIONS:]
