"""Copy a database of sessions into PostgreSQL, and keep the copy equal to it. Needs DATABASE_URL.

    buddy-sessions sync acme --db sessions.db --cases failed && python copy_to_postgresql.py

Rows and the position up to which they were copied are committed together. So it can be killed at any moment: the next
run continues. It does not disturb a sync. A second copy at the same time waits. To copy a database that was restored
from a backup, or to begin again, delete both tables.
"""

import asyncio
import os

import psycopg
from psycopg.types.json import Json

from buddy_sessions import SessionStore, StoreChange, to_dict

DATABASE = "sessions.db"
POSTGRESQL = os.environ.get("DATABASE_URL", "")
AT_ONCE = 1000  # changes in a transaction

TABLES = """
CREATE TABLE IF NOT EXISTS copied (position bigint);
INSERT INTO copied SELECT 0 WHERE NOT EXISTS (SELECT FROM copied);
CREATE TABLE IF NOT EXISTS sessions (
    workspace text, project text, suite_id text, id text, relative_id bigint, status text, create_date timestamptz,
    missing_since timestamptz, deleted_at timestamptz, session json, failures json,
    PRIMARY KEY (workspace, project, suite_id, id))"""
SAVE = """
INSERT INTO sessions VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (workspace, project, suite_id, id) DO UPDATE SET
    (relative_id, status, create_date, missing_since, deleted_at, session, failures) = (excluded.relative_id,
    excluded.status, excluded.create_date, excluded.missing_since, excluded.deleted_at, excluded.session,
    excluded.failures)"""
OLD = "WHERE (workspace, project, suite_id) = (%s, %s, %s) AND create_date < %s"


async def apply(copy: psycopg.AsyncConnection, change: StoreChange) -> None:
    if change.session is not None:
        one, failures = change.session, change.failures
        names = (*change.suite, one.id, one.relative_id, one.status, one.create_date)
        texts = Json(to_dict(one)), None if failures is None else Json([*map(to_dict, failures)])
        await copy.execute(SAVE, (*names, change.missing_since, change.deleted_at, *texts))
    elif change.pruned_before is None:  # the suite was forgotten
        await copy.execute("DELETE FROM sessions WHERE (workspace, project, suite_id) = (%s, %s, %s)", change.suite)
    else:
        await copy.execute(f"DELETE FROM sessions {OLD}", (*change.suite, change.pruned_before))


async def commit(copy: psycopg.AsyncConnection, position: int) -> None:
    await copy.execute("UPDATE copied SET position = %s", [position])
    await copy.commit()


async def main() -> None:
    async with SessionStore(DATABASE) as store, await psycopg.AsyncConnection.connect(POSTGRESQL) as copy:
        await copy.execute("SELECT pg_advisory_lock(1)")  # until the connection is closed
        await copy.execute(TABLES)
        ((position,),) = await (await copy.execute("SELECT position FROM copied")).fetchall()
        count = 0
        async with copy.pipeline():
            async for change in store.changes(after=position):
                await apply(copy, change)
                position, count = change.position, count + 1
                if count % AT_ONCE == 0:
                    await commit(copy, position)
            await commit(copy, position)
    print(count, "changes")


asyncio.run(main())
