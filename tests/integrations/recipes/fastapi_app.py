"""A FastAPI application with one client for its whole life. Run it with `uvicorn fastapi_app:app`."""

from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from buddy_sessions import BuddyClient, BuddyError, NotFoundError, RateLimitError, to_dict


@asynccontextmanager
async def lifespan(app):
    # A web request should not wait for minutes: fail early, and tell the caller when to come back.
    async with BuddyClient.from_env(max_wait=2, timeout=10) as app.state.buddy:
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(BuddyError)
async def on_buddy_error(request: Request, error: BuddyError):
    if isinstance(error, NotFoundError):
        return JSONResponse({"detail": "there is no such suite"}, status_code=404)
    seconds = error.retry_after if isinstance(error, RateLimitError) and error.retry_after else 5
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": f"{seconds:.0f}"})


@app.get("/{workspace}/{project}/{suite_id}")
async def latest(request: Request, workspace: str, project: str, suite_id: str):
    paginator = request.app.state.buddy.sessions((workspace, project, suite_id), max_sessions=10)
    return [to_dict(session) async for session in paginator]
