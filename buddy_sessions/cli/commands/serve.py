"""The command `serve`: run a fake Buddy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NoReturn

from cyclopts.types import NonNegativeFloat, NonNegativeInt, Port, PositiveFloat, PositiveInt

from buddy_sessions import BuddyError, SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite

from ..errors import describe_os_error
from ..output import Output

_COPIED_FIELDS = ("created_by", "ci_provider", "ref_type", "ref_name")
_FAILURE_RATE = 0.1  # of live sessions


async def serve(
    *,
    host: str = "127.0.0.1",
    port: Port = 0,
    seed: int = 0,
    sessions: NonNegativeInt | None = None,
    live: PositiveFloat | None = None,
    latency: NonNegativeFloat = 0.0,
    rate_limit: PositiveInt | None = None,
    largest_page: PositiveInt | None = None,
    refuse_above: PositiveInt | None = None,
) -> None:
    """Serve a fake Buddy with realistic suites, until Ctrl-C.

    Prints one line to stdout: the shell command that sets BUDDY_API_URL and BUDDY_TOKEN for any client.

    For example:

    - buddy-sessions serve --live 1
    - buddy-sessions serve --sessions 5000 --latency 0.05 --rate-limit 100

    Args:
        host: Interface to listen on. Clients send their token over plain http only if this is the loopback interface.
        port: Port to listen on; 0 for a free one.
        seed: Seed of the random data.
        sessions: Serve one suite of this many sessions (default: six suites of up to 400).
        live: Seconds between two new sessions (default: none are created).
        latency: Seconds before each response.
        rate_limit: Maximum number of requests per minute. Further requests get a 429.
        largest_page: Maximum page size. A larger per_page is reduced to it.
        refuse_above: Maximum page size. A larger per_page is rejected with a 400.
    """
    fake = FakeBuddy(
        host=host,
        port=port,
        seed=seed,
        latency=latency,
        rate_limit=rate_limit,
        largest_page=largest_page,
        refuse_above=refuse_above,
    )
    if sessions is None:
        suites = fake.add_demo_suites()
    else:
        suites = [fake.add_suite("acme", "storefront", "MNbyVedg").populate(sessions)]
    key = SuiteKey(*suites[0].key)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(fake)
        except OSError as error:
            raise BuddyError(f"cannot serve on {describe_os_error(error, f'{host}:{port}')}") from error
        messages = Output(stderr=True)
        messages.print_message(f"A fake Buddy is running at {fake.base_url} until Ctrl-C. In another terminal, run:")
        Output().print_line(f"export BUDDY_API_URL={fake.base_url} BUDDY_TOKEN={fake.token}")
        messages.print_line(f"buddy-sessions suites {key.workspace}/{key.project}")
        messages.print_line(f"buddy-sessions list {key}")
        if live is None:
            await asyncio.Event().wait()
        else:
            await _create_sessions(suites, interval=live, rng=random.Random(seed))  # noqa: S311 - nothing secret


async def _create_sessions(suites: Sequence[FakeSuite], *, interval: float, rng: random.Random) -> NoReturn:
    """Create a session every `interval` seconds in a random suite, and finish the session before it."""
    while True:
        await asyncio.sleep(interval)
        suite = rng.choice(suites)
        recent = suite.sessions[:30]
        if recent and recent[0]["status"] == "IN_PROGRESS":
            suite.finish(recent[0], status="ERROR" if rng.random() < _FAILURE_RATE else "SUCCESSFUL")
        model = rng.choice(recent) if recent else {}
        suite.create(**{name: model[name] for name in _COPIED_FIELDS if name in model})
