"""The rules for each field, with each decoder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints

import pytest
from attrs import evolve

from buddy_sessions import (
    CIProvider,
    DecodeError,
    Member,
    RefType,
    ResponseError,
    Session,
    SessionStatus,
    to_dict,
)
from buddy_sessions._decoding.converter import InvalidValue, decode_page
from helpers.session_json import FULL_SESSION, MINIMAL_SESSION, page_body, session_body

pytestmark = pytest.mark.usefixtures("each_decoder")


def decode_one(**fields: Any) -> Session:
    (session,) = decode_page(page_body({**MINIMAL_SESSION, **fields})).sessions
    return session


def test_unknown_fields_are_ignored() -> None:
    assert decode_one(flaky_count=3, labels=[{}], created_by={"team": "QA"}) == decode_one(created_by={})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", 7, "7"),
        *(("relative_id", number, number) for number in (1, 2**53 + 1, 2**63 - 2)),
        *(("duration", seconds, seconds) for seconds in (0, 1, 1.5, 2**63 - 1, -(2**63), 1e300)),
        ("relative_id", 7.0, 7),
        ("tests_count", 2.0, 2),
        ("tests_count", -0.0, 0),
        ("created_by", {"id": 1.0}, Member(id=1)),
        ("status", "TIMED_OUT", SessionStatus("TIMED_OUT")),
        ("ci_provider", "GITLAB", CIProvider("GITLAB")),
        ("ref_type", "", RefType("")),
    ],
)
def test_value_is_accepted(field: str, value: object, expected: object) -> None:
    found = getattr(decode_one(**{field: value}), field)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize("value", ["7", True])
@pytest.mark.parametrize("field", get_type_hints(Session))
def test_no_value_is_converted_to_another_type(field: str, value: object) -> None:
    """A field whose annotation is new needs a hook: for `float`, cattrs would accept both values."""
    try:
        found = getattr(decode_one(**{field: value}), field)
    except DecodeError:
        return
    assert found is None or isinstance(found, type(value))


def test_largest_relative_id_is_located() -> None:
    """The number above it must fit in 64 bits, too."""
    with pytest.raises(DecodeError, match=r"^item 0, field relative_id: must be below 9223372036854775807$"):
        decode_one(relative_id=2**63 - 1)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-10-21T06:42:16Z", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
        ("2025-10-21T06:42:16", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
        ("2025-10-21t06:42:16z", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
        ("2025-10-21 06:42:16Z", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
        ("20251021T064216Z", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
        ("2025-10-21T08:42:16+02:00", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
        ("2025-10-21T06:42:16.123Z", datetime(2025, 10, 21, 6, 42, 16, 123000, tzinfo=UTC)),
        ("2025-10-21T06:42:16.123456Z", datetime(2025, 10, 21, 6, 42, 16, 123456, tzinfo=UTC)),
        ("2025-10-21T06:42:16.123456000Z", datetime(2025, 10, 21, 6, 42, 16, 123456, tzinfo=UTC)),
        ("2025-10-21T08:42:59.5+02:00", datetime(2025, 10, 21, 6, 42, 59, 500000, tzinfo=UTC)),
    ],
)
def test_times_are_aware_in_utc(text: str, moment: datetime) -> None:
    finish_date = decode_one(finish_date=text).finish_date
    assert finish_date is not None
    assert finish_date == moment
    assert finish_date.tzinfo is UTC


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00", "1969-12-31T23:59:59Z"])
def test_time_before_the_first_one_is_none(text: str) -> None:
    """It is the zero time of some languages, with which no one can calculate."""
    page = decode_page(page_body({**MINIMAL_SESSION, "finish_date": text}))
    assert (page.sessions[0].finish_date, page.invalid_fields) == (None, {})


MISSING = object()
TOO_LARGE = [2**63, -(2**63) - 1, 10**400]
REQUIRED: dict[str, list[Any]] = {
    **{f"{field}: is missing": [MISSING] for field in MINIMAL_SESSION},
    "id: must be a string or a whole number, not ": [None, True, 1.5],
    "id: must fit in 64 bits": TOO_LARGE,
    "relative_id: must be a whole number, not ": [None, "7", 1.5, True],
    "relative_id: must be at least 1": [0, -1, -1.0],
    "relative_id: must fit in 64 bits": [2**63, 1e300, -(2**63) - 1],
    "status: must be a string, not ": [None, 1],
}
OPTIONAL: dict[str, list[Any]] = {
    "tests_count: must be a whole number, not a ": ["7", True, 1.5, [1]],
    **{f"{name}: must fit in 64 bits": TOO_LARGE for name in ("tests_count", "failed_count", "duration")},
    "error_count: must fit in 64 bits": [1e300],
    "duration: must be a number, not a ": ["1", False],
    "revision: must be a string, not a number": [1],
    "ref_name: must be a string, not an object": [{}],
    "ci_provider: must be a string, not a number": [1],
    "create_date: must be an ISO 8601 time": [
        *(1761028936, "", "yesterday", "2025-10-21", "2025-13-21T06:42:16Z", "0001-01-01T00:00:00+01:00"),
        *("2025-10-21ß06:42:16Z", "x" * 99),
    ],
    "created_by: must be an object, not a ": ["John", []],
    "created_by.admin: must be true or false, not a number": [{"admin": 1, "name": "John"}],
    "created_by.id: must fit in 64 bits": [{"id": number, "name": "John"} for number in TOO_LARGE],
}


def each_of(problems: dict[str, list[Any]]) -> pytest.MarkDecorator:
    found = [(*problem.split(": "), value) for problem, values in problems.items() for value in values]
    return pytest.mark.parametrize(
        ("field", "problem", "value"), found, ids=[f"{each[0]}-{each[2]!r:.20}" for each in found]
    )


@each_of(REQUIRED)
def test_required_value_that_does_not_fit_is_located(field: str, problem: str, value: Any) -> None:
    wrong = {**MINIMAL_SESSION, field: value}
    if value is MISSING:
        del wrong[field]
    with pytest.raises(DecodeError) as caught:
        decode_page(page_body(MINIMAL_SESSION, wrong, {}), page=3)
    error = caught.value
    assert (error.page, error.item, error.field) == (3, 1, field)
    assert str(error).startswith(f"page 3, item 1, field {field}: {problem}")
    assert (error.retryable, error.__context__) == (False, None)


@each_of(OPTIONAL)
def test_optional_value_that_does_not_fit_is_none(field: str, problem: str, value: Any) -> None:
    """All others are there, also those of the same object."""
    name, _, inner = field.partition(".")
    invalid: list[InvalidValue] = []
    page = decode_page(page_body({**FULL_SESSION, name: value}, {**FULL_SESSION, "id": "b"}), invalid=invalid)
    (found,) = invalid
    assert found[:3] == ("session", FULL_SESSION["id"], field)
    assert found.reason.startswith(problem)
    assert page.invalid_fields == {FULL_SESSION["id"]: {field}}
    without = {**FULL_SESSION, name: {**value, inner: None} if inner else None}
    assert page == evolve(
        decode_page(page_body(without, {**FULL_SESSION, "id": "b"})), invalid_fields=page.invalid_fields
    )


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_infinite_duration_is_none(number: str) -> None:
    page = decode_page(session_body("duration", number))
    assert page.sessions[0].duration is None
    assert page.invalid_fields == {MINIMAL_SESSION["id"]: {"duration"}}


@pytest.mark.parametrize("broken", [b"\xff", b"\xed\xa0\xbd", b"\xc3", b"x\xf0\x9f"])
@pytest.mark.parametrize("field", ["id", "status", "create_date", "created_by", "ref_name"])
def test_invalid_utf8_in_a_field_is_an_error(field: str, broken: bytes) -> None:
    with pytest.raises(ResponseError, match=r"^the body is not valid UTF-8: ") as caught:
        decode_page(session_body(field, '"broken"').replace(b"broken", broken))
    assert not caught.value.retryable
    assert caught.value.__context__ is None


def test_to_dict_converts_times_to_utc() -> None:
    moment = datetime(2025, 10, 21, 8, 42, 16, tzinfo=timezone(timedelta(hours=2)))
    session = Session(id="a", relative_id=1, status=SessionStatus.ERROR, create_date=moment)
    assert to_dict(session)["create_date"] == "2025-10-21T06:42:16Z"
