"""Load the sessions of many workspaces into PostgreSQL with Prefect. Each workspace has its own token and rate.

    export PREFECT_API_URL=http://prefect.example.com:4200/api DATABASE_URL=postgresql://buddy@db.example.com/buddy
    python prefect_flow.py

Run it in any number of processes: each takes the next workspace that is due. `workspaces.toml`, next to this file:

    [acme]
    token = "…"
    rate = 50  # requests a second
    region = "EU"  # any argument of BuddyClient

A flow run loads one workspace through one client and one connection, batch by batch. If it is killed, the next run of
that day repeats only the batch that was not completed. A second run of the same workspace waits for the first one. Each
run reads the sessions of the last days again, so unfinished and reopened ones are updated. Older ones are not, and
deletions are not noticed. On several machines, set PREFECT_DEFAULT_RESULT_STORAGE_BLOCK to a storage that all can read.
"""

import asyncio
import os
import time
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from prefect import flow, get_run_logger, task
from prefect.cache_policies import INPUTS
from prefect.client.schemas.objects import State
from prefect.schedules import Cron
from prefect.states import Completed
from psycopg.types.json import Json

from buddy_sessions import BuddyClient, to_dict

WORKSPACES = Path(__file__).with_name("workspaces.toml")
BATCH = 200  # suites
DAYS = 7  # whose sessions a run reads; load more with `prefect deployment run load-workspace/buddy -p days=365 …`
AT_ONCE = 4  # flow runs of this process

# Two connections cannot create the same table at the same time, hence the lock.
TABLE = """SELECT pg_advisory_xact_lock(0); CREATE TABLE IF NOT EXISTS sessions (
    workspace text, project text, suite_id text, id text, relative_id bigint, status text, session json,
    PRIMARY KEY (workspace, project, suite_id, id))"""
UPSERT = """INSERT INTO sessions VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (workspace, project, suite_id, id)
    DO UPDATE SET relative_id = excluded.relative_id, status = excluded.status, session = excluded.session"""


class Limiter:
    """Spaces requests evenly."""

    def __init__(self, rate: float) -> None:
        self._pause, self._next = 1 / rate, 0.0

    async def acquire(self) -> None:
        self._next = max(self._next, time.monotonic()) + self._pause
        await asyncio.sleep(self._next - time.monotonic())


@task(retries=3, retry_delay_seconds=[5, 60, 600], cache_policy=INPUTS - "buddy" - "database", persist_result=True)
async def load(
    buddy: BuddyClient, database: psycopg.AsyncConnection, suites: list[str], day: date, days: int
) -> tuple[int, dict[str, str]]:
    """Load a batch, once a day. Return the number of sessions, and the suites that could not be read."""
    since = datetime.combine(day, datetime.min.time(), UTC) - timedelta(days)
    async with buddy.harvest(suites, since=since, on_failure="collect") as harvest:
        async for page in harvest.pages():
            rows = [
                (*page.suite, one.id, one.relative_id, str(one.status), Json(to_dict(one))) for one in page.sessions
            ]
            await database.cursor().executemany(UPSERT, rows)
    return harvest.stats.sessions, {str(suite): str(error) for suite, error in harvest.failures.items()}


@flow
async def load_workspace(workspace: str, day: date | None = None, days: int = DAYS) -> State[None]:
    options = tomllib.loads(WORKSPACES.read_text())[workspace]
    limiter = Limiter(options.pop("rate"))
    async with (
        BuddyClient(limiter=limiter, **options) as buddy,
        await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as database,
    ):
        await database.execute(TABLE)
        await database.execute("SELECT pg_advisory_lock(hashtext(%s))", [workspace])  # until the connection closes
        keys = sorted(str(suite.key) for suite in await buddy.suites(workspace))
        day, sessions = day or datetime.now(UTC).date(), 0
        failures: dict[str, str] = {}
        for first in range(0, len(keys), BATCH):
            count, failed = await load(buddy, database, keys[first : first + BATCH], day, days)
            sessions, failures = sessions + count, failures | failed
    for error in failures.values():
        get_run_logger().warning("could not read: %s", error)
    return Completed(message=f"{sessions} sessions of {len(keys)} suites; {len(failures)} could not be read")


if __name__ == "__main__":
    names = tomllib.loads(WORKSPACES.read_text())
    daily = [Cron("0 5 * * *", parameters={"workspace": name}, slug=name) for name in names]
    load_workspace.serve("buddy", schedules=daily, limit=AT_ONCE, pause_on_shutdown=False)
