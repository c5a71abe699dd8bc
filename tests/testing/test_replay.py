"""`replay`: a fake Buddy responds as in a report of `buddy-sessions doctor`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from buddy_sessions.testing import FakeBuddy, replay

PATH = ["workspaces", "w", "projects", "p", "unit-tests", "suites", "ö/1", "sessions"]


def write_report(path: Path, *responses: tuple[list[str], dict[str, Any], int, object]) -> Path:
    names = "path", "query", "status", "body"
    headers = {"headers": {"x-rate-limit-limit": "9"}}
    exchanges = [{**dict(zip(names, response, strict=True)), **headers} for response in responses]
    path.write_bytes(gzip.compress(json.dumps({"format": 1, "exchanges": exchanges}).encode()))
    return path


def sessions(*numbers: int) -> dict[str, Any]:
    return {"sessions": [{"id": str(number), "relative_id": number} for number in numbers]}


async def test_responds_as_recorded(fake: FakeBuddy, tmp_path: Path) -> None:
    pages = {1: sessions(5, 4), 2: sessions(4, 3)}
    report = write_report(
        tmp_path / "report",
        (PATH, {"page": 1, "per_page": 2}, 503, "<html>"),
        *((PATH, {"page": page, "per_page": 2}, 200, body) for page, body in pages.items()),
        (["user", "token"], {}, 0, ""),
    )
    assert replay(fake, report) == ("w", "p", "ö/1")
    url = fake.base_url.with_path("/workspaces/w/projects/p/unit-tests/suites/%C3%B6%2F1/sessions", encoded=True)
    async with aiohttp.ClientSession() as http:

        async def get(**query: int) -> tuple[int, str, bytes]:
            async with http.get(url.with_query(query)) as response:
                return response.status, response.headers.get("x-rate-limit-limit", ""), await response.read()

        assert await get(page=1, per_page=2) == (503, "9", b"<html>")
        for _ in range(2):  # the last one stays
            assert json.loads((await get(page=1, per_page=2))[2]) == pages[1]
        assert json.loads((await get(page=1, per_page=100))[2]) == sessions(5, 4, 3)
        async with http.get(fake.base_url / "workspaces") as other:
            assert other.status == 404
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await http.get(fake.base_url / "user" / "token")


@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b"[]"), gzip.compress(b'{"exchanges": [{}]}')],
    ids=["empty", "text", "other-json", "incomplete"],
)
def test_other_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no report of buddy-sessions doctor"):
        replay(FakeBuddy(), path)
