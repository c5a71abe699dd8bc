"""What a server sends in place of a page, the error of the read, and how many requests it costs."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buddy_sessions import (
    AuthenticationError,
    BadRequestError,
    BuddyError,
    DecodeError,
    ForbiddenError,
    NotFoundError,
    ResponseError,
    ServerError,
    Session,
    StatusError,
    TransportError,
    UnstableListingError,
)
from helpers.faults import PAGE, TOKEN, CheckedReader
from helpers.raw_server import End, Script, Step, http_response, raw_server
from helpers.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.fault

GOOD = http_response(PAGE)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SIZED = HEAD + b"Content-Length: %d\r\n\r\n" % len(PAGE)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 2**20

Row = tuple[Script, type[BuddyError], int, str]
"""What the server sends, the error, the number of requests, and a part of the message."""


def encoded(body: bytes, encoding: str = "gzip") -> bytes:
    return http_response(body, f"Content-Encoding: {encoding}")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# aiohttp itself repeats a request once if there is no complete header: two requests per attempt.
BROKEN: dict[str, Row] = {
    "fin before the status line": (b"", TransportError, 6, ""),
    "rst before the status line": ([End.RST], TransportError, 6, ""),
    "fin in the headers": (HEAD, TransportError, 6, ""),
    "rst in the body": ([SIZED + PAGE[:100], End.RST], TransportError, 3, ""),
    "body shorter than Content-Length": (SIZED + PAGE[:-1], TransportError, 3, ""),
    "no last chunk": (CHUNKED + chunk(PAGE), TransportError, 3, ""),
    "invalid gzip": (encoded(b"nonsense"), TransportError, 3, ""),
    "gzip with a bad CRC": (encoded(gzip.compress(PAGE)[:-8] + bytes(8)), TransportError, 3, ""),
    "brotli, which was not requested": (encoded(PAGE, "br"), ResponseError, 1, "encoding: brotli"),
}
# Only the JSON shows that the first two are incomplete; invalid JSON is retried once.
NOT_JSON: dict[str, Row] = {
    "fin in a body without length": (HEAD + b"\r\n" + PAGE[:100], ResponseError, 2, ""),
    "truncated gzip": (encoded(gzip.compress(PAGE)[:-20]), ResponseError, 2, ""),
    "html": (http_response(b"<p>Sign in"), ResponseError, 2, "; it begins '<p>Sign in'; 2 attempts; GET"),
    "nested too deep": (http_response(b'{"sessions": ' + b"[" * 100_000), ResponseError, 2, ""),
    "empty": (http_response(b""), ResponseError, 2, ""),
}
NOT_HTTP: dict[str, Script] = {
    "two Content-Lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "Content-Length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "header of 9 kB": HEAD + b"X: " + b"x" * 9_000 + b"\r\n" + SIZED,
    "endless headers": itertools.chain([HEAD], (b"X-%d: 1\r\n" % number for number in itertools.count())),
    "other protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "status that is no number": b"HTTP/1.1 OK\r\n\r\n",
}
TOO_LARGE: dict[str, Script] = {
    "endless body": itertools.chain([HEAD + b"\r\n"], itertools.repeat(bytes(MIB))),
    "endless chunks": itertools.chain([CHUNKED], itertools.repeat(chunk(bytes(MIB)))),
    "large Content-Length": [HEAD + b"Content-Length: 4194305\r\n\r\n", End.KEEP],
}
WRONG_PAGES: dict[str, Row] = {  # more of them: `tests/_decoding`
    "latin-1": (http_response(PAGE.replace(b"feature", b"f\xe9ature")), ResponseError, 1, "UTF-8"),
    "no sessions": (http_response(b'{"suites": []}'), DecodeError, 1, "page 1, field sessions: is missing"),
}
MESSAGES = json.dumps({"errors": [{"message": "Not like this"}, {"message": f"nor with {TOKEN}"}]}).encode()
STATUSES: dict[str, Row] = {
    str(status): (http_response(body, status=f"{status} No"), error_type, requests, text)
    for status, body, error_type, requests, text in [
        *((status, MESSAGES, ResponseError, 1, f"unexpected status {status}") for status in (101, 206)),
        (204, b"", ResponseError, 1, "unexpected status 204"),
        (304, b"", ResponseError, 1, "unexpected redirect (304)"),
        *(
            (status, MESSAGES, error_type, requests, f"Not like this; nor with *** ({status})")
            for error_type, requests, statuses in [
                (BadRequestError, 1, [400]),
                (AuthenticationError, 1, [401]),
                (ForbiddenError, 1, [403]),
                (NotFoundError, 1, [404]),
                (StatusError, 1, [405]),
                (StatusError, 3, [408]),
                (ServerError, 3, [500, 503, 599]),
                (ServerError, 1, [501]),
            ]
            for status in statuses
        ),
    ]
}
NOT_FROM_BUDDY = "but the response is not Buddy's: probably a proxy's: check the base URL; GET http://127.0.0.1"
PROXIES: dict[str, Row] = {
    f"{status} {body.decode().strip()}": (http_response(body, status=f"{status} No"), error_type, requests, text)
    for status, body, error_type, requests, text in [
        (400, b"<html>", BadRequestError, 1, f"bad request (400), {NOT_FROM_BUDDY}"),
        (401, b'{"type": "about:blank"}', AuthenticationError, 1, f"the token was rejected (401), {NOT_FROM_BUDDY}"),
        (403, b"<html>", ForbiddenError, 1, f"access denied (403), {NOT_FROM_BUDDY}"),
        # These may be from Buddy: a 4xx without a body, and a 5xx.
        (403, b" \n", ForbiddenError, 1, "UNIT_TEST_READ and, for projects, PROJECT_READ"),
        (502, b"<html>", ServerError, 3, "the server failed (502): try again later; 3 attempts; GET"),
    ]
}
# If one was followed, the outcome would be another: nothing listens on port 1.
REDIRECTS: dict[str, Row] = {
    f"{status} to {place}": (
        http_response(b"", f"Location: {place}", status=f"{status} No"),
        ResponseError,
        1,
        f"unexpected redirect ({status}) to {place.replace(TOKEN, '***')!r}",
    )
    for status, place in [
        (301, "http://127.0.0.1:1/elsewhere"),
        (307, "/elsewhere"),
        (301, ""),
    ]
}
SCOPES = ["X-OAuth-Scopes: WORKSPACE,EMAIL\u202e", f"x-accepted-0auth-scopes: UNIT_TEST_READ {TOKEN}"]
NEEDED = "nor with ***; the token has WORKSPACE, EMAIL\\u202e; this needs UNIT_TEST_READ or *** (403): give the token"
FAULTS: dict[str, Row] = {
    **BROKEN,
    **NOT_JSON,
    **{name: (script, ResponseError, 1, "not HTTP") for name, script in NOT_HTTP.items()},
    **{name: (script, ResponseError, 1, "too large: over 4 MiB") for name, script in TOO_LARGE.items()},
    **WRONG_PAGES,
    **STATUSES,
    **PROXIES,
    **REDIRECTS,
    "403 with scopes": (http_response(MESSAGES, *SCOPES, status="403 No"), ForbiddenError, 1, NEEDED),
    "403 without a scope": (
        http_response(b"", "x-oauth-scopes:", status="403 No"),
        ForbiddenError,
        1,
        "has no scope (403)",
    ),
}


@pytest.mark.parametrize(("script", "error_type", "requests", "message"), FAULTS.values(), ids=FAULTS)
async def test_wrong_response(
    reader: CheckedReader, script: Script, error_type: type[BuddyError], requests: int, message: str
) -> None:
    async with raw_server(script) as server:
        error = await reader.fail(server, error_type, requests=requests, per_page=20)
    assert message in str(error)
    assert error.retryable == (requests > 1)
    if error.retryable:
        async with raw_server(script, GOOD) as server:
            assert len(await reader.read(server, requests=2)) == 3


HTML = http_response(b"<html>")
FAILURE = http_response(b"", status="500 No")
THROTTLED = http_response(b"", status="429 No")


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("scripts", "error_type", "requests"),
    [
        pytest.param([HTML, FAILURE, HTML, FAILURE], ServerError, 4, id="html-first"),
        pytest.param([FAILURE, HTML, FAILURE, HTML], ResponseError, 4, id="500-first"),
        pytest.param([HTML, THROTTLED, HTML, THROTTLED, FAILURE, FAILURE], ServerError, 6, id="429-between"),
        pytest.param([FAILURE, HTML, HTML], ResponseError, 3, id="html-twice"),
    ],
)
async def test_only_html_twice_in_a_row_is_final(
    reader: CheckedReader, scripts: list[bytes], error_type: type[BuddyError], requests: int
) -> None:
    async with raw_server(*scripts, GOOD) as server:
        await reader.fail(server, error_type, requests=requests, max_attempts=4)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(GOOD, id="no-content-type"),
        pytest.param(http_response(PAGE, "Content-Type: text/html; charset=utf-16"), id="html"),
        pytest.param(http_response(b"\xef\xbb\xbf" + PAGE), id="byte-order-mark"),
    ],
)
async def test_unusual_page(reader: CheckedReader, script: bytes) -> None:
    async with raw_server(script) as server:
        assert len(await reader.read(server, requests=1)) == 3


def errors(*values: object) -> bytes:
    return json.dumps({"errors": values}).encode()


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        pytest.param(b'[{"message": "no"}]', [], id="a-list"),
        pytest.param(b'{"errors": null}', [], id="errors-null"),
        pytest.param(errors(None, 7, {"message": 7}, {"message": " no\n way "}), ["no way"], id="invalid-errors"),
        pytest.param(errors({"message": "no" * 2**20}), ["no" * 250], id="huge-message"),
        pytest.param(errors(*[{"message": "no"}] * 1000), ["no"] * 10, id="many-messages"),
        pytest.param(b"[" * 100_000, [], id="nested-too-deep"),
        pytest.param(errors({"message": "x" * 495 + TOKEN}), ["x" * 495 + "***"], id="token-at-the-maximum-length"),
    ],
)
async def test_unusual_body_of_an_error(reader: CheckedReader, body: bytes, messages: list[str]) -> None:
    async with raw_server(http_response(body, status="403 Forbidden")) as server:
        error = await reader.fail(server, ForbiddenError, requests=1)
    assert (error.status, error.messages, error.method) == (403, tuple(messages), "GET")
    assert error.url.startswith(f"{server.base_url}/workspaces/acme/")
    assert len(str(error)) < 6000


SAMPLES = [
    *(script for script, *_ in FAULTS.values() if isinstance(script, bytes)),
    *(GOOD, encoded(gzip.compress(PAGE, mtime=0)), CHUNKED + chunk(PAGE) + chunk(b""), THROTTLED),
    *(http_response(PAGE, header) for header in ("X-Rate-Limit-Reset: 4000000000", f"Location: http://[{TOKEN}")),
    *(http_response(b"", f"Retry-After: {seconds}", status="503 No") for seconds in (0, 7200)),
]


@st.composite
def damaged_responses(draw: st.DrawFn) -> list[Step]:
    """Draw a response in two parts that is cut, or has other bytes, and whose connection ends somehow."""
    data = draw(st.sampled_from(SAMPLES))
    places = st.integers(0, len(data))
    if draw(st.booleans()):
        data = data[: draw(places)]
    if draw(st.booleans()):
        place = draw(places)
        data = data[:place] + draw(st.binary(min_size=1, max_size=3)) + data[place + 1 :]
    place, end = draw(places), draw(st.sampled_from([None, End.FIN, End.RST, End.KEEP]))
    steps: list[Step] = [data[:place], partial(asyncio.sleep, 1), data[place:]]
    return steps if end is None else [*steps, end]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield runner


@given(st.lists(damaged_responses(), min_size=1, max_size=3))
@settings(
    max_examples=min(settings().max_examples, 5000),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_response_gives_sessions_or_one_error(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, scripts: list[list[Step]]
) -> None:
    """In time: two attempts of 10 s for each page, and 2 s for its pauses."""

    async def read() -> list[Session] | BuddyError:
        options: dict[str, Any] = {"max_attempts": 2, "timeout": 10.0, "max_wait": 2.0, "per_page": 20, "read_ahead": 1}
        async with raw_server(*scripts) as server, asyncio.timeout(3600):
            return await reader.attempt(server, requests=range(1000), **options)

    caplog.set_level(logging.DEBUG)
    caplog.clear()
    reader = CheckedReader(caplog)
    result = runner.run(read())
    if isinstance(result, BuddyError):
        assert isinstance(result, TransportError | ResponseError | StatusError | UnstableListingError)
    else:
        assert len({session.id for session in result}) == len(result)
    pages = reader.stats.pages + 2  # the last one may have failed
    assert reader.stats.requests <= 4 * pages  # two attempts, and two responses that ask the client to wait
    assert reader.seconds <= 22 * pages + 1
