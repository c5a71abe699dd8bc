"""The command `mcp`: serve agents that ask about tests."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

from buddy_sessions._base.validate import import_extra

from ..errors import ExitCode
from ..git_authors import Clone
from ..options import Access, ReadFile, open_answers

MAX_WAIT = 30.0  # seconds that a request may wait for the rate limit, because an agent waits for the result


async def command(*, db: ReadFile = None, git: Clone = Path(), access: Access = Access()) -> None:
    """Let agents ask about your tests, over the Model Context Protocol (MCP) on stdin and stdout.

    Add this command to the configuration of your agent, which starts it. Its tools can change nothing. They wait at
    most 30 seconds for the rate limit, unless you pass --max-wait. It needs the extra [mcp].

    For example:

    - claude mcp add buddy-tests --env BUDDY_TOKEN=… --env BUDDY_WORKSPACE=acme -- buddy-sessions mcp
    - buddy-sessions mcp --db sessions.db
    """
    # Otherwise the SDK lets the root logger print the warnings of this package a second time.
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    logging.basicConfig(handlers=[handler])
    messages = access.messages()
    async with open_answers(db, access, messages, max_wait=MAX_WAIT) as answers:
        import_extra("mcp.server.mcpserver", extra="mcp")
        from .mcp_server import make_server  # noqa: PLC0415 - it imports the SDK, which takes a second

        server = make_server(answers, access.defaults, git)
        for number in (signal.SIGINT, signal.SIGTERM):
            # The thread of the SDK that waits for stdin cannot be interrupted; and there is nothing to save.
            signal.signal(number, lambda *_: os._exit(ExitCode.INTERRUPTED))
        await server.run_stdio_async()
