"""A client that openapi-python-client generates from `openapi.yaml`, before each run of the benchmark."""

from __future__ import annotations

import importlib
from typing import Any

from readers import GENERATED, HEADERS, Suite, read_suites

client: Any = importlib.import_module(GENERATED)
list_sessions: Any = importlib.import_module(f"{GENERATED}.api.sessions.list_sessions")


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all sessions of all suites; return their number."""
    async with client.Client(base_url, headers=HEADERS, raise_on_unexpected_status=True) as http:

        async def fetch(suite: Suite, page: int) -> Any:
            return (await list_sessions.asyncio(*suite, client=http, page=page, per_page=per_page)).sessions

        return await read_suites(suites, concurrency, per_page, fetch)
