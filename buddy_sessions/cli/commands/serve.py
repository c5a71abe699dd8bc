"""The command `serve`: run a fake Buddy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NoReturn

from cyclopts.types import NonNegativeInt, Port, PositiveFloat

from buddy_sessions import BuddyError, SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite

from ..errors import describe_os_error
from ..render.console import Output

_FAILURE_RATE = 0.3  # of live sessions: main turns red within a minute with one session a second


async def serve(
    *,
    port: Port = 0,
    sessions: NonNegativeInt | None = None,
    live: PositiveFloat | None = None,
) -> None:
    """Serve a fake Buddy with realistic suites, until Ctrl-C.

    Prints one line to stdout: the shell command that sets BUDDY_API_URL and BUDDY_TOKEN for any client.

    For example:

    - buddy-sessions serve --live 1
    - buddy-sessions serve --sessions 5000

    Args:
        port: Port to listen on; 0 for a free one.
        sessions: Serve one suite of this many sessions (default: six suites of up to 400).
        live: Seconds between two new sessions (default: none are created).
    """
    fake = FakeBuddy(port=port)
    if sessions is None:
        suites = fake.add_demo_suites()
    else:
        suites = [fake.add_suite("acme", "storefront", "MNbyVedg").populate(sessions)]
    key = SuiteKey(*suites[0].key)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(fake)
        except OSError as error:
            raise BuddyError(f"cannot serve on {describe_os_error(error, f'127.0.0.1:{port}')}") from error
        messages = Output(stderr=True)
        messages.print_message(f"A fake Buddy is running at {fake.base_url} until Ctrl-C. In another terminal, run:")
        Output().print_line(f"export BUDDY_API_URL={fake.base_url} BUDDY_TOKEN={fake.token}")
        messages.print_line(f"buddy-sessions suites {key.workspace}/{key.project}")
        messages.print_line(f"buddy-sessions list {key}")
        if live is None:
            await asyncio.Event().wait()
        else:
            await _create_sessions(suites, interval=live, rng=random.Random(0))  # noqa: S311 - nothing secret


async def _create_sessions(suites: Sequence[FakeSuite], *, interval: float, rng: random.Random) -> NoReturn:
    """Create a session every `interval` seconds in a random suite, and finish the session before it."""
    while True:
        await asyncio.sleep(interval)
        suite = rng.choice(suites)
        newest = suite.sessions[:1]
        if newest and newest[0]["status"] == "IN_PROGRESS":
            suite.finish(newest[0], status="ERROR" if rng.random() < _FAILURE_RATE else "SUCCESSFUL")
        suite.create()
