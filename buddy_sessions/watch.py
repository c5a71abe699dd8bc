"""`Watch`: the changes in many suites, as one stream."""

from __future__ import annotations

import asyncio
import logging
import pickle
import random
import zlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from enum import StrEnum
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, TypeAlias, get_args

from attrs import define, frozen

from ._validate import validate_suite
from ._workers import WorkerPool
from .errors import (
    AuthenticationError,
    BuddyError,
    ClientClosedError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
)
from .models import Session, SessionPage, SuiteKey, SuiteRef

_log = logging.getLogger("buddy_sessions")

REMEMBERED_SESSIONS = 100
"""The number of sessions of a suite, the newest, that are kept to detect changes. This bounds the memory."""

_JITTER = 0.1
"""The share of the interval by which a round is earlier or later, at random, so that suites do not synchronise."""

_MAX_DOUBLINGS = 4
"""The maximum number of times that the interval of a failing suite is doubled."""


OnFirstFailure = Literal["raise", "retry"]


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


ReadSuite: TypeAlias = Callable[[SuiteKey, int | None], AsyncGenerator[tuple[SessionPage, int | None], None]]
"""Reads a suite, given the fingerprint of its first page in the last round, or None. A fingerprint is a hash.

Yields each page with the fingerprint of the first page, which is None if more pages were read. Yields nothing if the
first page has the given fingerprint; then the page was not decoded.
"""


class WatchState(Protocol):
    """Saves the sessions that a watch has seen, so that another process can continue it."""

    async def load(self, key: SuiteKey) -> list[Session] | None:
        """Return the sessions of a suite that were saved; None if the suite was never watched."""

    async def start(self, key: SuiteKey, sessions: Iterable[Session]) -> None:
        """Save the sessions that exist when the watch of a suite starts, in place of all that were saved before."""

    async def save(self, key: SuiteKey, session: Session) -> None:
        """Save a session whose change was acknowledged."""


class Watch(AsyncIterator[Change]):
    """The changes in many suites, as one stream that ends when it is closed.

    Created by `BuddyClient.watch` and `SessionStore.watch`. Use it as `async with`, so that leaving the block stops the
    requests at once. Only one task can iterate over it: another one gets `RuntimeError`, until the first has ended.
    After a `break`, the next loop continues with the next change. Without any suite the stream ends at once.

    Each suite is checked once per interval; one check is called a round. Sessions that exist in the first round are not
    reported; the unfinished ones among them are watched until they finish. A later round reads the first page, with one
    request, and more pages only if they contain new or unfinished sessions. A change of a finished session is noticed
    only on the pages that are read. Only the newest 100 sessions of a suite are watched (about 15 kB of memory).

    The changes of a round arrive oldest first, each once. They wait in a short queue, and a suite is not checked again
    before its changes are in the queue, so a slow loop slows the watch down. `refresh` starts a round at once.

    With a store (`SessionStore.watch`), a watch continues where the last one stopped, and reports what has happened in
    between. A change is acknowledged when you ask for the next one, so it is delivered at least once.

    If the first round of a suite gets a 401, 403 or 404, the watch ends with that error, because the token or the name
    of the suite is probably wrong. With `on_failure="retry"`, it is treated like other failures.

    A suite that fails does not stop the others: one warning is logged, `failures` lists the suite, and it is checked
    again after 2, 4, 8, then 16 intervals, until it succeeds (after a first round that fails, 1 to 2). A closed client
    ends the watch with `ClientClosedError`, and any error that is not a `BuddyError` ends it, too.

    Example:
        >>> async with buddy.watch(["acme/storefront/MNbyVedg"], interval=60) as watch:
        ...     async for change in watch:
        ...         print(change.kind, change.suite, change.session.status)
    """

    def __init__(
        self,
        suites: Iterable[SuiteKey],
        read: ReadSuite,
        *,
        interval: float,
        concurrency: int,
        on_failure: OnFirstFailure = "raise",
    ) -> None:
        if on_failure not in get_args(OnFirstFailure):
            raise ConfigError(f"on_failure must be 'raise' or 'retry', not {on_failure!r}")
        self._suites = {key: _WatchedSuite(key, rank) for rank, key in enumerate(dict.fromkeys(suites))}
        self._read = read
        self._interval = interval
        self._on_failure = on_failure
        self._state: WatchState | None = None
        self._schedule = _Schedule(self._suites.values())
        self._failures: dict[SuiteKey, BuddyError] = {}
        self._pool: WorkerPool[Change] = WorkerPool(
            self._work, size=max(1, min(concurrency, len(self._suites))), name="watch"
        )
        self._is_closed = False
        self._unacknowledged: Change | None = None

    def with_state(self, state: WatchState) -> Self:
        """Make this watch continue from a saved state, and save its progress there. Returns the watch itself."""
        self._state = state
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the watch, and wait until its requests have ended. A loop that waits for a change ends, too."""
        self._is_closed = True
        await self._pool.close()

    async def refresh(self, *suites: SuiteRef) -> None:
        """Check suites now, for instance because you were notified that a session has ended.

        Returns at once, so you can also call it inside the loop; the changes arrive in the loop as usual. These checks
        precede the scheduled ones. A suite that is being checked at this moment is checked once more afterwards. The
        next interval of a suite, or its wait after a failure, starts with this check. Before the loop has started, the
        call does nothing, because the loop starts with a check of every suite.

        Args:
            suites: The suites (default: all suites of the watch).

        Raises:
            ConfigError: A suite is invalid, or is not watched. None is checked then.
            RuntimeError: The watch has ended.
        """
        keys = [validate_suite(suite) for suite in suites] or list(self._suites)
        for key in keys:
            if key not in self._suites:
                raise ConfigError(f"the suite {key} is not watched: pass it to `watch` as well")
        if self._is_closed or self._pool.failure is not None:
            raise RuntimeError("this watch has ended: create another one")
        for key in keys:
            self._schedule.refresh(self._suites[key])

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The latest error of each suite whose latest round has failed."""
        return self._failures

    async def __anext__(self) -> Change:
        if self._is_closed or not self._suites:
            raise StopAsyncIteration
        self._pool.claim()
        await self._acknowledge()
        change = await self._pool.get()
        if change is None:
            raise StopAsyncIteration
        self._unacknowledged = change
        return change

    async def _acknowledge(self) -> None:
        """Save the last change that was returned: the consumer has handled it, since it asks for the next one."""
        if self._state is not None and (change := self._unacknowledged) is not None:
            await self._state.save(change.suite, change.session)
        self._unacknowledged = None

    async def _work(self) -> None:
        try:
            while True:
                await self._check_next()
        finally:  # the watch ends
            self._schedule.clear()

    async def _check_next(self) -> None:
        suite = await self._schedule.next()
        started = asyncio.get_running_loop().time()
        is_first = suite.rounds == 0
        await self._check(suite)
        wait = self._interval * 2 ** min(suite.failed_rounds, _MAX_DOUBLINGS)
        if is_first:  # all suites start at once; spread their second rounds over the interval
            wait -= self._interval * suite.rank / len(self._suites)
        wait *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - not used for security
        self._schedule.add(started + wait, suite)

    async def _check(self, suite: _WatchedSuite) -> None:
        """Do one round of a suite, and report its changes."""
        suite.rounds += 1
        try:
            await self._load_state(suite)
            newest = await self._read_newest(suite)
            known = {} if newest is None else await self._known_sessions(suite, newest)
        except ClientClosedError:
            raise  # no other suite can be read either
        except BuddyError as error:
            is_setup_error = isinstance(error, AuthenticationError | ForbiddenError | NotFoundError)
            if is_setup_error and suite.rounds == 1 and self._on_failure == "raise":
                raise
            self._on_failed_round(suite, error)
            return
        suite.failed_rounds, suite.is_missing = 0, False
        self._failures.pop(suite.key, None)
        if newest is None:
            return
        for change in suite.compare(newest.sessions, known):
            await self._pool.put(change)
            known[change.session.id] = change.session
        suite.remember(newest, known)

    def _on_failed_round(self, suite: _WatchedSuite, error: BuddyError) -> None:
        if not suite.failed_rounds:
            _log.warning("cannot read %s, trying again at longer intervals: %s", suite.key, error)
        suite.failed_rounds += 1
        suite.is_missing = suite.is_missing or isinstance(error, NotFoundError)
        self._failures[suite.key] = error.with_traceback(None)  # the frames would keep the sessions of the round

    async def _load_state(self, suite: _WatchedSuite) -> None:
        if self._state is None or suite.is_started:
            return
        sessions = await self._state.load(suite.key)
        if sessions is not None:
            suite.restore(sessions)

    async def _read_newest(self, suite: _WatchedSuite) -> _Newest | None:
        """Return the newest sessions of a suite, as many as this round needs; None if nothing has changed."""
        newest: _Newest | None = None
        sessions: list[Session] = []
        async with aclosing(self._read(suite.key, suite.fingerprint)) as pages:
            async for page, fingerprint in pages:
                sessions += page.sessions
                newest = _Newest(sessions, page.is_last, fingerprint)
                if suite.has_enough(sessions):
                    break
        return newest

    async def _known_sessions(self, suite: _WatchedSuite, newest: _Newest) -> dict[str, Session]:
        """Return the sessions to compare a round with, by ID."""
        known = suite.known_sessions()
        if suite.is_start(newest, known):
            known = suite.start(newest)
            if self._state is not None:
                await self._state.start(suite.key, known.values())
        return known


class _Newest(NamedTuple):
    """The newest sessions of a suite, as a round has read them.

    Attributes:
        is_complete: Whether these are all.
        fingerprint: The fingerprint of the page, if it was a single one.
    """

    sessions: Sequence[Session]
    is_complete: bool
    fingerprint: int | None


class _Schedule:
    """The suites that are due, or will be. All are due at the start. A suite that waits needs no task."""

    def __init__(self, suites: Iterable[_WatchedSuite]) -> None:
        self._due = OrderedDict.fromkeys(suites)
        self._refreshed: OrderedDict[_WatchedSuite, None] = OrderedDict()  # these come first
        self._timers: dict[_WatchedSuite, asyncio.TimerHandle] = {}  # of the suites that are not due
        self._repeated: set[_WatchedSuite] = set()  # were refreshed while they were checked
        self._available = asyncio.Semaphore(len(self._due))

    def add(self, due: float, suite: _WatchedSuite) -> None:
        """Add a suite that was checked, and is due at `due`, in seconds of the event loop's clock."""
        if suite in self._repeated:
            self._repeated.discard(suite)
            self._make_due(suite, self._refreshed)
        else:
            self._timers[suite] = asyncio.get_running_loop().call_at(due, self._on_timer, suite)

    def refresh(self, suite: _WatchedSuite) -> None:
        """Make a suite due now. If it is being checked, it is due again at the end of this check."""
        if suite in self._timers:
            self._timers.pop(suite).cancel()
            self._make_due(suite, self._refreshed)
        elif suite in self._due:
            del self._due[suite]
            self._refreshed[suite] = None
        elif suite not in self._refreshed:
            self._repeated.add(suite)

    async def next(self) -> _WatchedSuite:
        """Wait until a suite is due, and take it out of the schedule."""
        await self._available.acquire()
        suite, _ = (self._refreshed or self._due).popitem(last=False)
        return suite

    def clear(self) -> None:
        """Cancel the timers of all suites that wait."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _on_timer(self, suite: _WatchedSuite) -> None:
        del self._timers[suite]
        self._make_due(suite, self._due)

    def _make_due(self, suite: _WatchedSuite, queue: OrderedDict[_WatchedSuite, None]) -> None:
        queue[suite] = None
        self._available.release()


@define(eq=False)
class _WatchedSuite:
    """The state of one suite, to detect changes. No I/O.

    Attributes:
        key: The key of the suite.
        rank: The place of the suite in the list of suites.
        rounds: The number of rounds so far.
        failed_rounds: The number of rounds that failed since the last success.
        is_missing: Whether the suite was not found since the last success.
    """

    key: SuiteKey
    rank: int
    rounds: int = 0
    failed_rounds: int = 0
    is_missing: bool = False
    _fingerprint: int | None = None  # of the first page, if the last round needed no other page
    _packed: bytes = b""  # the known sessions
    _forgotten_id: int = 0  # sessions up to this number are older than what is kept
    _read_down_to: int | None = None  # a round reads down to this number; None before the first one
    _unlisted: frozenset[str] = frozenset()  # the ids of the unfinished sessions that the last round did not list

    @property
    def is_started(self) -> bool:
        """Whether there is anything to compare a round with."""
        return self._read_down_to is not None

    @property
    def fingerprint(self) -> int | None:
        """The fingerprint of a first page that shows that nothing has changed; None if every page must be compared."""
        return None if self.is_missing else self._fingerprint

    def has_enough(self, sessions: Sequence[Session]) -> bool:
        """Return whether a round needs no more sessions than these."""
        if self._read_down_to is None:
            return len(sessions) >= REMEMBERED_SESSIONS
        return bool(sessions) and _lowest_id(sessions) <= self._read_down_to

    def restore(self, sessions: Sequence[Session]) -> None:
        """Continue from the sessions that an earlier watch has seen."""
        self._forgotten_id = _lowest_id(sessions) - 1 if sessions else 0
        self.remember(_Newest(sessions, False, None), {session.id: session for session in sessions})

    def known_sessions(self) -> dict[str, Session]:
        """Return the newest sessions by ID, including deleted ones, so that one that returns is not reported as new."""
        sessions = pickle.loads(zlib.decompress(self._packed)) if self._packed else []  # noqa: S301 - this object has pickled them
        return {session.id: session for session in sessions}

    def is_start(self, newest: _Newest, known: Mapping[str, Session]) -> bool:
        """Return whether the watch of this suite starts with this round, which may not be its first one."""
        # Deleted, and created again under the same key: the numbers start again, and what this round has read is new.
        is_other = not any(session.id in known for session in newest.sessions)
        is_recreated = is_other and (self.is_missing or _numbers_restart(newest.sessions, known.values()))
        return is_recreated or not self.is_started

    def start(self, newest: _Newest) -> dict[str, Session]:
        """Start with the newest sessions; return those that are not new."""
        self._forgotten_id = 0 if newest.is_complete else _lowest_id(newest.sessions) - 1
        return {} if self.is_started else {session.id: session for session in newest.sessions}

    def compare(self, sessions: Sequence[Session], known: Mapping[str, Session]) -> list[Change]:
        """Return the changes, oldest first."""
        changes: list[Change] = []
        for session in sessions:
            previous = known.get(session.id)
            if previous is None:
                if session.relative_id <= self._forgotten_id:
                    continue  # an old session that moved up because newer ones were deleted
                kind = ChangeKind.NEW
            elif session == previous:
                continue
            else:
                is_now_finished = session.is_finished and not previous.is_finished
                kind = ChangeKind.FINISHED if is_now_finished else ChangeKind.CHANGED
            changes.append(Change(kind=kind, suite=self.key, session=session, previous=previous))
        changes.sort(key=lambda change: change.session.relative_id)
        return changes

    def remember(self, newest: _Newest, known: Mapping[str, Session]) -> None:
        """Keep the newest of the known sessions, and decide how far down the next round reads.

        Args:
            newest: What this round has read. An unfinished session that two rounds in a row do not list was deleted:
                a single response may be wrong.
            known: All sessions that were reported, or need not be.
        """
        oldest_first = sorted(known.values(), key=_relative_id)
        kept = oldest_first[-REMEMBERED_SESSIONS:]
        for session in oldest_first[:-REMEMBERED_SESSIONS]:
            self._forgotten_id = session.relative_id
            if not session.is_finished:
                _log.debug("%s: session %d is unfinished, but too old to be watched", self.key, session.relative_id)
        newest_id = kept[-1].relative_id if kept else 0
        read_ids = {session.id for session in newest.sessions}
        unfinished = [each for each in kept if not each.is_finished]
        watched = [each for each in unfinished if each.id in read_ids or each.id not in self._unlisted]
        self._unlisted = frozenset(each.id for each in unfinished) - read_ids
        # A new session has a higher number than `newest_id`, so a round that reads down to the next one has read all.
        self._read_down_to = min([newest_id + 1, *map(_relative_id, watched)])
        self._packed = zlib.compress(pickle.dumps(kept), level=1)  # the fastest level, and hardly larger
        self._fingerprint = newest.fingerprint


def _relative_id(session: Session) -> int:
    return session.relative_id


def _lowest_id(sessions: Sequence[Session]) -> int:
    return min(map(_relative_id, sessions))


def _numbers_restart(sessions: Iterable[Session], known: Collection[Session]) -> bool:
    """Return whether a session was created after all known ones, and has a lower number than one of them.

    Older sessions that move up because the known ones were deleted have lower numbers, too.
    """
    highest_id = max(map(_relative_id, known), default=0)
    latest = max((each.create_date for each in known if each.create_date is not None), default=None)
    return latest is not None and any(
        each.relative_id < highest_id and each.create_date is not None and each.create_date > latest
        for each in sessions
    )
