"""Several processes on one machine that share one rate limit, kept in a SQLite file."""

import asyncio

from pyrate_limiter import Duration, Limiter, Rate, SQLiteBucket

from buddy_sessions import BuddyClient


class SharedLimiter:
    def __init__(self, limiter):
        self._limiter = limiter

    async def acquire(self):
        await self._limiter.try_acquire_async("buddy")


async def main():
    rates = [Rate(10, Duration.SECOND)]
    bucket = SQLiteBucket.init_from_file(rates, db_path="buddy-limiter.sqlite", use_file_lock=True)
    with Limiter(bucket) as limiter:
        async with BuddyClient.from_env(limiter=SharedLimiter(limiter), per_page=20) as buddy:
            print(len(await buddy.sessions("acme/storefront/MNbyVedg").collect()), "sessions")


asyncio.run(main())
