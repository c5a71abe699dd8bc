"""The recipes for frameworks do what they say."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.recipe_programs import RECIPES, copy_recipe, finish, running


@pytest.fixture
async def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite of which a watch reads one page when it starts, because that has enough sessions."""
    return fake.add_suite("acme", "storefront", "MNbyVedg").populate(120)


async def get(url: str) -> tuple[int, str | None, Any]:
    """Return the status, the header `Retry-After` and the JSON of a response."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, response.headers.get("Retry-After"), await response.json()


@asynccontextmanager
async def serving_fastapi(fake: FakeBuddy) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Yield the URL of a project in the application, and its process."""
    async with running(fake, RECIPES, "-m", "uvicorn", "fastapi_app:app", "--port", "0") as process:
        assert process.stderr is not None
        while b"running on http" not in (line := await process.stderr.readline()):
            assert line
        yield f"{line.decode().split()[4]}/acme/storefront", process


async def test_fastapi_app(fake: FakeBuddy, suite: FakeSuite) -> None:
    """Its clients learn neither the URL of Buddy nor that the token is wrong; its log has the reasons."""
    pytest.importorskip("uvicorn")
    broken = suite.create(cases=[{"name": "adds"}, {"name": "pays", "status": "FAILED"}])
    async with serving_fastapi(fake) as (url, process):
        status, _, sessions = await get(f"{url}/MNbyVedg")
        assert status == 200
        assert [session["relative_id"] for session in sessions] == list(range(121, 111, -1))
        assert "email" not in str(sessions)
        status, _, tests = await get(f"{url}/MNbyVedg/{broken['id']}/failures")
        assert (status, [test["name"] for test in tests]) == (200, ["pays"])
        status, _, answer = await get(f"{url}/MNbyVedg/status")
        assert (status, answer["branch"], answer["is_failing"]) == (200, "main", True)
        for path in ("nothing", "nothing/status", "MNbyVedg/nothing/failures", "%00"):
            assert await get(f"{url}/{path}") == (404, None, {"detail": "there is no such suite or session"})
        fake.token = "another"
        assert await get(f"{url}/MNbyVedg") == (502, None, {"detail": "Buddy cannot be read"})
        fake.inject(Fault.status(429, headers={"Retry-After": "600"}))
        status, retry_after, content = await get(f"{url}/MNbyVedg")
        assert (status, content) == (503, {"detail": "Buddy is not available"})
        assert int(retry_after or 0) > 590
        process.terminate()
        log = (await finish(process)).err
    assert "Unauthorized" in log
    assert "fake-buddy-token" not in log


async def lines(url: str) -> list[Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.content_type == "application/x-ndjson"
        return [json.loads(line) async for line in response.content]


async def test_fastapi_app_streams_a_suite(fake: FakeBuddy, suite: FakeSuite) -> None:
    """A break within the stream has a cursor, and one before it has a status."""
    pytest.importorskip("uvicorn")
    fake.largest_page = 50
    async with serving_fastapi(fake) as (url, _):
        assert (await get(f"{url}/nothing/sessions"))[0] == 404
        assert (await get(f"{url}/MNbyVedg/sessions?cursor=x"))[0] == 422
        fake.on_request = lambda request: fake.inject(Fault.status(503)) if request.query.get("page") == "3" else None
        *rows, end = await lines(f"{url}/MNbyVedg/sessions")
        assert end == {"complete": False, "retryable": True}
        fake.on_request = None
        *others, end = await lines(f"{url}/MNbyVedg/sessions?cursor={rows[-1]['cursor']}")
        assert end == {"complete": True, "verified": True}
        assert [row["session"]["relative_id"] for row in [*rows, *others]] == list(range(120, 0, -1))
        (end,) = await lines(f"{url}/MNbyVedg/sessions?cursor={others[-1]['cursor']}")
        assert end["complete"]


async def call(url: str, *, suite: str = "acme/storefront/MNbyVedg", **headers: str) -> int:
    async with aiohttp.ClientSession() as http, http.post(f"{url}/{suite}", headers=headers) as response:
        return response.status


async def test_webhook_delivers_a_change_at_once(fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> None:
    """It accepts only calls with the secret, for a suite that is watched. The watch alone finds no change in time."""
    recipe = copy_recipe("webhook_refresh", tmp_path, PORT=0, INTERVAL=3600)
    authorization = f"Basic {base64.b64encode(b'buddy:swordfish').decode()}"
    async with running(fake, tmp_path, recipe, WEBHOOK_SECRET="swordfish") as process:
        assert process.stderr is not None
        url = f"http://127.0.0.1:{int((await process.stderr.readline()).split()[-1])}/refresh"
        while len(fake.requests) < 1:
            await asyncio.sleep(0.01)
        assert await call(url) == 401
        assert await call(url, Authorization=f"{authorization}x") == 401
        assert await call(url, suite="acme/storefront/another", Authorization=authorization) == 404
        assert await call(url, Authorization=authorization) == 202
        while len(fake.requests) < 2:  # the first check is over
            await asyncio.sleep(0.01)
        session = suite.create(status="ERROR")
        assert await call(url, Authorization=authorization) == 202
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line == f"acme/storefront/MNbyVedg NEW ERROR {session['html_url']}\n"
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
        assert finished.code == 130
        assert "Traceback" not in finished.err
