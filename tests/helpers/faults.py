"""Reading from a faulty server, with checks: nothing is left open, and the token is not exposed."""

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

from buddy_sessions import BuddyClient, BuddyError, Session, Stats, SuiteKey
from buddy_sessions.testing import FakeSuite

TOKEN = "s3cr3t-t0ken"
KEY = SuiteKey("acme", "shop", "MNbyVedg")
PAGE = json.dumps({"sessions": FakeSuite(*KEY).populate(3).sessions}).encode()
"""A page with the whole list of three sessions."""

_E = TypeVar("_E", bound=BuddyError)
_DESCRIPTORS = Path("/proc/self/fd")
_MAX_ERROR_SIZE = 250_000  # characters: an error must not keep the response in memory


class Server(Protocol):
    """A server to read from: a `FakeBuddy` or a `RawServer`."""

    @property
    def base_url(self) -> URL: ...
    @property
    def requests(self) -> Sized: ...


@contextlib.asynccontextmanager
async def assert_nothing_left_open() -> AsyncIterator[None]:
    """Assert that the block leaves no task and no file descriptor open.

    Both ends of a connection are in this process, so open connections count twice.
    """
    before = _count_open()
    yield
    for _ in range(2000):  # the server closes its end a few event loop iterations later
        if _count_open() == before:
            break
        await asyncio.sleep(0.001)
    assert _count_open() == before, str(asyncio.all_tasks())


def _count_open() -> tuple[int, int]:
    """Return the numbers of asyncio tasks and, on Linux, of file descriptors."""
    return len(asyncio.all_tasks()), len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else 0


def text_of_error(error: BaseException) -> str:
    """Return all text that an error may expose, including the local variables of the package's frames.

    A variable that is text is not hidden by its `repr`: rich and structlog cut it before.
    """
    trace = error.__traceback__
    while trace and not trace.tb_frame.f_globals["__name__"].startswith("buddy_sessions"):
        trace = trace.tb_next
    report = traceback.TracebackException(type(error), error, trace, capture_locals=True)
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    variables = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, str)]
    texts = [str(each) + repr(each) + repr(each.args) + repr(each.__dict__) for each in _related_errors(error)]
    return "".join([*report.format(), *texts, *variables])


def _related_errors(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its causes and contexts, and the members of exception groups."""
    if error is not None:
        yield error
        for related in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
            yield from _related_errors(related)


def text_of_log(records: list[logging.LogRecord]) -> str:
    """Return all text of log records, including their arguments and errors."""
    errors = [record.exc_info[1] for record in records if record.exc_info and record.exc_info[1]]
    return "".join([repr(record.__dict__) + record.getMessage() for record in records] + [*map(text_of_error, errors)])


def concurrent_reads(count: int) -> Callable[[BuddyClient], Awaitable[list[Session]]]:
    """Return a function that reads the suite so many times at once. If one read fails, all must fail alike."""

    async def read(buddy: BuddyClient) -> list[Session]:
        reads = (buddy.sessions(KEY).collect() for _ in range(count))
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert len({type(result) for result in results}) == 1
        sessions: list[Session] = []
        for result in results:
            if isinstance(result, BaseException):
                raise result
            sessions += result
        return sessions

    return read


@define
class CheckedReader:
    """Reads a suite with a new client, and checks the effects."""

    log: pytest.LogCaptureFixture
    stats: Stats = field(factory=Stats)  # of the last read
    seconds: float = 0.0  # its duration

    async def read(self, server: Server, *, requests: int | range, **options: Any) -> list[Session]:
        """Read the suite, and return its sessions. The server must receive so many requests.

        `options` are those of the client; and `function`, if not the whole suite is to be read once.
        """
        result = await self.attempt(server, requests=requests, **options)
        if isinstance(result, BuddyError):
            raise result
        return result

    async def fail(self, server: Server, error_type: type[_E], *, requests: int | range, **options: Any) -> _E:
        """Try to read the suite, and return the error, which must be of exactly this type. Arguments as for `read`."""
        result = await self.attempt(server, requests=requests, **options)
        assert type(result) is error_type, result
        return result

    async def attempt(
        self,
        server: Server,
        *,
        requests: int | range,
        function: Callable[[BuddyClient], Awaitable[list[Session]]] | None = None,
        **options: Any,
    ) -> list[Session] | BuddyError:
        """Try to read the suite, and return its sessions or the error. Arguments as for `read`."""
        options = {"token": TOKEN, "base_url": server.base_url, "max_attempts": 3, **options}
        requests_before = len(server.requests)
        result: list[Session] | BuddyError
        async with assert_nothing_left_open():
            started = asyncio.get_running_loop().time()
            try:
                async with BuddyClient(**options) as buddy:
                    result = await (function or self._read_suite)(buddy)
            except BuddyError as error:
                result = error
            self.seconds = asyncio.get_running_loop().time() - started
        if isinstance(result, BuddyError):
            text = text_of_error(result)
            assert TOKEN not in text
            assert len(text) < _MAX_ERROR_SIZE
        assert TOKEN not in text_of_log(self.log.records)
        received = len(server.requests) - requests_before
        expected = requests if isinstance(requests, range) else [requests]
        assert received in expected, f"{received} requests: {result!r}"
        return result

    async def _read_suite(self, buddy: BuddyClient) -> list[Session]:
        paginator = buddy.sessions(KEY)
        try:
            return await paginator.collect()
        finally:
            self.stats = paginator.stats
