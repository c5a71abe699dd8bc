"""One server for all benchmarks, in a process of its own, so that its work is not counted as the client's.

What it serves is told by the URL: `/SESSIONS/MILLISECONDS` before the API's path gives every suite so many sessions,
and every answer such a latency. It is a bare protocol over pages that are kept ready, so as not to be what is measured.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from buddy_sessions.testing import FakeSuite

LARGEST = 100  # sessions a page


class Server:
    """A running server, as the benchmarks see it."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._seen = 0

    def url(self, sessions: int, milliseconds: int = 0) -> str:
        """Return the base URL under which every suite has so many sessions, and every answer such a latency."""
        return f"{self._root}/{sessions}/{milliseconds}"

    def requests(self) -> int:
        """Return how many requests were answered since this was last called."""
        with urllib.request.urlopen(f"{self._root}/answered") as response:
            seen, self._seen = self._seen, int(response.read())
        return self._seen - seen


@contextmanager
def running() -> Iterator[Server]:
    """Run a server; it ends with its standard input, so even when this process is killed."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        yield Server(process.stdout.readline().strip())


@lru_cache
def template(count: int) -> bytes:
    """Return a page of believable sessions, with a `%d` of fixed width in place of each number and within each id."""
    suite = FakeSuite("acme", "shop", "MNbyVedg").populate(LARGEST, until=datetime(2026, 1, 1, tzinfo=UTC))
    page = suite.page(1, count)
    ids = [session["id"] for session in page["sessions"]]
    for session in page["sessions"]:
        session["relative_id"] = "NUMBER"
    # As a server of another language writes it: compact, in UTF-8.
    text = json.dumps(page, ensure_ascii=False, separators=(",", ":")).replace("%", "%%")
    for session_id in ids:
        text = text.replace(session_id, "S%07d")
    return text.replace('"NUMBER"', "%8d").encode()


@lru_cache(maxsize=512)
def answer(sessions: int, page: int, per_page: int) -> bytes:
    """Return the whole answer for one page of a list of so many sessions, the newest first."""
    newest = sessions - (page - 1) * per_page
    numbers = range(newest, max(newest - per_page, 0), -1)
    # Four places in each session: its two links, its id and its number.
    body = template(len(numbers)) % tuple(number for number in numbers for _ in range(4))
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Answering(asyncio.Protocol):
    """One connection."""

    answered = 0
    _transport: asyncio.Transport
    _rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            self._answer(request.split(b" ", 2)[1].decode())

    def _answer(self, target: str) -> None:
        path, _, query = target.partition("?")
        if path == "/answered":
            body = b"%d" % Answering.answered
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        Answering.answered += 1
        _, sessions, milliseconds, *_ = path.split("/")
        asked = dict(pair.split("=") for pair in query.split("&"))
        page = answer(int(sessions), int(asked["page"]), int(asked["per_page"]))
        if milliseconds == "0":
            self._transport.write(page)
        else:
            asyncio.get_running_loop().call_later(int(milliseconds) / 1000, partial(self._transport.write, page))


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    import_module("uvloop" if find_spec("uvloop") else "asyncio").run(main())
