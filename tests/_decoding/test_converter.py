from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from buddy_sessions import DecodeError, Member, ResponseError, Session, Suite, SuiteKey, to_dict
from buddy_sessions._decoding.converter import (
    decode_page,
    decode_session,
    decode_suites,
    error_messages,
    session_from_dict,
)
from helpers.session_json import FULL_MEMBER, FULL_SESSION, MINIMAL_SESSION, page_body
from helpers.session_strategies import sessions


@pytest.mark.usefixtures("each_decoder")
class TestDecodePage:
    def test_page_has_sessions_and_links(self) -> None:
        decoded = decode_page(page_body(FULL_SESSION, MINIMAL_SESSION, url="https://a", html_url="https://b"))
        assert [session.id for session in decoded.sessions] == ["YDnagwGk", "YDnagwGk"]
        assert (decoded.url, decoded.html_url) == ("https://a", "https://b")

    @pytest.mark.parametrize("links", [{}, {"url": None, "html_url": None}, {"url": 1, "html_url": []}])
    def test_page_without_links_is_accepted(self, links: dict[str, Any]) -> None:
        decoded = decode_page(page_body(MINIMAL_SESSION, **links))
        assert len(decoded.sessions) == 1
        assert (decoded.url, decoded.html_url) == (None, None)

    @pytest.mark.parametrize(
        ("item", "json_type"), [(None, "null"), ("x", "a string"), (1, "a number"), (True, "a boolean"), ([], "a list")]
    )
    def test_item_that_is_not_an_object_is_located(self, item: Any, json_type: str) -> None:
        with pytest.raises(DecodeError, match=f"^page 2, item 1: must be an object, not {json_type}$"):
            decode_page(page_body(MINIMAL_SESSION, item), page=2)

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (b"{}", "page 2, field sessions: is missing"),
            (b'{"sessions": null}', "page 2, field sessions: must be a list, not null"),
            (b'{"sessions": {}}', "page 2, field sessions: must be a list, not an object"),
            (b"[]", "page 2: the response is not a JSON object"),
            (b"null", "page 2: the response is not a JSON object"),
        ],
    )
    def test_page_of_the_wrong_shape_is_rejected(self, body: bytes, problem: str) -> None:
        with pytest.raises(DecodeError, match=f"^{problem}$"):
            decode_page(body, page=2)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" \n",
            b"<html>busy</html>",
            "<html>Grüezi</html>".encode("latin-1"),
            b'{"sessions": [',
            b'{"sessions": []} x',
            b'{"sessions": [], "x": NaN}',
            b'{"sessions": [], "x": ' + b"[" * 100_000,
            b'{"sessions": [], "x": ' + b"1" * 5_000 + b", }",
        ],
        ids=lambda body: repr(body[:30]),
    )
    def test_invalid_json_is_retryable(self, body: bytes) -> None:
        with pytest.raises(
            ResponseError, match=r"^the response is (empty|not valid JSON: .*; it begins .*)$"
        ) as caught:
            decode_page(body)
        assert not isinstance(caught.value, DecodeError)
        assert caught.value.retryable
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize("body", [b"{", b'{"sessions": [null]}', b'{"sessions": [{"id": "\xff"}]}', b"[]"])
    def test_error_has_no_context(self, body: bytes) -> None:
        """An error of the JSON parser would keep the whole body in memory."""
        with pytest.raises(ResponseError) as caught:
            decode_page(body)
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None

    def test_invalid_utf8_in_a_required_name_is_an_error(self) -> None:
        with pytest.raises(ResponseError, match="not valid UTF-8"):
            decode_page(page_body(MINIMAL_SESSION).replace(b"relative_id", b"relativ\xe9_id"))

    def test_byte_order_mark_is_ignored(self) -> None:
        assert decode_page(b"\xef\xbb\xbf" + page_body(MINIMAL_SESSION)).sessions

    @pytest.mark.parametrize("ascii_only", [True, False])
    def test_text_beyond_ascii_is_kept(self, ascii_only: bool) -> None:
        page = {"sessions": [{**MINIMAL_SESSION, "ref_name": "żółw/日本/🐢"}]}
        body = json.dumps(page, ensure_ascii=ascii_only).encode()
        assert decode_page(body).sessions[0].ref_name == "żółw/日本/🐢"


@pytest.mark.parametrize("session", [FULL_SESSION, MINIMAL_SESSION, {**MINIMAL_SESSION, "id": 7, "new": "field"}])
def test_single_session_is_decoded_like_one_of_a_page(session: dict[str, Any]) -> None:
    assert decode_session(json.dumps(session).encode()) == decode_page(page_body(session)).sessions[0]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"relative_id": "2"}, "relative_id", "must be a whole number, not a string"),
        ({"status": None}, "status", "must be a string, not null"),
        ({"created_by": {"id": "1"}}, "created_by.id", "must be a whole number, not a string"),
    ],
)
def test_single_session_with_a_wrong_field_is_rejected(change: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_session(json.dumps({**MINIMAL_SESSION, **change}).encode())
    assert str(caught.value) == f"field {field}: {reason}"
    assert (caught.value.field, caught.value.item, caught.value.page) == (field, None, None)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [(b"[]", "not a JSON object"), (b"{}", "field id: is missing"), (b"", "is empty"), (b"\xff", "not valid JSON")],
)
def test_response_that_is_not_a_session_is_rejected(body: bytes, problem: str) -> None:
    with pytest.raises(ResponseError, match=problem):
        decode_session(body)


def test_suites_of_a_project_are_decoded() -> None:
    suite: dict[str, Any] = {
        "url": "u",
        "html_url": "h",
        "id": "65OmRb8v",
        "identifier": "unit",
        "name": "Unit tests",
        "timeout": None,
        "slow_threshold": None,
        "error_pattern": None,
        "send_commit_status": None,
    }
    body = json.dumps({"url": "x", "html_url": "y", "suites": [suite, {"id": 7, "workspace": "other"}]}).encode()
    first, second = decode_suites(body, workspace="w", project="p")
    assert first == Suite(key=SuiteKey("w", "p", "65OmRb8v"), **suite)
    assert second == Suite(key=SuiteKey("w", "p", "7"), id="7")
    assert to_dict(first) == suite


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "the response is not a JSON object"),
        (b"{}", "field suites: is missing"),
        (b'{"suites": [{}]}', "item 0, field id: is missing"),
        (b'{"suites": [{"id": "a"}, {"id": "b", "name": 1}]}', "item 1, field name: must be a string, not a number"),
        (b'{"suites": ["a"]}', "item 0: must be an object, not a string"),
    ],
)
def test_suites_of_the_wrong_shape_are_rejected(body: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=f"^{problem}$"):
        decode_suites(body, workspace="w", project="p")


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b'{"errors": [{"message": "no such suite"}, {"message": "sorry"}]}', ("no such suite", "sorry")),
        (b'{"errors": [{"message": "two\\n  lines"}]}', ("two lines",)),
        (b'{"errors": [{"message": ""}, {"message": 7}, {}, "x", null]}', ()),
        (b'{"errors": [{"message": "\xff"}]}', ("\ufffd",)),
        (b'{"errors": null}', ()),
        (b'{"errors": {"message": "x"}}', ()),
        (b"{}", ()),
        (b"[]", ()),
        (b"", ()),
        (b"<html>", ()),
        (b"\xff", ()),
        (b"[" * 100_000, ()),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_error_messages_are_found(body: bytes, messages: tuple[str, ...]) -> None:
    assert error_messages(body) == messages


def test_error_messages_are_bounded() -> None:
    messages = error_messages(json.dumps({"errors": [{"message": "x" * 10_000}] * 1_000}).encode())
    assert [len(message) for message in messages] == [500] * 10


@given(sessions)
def test_session_survives_a_round_trip(session: Session) -> None:
    json_text = json.dumps(to_dict(session))
    assert session_from_dict(json.loads(json_text)) == session


def test_to_dict_has_the_fields_of_the_api() -> None:
    assert to_dict(session_from_dict(FULL_SESSION)) == FULL_SESSION
    assert to_dict(Member(**FULL_MEMBER)) == FULL_MEMBER


def test_session_from_dict_rejects_an_invalid_session() -> None:
    with pytest.raises(DecodeError, match=r"^item 0, field status: is missing$"):
        session_from_dict({"id": "a", "relative_id": 1})
