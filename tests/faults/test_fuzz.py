"""Random responses: well-formed, malformed, truncated, slow, or not HTTP at all.

Whatever a server sends, a read ends in time, with sessions or with one error of this package, after a limited number of
requests. It leaves nothing open, and does not expose the token.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from buddy_sessions import (
    BuddyError,
    ResponseError,
    Session,
    StatusError,
    TransportError,
    UnstableListingError,
)
from helpers.faults import PAGE, TOKEN, CheckedReader
from helpers.raw_server import End, Step, http_response, raw_server
from helpers.virtual_time import VirtualTimeLoop

_T = TypeVar("_T")

MAX_ATTEMPTS = 2
MAX_PAUSES = 2  # of 0.5 and 1 s, after a 429; the next one would exceed MAX_WAIT
MAX_WAIT = 2.0
TIMEOUT = 10.0
OPTIONS: dict[str, Any] = {
    "max_attempts": MAX_ATTEMPTS,
    "timeout": TIMEOUT,
    "max_wait": MAX_WAIT,
    "max_concurrency": 1,
    "per_page": 20,
    "read_ahead": 1,
}

SESSIONS: list[dict[str, Any]] = json.loads(PAGE)["sessions"]


def mostly(common: st.SearchStrategy[_T], rare: st.SearchStrategy[_T], ratio: int = 9) -> st.SearchStrategy[_T]:
    """Draw `common` this many times as often as `rare`."""
    return st.sampled_from([common] * ratio + [rare]).flatmap(lambda chosen: chosen)


pages = st.integers(0, 40).map(
    lambda top: {"sessions": [{**SESSIONS[0], "id": str(n), "relative_id": n} for n in range(top, 0, -1)]}
)
documents = st.sampled_from(
    [
        {"sessions": [*SESSIONS, {**SESSIONS[0], "id": "\ud800"}]},
        {"sessions": [{**SESSIONS[0], "create_date": TOKEN}]},
        {"sessions": [{}]},
        {"errors": [{"message": f"no, {TOKEN}"}, None]},
        [TOKEN],
    ]
)
bodies = mostly(
    (pages | documents).map(lambda document: json.dumps(document).encode()),
    st.one_of(
        st.sampled_from([b"", b"<html>", b"\xff" + PAGE, b"\xef\xbb\xbf" + PAGE, TOKEN.encode(), b"[" * 50_000]),
        st.binary(max_size=20),
    ),
    ratio=4,
)
status_lines = mostly(
    mostly(
        st.just(b"HTTP/1.1 200 OK"),
        st.sampled_from([204, 301, 304, 400, 401, 403, 404, 408, 418, 429, 500, 501, 503, 599, 100, 101, 999]).map(
            lambda status: b"HTTP/1.1 %d So" % status
        ),
        ratio=2,
    ),
    st.one_of(
        st.sampled_from([b"HTTP/1.0 200 OK", b"HTTP/2 200", b"HTTP/1.1 OK", b"", b"ICE 200 OK", TOKEN.encode()]),
        st.binary(max_size=12),
    ),
)
headers = mostly(
    st.sampled_from(
        [
            *(b"Connection: close", b"Connection: keep-alive", b"Upgrade: h2c", b"Set-Cookie: a=b; Domain="),
            *(b"Content-Type: application/json", b"Content-Type: text/html; charset=utf-7", b"Content-Length: 7"),
            *(b"Location: /?" + TOKEN.encode(), b"Location: http://[", b"Authorization: Bearer " + TOKEN.encode()),
            *(b"Retry-After: 0", b"Retry-After: 7200", b"Date: Tue, 21 Oct 2025 06:42:16 GMT"),
            *(b"X-Rate-Limit-Remaining: 0", b"X-Rate-Limit-Reset: 4000000000", b"X-Rate-Limit-Reset: 1"),
            *(b"X: \0" + TOKEN.encode(), b"X: " + b"x" * 9_000),
        ]
    ),
    st.binary(max_size=12),
)


def frame(body: bytes, framing: str, chunk_size: int) -> tuple[list[bytes], bytes]:
    """Return the headers that announce a body, and the body as it is sent."""
    if framing == "length":
        return [b"Content-Length: %d" % len(body)], body
    if framing == "chunked":
        chunks = [body[start : start + chunk_size] for start in range(0, len(body), chunk_size)]
        encoded = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""]]
        return [b"Transfer-Encoding: chunked"], b"".join(encoded)
    return [], body


@st.composite
def responses(draw: st.DrawFn) -> list[Step]:
    """Draw a well-formed response, then truncate it, change some bytes, split it, and end the connection somehow."""
    encoding = draw(mostly(st.sampled_from([None, "gzip"]), st.sampled_from(["deflate", "br"])))
    framing = draw(st.sampled_from(["length", "length", "chunked", "chunked", "none"]))
    body = draw(bodies)
    body = gzip.compress(body, mtime=0) if encoding == "gzip" else body
    lines, content = frame(body, framing, draw(st.sampled_from([7, 1000])))
    lines += [b"Content-Encoding: " + encoding.encode()] if encoding else []
    lines += draw(st.lists(headers, max_size=2))
    data = b"\r\n".join([draw(status_lines), *lines]) + b"\r\n\r\n" + content
    positions = st.integers(0, len(data))
    if not draw(st.integers(0, 3)):
        data = data[: draw(positions)]
    if not draw(st.integers(0, 9)):
        position = draw(positions)
        data = data[:position] + draw(st.binary(min_size=1, max_size=3)) + data[position + 1 :]
    steps: list[Step] = [data]
    if not draw(st.integers(0, 2)):
        position = draw(positions)
        steps = [data[:position], partial(asyncio.sleep, 1), data[position:]]
    end = draw(st.sampled_from([None, None, None, None, End.FIN, End.RST, End.KEEP]))
    return steps if end is None else [*steps, end]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield runner


@example([[b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TOKEN) + TOKEN.encode()]])
@example([[b"HTTP/1.1 200 OK\r\nX: \0" + TOKEN.encode() + b"\r\n\r\n"]])
@example([[TOKEN.encode() + b"\r\n\r\n"]])
@example([[b"HTTP/1.1 302 So\r\nLocation: /?" + TOKEN.encode() + b"\r\nContent-Length: 0\r\n\r\n"]])
@example([[b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx"]])
@example([[http_response(PAGE)]])  # the same page again and again
@given(st.lists(responses(), min_size=1, max_size=3))
@settings(
    max_examples=min(settings().max_examples, 5000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_response_gives_sessions_or_one_error(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, scripts: list[list[Step]]
) -> None:
    async def read() -> tuple[list[Session] | BuddyError, int]:
        async with raw_server(*scripts) as server, asyncio.timeout(3600):
            result = await reader.attempt(server, requests=range(1000), **OPTIONS)
            return result, len(server.requests)

    caplog.set_level(logging.DEBUG)
    caplog.clear()
    reader = CheckedReader(caplog)
    result, requests = runner.run(read())
    event(type(result).__name__)
    if isinstance(result, BuddyError):
        assert isinstance(result, TransportError | ResponseError | StatusError | UnstableListingError)
    else:
        assert len({session.id for session in result}) == len(result)
    pages = reader.stats.pages + 2  # the last one may have failed
    assert reader.stats.requests <= (MAX_ATTEMPTS + MAX_PAUSES) * pages
    cancelled = MAX_ATTEMPTS + MAX_PAUSES  # if a page fails, those that were requested in advance are cancelled
    # aiohttp itself repeats a request once if the connection breaks
    assert requests <= 2 * (reader.stats.requests + cancelled)
    assert reader.seconds <= (MAX_ATTEMPTS * TIMEOUT + MAX_WAIT) * pages + 1
