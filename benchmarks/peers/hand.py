"""By hand: aiohttp, json, and cattrs as it comes, into frozen classes with plain enums."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
from attrs import frozen
from cattrs.preconf.json import make_converter

from peers import HEADERS, Suite, path, spread
from peers.enums import CIProvider, RefType, Status


@frozen
class Member:
    """Who began it."""

    url: str
    html_url: str
    id: int
    name: str
    avatar_url: str
    email: str
    admin: bool
    workspace_owner: bool


@frozen
class Session:
    """One run of a suite's tests."""

    url: str
    html_url: str
    id: str
    relative_id: int
    create_date: datetime
    status: Status
    start_date: datetime | None = None
    finish_date: datetime | None = None
    created_by: Member | None = None
    ci_provider: CIProvider | None = None
    ci_run_url: str | None = None
    revision: str | None = None
    ref_type: RefType | None = None
    ref_name: str | None = None
    execution_id: str | None = None
    action_execution_id: str | None = None
    error_message: str | None = None
    duration: float | None = None
    tests_count: int | None = None
    failed_count: int | None = None
    skipped_count: int | None = None
    error_count: int | None = None


converter = make_converter()


def structure(document: Any) -> list[Session]:
    """Return the sessions of a page that was parsed."""
    return converter.structure(document["sessions"], list[Session])


def decode(body: bytes) -> list[Session]:
    """Return the sessions of a page."""
    return structure(json.loads(body))


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all pages of all suites, and return how many sessions they hold."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as http:

        async def sessions(suite: Suite) -> AsyncIterator[Session]:
            page, full = 1, True
            while full:
                query = {"page": page, "per_page": per_page}
                async with http.get(base_url + path(suite), params=query) as response:
                    found = structure(await response.json())
                for session in found:
                    yield session
                page, full = page + 1, len(found) == per_page

        return await spread(suites, concurrency, sessions)
