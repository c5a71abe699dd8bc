"""The MCP server with the protocol's own inspector, a client in another language. Needs npx and its registry."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy

NPX = shutil.which("npx")
INSPECTOR = "@modelcontextprotocol/inspector@0"  # version 2 needs Node 22
SERVER = (sys.executable, "-m", "buddy_sessions", "mcp")

pytestmark = pytest.mark.skipif(NPX is None, reason="npx is not installed")


async def inspect(fake: FakeBuddy, folder: Path, *arguments: str) -> Any:
    """Return what the inspector prints."""
    environment = {**os.environ, "BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    process = await asyncio.create_subprocess_exec(
        *(str(NPX), "-y", INSPECTOR, "--cli", *SERVER, *arguments),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


async def test_tools_and_results(fake: FakeBuddy, tmp_path: Path) -> None:
    fake.add_suite("acme", "shop", "a").create(cases=[{"name": "pays", "status": "FAILED", "message": "1 != 2"}])
    listed = await inspect(fake, tmp_path, "--method", "tools/list")
    assert len(listed["tools"]) == 6
    assert all(tool["annotations"]["readOnlyHint"] and "outputSchema" not in tool for tool in listed["tools"])
    arguments = ("--tool-name", "get_failures", "--tool-arg", "suite=acme/shop/a", "--tool-arg", "session=1")
    called = await inspect(fake, tmp_path, "--method", "tools/call", *arguments)
    assert called["content"][0]["text"].startswith("acme/shop/a #1 is red: 1 failing test, 1 cause.")
    assert not called["isError"]
