"""A FastAPI application with one client for its whole life. Run it with `uvicorn fastapi_app:app`."""

import logging
import math
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from buddy_sessions import BuddyClient, BuddyError, ConfigError, NotFoundError, SuiteKey

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
async def lifespan(app):
    # A web request should not wait for minutes: fail early, and tell the caller when to come back.
    async with BuddyClient.from_env(max_wait=2, timeout=10, max_attempts=2) as app.state.buddy:
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(BuddyError)
async def on_buddy_error(request: Request, error: BuddyError):
    log.warning("%s", error)  # the details are for the log only
    if isinstance(error, NotFoundError | ConfigError):  # a ConfigError: an impossible name in the path
        return JSONResponse({"detail": "there is no such suite or session"}, status_code=404)
    if error.retryable:  # the rate limit, a failing server, no connection
        seconds = getattr(error, "retry_after", None) or 5
        headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
        return JSONResponse({"detail": "Buddy is not available"}, status_code=503, headers=headers)
    return JSONResponse({"detail": "Buddy cannot be read"}, status_code=502)


@app.get("/{workspace}/{project}/{suite_id}")
async def latest(request: Request, workspace: str, project: str, suite_id: str) -> list[Session]:
    suite = SuiteKey(workspace, project, suite_id)
    return await request.app.state.buddy.sessions(suite, max_sessions=10).collect()


@app.get("/{workspace}/{project}/{suite_id}/status")
async def status(request: Request, workspace: str, project: str, suite_id: str) -> Status:
    (found,) = await request.app.state.buddy.status([SuiteKey(workspace, project, suite_id)])
    if found.error is not None:
        raise found.error
    since = found.since.turning_session.create_date if found.since is not None else None
    return Status(branch=found.branch, is_failing=found.is_failing, reason=found.reason, since=since)


@app.get("/{workspace}/{project}/{suite_id}/{session_id}/failures")
async def failures(request: Request, workspace: str, project: str, suite_id: str, session_id: str) -> list[FailingTest]:
    return await request.app.state.buddy.failures(SuiteKey(workspace, project, suite_id), session_id)
