"""This package with its extra `[speed]`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from buddy_sessions import BuddyClient, SuiteKey
from readers import TOKEN, Suite

# The package imports msgspec with the first page, and works without it: then this would measure `buddy_plain`.
if "msgspec" not in sys.modules and find_spec("msgspec") is None:
    raise ModuleNotFoundError("No module named 'msgspec'")


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all sessions of all suites; return their number."""
    count = 0
    async with BuddyClient(TOKEN, base_url=base_url, max_concurrency=concurrency, per_page=per_page) as buddy:
        if len(suites) == 1:
            async for _ in buddy.sessions(SuiteKey(*suites[0])):
                count += 1
        else:
            async with buddy.harvest(SuiteKey(*suite) for suite in suites) as harvest:
                async for _ in harvest:
                    count += 1
    return count
