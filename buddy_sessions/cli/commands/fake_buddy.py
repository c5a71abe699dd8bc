"""The commands without an account: `serve` runs a fake Buddy, `demo` shows a sync of one."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from cyclopts.types import Port

from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions.testing import FakeBuddy, FakeSuite

from ..options import Flag
from ..render.console import Output
from ..render.show import print_result
from ..values import Share, Timeout
from .failures import failures_result
from .status import status_result

_FAILURE_RATE = 0.3  # of the sessions of --live: with one a second, main turns red within a minute
_NEW_SESSIONS = 0.25  # created per request, on average

_QUERY = "SELECT ref_name, count(*), sum(status = 'ERROR') FROM sessions GROUP BY 1"

_NEXT = """
Now read your own suites, with a personal access token that has the scope
UNIT_TEST_READ:
  export BUDDY_TOKEN=…
  buddy-sessions doctor WORKSPACE/PROJECT
  buddy-sessions status WORKSPACE/PROJECT
  buddy-sessions sync WORKSPACE/PROJECT --db sessions.db
  buddy-sessions failures WORKSPACE/PROJECT/SUITE_ID

Or let Buddy's reporters upload your own tests to a fake Buddy:
  buddy-sessions serve --empty"""


async def serve(*, port: Port = 0, empty: Flag = False, live: Timeout | None = None, faults: Share = 0.0) -> None:
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
    fake = FakeBuddy(port=port, fault_rate=faults)
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


async def demo() -> None:
    """Sync a temporary database with a fake Buddy while sessions are created. This needs no account.

    For example:

    - buddy-sessions demo
    """
    path = Path(tempfile.mkdtemp(prefix="buddy-sessions-"), "demo.db")
    output = Output()
    fake = FakeBuddy(latency=0.1)
    suites = fake.add_demo_suites()
    keys = [SuiteKey(*suite.key) for suite in suites]
    before = {session["id"] for suite in suites for session in suite.sessions}
    rng = random.Random(fake.seed)  # noqa: S311 - nothing secret
    fake.on_request = lambda _: rng.random() < _NEW_SESSIONS and rng.choice(suites).create()
    output.print_line("Six suites of a fake Buddy, read into a file while sessions are created:\n")
    async with fake, BuddyClient(fake.token, base_url=fake.base_url, per_page=25) as buddy, SessionStore(path) as store:
        with Output(stderr=True).progress():
            async with store.sync(buddy, keys) as first:
                read = [session.id async for _, session in first]
            fake.on_request = None
            second = await store.sync(buddy, keys).run()
        statuses = await store.status(keys)
        newest = next(session for session in await store.sessions(keys[0]) if session.is_failing)
        judgement = await buddy.judge(keys[0], newest, baseline=None)
    print_result(output, status_result(statuses, datetime.now(UTC)))
    output.print_line(
        f"\n{format_count(len(read), 'session')} in {format_count(first.stats.requests, 'request')}: of the "
        f"{len(before):,} sessions that existed\nbefore, {len(before.difference(read))} were missed, and "
        f"{len(read) - len(set(read))} were read twice.\nA second sync, of new and changed sessions only: "
        f"{format_count(second.sessions, 'session')} in {format_count(second.requests, 'request')}.\n\n"
        f'Query the SQLite file with any tool, then delete its folder:\n\n  sqlite3 {path} "{_QUERY}"\n\n'
        f"The failing tests of the latest red session of {keys[0]}:\n"
    )
    print_result(output, failures_result(judgement))
    output.print_line(_NEXT)
