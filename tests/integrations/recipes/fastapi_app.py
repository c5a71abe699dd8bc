"""A FastAPI application with one client for its whole life. Run it with `uvicorn fastapi_app:app`."""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from buddy_sessions import BuddyClient, BuddyError, ConfigError, Cursor, NotFoundError, SuiteKey

log = logging.getLogger("uvicorn.error")


class Session(BaseModel):  # only what everyone who can reach the application may see
    model_config = ConfigDict(from_attributes=True)

    id: str
    relative_id: int
    status: str
    ref_name: str | None
    create_date: datetime | None
    tests_count: int | None
    failed_count: int | None
    html_url: str | None


class FailingTest(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    test_group_name: str | None
    classname: str | None
    name: str
    status: str


class Status(BaseModel):
    branch: str | None
    is_failing: bool | None  # None without a verdict
    reason: str | None
    since: datetime | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # A web request should not wait for minutes: fail early, and tell the caller when to come back.
    async with BuddyClient.from_env(max_wait=2, timeout=10, max_attempts=2) as app.state.buddy:
        yield


def client(request: Request) -> BuddyClient:
    buddy: BuddyClient = request.app.state.buddy
    return buddy


app = FastAPI(lifespan=lifespan)
Buddy = Annotated[BuddyClient, Depends(client)]
Suite = Annotated[SuiteKey, Depends(SuiteKey)]  # the names in the path


@app.exception_handler(BuddyError)
async def on_buddy_error(request: Request, error: BuddyError) -> JSONResponse:
    log.warning("%s", error)  # the details are for the log only
    if isinstance(error, NotFoundError | ConfigError):  # a ConfigError: an impossible name in the path
        return JSONResponse({"detail": "there is no such suite or session"}, status_code=404)
    if error.retryable:  # the rate limit, a failing server, no connection
        seconds = getattr(error, "retry_after", None) or 5
        headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
        return JSONResponse({"detail": "Buddy is not available"}, status_code=503, headers=headers)
    return JSONResponse({"detail": "Buddy cannot be read"}, status_code=502)


@app.get("/{workspace}/{project}/{suite_id}")
async def latest(buddy: Buddy, suite: Suite) -> list[Session]:
    return [Session.model_validate(session) async for session in buddy.sessions(suite, max_sessions=10)]


@app.get("/{workspace}/{project}/{suite_id}/sessions")
async def stream(buddy: Buddy, suite: Suite, cursor: str | None = None) -> StreamingResponse:
    """All sessions, newest first: a line of JSON for each, and one that says how it ended.

    If that one is missing, or has an error, go on with the `cursor` of the last session.
    """
    try:
        position = None if cursor is None else Cursor.parse(cursor)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    sessions = buddy.sessions(suite, cursor=position)
    first = await anext(sessions, None)  # its error is a status: nothing was sent yet

    async def lines() -> AsyncIterator[str]:
        end: dict[str, object]
        session = first
        async with sessions:
            try:
                while session is not None:
                    row = Session.model_validate(session).model_dump(mode="json")
                    yield json.dumps({"cursor": str(sessions.cursor), "session": row}) + "\n"
                    await asyncio.sleep(0)  # otherwise, a caller that hangs up is noticed only after the page
                    session = await anext(sessions, None)
                end = {"complete": True, "verified": sessions.stats.verified}
            except BuddyError as error:
                log.warning("%s", error)
                end = {"complete": False, "retryable": error.retryable}
        yield json.dumps(end) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@app.get("/{workspace}/{project}/{suite_id}/status")
async def status(buddy: Buddy, suite: Suite) -> Status:
    (found,) = await buddy.status([suite])
    if found.error is not None:
        raise found.error
    since = found.since.turning_session.create_date if found.since is not None else None
    return Status(branch=found.branch, is_failing=found.is_failing, reason=found.reason, since=since)


@app.get("/{workspace}/{project}/{suite_id}/{session_id}/failures")
async def failures(buddy: Buddy, suite: Suite, session_id: str) -> list[FailingTest]:
    return [FailingTest.model_validate(case) for case in await buddy.failures(suite, session_id)]
