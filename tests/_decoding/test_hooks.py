"""The rules for each field, with each decoder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from buddy_sessions import (
    CIProvider,
    DecodeError,
    RefType,
    ResponseError,
    Session,
    SessionStatus,
    to_dict,
)
from buddy_sessions._decoding.converter import decode_page
from helpers.session_json import MINIMAL_SESSION, page_body, session_body

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
        ("status", "TIMED_OUT", SessionStatus("TIMED_OUT")),
        ("ci_provider", "GITLAB", CIProvider("GITLAB")),
        ("ref_type", "", RefType("")),
    ],
)
def test_value_is_accepted(field: str, value: object, expected: object) -> None:
    found = getattr(decode_one(**{field: value}), field)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400], ids=["2^63", "-2^63-1", "10^400"])
@pytest.mark.parametrize(
    "field", ["id", "relative_id", "duration", "tests_count", "failed_count", "skipped_count", "error_count"]
)
def test_number_beyond_64_bits_is_located(field: str, number: int) -> None:
    rule = "be at least 1" if field == "relative_id" and number < 0 else "fit in 64 bits"
    with pytest.raises(DecodeError, match=f"^item 0, field {field}: must {rule}$"):
        decode_one(**{field: number})
    with pytest.raises(DecodeError, match=r"^item 0, field created_by\.id: must fit in 64 bits$"):
        decode_one(created_by={"id": number})


def test_largest_relative_id_is_located() -> None:
    """The number above it must fit in 64 bits, too."""
    with pytest.raises(DecodeError, match=r"^item 0, field relative_id: must be below 9223372036854775807$"):
        decode_one(relative_id=2**63 - 1)


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_infinite_duration_is_rejected(number: str) -> None:
    with pytest.raises(DecodeError, match="item 0, field duration: must be a finite number"):
        decode_page(session_body("duration", number))


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
    assert decode_one(finish_date=text).finish_date is None


MISSING = object()
WRONG_VALUES: dict[str, list[Any]] = {
    **{f"{field}: is missing": [MISSING] for field in MINIMAL_SESSION},
    "id: must be a string or a whole number, not ": [None, True, 1.5],
    "relative_id: must be a whole number, not ": [None, "7", 1.0, True],
    "relative_id: must be at least 1": [0, -1],
    "status: must be a string, not ": [None, 1],
    "tests_count: must be a whole number, not a ": ["7", True, 1.5, 2.0, [1]],
    "duration: must be a number, not a ": ["1", False],
    "revision: must be a string, not a number": [1],
    "ref_name: must be a string, not an object": [{}],
    "ci_provider: must be a string, not a number": [1],
    "create_date: must be an ISO 8601 time, not ": [
        *(1761028936, "", "yesterday", "2025-10-21", "2025-13-21T06:42:16Z", "0001-01-01T00:00:00+01:00"),
        "2025-10-21ß06:42:16Z",
    ],
    f"create_date: must be an ISO 8601 time, not {'x' * 40!r}": ["x" * 99],
    "created_by: must be an object, not a ": ["John", []],
    "created_by.admin: must be true or false, not a number": [{"admin": 1}],
}


@pytest.mark.parametrize(
    ("problem", "value"), [(problem, value) for problem, values in WRONG_VALUES.items() for value in values]
)
def test_wrong_value_is_located(problem: str, value: Any) -> None:
    field = problem.partition(":")[0]
    wrong = {**MINIMAL_SESSION, field.partition(".")[0]: value}
    if value is MISSING:
        del wrong[field]
    with pytest.raises(DecodeError) as caught:
        decode_page(page_body(MINIMAL_SESSION, wrong, {}), page=3)
    error = caught.value
    assert (error.page, error.item, error.field) == (3, 1, field)
    assert str(error).startswith(f"page 3, item 1, field {problem}")
    assert (error.retryable, error.__context__) == (False, None)


@pytest.mark.parametrize("broken", [b"\xff", b"\xed\xa0\xbd", b"\xc3", b"x\xf0\x9f"])
@pytest.mark.parametrize("field", ["id", "status", "create_date", "created_by", "ref_name", "unknown"])
def test_invalid_utf8_in_a_field_is_an_error(field: str, broken: bytes) -> None:
    with pytest.raises(ResponseError, match=r"^the body is not valid UTF-8: ") as caught:
        decode_page(session_body(field, '"broken"').replace(b"broken", broken))
    assert not caught.value.retryable
    assert caught.value.__context__ is None


def test_to_dict_converts_times_to_utc() -> None:
    moment = datetime(2025, 10, 21, 8, 42, 16, tzinfo=timezone(timedelta(hours=2)))
    session = Session(id="a", relative_id=1, status=SessionStatus.ERROR, create_date=moment)
    assert to_dict(session)["create_date"] == "2025-10-21T06:42:16Z"
