"""The loop that people write by hand: aiohttp, json, and cattrs with its defaults, into frozen classes with enums."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import aiohttp
from attrs import frozen
from cattrs.preconf.json import make_converter

from readers import HEADERS, Suite, read_suites, sessions_path
from readers.enums import CIProvider, RefType, Status


@frozen
class Member:
    """The member who started a session."""

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
    """Return the sessions of a parsed page."""
    return converter.structure(document["sessions"], list[Session])


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all sessions of all suites; return their number."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as http:

        async def fetch(suite: Suite, page: int) -> list[Session]:
            query = {"page": page, "per_page": per_page}
            async with http.get(base_url + sessions_path(suite), params=query) as response:
                return structure(await response.json())

        return await read_suites(suites, concurrency, per_page, fetch)
