"""Pages decoded by msgspec: which ones, and that the result is the same as by cattrs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from buddy_sessions import Member, ResponseError, Session, to_dict
from buddy_sessions._decoding import converter
from buddy_sessions._decoding.converter import decode_page, fast_decoder
from helpers.session_json import FULL_SESSION, MINIMAL_SESSION
from helpers.session_strategies import sessions, text

SESSION_FIELDS, MEMBER_FIELDS = ([field.name for field in attrs.fields(model)] for model in (Session, Member))


def decode_by_cattrs(body: bytes, page: int | None = None) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converter, "fast_decoder", lambda: None)
        return decode_page(body, page=page)


def exact(value: Any) -> Any:
    """Return a value that also tells equal objects apart: 1, 1.0 and True; 0.0 and -0.0; UTC and another zone."""
    if attrs.has(type(value)):
        return type(value), [exact(getattr(value, field.name)) for field in attrs.fields(type(value))]
    if isinstance(value, tuple):
        return type(value), [exact(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat(), value.fold, value.tzinfo is UTC
    return type(value), repr(value)


def outcome(decode: Callable[..., Any], body: bytes) -> Any:
    """Return the exact page, or everything that its error says."""
    try:
        return exact(decode(body, page=1))
    except ResponseError as error:
        facts = (getattr(error, name, None) for name in ("page", "item", "field", "retryable"))
        return type(error), str(error), *facts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=4,
)
ODD_NUMBERS = [
    *("0", "-0", "-0.0", "1e0", "1E+2", "10e-1", "0.1e1", "1.0", "1e400", "-1e400", "1e-400", "5e-324", "0.1e-7"),
    *("9007199254740993", "9007199254740993.0", "0.30000000000000004441", "9" * 19, "9" * 20, "-" + "9" * 40),
    *("01", "1.", ".5", "-", "+1", "1e", "0x1", "1_0", "NaN", "Infinity", "-Infinity", "1." + "1" * 5_000),
]
ODD_TEXTS = [
    *('"7"', '""', '"\\ud83d\\ude00"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\/\\b"', '"\\x41"', '"\\u12"'),
    *('"\t"', '"\x7f"', "'x'", '"', '"SUCC\\u0045SSFUL"', '"successful"', '"SUCCESSFUL "', '"TIMED_OUT"', '"BRANCH"'),
]
ODD_REST = ["{}", "[]", "[1,]", '{"a": 1,}', '{"a" 1}', "[[[[]]]]", "true", "True", "nul", "null", "", "/**/1"]
ODD_TIMES = [
    *("2025-10-21T06:42:16", "2025-10-21t06:42:16z", "2025-10-21 06:42:16Z", "2025-10-21ß06:42:16Z"),
    *("2025-W43-2T06:42:16Z", "2025-10-21T24:00:00Z", "2025-10-21T06:42:60Z", "2025-10-21T06:42Z", "2025-10-21T06"),
    *("2025-02-29T06:42:16Z", "0001-01-01T00:00:00Z", "2025-10-21T06:42:16.Z", "2025-10-21T06:42:16,5Z", "2025-10-21"),
    *("9999-12-31T23:59:59.9999999Z", "٢٠٢٥-10-21T06:42:16Z", "2025-10-21T06:42:16Z ", "2025-10-21Z", ""),
    *("20251021T064216Z", "2025-10-21T06:42:16.5+00:00:00.0000009"),
]
ODD_VALUES = [*ODD_NUMBERS, *ODD_TEXTS, *ODD_REST, *map(json.dumps, ODD_TIMES)]

times = st.sampled_from(ODD_TIMES) | st.builds(
    "2025-10-21{}06:42:{}{}{}".format,
    st.sampled_from("Tt _"),
    st.sampled_from(["00", "16", "59"]),
    st.just("") | st.text("0459", max_size=6).map(".{}".format),
    st.sampled_from(
        ["Z", "z", "", "+00:00", "-00:00", "+02:00", "-0330", "+00:00:30", "+23:59", "+24:00", "+02:00:00.5000005"]
    ),
)
tokens = (
    st.sampled_from(ODD_VALUES)
    | times.map(json.dumps)
    | st.tuples(json_values, st.booleans()).map(lambda drawn: json.dumps(drawn[0], ensure_ascii=drawn[1]))
)


@st.composite
def objects(draw: st.DrawFn, fields: dict[str, Any], names: list[str], changes: int) -> str:
    """The text of a JSON object, with some fields changed, left out, added or there twice."""
    ascii_only = draw(st.booleans())
    pairs = [(name, json.dumps(value, ensure_ascii=ascii_only)) for name, value in fields.items()]
    for _ in range(changes):
        change = draw(st.sampled_from(["change", "change", "null", "drop", "add"]))
        if change == "add" or not pairs:
            place = draw(st.integers(0, len(pairs)))
            pairs.insert(place, (draw(st.sampled_from([*names, "flaky_count"])), draw(tokens)))
            continue
        place = draw(st.integers(0, len(pairs) - 1))
        name = pairs.pop(place)[0]
        if change != "drop":
            fitting = times.map(json.dumps) if name.endswith("_date") else tokens
            pairs.insert(place, (name, "null" if change == "null" else draw(fitting | tokens)))
    return "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A page as Buddy sends it, or with a few values of other types and spellings, or with a few bytes changed."""
    items = []
    for session in draw(st.lists(sessions, min_size=1, max_size=3)):
        fields = to_dict(session)
        member = fields.pop("created_by")
        item = draw(objects(fields, SESSION_FIELDS, draw(st.integers(0, 2))))
        if member:
            created_by = draw(objects(member, MEMBER_FIELDS, draw(st.integers(0, 1))))
            item = f'{{"created_by": {created_by}, {item[1:]}'
        items.append(item)
    around = draw(objects({"url": "https://a"}, ["url", "html_url", "sessions"], draw(st.integers(0, 1))))
    body = f'{{"sessions": [{", ".join(items)}], {around[1:]}'.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(body)))
        replacement = draw(
            st.sampled_from([b"", b"\xff", b"\xc3", b'"', b"\\", b"\x00", b"\n", b",", b"}", b"9"])
            | st.binary(max_size=2)
        )
        body = body[:place] + replacement + body[place + draw(st.integers(0, 2)) :]
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 9)) == 9 else body


@given(bodies() | st.binary(max_size=30))
def test_decoders_agree_on_any_page(body: bytes) -> None:
    assume(not re.search(rb":\d\d\.\d{7}", body))  # msgspec rounds to microseconds, cattrs cuts
    # In a field that no model has, msgspec ignores invalid UTF-8.
    repaired = body.decode("utf-8", "replace").encode()
    assert outcome(decode_page, body) in [outcome(decode_by_cattrs, each) for each in (body, repaired)]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_ordinary_pages_are_decoded_by_msgspec(ascii_only: bool) -> None:
    decode = fast_decoder()
    assert decode
    items = [{**FULL_SESSION, "ref_name": "żółw", "status": "TIMED_OUT", "flaky_count": 3}, MINIMAL_SESSION]
    assert decode(json.dumps({"sessions": items}, ensure_ascii=ascii_only).encode())
