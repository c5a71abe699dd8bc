"""The pytest plugin: a running fake Buddy, and a client that reads from it.

pytest loads this module in every run where the package is installed, so slow imports are inside the fixtures. No other
module of `testing` imports the client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from buddy_sessions import BuddyClient

    from .server import FakeBuddy


@pytest.fixture
def fake_buddy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuddy]:
    """A running `FakeBuddy`. `BUDDY_TOKEN` and `BUDDY_API_URL` point to it; the other variables are removed.

    It runs in its own thread, so it serves `async def` tests, tests that call `asyncio.run`, and processes that a test
    starts. A test may change its suites and attributes at any time; `on_request` is called in the server's thread. The
    plugin calls `start` and `close`: a test that stops the server must create its own `FakeBuddy`.
    """
    from .server import FakeBuddy  # noqa: PLC0415 - not at pytest's start

    with serve_in_thread(FakeBuddy()) as fake:
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        for name in ("BUDDY_API_ENDPOINT", "BUDDY_BASE_URL", "BUDDY_REGION"):
            monkeypatch.delenv(name, raising=False)
        yield fake


@contextmanager
def serve_in_thread(fake: FakeBuddy) -> Iterator[FakeBuddy]:
    """Serve a fake Buddy from its own thread, so that the caller may run event loops in this one."""
    import asyncio  # noqa: PLC0415 - not at pytest's start
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - likewise

    stop = asyncio.Event()
    # A plain selector loop, independent of the loops that the tests use.
    with (
        ThreadPoolExecutor(1, "fake-buddy") as thread,
        asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
    ):
        thread.submit(runner.run, fake.start()).result()
        thread.submit(runner.run, stop.wait())
        try:
            yield fake
        finally:
            runner.get_loop().call_soon_threadsafe(stop.set)
            thread.submit(runner.run, fake.close()).result()


@pytest.fixture
def buddy_client(fake_buddy: FakeBuddy) -> BuddyClient:
    """A `BuddyClient` that reads from `fake_buddy`, without pauses between attempts. You do not have to close it."""
    from buddy_sessions import BuddyClient  # noqa: PLC0415 - not at pytest's start

    session = cast("ClientSession", _SessionPerRequest())
    return BuddyClient(fake_buddy.token, base_url=fake_buddy.base_url, backoff=0, http_session=session)


class _SessionPerRequest:
    """The part of `aiohttp.ClientSession` that a client uses, with a new session for each request.

    The fixture could not close one session for all requests: the event loop of the test may be closed by then.
    """

    closed = False

    @asynccontextmanager
    async def get(self, *args: Any, **options: Any) -> AsyncIterator[ClientResponse]:
        from aiohttp import ClientSession  # noqa: PLC0415 - not at pytest's start

        async with ClientSession() as session, session.get(*args, **options) as response:
            yield response
