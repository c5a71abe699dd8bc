from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddy_sessions import (
    BuddyError,
    CIProvider,
    DecodeError,
    Member,
    RefType,
    ResponseError,
    Session,
    SessionStatus,
    Suite,
    SuiteKey,
    converter,
    fast,
    to_json,
)
from buddy_sessions.converter import decode_page, decode_suites, error_messages

MINIMAL: dict[str, Any] = {"id": "YDnagwGk", "relative_id": 2, "status": "SUCCESSFUL"}

FULL_MEMBER: dict[str, Any] = {
    "url": "https://api.buddy.works/workspaces/w/members/1",
    "html_url": "https://app.buddy.works/w/-/profile/1",
    "id": 1,
    "name": "John Doe",
    "avatar_url": "https://app.buddy.works/a.png",
    "email": "john.doe@company.com",
    "admin": True,
    "workspace_owner": False,
}
FULL: dict[str, Any] = {
    **MINIMAL,
    "url": "https://api.buddy.works/s",
    "html_url": "https://app.buddy.works/s",
    "create_date": "2025-10-21T06:42:16Z",
    "start_date": "2025-10-21T06:42:17Z",
    "finish_date": "2025-10-21T06:43:16Z",
    "created_by": FULL_MEMBER,
    "ci_provider": "GITHUB_ACTION",
    "ci_run_url": "https://github.com/x/y/actions/runs/1",
    "revision": "755b691cfff32e08aba35f2c9b1451ed76cfd583",
    "ref_type": "PULL_REQUEST",
    "ref_name": "pull/7",
    "execution_id": "68f72b4466907cbc77887a08",
    "action_execution_id": "68f72b4466907cbc77887a0a",
    "error_message": "out of memory",
    "duration": 60,
    "tests_count": 109,
    "failed_count": 1,
    "skipped_count": 2,
    "error_count": 3,
}


@pytest.fixture(params=["msgspec", "cattrs"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything holds with the extra `[speed]` and without it."""
    if request.param == "cattrs":
        monkeypatch.setitem(sys.modules, "msgspec", None)
    fast.fast_decoder.cache_clear()
    assert (fast.fast_decoder() is None) == (request.param == "cattrs")
    yield
    fast.fast_decoder.cache_clear()


def page(*items: Any, **rest: Any) -> bytes:
    return json.dumps({"sessions": items, **rest}).encode()


def decode_one(**fields: Any) -> Session:
    (session,) = decode_page(page({**MINIMAL, **fields})).sessions
    return session


@pytest.mark.usefixtures("way")
class TestPages:
    def test_every_field_of_the_api_arrives_under_its_own_name(self) -> None:
        fields, member = FULL, FULL_MEMBER
        decoded = decode_page(page(fields, url="https://a", html_url="https://b"))
        (session,) = decoded.sessions
        assert (decoded.url, decoded.html_url) == ("https://a", "https://b")
        assert session == Session(
            **fields
            | {
                "status": SessionStatus.SUCCESSFUL,
                "ci_provider": CIProvider.GITHUB_ACTION,
                "ref_type": RefType.PULL_REQUEST,
                "created_by": Member(**member),
                "create_date": datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC),
                "start_date": datetime(2025, 10, 21, 6, 42, 17, tzinfo=UTC),
                "finish_date": datetime(2025, 10, 21, 6, 43, 16, tzinfo=UTC),
            }
        )
        assert {name: to_json(session)[name] for name in fields} == fields

    def test_what_is_null_or_missing_is_none(self) -> None:
        optional = {field.name for field in attrs.fields(Session)} - MINIMAL.keys()
        assert decode_one() == decode_one(**dict.fromkeys(optional))
        assert all(getattr(decode_one(), name) is None for name in optional)

    def test_unknown_fields_are_ignored_and_unknown_values_kept(self) -> None:
        session = decode_one(status="TIMED_OUT", ci_provider="GITLAB", ref_type="NOTE", flaky_count=3, labels=[{}])
        assert (session.status, session.ci_provider, session.ref_type) == ("TIMED_OUT", "GITLAB", "NOTE")
        assert to_json(session)["status"] == "TIMED_OUT"
        assert type(to_json(session)["status"]) is str

    def test_a_numeric_id_becomes_its_string(self) -> None:
        assert decode_one(id=7).id == "7"

    @pytest.mark.parametrize("number", [1, 2**31, 2**53, 2**53 + 1, 2**63, 2**80])
    def test_large_numbers_are_exact(self, number: int) -> None:
        assert decode_one(relative_id=number).relative_id == number

    @pytest.mark.parametrize("seconds", [0, 1, 1.5, 2**70])
    def test_a_duration_is_any_number_of_seconds(self, seconds: float) -> None:
        duration = decode_one(duration=seconds).duration
        assert duration == seconds
        assert type(duration) is type(seconds)

    def test_a_duration_that_no_float_can_hold_is_refused(self) -> None:
        with pytest.raises(DecodeError, match="item 0, field duration: must be a number, not inf"):
            decode_page(page({**MINIMAL, "duration": "huge"}).replace(b'"huge"', b"1e999"))

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2025-10-21T06:42:16Z", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
            ("2025-10-21T06:42:16", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
            ("2025-10-21t06:42:16z", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
            ("2025-10-21T08:42:16+02:00", datetime(2025, 10, 21, 6, 42, 16, tzinfo=UTC)),
            ("2025-10-21T06:42:16.123Z", datetime(2025, 10, 21, 6, 42, 16, 123000, tzinfo=UTC)),
            ("2025-10-21T06:42:16.123456Z", datetime(2025, 10, 21, 6, 42, 16, 123456, tzinfo=UTC)),
            ("2025-10-21T06:42:16.12345649Z", datetime(2025, 10, 21, 6, 42, 16, 123456, tzinfo=UTC)),
            ("2025-10-21T06:42:16.1234565Z", datetime(2025, 10, 21, 6, 42, 16, 123457, tzinfo=UTC)),
            ("2025-10-21T06:42:59.999999999Z", datetime(2025, 10, 21, 6, 43, tzinfo=UTC)),
            ("2025-10-21T08:42:59.9999995+02:00", datetime(2025, 10, 21, 6, 43, tzinfo=UTC)),
            ("2025-10-21T06:42:16.5+00:00:00.0000009", datetime(2025, 10, 21, 6, 42, 16, 500000, tzinfo=UTC)),
            ("2025-10-21T064259.9999999Z", datetime(2025, 10, 21, 6, 43, tzinfo=UTC)),
            ("20251021T064259.9999999Z", datetime(2025, 10, 21, 6, 43, tzinfo=UTC)),
        ],
    )
    def test_times_are_aware_in_utc_and_rounded_to_microseconds(self, text: str, moment: datetime) -> None:
        finish_date = decode_one(finish_date=text).finish_date
        assert finish_date is not None
        assert finish_date == moment
        assert finish_date.tzinfo is UTC

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("id", None),
            ("id", True),
            ("id", 1.5),
            ("relative_id", None),
            ("relative_id", "7"),
            ("relative_id", 0),
            ("relative_id", -1),
            ("relative_id", 1.0),
            ("relative_id", True),
            ("status", None),
            ("status", 1),
            ("tests_count", "7"),
            ("tests_count", True),
            ("tests_count", 1.5),
            ("tests_count", 2.0),
            ("tests_count", [1]),
            ("duration", "1"),
            ("duration", False),
            ("revision", 1),
            ("ref_name", {}),
            ("ci_provider", 1),
            ("create_date", 1761028936),
            ("create_date", ""),
            ("create_date", "yesterday"),
            ("create_date", "2025-10-21"),
            ("create_date", "2025-13-21T06:42:16Z"),
            ("create_date", "0001-01-01T00:00:00+01:00"),
            ("create_date", "9999-12-31T23:59:59.9999995Z"),
            ("create_date", "2025-10-21ß06:42:16Z"),
            ("created_by", "John"),
            ("created_by", []),
        ],
    )
    def test_a_wrong_value_is_named_by_page_item_and_field(self, field: str, value: Any) -> None:
        with pytest.raises(DecodeError) as caught:
            decode_page(page(MINIMAL, {**MINIMAL, field: value}, {}), page=3)
        error = caught.value
        assert (error.page, error.item, error.field) == (3, 1, field)
        assert str(error).startswith(f"page 3, item 1, field {field}: must be ")
        assert not error.transient

    def test_numbers_begin_with_one(self) -> None:
        with pytest.raises(DecodeError, match="relative_id: must be a whole number from 1, not 0"):
            decode_one(relative_id=0)

    @pytest.mark.parametrize("field", MINIMAL)
    def test_a_missing_field_that_must_be_there_is_named(self, field: str) -> None:
        item = {name: value for name, value in MINIMAL.items() if name != field}
        with pytest.raises(DecodeError, match=f"page 1, item 0, field {field}: is missing"):
            decode_page(page(item), page=1)

    def test_a_wrong_value_in_a_member_is_named_with_a_dot(self) -> None:
        with pytest.raises(DecodeError, match=r"item 0, field created_by\.admin: must be true or false, not a number"):
            decode_one(created_by={"admin": 1})

    @pytest.mark.parametrize(("item", "kind"), [(None, "null"), ("x", "a string"), (1, "a number"), ([], "a list")])
    def test_an_item_that_is_no_object_is_named(self, item: Any, kind: str) -> None:
        with pytest.raises(DecodeError, match=f"^page 2, item 1: must be an object, not {kind}$"):
            decode_page(page(MINIMAL, item), page=2)

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (b"{}", "page 2, field sessions: is missing"),
            (b'{"sessions": null}', "page 2, field sessions: must be a list, not null"),
            (b'{"sessions": {}}', "page 2, field sessions: must be a list, not an object"),
            (b"[]", "page 2: the answer is not a JSON object"),
            (b"null", "page 2: the answer is not a JSON object"),
        ],
    )
    def test_a_page_of_another_shape_is_a_decode_error(self, body: bytes, problem: str) -> None:
        with pytest.raises(DecodeError, match=f"^{problem}$"):
            decode_page(body, page=2)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b" \n",
            b"<html>busy</html>",
            b'{"sessions": [',
            b'{"sessions": []} x',
            b'{"sessions": [], "x": NaN}',
            b'{"sessions": [], "x": ' + b"[" * 100_000,
            b'{"sessions": [], "x": ' + b"1" * 5_000 + b", }",
        ],
    )
    def test_what_is_no_json_is_a_response_error_that_another_attempt_could_cure(self, body: bytes) -> None:
        with pytest.raises(ResponseError, match=r"the answer is (empty|not JSON)") as caught:
            decode_page(body)
        assert not isinstance(caught.value, DecodeError)
        assert caught.value.transient
        assert len(str(caught.value)) < 400

    def test_a_number_of_more_digits_than_python_converts_fails_only_where_a_field_would_hold_it(self) -> None:
        long = b"1" * 5_000
        assert decode_page(page(MINIMAL, x="long").replace(b'"long"', long)).sessions == (decode_one(),)
        with pytest.raises(DecodeError, match=r"item 1, field tests_count: must be a whole number, not inf"):
            decode_page(page(MINIMAL, {**MINIMAL, "tests_count": "long"}).replace(b'"long"', long))

    @pytest.mark.parametrize("broken", [b"\xff", b"\xed\xa0\xbd", b"\xc3", b"x\xf0\x9f"])
    @pytest.mark.parametrize("name", FULL)
    def test_a_field_that_is_not_utf_8_is_past_cure(self, name: str, broken: bytes) -> None:
        with pytest.raises(ResponseError, match="the answer is not UTF-8") as caught:
            decode_page(session_with(name, '"broken"').replace(b"broken", broken))
        assert not caught.value.transient
        assert caught.value.__context__ is None  # it would keep the answer alive

    @pytest.mark.parametrize("broken", [b"\xff", b"\xed\xa0\xbd", b"\xc3", b"x\xf0\x9f"])
    def test_what_no_field_takes_may_be_no_utf_8(self, broken: bytes) -> None:
        body = page({**MINIMAL, "labels": ["broken"], "broken": 1}, x="broken").replace(b"broken", broken)
        assert decode_page(body).sessions == (decode_one(),)
        with pytest.raises(ResponseError, match="not UTF-8"):
            decode_page(body.replace(b"status", broken))
        with pytest.raises(ResponseError, match="not JSON") as caught:
            decode_page(body[:-1])
        assert caught.value.transient

    def test_a_byte_order_mark_does_no_harm(self) -> None:
        assert decode_page(b"\xef\xbb\xbf" + page(MINIMAL)).sessions

    def test_links_that_are_no_text_are_none(self) -> None:
        assert decode_page(page(url=1, html_url=[])).url is None

    def test_text_beyond_ascii_is_kept(self) -> None:
        body = json.dumps({"sessions": [{**MINIMAL, "ref_name": "żółw/日本"}]}, ensure_ascii=False).encode()
        assert decode_page(body).sessions[0].ref_name == "żółw/日本"


text = st.text(st.characters(codec="utf-8"))
whole = st.integers(0, 2**60)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - UTC is added
seconds = moments.map(lambda moment: moment.replace(microsecond=0)) | moments


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def enum(kind: Any) -> st.SearchStrategy[Any]:
    return (st.sampled_from(list(kind)) | text).map(kind)


members = st.builds(
    Member,
    **{name: maybe(text) for name in ("url", "html_url", "name", "avatar_url", "email")},
    id=maybe(whole),
    admin=maybe(st.booleans()),
    workspace_owner=maybe(st.booleans()),
)
sessions = st.builds(
    Session,
    id=text,
    relative_id=st.integers(1, 2**60),
    status=enum(SessionStatus),
    **{
        name: maybe(text)
        for name in ("url", "html_url", "ci_run_url", "revision", "ref_name", "execution_id", "error_message")
    },
    action_execution_id=maybe(text),
    **{name: maybe(seconds) for name in ("create_date", "start_date", "finish_date")},
    created_by=maybe(members),
    ci_provider=maybe(enum(CIProvider)),
    ref_type=maybe(enum(RefType)),
    duration=maybe(whole | st.floats(0, 1e6)),
    **{name: maybe(whole) for name in ("tests_count", "failed_count", "skipped_count", "error_count")},
)


@given(st.lists(sessions, max_size=3))
def test_sessions_survive_the_way_to_json_and_back(originals: list[Session]) -> None:
    body = page(*map(to_json, originals))
    assert decode_page(body).sessions == tuple(originals)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=4,
)
ODD_NUMBERS = [
    *("0", "-0", "-0.0", "1e0", "1E+2", "10e-1", "0.1e1", "1.0", "1e400", "-1e400", "1e-400", "5e-324", "0.1e-7"),
    *("9007199254740993", "9007199254740993.0", "0.30000000000000004441", "9" * 19, "9" * 20, "-" + "9" * 40),
    *("01", "1.", ".5", "-", "+1", "1e", "0x1", "1_0", "NaN", "Infinity", "-Infinity", "9" * 5_000, "1." + "1" * 5_000),
]
ODD_TEXTS = [
    *('"7"', '""', '"\\ud83d\\ude00"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\/\\b"', '"\\x41"', '"\\u12"'),
    *('"\t"', '"\x7f"', "'x'", '"', '"SUCC\\u0045SSFUL"', '"successful"', '"SUCCESSFUL "', '"TIMED_OUT"', '"BRANCH"'),
]
ODD_REST = ["{}", "[]", "[1,]", '{"a": 1,}', '{"a" 1}', "[[[[]]]]", "true", "True", "nul", "null", "", "/**/1"]
ODD_TIMES = [
    *(
        "2025-10-21T06:42:16",
        "2025-10-21t06:42:16z",
        "2025-10-21 06:42:16Z",
        "2025-10-21ß06:42:16Z",
        "20251021T064216Z",
    ),
    *("2025-W43-2T06:42:16Z", "2025-10-21T24:00:00Z", "2025-10-21T06:42:60Z", "2025-10-21T06:42Z", "2025-10-21T06"),
    *("2025-02-29T06:42:16Z", "0001-01-01T00:00:00Z", "2025-10-21T06:42:16.Z", "2025-10-21T06:42:16,5Z", "2025-10-21"),
    *("9999-12-31T23:59:59.9999999Z", "٢٠٢٥-10-21T06:42:16Z", "2025-10-21T06:42:16Z ", "2025-10-21Z", ""),
]
times = st.sampled_from(ODD_TIMES) | st.builds(
    "2025-10-21{}06:42:{}{}{}".format,
    st.sampled_from("Tt _"),
    st.sampled_from(["00", "16", "59"]),
    st.just("") | st.text("0459", max_size=10).map(".{}".format),
    st.sampled_from(
        ["Z", "z", "", "+00:00", "-00:00", "+02:00", "-0330", "+00:00:30", "+23:59", "+24:00", "+02:00:00.5000005"]
    ),
)
tokens = (
    st.sampled_from(ODD_NUMBERS + ODD_TEXTS + ODD_REST)
    | times.map(json.dumps)
    | st.tuples(json_values, st.booleans()).map(lambda drawn: json.dumps(drawn[0], ensure_ascii=drawn[1]))
)
SESSION_FIELDS, MEMBER_FIELDS = ([field.name for field in attrs.fields(model)] for model in (Session, Member))


@st.composite
def objects(draw: st.DrawFn, fields: dict[str, Any], names: list[str], changes: int) -> str:
    """The text of a JSON object, with some fields changed, left out, added or there twice."""
    ascii_only = draw(st.booleans())
    pairs = [(name, json.dumps(value, ensure_ascii=ascii_only)) for name, value in fields.items()]
    for _ in range(changes):
        kind = draw(st.sampled_from(["change", "change", "null", "drop", "add"]))
        if kind == "add" or not pairs:
            place = draw(st.integers(0, len(pairs)))
            pairs.insert(place, (draw(st.sampled_from([*names, "flaky_count"])), draw(tokens)))
            continue
        place = draw(st.integers(0, len(pairs) - 1))
        name = pairs.pop(place)[0]
        if kind != "drop":
            fitting = times.map(json.dumps) if name.endswith("_date") else tokens
            pairs.insert(place, (name, "null" if kind == "null" else draw(fitting | tokens)))
    return "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    """A page as Buddy sends it, or with a few values of other kinds and spellings, or with a few bytes changed."""
    items = []
    for session in draw(st.lists(sessions, min_size=1, max_size=3)):
        fields = to_json(session)
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


def exact(value: Any) -> Any:
    """Return what tells apart also what is equal: 1, 1.0 and True, 0.0 and -0.0, UTC and another zone of no offset."""
    if attrs.has(type(value)):
        return type(value), [exact(getattr(value, field.name)) for field in attrs.fields(type(value))]
    if isinstance(value, tuple):
        return type(value), [exact(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat(), value.fold, value.tzinfo is UTC
    return type(value), repr(value)


def outcome(body: bytes) -> Any:
    try:
        return exact(decode_page(body, page=1))
    except BuddyError as error:
        facts = (getattr(error, name, None) for name in ("page", "item", "field", "transient"))
        return type(error), str(error), *facts


def session_with(name: str, value: str) -> bytes:
    return page({**MINIMAL, name: 0}).replace(f'"{name}": 0'.encode(), f'"{name}": {value}'.encode())


def check_that_both_ways_agree(body: bytes) -> None:
    fast = outcome(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(converter, "fast_decoder", lambda: None)
        assert outcome(body) == fast


@given(pages() | st.binary(max_size=30))
@example(session_with("create_date", '"2025-10-21T06:42:16.\\u0039999999Z"'))
def test_both_ways_of_decoding_give_the_same_models_and_the_same_errors(body: bytes) -> None:
    check_that_both_ways_agree(body)


@pytest.mark.parametrize(
    "value", ODD_NUMBERS + ODD_TEXTS + ODD_REST + [json.dumps(time) for time in ODD_TIMES], ids=lambda value: value[:30]
)
def test_both_ways_of_decoding_agree_on_every_odd_value_in_every_field(value: str) -> None:
    for name in [*SESSION_FIELDS, "flaky_count"]:
        check_that_both_ways_agree(session_with(name, value))


def python_calls(body: bytes) -> int:
    """Return how many Python functions are called to decode a page: the work, which is the same on every machine."""
    decode_page(body)
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        decode_page(body)
    finally:
        sys.setprofile(before)
    return calls


FAST_PAGES = {
    "nulls": [dict.fromkeys(FULL) | MINIMAL, {**FULL, "created_by": dict.fromkeys(FULL_MEMBER)}],
    "unknown values": [{**FULL, "status": "TIMED_OUT", "ci_provider": "GITLAB", "ref_type": "NOTE"}],
    "unknown fields": [{**FULL, "flaky_count": 3, "labels": [{"name": "x"}]}],
    "text beyond ASCII": [{**FULL, "ref_name": "żółw"}],
    "fractions": [{**FULL, "create_date": "2025-10-21T06:42:16.1234567Z", "duration": 1.5}],
}


@pytest.mark.parametrize("items", FAST_PAGES.values(), ids=list(FAST_PAGES))
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_is_ordinary_in_a_page_does_not_take_it_off_the_fast_path(
    items: list[dict[str, Any]], ascii_only: bool
) -> None:
    decode = fast.fast_decoder()
    assert decode
    assert decode(json.dumps({"sessions": items}, ensure_ascii=ascii_only).encode())


def test_a_member_is_made_once_and_shared() -> None:
    other = {**FULL_MEMBER, "admin": not FULL_MEMBER["admin"]}
    items = [FULL, {**FULL, "created_by": other}, FULL, {**FULL, "created_by": None}]
    first, second, third, nobody = decode_page(page(*items)).sessions
    assert first.created_by is third.created_by
    assert decode_page(page(FULL)).sessions[0].created_by is first.created_by
    assert (first.created_by, second.created_by, nobody.created_by) == (Member(**FULL_MEMBER), Member(**other), None)


def test_members_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_MOST_MEMBERS", 3)

    def member(number: int) -> Member | None:
        return decode_page(page({**FULL, "created_by": {"id": number}})).sessions[0].created_by

    first = member(0)
    assert member(0) is first
    assert [member(number) for number in range(1, 10)] == [Member(id=number) for number in range(1, 10)]
    assert member(0) == first
    assert member(0) is not first


def test_with_msgspec_a_session_costs_one_call() -> None:
    """It sets what is mostly not there."""
    assert python_calls(page(*[FULL] * 101)) - python_calls(page(FULL)) <= 100


def test_without_msgspec_a_session_costs_one_call_for_each_value_that_needs_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For itself and its member, and for its three times."""
    monkeypatch.setattr(converter, "fast_decoder", lambda: None)
    assert python_calls(page(*[FULL] * 101)) - python_calls(page(FULL)) <= 100 * (2 + 3)
    nulls = dict.fromkeys(FULL) | MINIMAL
    assert python_calls(page(*[nulls] * 101)) - python_calls(page(nulls)) <= 100


def test_a_project_lists_its_suites() -> None:
    suite = {"url": "u", "html_url": "h", "id": "65OmRb8v", "identifier": "unit", "name": "Unit tests"}
    body = json.dumps({"url": "x", "html_url": "y", "suites": [suite, {"id": 7}]}).encode()
    first, second = decode_suites(body, workspace="w", project="p")
    assert first == Suite(key=SuiteKey("w", "p", "65OmRb8v"), **suite)
    assert second == Suite(key=SuiteKey("w", "p", "7"), id="7")
    assert to_json(first) == suite


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{}", "field suites: is missing"),
        (b'{"suites": [{}]}', "item 0, field id: is missing"),
        (b'{"suites": [{"id": "a"}, {"id": "b", "name": 1}]}', "item 1, field name: must be a string, not a number"),
        (b'{"suites": ["a"]}', "item 0: must be an object, not a string"),
    ],
)
def test_a_list_of_suites_of_another_shape_is_a_decode_error(body: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=f"^{problem}$"):
        decode_suites(body, workspace="w", project="p")


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b'{"errors": [{"message": "no such suite"}, {"message": "sorry"}]}', ("no such suite", "sorry")),
        (b'{"errors": [{"message": "two\\n  lines"}]}', ("two lines",)),
        (b'{"errors": [{"message": ""}, {"message": 7}, {}, "x", null]}', ()),
        (b'{"errors": null}', ()),
        (b'{"errors": {"message": "x"}}', ()),
        (b"{}", ()),
        (b"[]", ()),
        (b"", ()),
        (b"<html>", ()),
        (b"\xff", ()),
    ],
)
def test_the_messages_of_an_error_are_found_if_there_are_any(body: bytes, messages: tuple[str, ...]) -> None:
    assert error_messages(body) == messages


def test_messages_are_bounded() -> None:
    messages = error_messages(json.dumps({"errors": [{"message": "x" * 10_000}] * 1_000}).encode())
    assert [len(message) for message in messages] == [500] * 10


def test_times_of_other_zones_become_utc_in_json() -> None:
    moment = datetime(2025, 10, 21, 8, 42, 16, tzinfo=timezone(timedelta(hours=2)))
    session = Session(id="a", relative_id=1, status=SessionStatus.ERROR, create_date=moment)
    assert to_json(session)["create_date"] == "2025-10-21T06:42:16Z"
