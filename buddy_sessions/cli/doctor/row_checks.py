"""Checks of what sessions and test cases contain: fields, values, dates, ids, and the `data` of a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from http import HTTPStatus
from statistics import median

import attrs

from buddy_sessions import (
    CIProvider,
    DecodeError,
    Project,
    RefType,
    ResponseError,
    Session,
    SessionStatus,
    Suite,
    TestCase,
    TestStatus,
)
from buddy_sessions._decoding.converter import decode_list, decode_object, decode_page, decode_suites
from buddy_sessions._decoding.failures import read_failure
from buddy_sessions._decoding.hooks import fields_of

from .record import REPORT_IT, SESSION_LISTS, Finding, Record, Row, parse_time, problem, unchecked

COUNTS = fields_of(Session, int | None)
_DATES = fields_of(Session, datetime | None)
_OPTIONAL = {*COUNTS, "start_date", "duration", "revision", "ref_type", "ref_name"}
"""Fields of sessions that some part of this package needs, and that may be missing."""
_FINISHED = SessionStatus.SUCCESSFUL, SessionStatus.ERROR, SessionStatus.SKIPPED
_SECRETS = {"token"}  # of a suite
_SLACK = 120.0  # seconds by which a time may be in the future
_MILLISECONDS = 200  # a ratio above it is no rounding, and no parallel run
_PAGE = 100

FORMS: dict[str, tuple[type, Callable[[bytes], object]]] = {
    **dict.fromkeys(SESSION_LISTS, (Session, decode_page)),
    **dict.fromkeys(("failed", "cases"), (TestCase, partial(decode_list, name="cases", model=TestCase))),
    "session": (Session, partial(decode_object, model=Session)),
    "case": (TestCase, partial(decode_object, model=TestCase)),
    "projects": (Project, partial(decode_list, name="projects", model=Project)),
    "suites": (Suite, partial(decode_suites, workspace="", project="")),
}
"""The model of the rows in a response, and the function that decodes it, by the purpose of the request."""


def check_fields(record: Record) -> Iterator[Finding]:
    """Check whether this package can decode each response, and which fields are missing or unknown."""
    unknown: set[str] = set()
    for purpose, (model, decode) in FORMS.items():
        exchange = record.get(purpose)
        if exchange is None or exchange.status != HTTPStatus.OK:
            continue
        try:
            decode(exchange.body)
        except DecodeError as error:
            yield problem(f"{purpose}: {error}", "this package cannot read it")
        except ResponseError:  # the check of the connection reports it
            continue
        rows = [record.document(purpose)] if purpose in ("session", "case") else record.rows(purpose)
        known = {field.name for field in attrs.fields(model)} | _SECRETS
        unknown |= {f"{model.__name__}.{name}" for row in rows for name in row.keys() - known}
    if record.status("session") == HTTPStatus.NOT_FOUND:
        yield problem("a listed session is not found (404)", "single sessions cannot be read")
    finished = [row for row in record.sessions if row.get("status") in _FINISHED]
    missing = sorted(name for name in _OPTIONAL if all(row.get(name) is None for row in finished))
    if len(finished) > 1 and missing:
        yield Finding("note", f"no session has {', '.join(missing)}", "what needs them finds nothing", REPORT_IT)
    if unknown:
        found = f"unknown: {', '.join(sorted(unknown)[:6])}"
        yield Finding("note", found, "this package ignores them", REPORT_IT)
    yield Finding("ok", "as documented") if record.sessions else unchecked("no session")


def check_values(record: Record) -> Iterator[Finding]:
    """Check statuses, kinds and counts."""
    sessions = record.sessions
    for rows, name, enum in (
        (sessions, "status", SessionStatus),
        (record.cases, "status", TestStatus),
        (sessions, "ref_type", RefType),
        (sessions, "ci_provider", CIProvider),
    ):
        values = {str(row[name]) for row in rows if row.get(name) is not None}
        if unknown := sorted(values - {member.value for member in enum}):
            found = f"unknown {name}: {', '.join(unknown[:4])}"
            meaning = "it counts as neither red nor green" if name == "status" else "it is kept"
            yield Finding("problem" if name == "status" else "note", found, meaning, REPORT_IT)
    finished = [row for row in sessions if row.get("status") in _FINISHED]
    counts = [each for row in finished if len(each := _counts(row)) == len(COUNTS)]
    if wrong := [each for each in counts if min(each) < 0 or each[0] < sum(each[1:])]:
        yield problem(f"the counts of {len(wrong)} sessions do not add up", "pass rates and gates are wrong")
    failing = [row for row in finished if row.get("failed_count") or row.get("error_count")]
    green = [row for row in failing if row.get("status") == SessionStatus.SUCCESSFUL]
    if len(green) * 2 > len(failing):
        found = f"{len(green)} of {len(failing)} sessions with failed tests are SUCCESSFUL"
        yield problem(found, "this package calls them green")
    yield Finding("ok", "as documented") if sessions else unchecked("no session")


def check_dates(record: Record) -> Iterator[Finding]:
    """Check whether times are in UTC, and durations in seconds."""
    sessions = record.sessions
    if not sessions:
        yield unchecked("no session")
        return
    now = max(max(each.server_time or 0, each.at) for each in record.exchanges)
    ahead = max((parse_time(row.get("create_date")) or 0) - now for row in sessions)
    if ahead > _SLACK:
        found = f"the newest session is created {ahead:,.0f} s in the future"
        yield problem(found, "times may be local ones: ages and --since are wrong")
    lengths = [(length, row) for row in sessions if (length := _seconds_of(row)) is not None]
    if early := [length for length, _ in lengths if length < -1]:
        yield Finding("note", f"{len(early)} sessions finish before they start", "do not rely on these dates")
    durations = [(length, row["duration"]) for length, row in lengths if isinstance(row.get("duration"), int | float)]
    ratios = [duration / length for length, duration in durations if length >= 2]
    wrong = "durations, slow tests and trends are wrong"
    if ratios and median(ratios) > _MILLISECONDS:
        yield problem("durations are in milliseconds", wrong)
    times = [time for row in record.rows("cases") if isinstance(time := row.get("time"), int | float)]
    duration = record.document("session").get("duration")
    if times and isinstance(duration, int | float) and median(times) > max(duration, 1):
        yield problem("most tests take longer than their session: their times may be in milliseconds", wrong)
    dates = [str(row[name]) for row in sessions for name in _DATES if row.get(name)]
    if others := [date for date in dates if not date.upper().endswith(("Z", "+00:00"))]:
        found = f"{len(others)} times have another zone than UTC, or none"
        yield Finding("note", found, "this package converts them; without a zone, they count as UTC")
    yield Finding("ok", "times in UTC, durations in seconds")


def check_case_ids(record: Record) -> Iterator[Finding]:
    """Check whether test cases are listed as they are counted, and whether ids name one test case."""
    session = record.document("session")
    if record.get("cases") is None:
        yield unchecked("no finished session with tests")
        return
    for name, field in (("cases", "tests_count"), ("failed", "failed_count")):
        exchange, expected, rows = record.get(name), session.get(field), record.rows(name)
        if exchange is None:
            continue
        if exchange.status != HTTPStatus.OK:
            yield problem(f"{name}: status {exchange.status}", "failing tests cannot be read")
        is_cut = len(rows) >= 20 and len(rows) % 10 == 0  # a page may have fewer than 100: the documented size is 20
        if type(expected) is int and not is_cut and len(rows) != min(expected, _PAGE):
            yield problem(f"{len(rows)} test cases are listed, {field} is {expected}", "a gate has no verdict")
        if len({(str(row.get("test_group_id")), str(row.get("id"))) for row in rows}) < len(rows):
            yield problem("several test cases have the same id", "some of them are dropped")
    if lost := [row for row in record.cases if row.get("test_group_id") is None]:
        yield problem(f"{len(lost)} test cases have no test_group_id", "their failures cannot be read")
    listed_ids = {_key(row): row.get("id") for row in record.rows("cases")}
    if any(row.get("id") != listed_ids.get(_key(row), row.get("id")) for row in record.rows("failed")):
        yield problem("the id of a test case differs from response to response", "its failure cannot be read")
    case, asked = record.document("case"), record.get("case")
    if case and asked is not None and str(case.get("id")) != asked.path[-1]:
        yield problem("a single test case is another one", "failures are those of other tests")
    yield Finding("ok", "each test case has an id, and is listed once")


def check_data(record: Record) -> Iterator[Finding]:
    """Check in which format a test case explains its failure."""
    case, exchange = record.document("case"), record.get("case")
    if exchange is None:
        yield unchecked("no test case was read")
        return
    meaning = "messages and causes of failures are missing"
    if exchange.status != HTTPStatus.OK:
        yield problem(f"a single test case results in status {exchange.status}", meaning)
    data, is_failing = case.get("data"), case.get("status") in ("FAILED", "ERROR")
    text = data.strip() if isinstance(data, str) else ""
    form, failure = {"{": "JSON", "<": "XML"}.get(text[:1], "another format"), read_failure(text)
    if is_failing and not text:
        yield problem("data of a failing test is missing", meaning)
    elif failure is None and text and (is_failing or form == "another format"):
        yield problem(f"data of a test is {form}, without a known failure", meaning)
    elif failure is not None and not failure.message and not failure.text:
        yield Finding("note", f"{form} without a message", "the cause of the failure is not known")
    yield Finding("ok", form) if text else unchecked("no failing test was read")


def _counts(row: Row) -> list[int]:
    return [value for name in COUNTS if type(value := row.get(name)) is int]


def _seconds_of(row: Row) -> float | None:
    """Return the seconds from the start of a session to its end; None if a date is missing."""
    start, finish = parse_time(row.get("start_date") or row.get("create_date")), parse_time(row.get("finish_date"))
    return None if start is None or finish is None else finish - start


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in ("test_group_name", "classname", "name"))
