"""The law of faults, held against answers that are made up.

Whatever comes over the wire: a list of sessions, or one error of this package, in time, after no more hits than there
are attempts; nothing is left behind, and the token is nowhere to be seen.
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

from bench import KEY, PAGE, TOKEN, leaving_nothing, logged, shown
from buddy_sessions import (
    BuddyClient,
    BuddyError,
    ResponseError,
    Session,
    StatusError,
    TransportError,
    UnstableListingError,
    WalkStats,
    pacing,
)
from raw import End, Step, raw_server

_T = TypeVar("_T")

ATTEMPTS = 2
SECONDS = 0.25

SESSIONS: list[dict[str, Any]] = json.loads(PAGE)["sessions"]


def mostly(good: st.SearchStrategy[_T], bad: st.SearchStrategy[_T], times: int = 9) -> st.SearchStrategy[_T]:
    return st.sampled_from([good] * times + [bad]).flatmap(lambda chosen: chosen)


anything = st.recursive(
    st.sampled_from([None, True, 0, -1, 2**53, 1.5, "", "x", TOKEN, "\ud800", "2025-10-21T06:42:16Z", "ERROR"]),
    lambda some: st.lists(some, max_size=2) | st.dictionaries(st.sampled_from(["id", "errors", "message"]), some),
    max_leaves=6,
)
session = st.builds(
    lambda base, changes, without: {name: value for name, value in (base | changes).items() if name not in without},
    st.sampled_from(SESSIONS),
    st.dictionaries(st.sampled_from([*SESSIONS[0], "unknown"]), anything, max_size=2),
    st.sets(st.sampled_from([*SESSIONS[0]]), max_size=2),
)
listing = st.one_of(
    st.integers(0, 40).map(lambda top: [{**SESSIONS[0], "id": str(n), "relative_id": n} for n in range(top, 0, -1)]),
    st.lists(session | anything, max_size=3),
)
document = mostly(
    st.builds(
        lambda sessions, more: {"sessions": sessions, **more},
        listing,
        st.dictionaries(st.text(max_size=3), anything, max_size=1),
    ),
    st.one_of(
        anything.map(lambda errors: {"errors": errors}), st.just({"errors": [{"message": f"no, {TOKEN}"}]}), anything
    ),
    times=2,
)
body = mostly(
    st.builds(
        lambda value, ascii_: json.dumps(value, ensure_ascii=ascii_).encode(errors="surrogatepass"),
        document,
        st.booleans(),
    ),
    st.one_of(
        st.sampled_from([b"", b"<html>", b"\xff" + PAGE, b"\xef\xbb\xbf" + PAGE, TOKEN.encode(), b"[" * 50_000]),
        st.binary(max_size=20),
    ),
    times=4,
)
status_line = mostly(
    mostly(
        st.just(b"HTTP/1.1 200 OK"),
        st.sampled_from([204, 301, 304, 400, 401, 403, 404, 408, 418, 429, 500, 501, 503, 599, 100, 101, 999]).map(
            lambda status: b"HTTP/1.1 %d So" % status
        ),
        times=2,
    ),
    st.one_of(
        st.sampled_from([b"HTTP/1.0 200 OK", b"HTTP/2 200", b"HTTP/1.1 OK", b"", b"ICE 200 OK", TOKEN.encode()]),
        st.binary(max_size=12),
    ),
)
header = mostly(
    st.sampled_from(
        [
            b"Connection: close",
            b"Connection: keep-alive",
            b"Content-Type: application/json",
            b"Content-Type: text/html; charset=utf-7",
            b"Location: /?" + TOKEN.encode(),
            b"Location: http://[",
            b"Retry-After: 0",
            b"Retry-After: 7200",
            b"X-Rate-Limit-Remaining: 0",
            b"X-Rate-Limit-Reset: 4000000000",
            b"X-Rate-Limit-Reset: 1",
            b"Date: Tue, 21 Oct 2025 06:42:16 GMT",
            b"Set-Cookie: a=b; Domain=",
            b"Authorization: Bearer " + TOKEN.encode(),
            b"X: \0" + TOKEN.encode(),
            b"X: " + b"x" * 9_000,
            b"Content-Length: 7",
            b"Upgrade: h2c",
        ]
    ),
    st.binary(max_size=12),
)


def encode(body: bytes, coding: str | None) -> bytes:
    return gzip.compress(body, mtime=0) if coding == "gzip" else body


def frame(body: bytes, framing: str, chunk: int) -> tuple[list[bytes], bytes]:
    """Return the headers that tell of a body, and the body as it goes over the wire."""
    if framing == "length":
        return [b"Content-Length: %d" % len(body)], body
    if framing == "chunked":
        chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)]
        return [b"Transfer-Encoding: chunked"], b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in [*chunks, b""])
    return [], body


@st.composite
def answers(draw: st.DrawFn) -> list[Step]:
    """Draw one answer: a well-formed one at first, then cut, spoilt or split, and hung up on somehow."""
    coding = draw(mostly(st.sampled_from([None, "gzip"]), st.sampled_from(["deflate", "br"])))
    framing = draw(st.sampled_from(["length", "length", "chunked", "chunked", "none"]))
    headers, content = frame(encode(draw(body), coding), framing, draw(st.sampled_from([7, 1000])))
    headers += [b"Content-Encoding: " + coding.encode()] if coding else []
    headers += draw(st.lists(header, max_size=2))
    wire = b"\r\n".join([draw(status_line), *headers]) + b"\r\n\r\n" + content
    places = st.integers(0, len(wire))
    if draw(mostly(st.just(False), st.just(True), times=3)):
        wire = wire[: draw(places)]
    if draw(mostly(st.just(False), st.just(True))):
        place = draw(places)
        wire = wire[:place] + draw(st.binary(min_size=1, max_size=3)) + wire[place + 1 :]
    steps: list[Step] = [wire]
    if draw(mostly(st.just(False), st.just(True), times=2)):
        place = draw(places)
        steps = [wire[:place], partial(asyncio.sleep, 0.001), wire[place:]]
    end = draw(st.sampled_from([None, None, None, None, End.FIN, End.RST, End.KEEP]))
    return steps if end is None else [*steps, end]


async def read(script: list[list[Step]]) -> tuple[list[Session] | BuddyError, WalkStats, int, float]:
    async with raw_server(*script) as server, leaving_nothing():
        started = asyncio.get_running_loop().time()
        async with BuddyClient(
            TOKEN,
            base_url=server.base_url,
            max_concurrency=1,
            attempts=ATTEMPTS,
            timeout=SECONDS,
            max_wait=0.2,
            per_page=20,
            read_ahead=1,
        ) as buddy:
            walk = buddy.sessions(*KEY)
            result: list[Session] | BuddyError
            try:
                async with asyncio.timeout(20):
                    result = await walk.collect()
            except BuddyError as error:
                result = error
            stats = walk.stats
        seconds = asyncio.get_running_loop().time() - started
    return result, stats, len(server.requests), seconds


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@example([[b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TOKEN) + TOKEN.encode()]])
@example([[b"HTTP/1.1 200 OK\r\nX: \0" + TOKEN.encode() + b"\r\n\r\n"]])
@example([[TOKEN.encode() + b"\r\n\r\n"]])
@example([[b"HTTP/1.1 302 So\r\nLocation: /?" + TOKEN.encode() + b"\r\nContent-Length: 0\r\n\r\n"]])
@example([[b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx"]])
@given(st.lists(answers(), min_size=1, max_size=3))
@settings(
    max_examples=min(settings().max_examples, 5000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.usefixtures("no_waiting")
def test_whatever_comes_over_the_wire_is_sessions_or_one_error_of_ours(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, script: list[list[Step]]
) -> None:
    monkeypatch.setattr(pacing, "_BACKOFF_BASE", 0.01)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    result, stats, hits, seconds = runner.run(read(script))
    event(type(result).__name__)
    if isinstance(result, BuddyError):
        assert isinstance(result, TransportError | ResponseError | StatusError | UnstableListingError)
        assert TOKEN not in shown(result)
    else:
        assert len({one.id for one in result}) == len(result)
    assert TOKEN not in logged(caplog.records)
    pages = stats.pages + 1  # the one that failed
    assert stats.requests <= ATTEMPTS * pages
    assert hits <= 2 * stats.requests  # aiohttp itself sends a request again where a connection breaks
    assert seconds <= ATTEMPTS * SECONDS * pages + 5
