"""The command `demo`: show a sync of a fake Buddy, without an account."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions.testing import FakeBuddy

from ..render.console import Output
from ..render.show import print_result
from .failures import failures_result
from .status import status_result

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


async def command() -> None:
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
        "The failing tests of the latest failed session:\n"
    )
    print_result(output, failures_result(judgement))
    output.print_line(_NEXT)
