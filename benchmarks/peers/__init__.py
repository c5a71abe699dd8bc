"""What sessions may be read with: each module here is one way, with the plain loop that one would write for it.

`await read(base_url, suites, concurrency, per_page)` returns how many sessions were yielded, one by one;
`decode(body)` what one page holds. A process imports one of them, so that its imports and its memory are its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

Suite = tuple[str, str, str]

PEERS = {
    "floor": "aiohttp + orjson, bare dicts",
    "hand": "aiohttp + json + cattrs",
    "httpx_pydantic": "httpx + pydantic",
    "generated": "openapi-python-client",
    "dlt_rest": "dlt RESTClient, bare dicts",
    "ours": "buddy_sessions[speed]",
    "ours_plain": "buddy_sessions",
}

HEADERS = {"Authorization": "Bearer token", "Accept": "application/json"}

GENERATED = "generated_sessions_client"


def path(suite: Suite) -> str:
    """Return where a suite's sessions are, below the base URL."""
    workspace, project, suite_id = suite
    return f"/workspaces/{workspace}/projects/{project}/unit-tests/suites/{suite_id}/sessions"


async def spread(suites: list[Suite], concurrency: int, sessions: Callable[[Suite], AsyncIterator[object]]) -> int:
    """Read many suites, so many at once, by the function that reads one; return how many sessions there were."""
    left = iter(suites)
    count = 0

    async def work() -> None:
        nonlocal count
        for suite in left:
            async for _ in sessions(suite):
                count += 1

    await asyncio.gather(*(work() for _ in range(min(concurrency, len(suites)))))
    return count


def generate(folder: Path) -> None:
    """Generate the client that `peers.generated` uses, into a folder; nothing where the generator is not installed."""
    config = folder / "config.yaml"
    config.write_text("post_hooks: []\n")  # no formatting
    spec = Path(__file__).with_name("openapi.yaml")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--path", str(spec)]
    command += ["--output-path", str(folder / GENERATED), "--config", str(config)]
    subprocess.run(command, check=False, capture_output=True)
