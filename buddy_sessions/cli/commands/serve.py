"""The command `serve`: run a fake Buddy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Annotated, NoReturn

from cyclopts import Parameter
from cyclopts.types import Port
from cyclopts.validators import Number

from buddy_sessions import SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite

from ..options import Flag
from ..render.console import Output
from ..values import Duration, parse_share

_FAILURE_RATE = 0.3  # of the sessions of --live: with one a second, main turns red within a minute


async def command(
    *,
    port: Port = 0,
    empty: Flag = False,
    live: Annotated[Duration | None, Parameter(validator=Number(gt=0))] = None,
    faults: Annotated[str, Parameter(metavar="SHARE")] = "0",
) -> None:
    """Serve a fake Buddy with realistic suites, until Ctrl-C.

    The shell command on stdout sets BUDDY_API_URL and BUDDY_TOKEN for any client, and BUDDY_UT_TOKEN for Buddy's own
    reporters, which upload test results to the first suite. Everything else goes to stderr.

    For example:

    - buddy-sessions serve --live 1s --faults 3%
    - buddy-sessions serve --empty

    Args:
        port: Port to listen on; 0 for a free one.
        empty: Serve one suite without sessions, for the uploads of your own tests (default: six suites).
        live: Time between two new sessions, such as 1s (default: none are created).
        faults: Share of the requests with a random fault, such as a lost connection, a 503 or a wrong page.
    """
    fake = FakeBuddy(port=port, fault_rate=parse_share("--faults", faults))
    suites = [fake.add_suite("acme", "storefront", "MNbyVedg")] if empty else fake.add_demo_suites()
    key = SuiteKey(*suites[0].key)
    async with fake:
        messages = Output(stderr=True)
        messages.print_message(f"A fake Buddy is running at {fake.base_url} until Ctrl-C. In another terminal, run:")
        variables = {"API_URL": fake.base_url, "TOKEN": fake.token, "UT_TOKEN": suites[0].upload_token}
        Output().print_line(f"export {' '.join(f'BUDDY_{name}={value}' for name, value in variables.items())}")
        messages.print_line(f"buddy-sessions status {key.workspace}/{key.project}")
        messages.print_line(f"buddy-sessions list {key}")
        messages.print_message(f"Buddy's reporters upload to {key}.")
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
