import asyncio
import os
from contextlib import asynccontextmanager
from datetime import date

import psycopg
from prefect import flow, task, unmapped
from prefect.cache_policies import INPUTS
from psycopg.types.json import Json
from psycopg_pool import ConnectionPool
from pyrate_limiter import Duration, Limiter, PostgresBucket, Rate

from buddy_sessions import BuddyClient, to_dict

DATABASE = os.environ["DATABASE_URL"]
TABLE = """CREATE TABLE IF NOT EXISTS sessions (
    workspace text, project text, suite_id text, id text, relative_id bigint, status text, session json,
    PRIMARY KEY (workspace, project, suite_id, id))"""
UPSERT = """INSERT INTO sessions VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (workspace, project, suite_id, id)
    DO UPDATE SET relative_id = excluded.relative_id, status = excluded.status, session = excluded.session"""


class SharedLimiter:
    def __init__(self, limiter):
        self._limiter = limiter

    async def acquire(self):
        await self._limiter.try_acquire_async("buddy")


@asynccontextmanager
async def connected():
    bucket = PostgresBucket(ConnectionPool(DATABASE, open=True), "buddy_limiter", [Rate(10, Duration.SECOND)])
    with Limiter(bucket) as limiter:
        async with (
            BuddyClient.from_env(limiter=SharedLimiter(limiter)) as buddy,
            await psycopg.AsyncConnection.connect(DATABASE, autocommit=True) as database,
        ):
            yield buddy, database


@task(retries=3, retry_delay_seconds=[5, 60, 600], cache_policy=INPUTS, persist_result=True)
async def load(batch, day):  # a batch is loaded once a day
    async with connected() as (buddy, database), buddy.harvest(batch) as harvest:
        async for page in harvest.pages():
            rows = [
                (*page.suite, one.id, one.relative_id, one.status.value, Json(to_dict(one))) for one in page.sessions
            ]
            await database.cursor().executemany(UPSERT, rows)
        return harvest.stats.sessions


@flow
async def load_all(workspace, project, day):
    async with connected() as (buddy, database):
        await database.execute(TABLE)
        keys = [str(suite.key) for suite in await buddy.suites(workspace, project)]
    batches = [keys[first : first + 20] for first in range(0, len(keys), 20)]
    print(sum(load.map(batches, unmapped(day)).result()), "sessions")


if __name__ == "__main__":
    asyncio.run(load_all("acme", "storefront", date.today().isoformat()))
