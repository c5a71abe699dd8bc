"""Where faults are tried out: whatever comes of one, nothing is left behind, and the token is nowhere to be seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sized
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from attrs import define, field
from yarl import URL

from buddy_sessions import BuddyClient, BuddyError, Session, SuiteKey, WalkStats
from buddy_sessions.testing import FakeSuite

TOKEN = "s3cr3t-t0ken"
KEY = SuiteKey("acme", "shop", "MNbyVedg")
PAGE = json.dumps(FakeSuite(*KEY).populate(3).page(1, 100)).encode()
"""The whole list, of three sessions."""

_E = TypeVar("_E", bound=BuddyError)
_DESCRIPTORS = Path("/proc/self/fd")


class Server(Protocol):
    """What is read from: a `FakeBuddy`, a `RawServer`, or an address where nobody listens."""

    @property
    def base_url(self) -> URL: ...
    @property
    def requests(self) -> Sized: ...


@define
class Nobody:
    """An address that nothing answers at, as far as HTTP goes."""

    base_url: URL
    requests: list[bytes] = field(factory=list)


def case(name: str, *values: object) -> Any:
    """Return a parameter set whose name begins with the number of the row that it belongs to."""
    return pytest.param(*values, id=name, marks=pytest.mark.fault(int(name[:2])))


def only(name: str) -> pytest.MarkDecorator:
    """Return what makes a test of one case one with a name."""
    return pytest.mark.parametrize((), [case(name)])


def in_use() -> tuple[int, int]:
    """Return the numbers of asyncio tasks and, where the system tells, of file descriptors."""
    return len(asyncio.all_tasks()), len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else 0


@contextlib.asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """Assert that what runs inside leaves no task and no descriptor: both ends of a connection are in this process."""
    before = in_use()
    yield
    for _ in range(2000):  # the other end closes some turns of the loop later
        if in_use() == before:
            break
        await asyncio.sleep(0.001)
    assert in_use() == before, str(asyncio.all_tasks())


def related(error: BaseException | None) -> Iterator[BaseException]:
    """Return an error, those that it came from, and those that it holds."""
    if error is not None:
        yield error
        for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
            yield from related(other)


def shown(error: BaseException) -> str:
    """Return all that can be seen of an error, the local variables in its traceback included."""
    trace = error.__traceback__
    while trace and not trace.tb_frame.f_globals["__name__"].startswith("buddy_sessions"):
        trace = trace.tb_next  # what the caller's own frames hold is the caller's to hide
    report = traceback.TracebackException(type(error), error, trace, capture_locals=True)
    texts = [str(one) + repr(one) + repr(one.args) + repr(one.__dict__) for one in related(error)]
    return "".join([*report.format(), *texts])


def logged(records: list[logging.LogRecord]) -> str:
    """Return all that was logged, the arguments and the errors of each record included."""
    errors = [record.exc_info[1] for record in records if record.exc_info and record.exc_info[1]]
    return "".join([repr(record.__dict__) + record.getMessage() for record in records] + [*map(shown, errors)])


@define
class Bench:
    """Reads a suite from a server at fault, and takes note of what comes of it."""

    record: Callable[[str, object], None]
    log: pytest.LogCaptureFixture
    stats: WalkStats = field(factory=WalkStats)
    seconds: float = 0.0

    async def sessions(self, server: Server, hits: int | range, **options: Any) -> list[Session]:
        """Return the sessions that come in so many hits on the server."""
        result = await self._try(server, hits, **options)
        if isinstance(result, BuddyError):
            raise result
        return result

    async def error(self, server: Server, kind: type[_E], hits: int | range, **options: Any) -> _E:
        """Return the error, of that very kind, that comes after so many hits on the server."""
        result = await self._try(server, hits, **options)
        assert type(result) is kind, result
        return result

    async def _try(
        self,
        server: Server,
        hits: int | range,
        *,
        read: Callable[[BuddyClient], Awaitable[list[Session]]] | None = None,
        **options: Any,
    ) -> list[Session] | BuddyError:
        options = {"token": TOKEN, "base_url": server.base_url, "attempts": 3, **options}
        before = len(server.requests)
        result: list[Session] | BuddyError
        async with leaving_nothing():
            started = asyncio.get_running_loop().time()
            try:
                async with BuddyClient(**options) as buddy:
                    result = await (read(buddy) if read else self._collect(buddy))
            except BuddyError as error:
                result = error
            self.seconds = asyncio.get_running_loop().time() - started
        if isinstance(result, BuddyError):
            text = shown(result)
            assert TOKEN not in text
            assert len(text) < 500_000  # who keeps an error does not keep what was answered
        assert TOKEN not in logged(self.log.records)
        seen = len(server.requests) - before
        said = f"{type(result).__name__}: {result}" if isinstance(result, BuddyError) else f"{len(result)} sessions"
        for name, value in (("outcome", said), ("hits", seen), ("seconds", self.seconds)):
            self.record(name, value)
        assert seen in (hits if isinstance(hits, range) else [hits]), f"{seen} hits, {said}"
        return result

    async def _collect(self, buddy: BuddyClient) -> list[Session]:
        paginator = buddy.sessions(*KEY)
        try:
            return await paginator.collect()
        finally:
            self.stats = paginator.stats
