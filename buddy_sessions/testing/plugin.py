"""The pytest plugin: a running fake Buddy, and a client that reads from it, for any kind of test.

pytest loads this module in every run of a project that has the package installed, so what costs time is imported by
the fixtures. It is the only one of `testing` that knows the client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from buddy_sessions import BuddyClient

    from .server import FakeBuddy

_ELSEWHERE = "BUDDY_API_ENDPOINT", "BUDDY_BASE_URL", "BUDDY_REGION"


@pytest.fixture
def fake_buddy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuddy]:
    """A running `FakeBuddy`; `BUDDY_TOKEN` and `BUDDY_API_URL` lead to it, and no other variable leads elsewhere.

    It serves in a thread of its own, so it is there for `async def` tests, for those that call `asyncio.run`, and for
    processes that a test starts. Its suites and attributes may be changed at any time; `on_request` runs in its thread.
    Its `start` and `close` are the plugin's to call: a test that stops the server makes a `FakeBuddy` itself.
    """
    import asyncio  # noqa: PLC0415 - not at pytest's start
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - likewise

    from .server import FakeBuddy  # noqa: PLC0415 - likewise

    fake, stop = FakeBuddy(), asyncio.Event()
    # A plain selector loop, whatever loops the tests run on.
    with (
        ThreadPoolExecutor(1, "fake-buddy") as thread,
        asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
    ):
        thread.submit(runner.run, fake.start()).result()
        thread.submit(runner.run, stop.wait())
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        for name in _ELSEWHERE:
            monkeypatch.delenv(name, raising=False)
        yield fake
        runner.get_loop().call_soon_threadsafe(stop.set)
        thread.submit(runner.run, fake.close()).result()


@pytest.fixture
def buddy_client(fake_buddy: FakeBuddy) -> BuddyClient:
    """A `BuddyClient` that reads from `fake_buddy`, and that nobody needs to close."""
    from buddy_sessions import BuddyClient  # noqa: PLC0415 - not at pytest's start

    session = cast("ClientSession", _OneForEachRequest())
    return BuddyClient(fake_buddy.token, base_url=fake_buddy.base_url, http_session=session)


class _OneForEachRequest:
    """As much of an aiohttp session as a client uses, with nothing left open between requests.

    A fixture cannot close a session: only the test knows the event loop, which may have ended by then.
    """

    closed = False

    @asynccontextmanager
    async def get(self, *args: Any, **options: Any) -> AsyncIterator[ClientResponse]:
        from aiohttp import ClientSession  # noqa: PLC0415 - not at pytest's start

        async with ClientSession() as session, session.get(*args, **options) as response:
            yield response
