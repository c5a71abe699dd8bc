from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given

from buddy_sessions import DecodeError, Session, Suite, to_dict
from buddy_sessions._decoding.converter import decode_object, decode_page, decode_suites, session_from_dict
from helpers.session_json import MINIMAL_SESSION, page_body
from helpers.session_strategies import sessions


@pytest.mark.usefixtures("each_decoder")
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{}", "page 2, field sessions: is missing"),
        (b'{"sessions": null}', "page 2, field sessions: must be a list, not null"),
        (b'{"sessions": {}}', "page 2, field sessions: must be a list, not an object"),
        (b"[]", "page 2: the response is not a JSON object: check the URL of the API"),
        (page_body(MINIMAL_SESSION, None), "page 2, item 1: must be an object, not null"),
        (page_body(MINIMAL_SESSION, True), "page 2, item 1: must be an object, not a boolean"),
    ],
)
def test_page_of_the_wrong_shape_is_rejected(body: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=f"^{problem}$"):
        decode_page(body, page=2)


decode_session = partial(decode_object, model=Session)


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        (r"\ud800", "\ufffd"),
        (r"\uDC00\ud800x", "\ufffd\ufffdx"),
        (r"\ud800\ud83d\ude00", "\ufffd\U0001f600"),
        (r"\\ud800", r"\ud800"),
    ],
)
def test_half_a_surrogate_pair_is_replaced(text: str, decoded: str) -> None:
    """Whichever library decodes the page."""
    session = {**json.loads(page_body(MINIMAL_SESSION))["sessions"][0], "id": "%", "ref_name": "%"}
    body = json.dumps({"sessions": [session]}).replace("%", text).encode()
    (found,) = decode_page(body).sessions
    assert (found.id, found.ref_name) == (decoded, decoded)


def decode_shop(body: bytes) -> list[Suite]:
    return decode_suites(body, workspace="w", project="p")


@pytest.mark.parametrize(
    ("decode", "body", "problem"),
    [
        (decode_session, b"[]", "the response is not a JSON object: check the URL of the API"),
        (decode_session, b'{"id": "a", "relative_id": "2"}', "field relative_id: must be a whole number, not a string"),
        (decode_shop, b"{}", "field suites: is missing"),
        (decode_shop, b'{"suites": [{}]}', "item 0, field id: is missing"),
        (decode_shop, b'{"suites": [{"id": "a"}, {"id": true, "name": 1}]}', "item 1, field id: must be a string.*"),
        (decode_shop, b'{"suites": ["a"]}', "item 0: must be an object, not a string"),
    ],
)
def test_response_of_the_wrong_shape_is_rejected(decode: Callable[[bytes], Any], body: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=f"^{problem}$") as caught:
        decode(body)
    assert (caught.value.page, caught.value.__context__) == (None, None)


@given(sessions)
def test_session_survives_a_round_trip(session: Session) -> None:
    json_text = json.dumps(to_dict(session))
    assert session_from_dict(json.loads(json_text)) == session
