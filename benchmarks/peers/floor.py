"""The floor: the least that aiohttp can do, and dicts as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson

from peers import HEADERS, Suite, path, spread


def decode(body: bytes) -> list[dict[str, Any]]:
    """Return the sessions of a page."""
    sessions: list[dict[str, Any]] = orjson.loads(body)["sessions"]
    return sessions


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all pages of all suites, and return how many sessions they hold."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as http:

        async def sessions(suite: Suite) -> AsyncIterator[dict[str, Any]]:
            page, full = 1, True
            while full:
                query = {"page": page, "per_page": per_page}
                async with http.get(base_url + path(suite), params=query) as response:
                    found = decode(await response.read())
                for session in found:
                    yield session
                page, full = page + 1, len(found) == per_page

        return await spread(suites, concurrency, sessions)
