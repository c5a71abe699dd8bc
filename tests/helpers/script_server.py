"""A minimal server for syncs: a function turns the path of a request into JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Respond = Callable[[str, dict[str, str]], Any]
"""Gets the decoded path below the suites of the project, and the query. Returns JSON, or None for a 404."""


@asynccontextmanager
async def script_server(respond: Respond) -> AsyncIterator[str]:
    """Run a server on a free port, and yield its base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            url = urlsplit(head.split(b" ", 2)[1].decode())
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            response = respond(unquote(url.path.split("/unit-tests/suites")[-1]), query)
            status = "404 Not Found" if response is None else "200 OK"
            body = json.dumps({"errors": []} if response is None else response).encode()
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()

    async def serve_until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve_until_closed, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
