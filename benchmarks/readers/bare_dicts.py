"""The baseline: aiohttp and orjson, which yield bare dicts."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from readers import HEADERS, Suite, read_suites, sessions_path


def decode(body: bytes) -> list[dict[str, Any]]:
    """Return the sessions of a page."""
    sessions: list[dict[str, Any]] = orjson.loads(body)["sessions"]
    return sessions


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all sessions of all suites; return their number."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as http:

        async def fetch(suite: Suite, page: int) -> list[dict[str, Any]]:
            query = {"page": page, "per_page": per_page}
            async with http.get(base_url + sessions_path(suite), params=query) as response:
                return decode(await response.read())

        return await read_suites(suites, concurrency, per_page, fetch)
