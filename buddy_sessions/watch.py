"""The same suites again and again: what is new in them, and what has changed.

A bounded number of workers takes the suites in the order in which they are due, and what they find waits in a bounded
queue. What is compared with what: changes.py.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from .changes import Change, SuiteMemory
from .errors import BuddyError, ClientClosedError, ConfigError, NotFoundError
from .models import Session, SessionPage, SuiteKey

_log = logging.getLogger("buddy_sessions")

_JITTER = 0.1
"""The share of the interval by which a round may come earlier or later, so that suites do not fall into step."""

_LOOK_AGAIN = 0.05
"""The share of the interval after which who waits looks again: a suite that is due earlier may have been put back."""

_DOUBLINGS = 4
"""How often the interval of a suite that keeps failing is doubled, at most."""


class Notes(Protocol):
    """What outlives a watch: the sessions that it has seen, as they were then."""

    async def recall(self, key: SuiteKey) -> list[Session] | None:
        """Return what was seen of a suite; None if its watch has never begun."""

    async def begin(self, key: SuiteKey, seen: Iterable[Session]) -> None:
        """Note that a suite's watch begins, with these sessions seen, and no others."""

    async def add(self, key: SuiteKey, session: Session) -> None:
        """Note a session as it was seen now."""


class Watch(AsyncIterator[Change]):
    """What changes in many suites from now on, as one stream that ends only when it is closed.

    Use it as `async with`, so that leaving the loop leaves nothing behind at once. Breaking out of the loop alone ends
    nothing: the next loop goes on with the very next change. Without any suite the stream ends at once.

    A suite's first round is where its watch begins: what is there already is not new, but what is unfinished among it
    is watched until it finishes. A later round takes one request, whose page shows what is new, and is compared with
    what is remembered; only what is new or unfinished further down takes more. The newest 100 sessions of a suite are
    remembered (some 160 kB). What falls behind them is watched no longer, finished or not, and neither is a change to
    a finished session that is not on the first page.

    A round's changes of a suite come oldest first, each once. A suite is read again only when they have been taken or
    wait in a short queue, so a slow reader slows the reading.

    Given a store (`SessionStore.watch`), a watch goes on where the one before it stood, and tells what has happened
    meanwhile. A change counts as dealt with when the next one is asked for: after a crash in between it comes again.

    A suite that fails stops no other: it is logged once as a warning by the logger `buddy_sessions`, stands in
    `failures`, and is tried again, half as often after each failure down to a sixteenth, until it succeeds. A closed
    client raises `ClientClosedError`, and any error that is not a `BuddyError` comes out as it is; both end the watch.
    """

    def __init__(
        self,
        suites: Iterable[SuiteKey],
        read: Callable[[SuiteKey], AsyncIterator[SessionPage]],
        *,
        every: float,
        concurrency: int,
        notes: Notes | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._workers: list[asyncio.Task[None]] = []
        if isinstance(suites, str | tuple) or not isinstance(suites, Iterable):
            raise ConfigError("suites must be an iterable of SuiteKey, such as a list; SuiteKey.parse reads one's text")
        keys: dict[SuiteKey, None] = {}
        for key in map(SuiteKey.checked, suites):
            read(key)  # requests nothing yet, but raises if a name cannot work
            keys[key] = None
        self._crew = _Crew(keys, read, every=every, concurrency=concurrency, notes=notes, clock=clock, sleep=sleep)
        self._notes = notes
        self._handed_out: Change | None = None
        self._concurrency = min(concurrency, len(keys))
        self._ended = not keys

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        for worker in self._workers:
            worker.cancel()

    async def aclose(self) -> None:
        """End the watch, and wait until nothing of it is under way. A loop that waits for a change ends, too."""
        self._dismiss()
        await asyncio.gather(*self._workers, return_exceptions=True)

    @property
    def failures(self) -> Mapping[SuiteKey, BuddyError]:
        """The latest error of each suite whose latest round has failed."""
        return self._crew.failures

    async def __anext__(self) -> Change:
        if self._ended:
            raise StopAsyncIteration
        await self._note()
        crew = self._crew
        if not self._workers:
            self._workers = [asyncio.create_task(crew.work()) for _ in range(self._concurrency)]
            for worker in self._workers:
                worker.add_done_callback(crew.left)
        if (crew.fatal is None or not crew.found.empty()) and (change := await crew.found.get()) is not None:
            self._handed_out = change
            return change
        crew.wake()  # another loop may wait, too
        if self._ended:  # closed while this waited
            raise StopAsyncIteration
        self._dismiss()
        raise crew.fatal or StopAsyncIteration

    async def _note(self) -> None:
        """Note the change that was handed out last: whoever asks for the next has dealt with it."""
        if self._notes is not None and (change := self._handed_out) is not None:
            await self._notes.add(change.suite, change.session)
        self._handed_out = None

    def _dismiss(self) -> None:
        """Stop the workers. Who waits for what they would have found is woken by the first that leaves."""
        self._ended = True
        for worker in self._workers:
            worker.cancel()


class _Crew:
    """What the workers share. They do not know the watch, so that one that is dropped ends them."""

    def __init__(
        self,
        keys: Iterable[SuiteKey],
        read: Callable[[SuiteKey], AsyncIterator[SessionPage]],
        *,
        every: float,
        concurrency: int,
        notes: Notes | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self.found: asyncio.Queue[Change | None] = asyncio.Queue(concurrency)
        """Changes; None wakes who waits when there are no more."""
        self.failures: dict[SuiteKey, BuddyError] = {}
        self.fatal: BaseException | None = None
        self._read = read
        self._every = every
        self._notes = notes
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        # When each suite is due, as a heap: a task for each would cost more than the watching.
        self._due = [(-math.inf, number, SuiteMemory(key)) for number, key in enumerate(keys)]
        self._count = len(self._due)

    async def work(self) -> None:
        """Read one suite after the other as they are due, until something fails that is not one suite's."""
        try:
            while True:
                number, suite = await self._next_suite()
                started = self._clock()
                first = suite.rounds == 0
                await self._look_at(suite)
                wait = self._every * 2 ** min(suite.failed, _DOUBLINGS)
                if first:  # all suites begin at once; their second rounds are spread over the interval
                    wait *= 1 - number / self._count
                wait *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - dice, not a secret
                heapq.heappush(self._due, (started + wait, number, suite))
        except Exception as error:  # noqa: BLE001 - handed to the watch's reader, who raises it
            self.fatal = self.fatal or error

    def left(self, worker: asyncio.Task[None]) -> None:
        """Take note that a worker has ended: by a failure, by the watch's end, or cancelled from outside."""
        if worker.cancelled() and self.fatal is None:
            self.fatal = asyncio.CancelledError()
        self.wake()

    def wake(self) -> None:
        """Wake one who waits for what the workers would have found."""
        if self.found.empty():
            self.found.put_nowait(None)

    async def _next_suite(self) -> tuple[int, SuiteMemory]:
        """Return the next suite and its number, once it is due."""
        async with self._turn:
            while (left := self._due[0][0] - self._clock() if self._due else math.inf) > 0:
                await self._sleep(min(left, self._every * _LOOK_AGAIN))
            _, number, suite = heapq.heappop(self._due)
        return number, suite

    async def _look_at(self, suite: SuiteMemory) -> None:
        """Do a suite's round, and hand out what it brings."""
        suite.rounds += 1
        try:
            await self._recall(suite)
            sessions, complete = await self._read_suite(suite)
            if suite.begin(sessions, complete=complete) and self._notes is not None:
                await self._notes.begin(suite.key, suite.seen.values())
        except ClientClosedError:
            raise  # no other suite can be read either
        except BuddyError as error:
            if not suite.failed:
                _log.warning("%s cannot be read, and will be tried again less and less often: %s", suite.key, error)
            suite.failed += 1
            suite.missing = suite.missing or isinstance(error, NotFoundError)
            self.failures[suite.key] = error
            return
        suite.failed, suite.missing = 0, False
        self.failures.pop(suite.key, None)
        for change in suite.compare(sessions):
            await self.found.put(change)
            suite.seen[change.session.id] = change.session
        suite.forget(sessions)

    async def _recall(self, suite: SuiteMemory) -> None:
        """Go on where an earlier watch stood, if there was one."""
        if self._notes is not None and not suite.begun and (seen := await self._notes.recall(suite.key)) is not None:
            suite.restore(seen)

    async def _read_suite(self, suite: SuiteMemory) -> tuple[Sequence[Session], bool]:
        """Return the newest sessions of a suite, as many as its round needs, and whether they are all."""
        pages = self._read(suite.key)
        sessions: list[Session] = []
        while True:
            page = await anext(pages)
            sessions += page.sessions
            if page.last or suite.suffices(sessions):
                return sessions, page.last
