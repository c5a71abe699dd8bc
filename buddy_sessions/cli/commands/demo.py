"""The command `demo`: show a sync of a fake Buddy, without an account."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from buddy_sessions import BuddyClient, Session, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy

from ..formats.case_tables import case_table, print_sessions
from ..formats.forecast import Forecast
from ..formats.formatting import format_count
from ..formats.progress import HarvestProgress
from ..formats.tables import SuiteSummary
from ..options import ReadOptions
from ..output import Output
from ..suite_selection import SuiteSelection

_QUERY = "SELECT ref_name, count(*), sum(status = 'ERROR') FROM sessions GROUP BY 1"

_NEW_SESSIONS = 0.25  # created per request, on average


async def demo() -> None:
    """Read a fake Buddy into a temporary SQLite file while sessions are created. Needs no account.

    For example:

    - buddy-sessions demo
    """
    path = Path(tempfile.mkdtemp(prefix="buddy-sessions-"), "demo.db")
    output, messages = Output(), Output(stderr=True)
    fake = FakeBuddy(latency=0.1)
    suites = fake.add_demo_suites()
    ids_before = {session["id"] for suite in suites for session in suite.sessions}
    rng = random.Random(fake.seed)  # noqa: S311 - nothing secret

    def on_request(_: object) -> None:
        if rng.random() < _NEW_SESSIONS:
            rng.choice(suites).create()

    fake.on_request = on_request
    output.print_line("Six suites of a fake Buddy, read into a file while sessions are created:\n")
    async with fake, BuddyClient(fake.token, base_url=fake.base_url, per_page=25) as buddy, SessionStore(path) as store:
        keys = [SuiteKey(*suite.key) for suite in suites]
        sessions, counts = await _sync(store, buddy, keys, messages)
        fake.on_request = None
        _, second_counts = await _sync(store, buddy, keys, messages)
        stored = {key: await store.sessions(key) for key in keys}
        suite = keys[0]
        newest = next(session for session in stored[suite] if session.is_failing)
        cases = await buddy.failures(suite, newest, details=True)
    summary = SuiteSummary()
    for key in keys:
        summary.add(key, stored[key])
    summary.print_to(output)
    ids = [session.id for session in sessions]
    output.print_line(
        f"\n{counts}: of the {len(ids_before):,} sessions that existed\n"
        f"before, {len(ids_before.difference(ids))} were missed, and {len(ids) - len(set(ids))} were read twice."
        f"\nA second sync, of new and changed sessions only: {second_counts}.\n"
    )
    output.print_line("Query the SQLite file with any tool:\n")
    output.print_line(f'  sqlite3 {path} "{_QUERY}"')
    output.print_line("\nThe failing tests of the latest failed session:\n")
    print_sessions(output, suite, newest)
    output.print(case_table((case, "") for case in cases))
    output.print_line(
        "\nNow read your own suites, with a personal access token that has the scope\nUNIT_TEST_INFO:\n"
        "  export BUDDY_TOKEN=…\n"
        "  buddy-sessions sync WORKSPACE/PROJECT --db sessions.db\n"
        "  buddy-sessions list WORKSPACE/PROJECT/SUITE_ID\n"
        "  buddy-sessions failures WORKSPACE/PROJECT/SUITE_ID"
    )


async def _sync(
    store: SessionStore, buddy: BuddyClient, keys: list[SuiteKey], messages: Output
) -> tuple[list[Session], str]:
    """Return the new and changed sessions, and the numbers of sessions and requests as text."""
    async with store.sync(buddy, keys) as sync:
        progress = HarvestProgress(buddy, SuiteSelection([str(key) for key in keys]), sync, Forecast(ReadOptions()))
        sessions: list[Session] = []
        with progress.run(messages):
            async for page in sync.pages():
                progress.add(page)
                sessions += page.sessions
    return sessions, f"{format_count(len(sessions), 'session')} in {format_count(sync.stats.requests, 'request')}"
