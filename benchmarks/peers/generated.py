"""A client that openapi-python-client makes of `openapi.yaml`: generated anew before this module is imported."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator
from typing import Any

from peers import GENERATED, HEADERS, Suite, spread

client: Any = importlib.import_module(GENERATED)
models: Any = importlib.import_module(f"{GENERATED}.models")
list_sessions: Any = importlib.import_module(f"{GENERATED}.api.sessions.list_sessions")


def decode(body: bytes) -> Any:
    """Return the sessions of a page."""
    return models.Page.from_dict(json.loads(body)).sessions


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all pages of all suites, and return how many sessions they hold."""
    async with client.Client(base_url, headers=HEADERS, raise_on_unexpected_status=True) as http:

        async def sessions(suite: Suite) -> AsyncIterator[Any]:
            page, full = 1, True
            while full:
                found = (await list_sessions.asyncio(*suite, client=http, page=page, per_page=per_page)).sessions
                for session in found:
                    yield session
                page, full = page + 1, len(found) == per_page

        return await spread(suites, concurrency, sessions)
