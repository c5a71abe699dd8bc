"""A daily job for cron that prints which tests fail, since when, and which of them are new. Set BUDDY_TOKEN.

    0 7 * * *  cd /srv/buddy && .venv/bin/python daily_job.py

It prints nothing, so cron sends no mail, if no test fails. Exit codes: 0 done, 1 something could not be read, 2 a test
newly fails. After an error or a kill, the next run continues. Two runs at once do no harm: they share the database.
"""

import asyncio
import io
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from buddy_sessions import (
    BuddyClient,
    BuddyError,
    NoVerdictError,
    Session,
    SessionStore,
    Suite,
    SuiteKey,
    TestCase,
    TestKey,
)
from buddy_sessions.analysis import TestedSession

WORKSPACE, PROJECT = "acme", "storefront"
BRANCH = "main"
DAYS = 30  # how many days the first run reads


async def sync(store: SessionStore) -> tuple[list[Suite], Mapping[SuiteKey, BuddyError]]:
    """Save new sessions and their failing tests. Return the suites, and the errors of those that failed."""
    async with BuddyClient.from_env() as buddy:
        suites = await buddy.suites(WORKSPACE, PROJECT)
        since = datetime.now(UTC) - timedelta(days=DAYS)
        changes = store.sync(buddy, suites, since=since, cases="failed", on_failure="collect")
        await changes.run()
    return suites, changes.failures


def failing_tests(runs: Sequence[TestedSession]) -> list[tuple[TestCase, Session]]:
    """Return the tests that fail in the last run, each with the session since which it has failed every time."""
    failing: dict[TestKey, tuple[TestCase, Session]] = {}
    for run in runs:
        if run.cases or run.session.status == "SUCCESSFUL":  # otherwise the tests did not run
            before = failing
            failing = {case.key: (case, before.get(case.key, (case, run.session))[1]) for case in run.cases}
    return list(failing.values())


def one_line(case: TestCase) -> str:
    message = case.failure.message if case.failure else None
    return " ".join(f"{case.key}: {message or case.status}".split())[:300]


async def main() -> int:
    """Print the summary, and return the exit code."""
    yesterday, any_new = datetime.now(UTC) - timedelta(days=1), False
    async with SessionStore("buddy.db") as store:
        suites, failures = await sync(store)
        for suite in suites:
            try:
                failing = failing_tests(await store.recent_tests(suite.key, cases="failed", branch=BRANCH, last=100))
            except NoVerdictError:  # no session of this branch, or the suite could not be read
                continue
            if failing:
                print(f"{suite.name}, {BRANCH}: {len(failing)} failing tests, {suite.html_url}")
            for case, first in failing:
                ended = first.finish_date or first.create_date or yesterday
                any_new = any_new or ended > yesterday
                since = f"{'NEW ' if ended > yesterday else ''}since {ended:%Y-%m-%d} (#{first.relative_id})"
                print(f"  {since} {one_line(case)}")
    for key, error in failures.items():
        print(f"could not read {key}: {error}", file=sys.stderr)
    return 1 if failures else 2 if any_new else 0


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the names of tests may contain any character
    try:
        sys.exit(asyncio.run(main()))
    except BuddyError as error:
        sys.exit(f"the daily job failed: {error}")
