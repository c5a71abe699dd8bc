"""What an answer can say that was not expected: statuses, bodies, JSON shapes, redirects, listings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import KEY, PAGE, TOKEN, Bench, case, only
from buddy_sessions import (
    AuthenticationError,
    BadRequestError,
    DecodeError,
    ForbiddenError,
    NotFoundError,
    ResponseError,
    ServerError,
    SessionStatus,
    StatusError,
    UnstableListingError,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite
from raw import answer, raw_server

GOOD = answer(PAGE)
SESSION: dict[str, Any] = json.loads(PAGE)["sessions"][0]


def holding(*sessions: object) -> bytes:
    return answer(json.dumps({"sessions": sessions}).encode())


def named(text: str) -> bytes:
    """Return a page of one session with such a name, in UTF-8."""
    return json.dumps({"sessions": [{**SESSION, "ref_name": text}]}, ensure_ascii=False).encode()


UNREADABLE = [
    case("08-html", answer(b"<html>Sign in to the guest Wi-Fi</html>", "Content-Type: text/html")),
    case("08-html-in-latin-1", answer("<html>Grüezi</html>".encode("latin-1"), "Content-Type: text/html")),
    case("08-token-in-the-page", answer(f"<html>{TOKEN}".encode())),
    case("08-token-in-a-header", answer(b"<html>", f"X-Authorization: Bearer {TOKEN}")),
    case("08-json-cut-short", answer(PAGE[:-1])),
    case("08-nested-too-deep", answer(b'{"sessions": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")),
    case("08-not-a-number", answer(b'{"sessions": [], "x": NaN}')),
    case("10-empty", answer(b"")),
    case("10-spaces", answer(b" \r\n")),
]


@pytest.mark.parametrize("script", UNREADABLE)
async def test_what_is_no_json_is_asked_for_again(bench: Bench, script: bytes) -> None:
    async with raw_server(script, GOOD) as server:
        assert len(await bench.sessions(server, 2)) == 3


@pytest.mark.parametrize("script", UNREADABLE)
async def test_what_is_no_json_twice_in_a_row_is_an_error(bench: Bench, script: bytes) -> None:
    async with raw_server(script) as server:
        assert (await bench.error(server, ResponseError, 2)).transient


@pytest.mark.parametrize(
    ("script", "names"),
    [
        case("09-no-content-type", GOOD, None),
        case("09-another-content-type", answer(PAGE, "Content-Type: text/html; charset=utf-16"), None),
        case("11-byte-order-mark", answer(b"\xef\xbb\xbf" + PAGE), None),
        case("11-beyond-ascii", answer(named("żółw 🐢")), ["żółw 🐢"]),
    ],
)
async def test_json_is_read_whatever_the_headers_say(bench: Bench, script: bytes, names: list[str] | None) -> None:
    async with raw_server(script) as server:
        sessions = await bench.sessions(server, 1)
    assert [one.ref_name for one in sessions] == (names or [one["ref_name"] for one in json.loads(PAGE)["sessions"]])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        case("10-204", "204 No Content", b""),
        case("10-206", "206 Partial Content", PAGE),
        case("10-101", "101 Switching Protocols", b""),
    ],
)
async def test_another_success_than_200_is_no_answer(bench: Bench, status: str, body: bytes) -> None:
    async with raw_server(answer(body, status=status)) as server:
        error = await bench.error(server, ResponseError, 1)
    assert f"answered {status[:3]}" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        case("11-latin-1", named("ü").replace("ü".encode(), b"\xfc")),
        case("11-half-a-surrogate-pair", named("x").replace(b'"x"', b'"\xed\xa0\xbd"')),
        case("11-in-a-field-s-name", PAGE.replace(b"relative_id", b"relativ\xe9_id")),
    ],
)
async def test_json_that_is_not_utf_8_is_an_error_at_once(bench: Bench, body: bytes) -> None:
    async with raw_server(answer(body)) as server:
        assert "UTF-8" in str(await bench.error(server, ResponseError, 1))


@pytest.mark.parametrize(
    ("script", "item", "field"),
    [
        case("12-sessions-missing", answer(b'{"suites": []}'), None, "sessions"),
        case("12-sessions-null", answer(b'{"sessions": null}'), None, "sessions"),
        case("12-sessions-an-object", answer(b'{"sessions": {}}'), None, "sessions"),
        case("12-a-list", answer(b"[]"), None, None),
        case("12-null", answer(b"null"), None, None),
        case("12-item-null", holding(SESSION, None), 1, None),
        case("12-item-a-string", holding(SESSION, "session"), 1, None),
        case("12-item-without-id", holding(SESSION, {"relative_id": 1, "status": "ERROR"}), 1, "id"),
        case("12-id-null", holding({**SESSION, "id": None}), 0, "id"),
        case("12-relative-id-a-string", holding({**SESSION, "relative_id": "7"}), 0, "relative_id"),
        case("12-relative-id-0", holding({**SESSION, "relative_id": 0}), 0, "relative_id"),
        case("12-status-null", holding({**SESSION, "status": None}), 0, "status"),
        case("12-date-that-is-none", holding({**SESSION, "create_date": "yesterday"}), 0, "create_date"),
        case("12-count-of-1.5", holding({**SESSION, "tests_count": 1.5}), 0, "tests_count"),
        case("12-member-a-string", holding({**SESSION, "created_by": "me"}), 0, "created_by"),
    ],
)
async def test_json_of_another_shape_is_an_error_that_says_where(
    bench: Bench, script: bytes, item: int | None, field: str | None
) -> None:
    async with raw_server(script) as server:
        error = await bench.error(server, DecodeError, 1)
    assert (error.page, error.item, error.field, error.transient) == (1, item, field, False)


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        case("13-unknown-status", {"status": "PONDERING"}, "status", SessionStatus("PONDERING")),
        case("13-unknown-ref-type", {"ref_type": "COMET"}, "ref_type", "COMET"),
        case("13-unknown-field", {"mood": {"today": ["fine"]}}, "id", SESSION["id"]),
        case("13-relative-id-2-to-53", {"relative_id": 2**53}, "relative_id", 2**53),
        case(
            "13-every-optional-field-null",
            dict.fromkeys(set(SESSION) - {"id", "relative_id", "status"}),
            "ref_name",
            None,
        ),
        case("13-numeric-id", {"id": 77}, "id", "77"),
    ],
)
async def test_what_buddy_may_add_or_leave_out_is_fine(
    bench: Bench, change: dict[str, object], name: str, value: object
) -> None:
    async with raw_server(holding({**SESSION, **change})) as server:
        (session,) = await bench.sessions(server, 1)
    assert getattr(session, name) == value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        case("15-400", 400, BadRequestError),
        case("15-401", 401, AuthenticationError),
        case("15-403", 403, ForbiddenError),
        case("15-404", 404, NotFoundError),
        case("15-405", 405, StatusError),
        case("18-501", 501, ServerError),
    ],
)
async def test_a_status_that_no_attempt_can_cure_is_an_error_at_once(
    bench: Bench, status: int, kind: type[StatusError]
) -> None:
    body = json.dumps({"errors": [{"message": "Not like this"}, {"message": f"nor with {TOKEN}"}]}).encode()
    async with raw_server(answer(body, status=f"{status} No")) as server:
        error = await bench.error(server, kind, 1, read=lambda buddy: buddy.sessions(*KEY, per_page=20).collect())
    assert (error.status, error.messages, error.method) == (status, ("Not like this", "nor with ***"), "GET")
    assert error.url.startswith(f"{server.base_url}/workspaces/acme/")


@pytest.mark.parametrize(
    ("tokens", "hits"),
    [case("15-401-then-a-new-token", ["old", TOKEN], 2), case("15-401-for-a-new-token-too", ["old", "older"], 2)],
)
async def test_a_token_callable_is_asked_once_more(bench: Bench, fake: FakeBuddy, tokens: list[str], hits: int) -> None:
    fake.token = TOKEN
    fake.add_suite(*KEY).populate(3)
    asked = iter(tokens)

    async def token() -> str:
        return next(asked)

    if TOKEN in tokens:
        assert len(await bench.sessions(fake, hits, token=token)) == 3
    else:
        await bench.error(fake, AuthenticationError, hits, token=token)
    assert not list(asked)


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        case("16-html", b"<html>403 Forbidden</html>", []),
        case("16-empty", b"", []),
        case("16-a-list", b'[{"message": "no"}]', []),
        case("16-errors-null", b'{"errors": null}', []),
        case(
            "16-errors-of-all-kinds", b'{"errors": [null, 7, {"message": 7}, {"message": " no\\n way "}]}', ["no way"]
        ),
        case("16-huge", json.dumps({"errors": [{"message": "no" * 2**20}]}).encode(), ["no" * 250]),
        case("16-many", json.dumps({"errors": [{"message": "no"}] * 9999}).encode(), ["no"] * 10),
        case("16-not-utf-8", b'{"errors": [{"message": "\xff"}]}', ["\ufffd"]),
        case("16-nested-too-deep", b"[" * 100_000, []),
        case(
            "16-token-at-the-cut",
            json.dumps({"errors": [{"message": "x" * 495 + TOKEN}]}).encode(),
            ["x" * 495 + "***"],
        ),
    ],
)
async def test_whatever_the_body_of_an_error_is_its_message_stays_short(
    bench: Bench, body: bytes, messages: list[str]
) -> None:
    async with raw_server(answer(body, status="403 Forbidden")) as server:
        error = await bench.error(server, ForbiddenError, 1)
    assert error.messages == tuple(messages)
    assert len(str(error)) < 6000


@pytest.mark.parametrize("status", [case(f"17-{status}", status) for status in (408, 500, 502, 503, 504, 599)])
async def test_a_passing_failure_is_survived(bench: Bench, status: int) -> None:
    async with raw_server(answer(b"", status=f"{status} No"), answer(b"<html>", status=f"{status} No"), GOOD) as server:
        assert len(await bench.sessions(server, 3)) == 3


@pytest.mark.parametrize(
    ("status", "kind"), [case("17-408-for-ever", 408, StatusError), case("17-503-for-ever", 503, ServerError)]
)
async def test_a_failure_that_does_not_pass_is_an_error_after_the_last_attempt(
    bench: Bench, status: int, kind: type[StatusError]
) -> None:
    async with raw_server(answer(b"", status=f"{status} No")) as server:
        error = await bench.error(server, kind, 3)
    assert (error.status, error.transient) == (status, True)


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
@pytest.mark.parametrize(
    "location",
    [
        case("22-to-another-host", "{other}/elsewhere"),
        case("22-to-the-same-host", "/elsewhere"),
        case("22-to-a-file", "file:///etc/passwd"),
        case("22-in-a-loop", "{itself}"),
        case("22-with-the-token", "{other}/?token=" + TOKEN),
        case("22-to-nowhere", ""),
    ],
)
async def test_a_redirect_is_not_followed(bench: Bench, location: str, status: str) -> None:
    async with raw_server(GOOD) as other, raw_server(b"") as server:
        path = f"/workspaces/{KEY.workspace}/projects/{KEY.project}/unit-tests/suites/{KEY.suite_id}/sessions"
        location = location.format(other=other.base_url, itself=f"{path}?page=1&per_page=100")
        server.script = (answer(b"", f"Location: {location}", status=status),)
        error = await bench.error(server, ResponseError, 1)
    assert repr(location.replace(TOKEN, "***")) in str(error)
    assert not error.transient
    assert other.requests == []


@pytest.mark.parametrize(
    ("largest_page", "refuse_above", "hits"),
    [
        case("25-clamped-to-30", 30, None, 3),
        case("25-clamped-to-20", 20, None, 4),
        case("25-refused-with-400", None, 50, 5),
    ],
)
async def test_a_page_size_that_the_server_does_not_take_loses_nothing(
    bench: Bench, fake: FakeBuddy, largest_page: int | None, refuse_above: int | None, hits: int
) -> None:
    fake.token, fake.largest_page, fake.refuse_above = TOKEN, largest_page, refuse_above
    fake.add_suite(*KEY).populate(70)
    sessions = await bench.sessions(fake, hits)
    assert [session.relative_id for session in sessions] == list(range(70, 0, -1))


@only("26-page-ignored")
async def test_the_same_page_for_ever_is_an_error(bench: Bench) -> None:
    page = json.dumps(FakeSuite(*KEY).populate(100).page(1, 20)).encode()
    async with raw_server(answer(page)) as server:
        await bench.error(
            server,
            UnstableListingError,
            range(101, 110),
            read=lambda buddy: buddy.sessions(*KEY, per_page=20).collect(),
        )
