"""Read all suites of a workspace here, and do much work for each page in the processes of a Dask cluster.

    dask scheduler & dask worker tcp://127.0.0.1:8786 --nworkers 4 & python dask_pages.py

Reading needs little CPU and one rate limit, so one process is enough for it. It waits while the cluster is behind.
"""

import asyncio
from collections import Counter

from distributed import Client

from buddy_sessions import BuddyClient, SessionPage

WORKSPACE = "acme"
SCHEDULER = "tcp://127.0.0.1:8786"
AT_ONCE = 100  # pages in the cluster


def work(page: SessionPage) -> Counter[str]:
    """Runs in the cluster: here, it only counts."""
    return Counter(session.ref_name or "" for session in page.sessions if session.is_failing)


async def main() -> None:
    red: Counter[str] = Counter()
    free = asyncio.Semaphore(AT_ONCE)

    async with (
        BuddyClient.from_env(max_concurrency=16) as buddy,
        Client(SCHEDULER, asynchronous=True) as dask,
        buddy.harvest(await buddy.suites(WORKSPACE)) as harvest,
        asyncio.TaskGroup() as tasks,
    ):

        async def run(page: SessionPage) -> None:
            try:
                red.update(await dask.submit(work, page, pure=False))
            finally:
                free.release()

        async for page in harvest.pages():
            await free.acquire()
            tasks.create_task(run(page))
    print(*red.most_common(3))


if __name__ == "__main__":
    asyncio.run(main())
