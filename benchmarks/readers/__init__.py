"""The ways to read sessions that are compared: each module here is one reader.

`await read(base_url, suites, concurrency, per_page)` yields the sessions of all suites one by one, and returns their
number. Each process imports one reader, so that its memory is its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

Suite = tuple[str, str, str]

READERS = {
    "bare_dicts": "aiohttp + orjson, bare dicts",
    "hand_written": "aiohttp + json + cattrs",
    "httpx_pydantic": "httpx + pydantic",
    "generated_client": "openapi-python-client",
    "buddy": "buddy_sessions[speed]",
    "buddy_plain": "buddy_sessions",
}
"""The label of each module."""

TOKEN = "0b8f3d52-6c1e-4f7a-9d24-e57a31c06b98"
"""Has the form of a real one: this package looks for it in each response, and finds one letter in many places."""

HEADERS = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}

GENERATED = "generated_sessions_client"


def sessions_path(suite: Suite) -> str:
    """Return the path of a suite's sessions below the base URL."""
    workspace, project, suite_id = suite
    return f"/workspaces/{workspace}/projects/{project}/unit-tests/suites/{suite_id}/sessions"


async def read_suites(
    suites: list[Suite], concurrency: int, per_page: int, fetch: Callable[[Suite, int], Awaitable[Sequence[object]]]
) -> int:
    """Read suites with the usual loop, `concurrency` at once; return the number of sessions.

    Args:
        suites: The suites.
        concurrency: The number of suites to read at once.
        per_page: The page size; a shorter page ends a suite.
        fetch: Returns the sessions of one page of a suite.
    """
    remaining = iter(suites)
    count = 0

    async def sessions(suite: Suite) -> AsyncIterator[object]:
        page, is_full = 1, True
        while is_full:
            rows = await fetch(suite, page)
            for row in rows:
                yield row
            page, is_full = page + 1, len(rows) == per_page

    async def work() -> None:
        nonlocal count
        for suite in remaining:
            async for _ in sessions(suite):
                count += 1

    await asyncio.gather(*(work() for _ in range(min(concurrency, len(suites)))))
    return count


def generate_client(folder: Path) -> None:
    """Generate the client that `readers.generated_client` uses; do nothing where the generator is not installed."""
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")  # no formatting
    spec = Path(__file__).with_name("openapi.yaml")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--path", str(spec)]
    command += ["--output-path", str(folder / GENERATED), "--config", str(config)]
    subprocess.run(command, check=False, capture_output=True)
