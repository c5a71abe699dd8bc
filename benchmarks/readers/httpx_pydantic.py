"""httpx and pydantic v2, which Buddy's own Python SDK uses."""

from __future__ import annotations

from datetime import datetime

import httpx
from pydantic import BaseModel, ConfigDict

from readers import HEADERS, Suite, read_suites, sessions_path
from readers.enums import CIProvider, RefType, Status


class Member(BaseModel):
    """The member who started a session."""

    model_config = ConfigDict(frozen=True)

    url: str
    html_url: str
    id: int
    name: str
    avatar_url: str
    email: str
    admin: bool
    workspace_owner: bool


class Session(BaseModel):
    """One run of a suite's tests."""

    model_config = ConfigDict(frozen=True)

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


class Page(BaseModel):
    """One page."""

    url: str
    html_url: str
    sessions: list[Session]


def decode(body: bytes) -> list[Session]:
    """Return the sessions of a page."""
    return Page.model_validate_json(body).sessions


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all sessions of all suites; return their number."""
    async with httpx.AsyncClient(base_url=base_url, headers=HEADERS) as http:

        async def fetch(suite: Suite, page: int) -> list[Session]:
            response = await http.get(sessions_path(suite), params={"page": page, "per_page": per_page})
            return decode(response.raise_for_status().content)

        return await read_suites(suites, concurrency, per_page, fetch)
