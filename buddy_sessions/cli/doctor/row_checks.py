"""Checks of what sessions and test cases contain: fields, values, dates, ids, and the `data` of a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from itertools import pairwise
from statistics import median

import attrs

from buddy_sessions import (
    CIProvider,
    DecodeError,
    Member,
    Project,
    RefType,
    ResponseError,
    Session,
    SessionStatus,
    Suite,
    TestCase,
    TestStatus,
)
from buddy_sessions._decoding.converter import (
    decode_case,
    decode_cases,
    decode_page,
    decode_projects,
    decode_session,
    decode_suites,
)
from buddy_sessions._decoding.failures import read_failure

from .list_checks import SMALL
from .record import REPORT_IT, SESSION_LISTS, Finding, Level, Record, Row, parse_time, problem, unchecked

_COUNTS = "tests_count", "failed_count", "skipped_count", "error_count"
_FINISHED = SessionStatus.SUCCESSFUL, SessionStatus.ERROR, SessionStatus.SKIPPED
_SECRETS = {"token"}  # of a suite
_ALWAYS = {"url", "html_url", "id", "relative_id", "create_date", "status", *_COUNTS}
"""Fields of sessions without which a part of this package does nothing."""
_USUAL = {"start_date", "duration", "revision", "ref_type", "ref_name"}
_SINGLE = "session", "case"
_SLACK = 120.0  # seconds by which a time may be in the future
_MILLISECONDS = 200  # a ratio above it is no rounding, and no parallel run
_LONG_TEST = 60.0  # seconds
_PAGE = 100

MODELS: dict[str, type] = {
    **dict.fromkeys((*SESSION_LISTS, "default", "branch", "session"), Session),
    **dict.fromkeys(("failed", "cases", "cases-before", "case"), TestCase),
    "projects": Project,
    "suites": Suite,
}
"""What the rows of a response are, by the purpose of its request."""
_DECODERS: dict[str, Callable[[bytes], object]] = {
    **dict.fromkeys((*SESSION_LISTS, "default", "branch"), decode_page),
    **dict.fromkeys(("failed", "cases", "cases-before"), decode_cases),
    "session": decode_session,
    "case": decode_case,
    "projects": decode_projects,
    "suites": partial(decode_suites, workspace="", project=""),
}


def check_fields(record: Record) -> Iterator[Finding]:
    """Check whether this package can decode each response, and which fields are missing or unknown."""
    for purpose, decode in _DECODERS.items():
        exchange = record.get(purpose)
        try:
            if exchange is not None and exchange.status == HTTPStatus.OK:
                decode(exchange.body)
        except DecodeError as error:
            yield problem(f"{purpose}: {error}", "this package cannot read it")
        except ResponseError:  # the check of the connection reports it
            continue
    rows = [row for name in SESSION_LISTS for row in record.rows(name)]
    single, exchange = record.document("session"), record.get("session")
    if exchange is not None and exchange.status == HTTPStatus.NOT_FOUND and len(record.rows("page-1")) > SMALL:
        yield problem("a listed session is not found (404)", "single sessions cannot be read")
    if exchange is not None and single:
        if str(single.get("id")) != exchange.path[-1]:
            yield problem("a single session is another one", "a session that is named is not the one that is read")
        listed = next((row for row in rows if row.get("id") == single.get("id")), {})
        if missing := sorted(listed.keys() - single.keys()):
            yield Finding("note", f"a single session lacks {', '.join(missing[:5])}", "they are None there")
    keys = {name for row in rows for name in row}
    finished = [row for row in rows if row.get("status") in _FINISHED]
    if missing := sorted(name for name in _ALWAYS if rows and all(row.get(name) is None for row in finished or rows)):
        yield problem(f"no session has {', '.join(missing)}", "ages, gates or verdicts need them")
    if len(rows) > 1 and (missing := sorted(_USUAL - keys)):
        yield Finding("note", f"no session has {', '.join(missing)}", "what needs them finds nothing", REPORT_IT)
    if unknown := sorted({*_unknown_fields(record)}):
        yield Finding("note", f"unknown: {', '.join(unknown[:6])}", "this package ignores them", REPORT_IT)
    yield Finding("ok", "as documented") if rows else unchecked("no session")


def check_values(record: Record) -> Iterator[Finding]:
    """Check statuses, kinds and counts."""
    sessions, cases = record.sessions, record.cases
    if not sessions:
        yield unchecked("no session")
        return
    if unknown := _unknown(sessions, "status", SessionStatus):
        yield problem(f"unknown status of sessions: {unknown}", "such a session is neither red nor green")
    if unknown := _unknown(cases, "status", TestStatus):
        yield problem(f"unknown status of test cases: {unknown}", "such a test does not count as failing")
    for row in sessions:
        counts = [value for name in _COUNTS if type(value := row.get(name)) is int]
        is_running = row.get("status") == SessionStatus.IN_PROGRESS
        if len(counts) == len(_COUNTS) and not is_running and (min(counts) < 0 or counts[0] < sum(counts[1:])):
            yield problem(f"#{row['relative_id']}: counts do not add up", "pass rates and gates are wrong")
    failing = [row for row in sessions if row.get("failed_count") or row.get("error_count")]
    green = [row for row in failing if row.get("status") == SessionStatus.SUCCESSFUL]
    if green:
        found = f"{len(green)} of {len(failing)} sessions with failed tests are SUCCESSFUL"
        is_usual = len(green) * 2 > len(failing)
        yield Finding("problem" if is_usual else "note", found, "this package calls them green")
    for name, enum in (("ref_type", RefType), ("ci_provider", CIProvider)):
        if unknown := _unknown(sessions, name, enum):
            yield Finding("note", f"unknown {name}: {unknown}", "it is kept, and is no branch", REPORT_IT)
    yield Finding("ok", ", ".join(sorted({str(row.get("status")) for row in sessions})))


def check_dates(record: Record) -> Iterator[Finding]:
    """Check whether times are in UTC, and durations in seconds."""
    sessions, exchange = record.sessions, record.get("page-1")
    if not sessions or exchange is None:
        yield unchecked("no session")
        return
    dates = [row[name] for row in sessions for name in ("create_date", "start_date", "finish_date") if row.get(name)]
    if invalid := [date for date in dates if parse_time(date) is None or type(date) is not str]:
        yield problem(f"{len(invalid)} times are not ISO 8601", "this package cannot read them")
    created = [moment for row in sessions if (moment := parse_time(row.get("create_date"))) is not None]
    now = max(max(each.server_time or 0, each.at) for each in record.exchanges) + _SLACK
    if created and max(created) > now:
        found = f"the newest session is created {max(created) - now + _SLACK:,.0f} s in the future"
        yield problem(found, "times may be local ones: ages and --since are wrong")
    if sum(lower - upper > _SLACK for upper, lower in pairwise(created)) * 10 > len(created):
        yield problem("dates do not follow relative_id", "--since stops too early")
    lengths = [length for row in sessions if (length := _seconds_of(row)) is not None]
    if early := [length for length in lengths if length < -1]:
        level: Level = "problem" if len(early) * 2 > len(lengths) else "note"
        yield Finding(level, f"{len(early)} sessions finish before they start", "do not rely on these dates")
    if found := _check_durations(record, now):
        yield problem(found, "durations, slow tests and trends are wrong")
    if others := [date for date in map(str, dates) if not date.upper().endswith(("Z", "+00:00"))]:
        found = f"{len(others)} times have another zone than UTC, or none"
        yield Finding("note", found, "this package converts them; without a zone, they count as UTC")
    yield Finding("ok", "times in UTC, durations in seconds")


def _check_durations(record: Record, now: float) -> str:
    """Return what is wrong with durations; empty if nothing is."""
    finished = [row for row in record.sessions if row.get("status") in _FINISHED]
    ratios: list[float] = []
    for row in finished:
        start, seconds = parse_time(row.get("start_date") or row.get("create_date")), _seconds_of(row)
        duration = row.get("duration") or 0
        if not isinstance(duration, int | float) or start is None:
            continue
        if duration < 0:
            return "a duration is negative"
        if seconds is None and start + duration > now:
            return "a session has run for longer than it exists: durations may be in milliseconds"
        if seconds is not None and seconds >= 2:
            ratios.append(duration / seconds)
    if ratios and median(ratios) > _MILLISECONDS:
        return "durations are in milliseconds"
    if len(ratios) > 2 and 0 < median(ratios) < 1 / 30:
        return "durations are in minutes"
    times = [time for row in record.rows("cases") if isinstance(time := row.get("time"), int | float)]
    duration = record.document("session").get("duration")
    is_longer = isinstance(duration, int | float) and max(times, default=0) > max(duration, 1)
    if is_longer and median(times) > _LONG_TEST:  # a session that was imported can be shorter than its tests
        return "a test takes longer than its session: its time may be in milliseconds"
    return ""


def check_case_ids(record: Record) -> Iterator[Finding]:
    """Check whether test cases are listed as they are counted, and what their ids are."""
    single = record.get("session")
    exchanges = [each for name in ("cases", "failed", "cases-before") if (each := record.get(name)) is not None]
    if not exchanges or single is None:
        yield unchecked("no finished session with tests")
        return
    for exchange in exchanges:
        is_deleted = exchange.purpose == "cases-before" and exchange.status == HTTPStatus.NOT_FOUND
        if exchange.status != HTTPStatus.OK and not is_deleted:
            yield problem(f"{exchange.purpose}: status {exchange.status}", "failing tests cannot be read")
    if wrong := [row for row in record.rows("failed") if row.get("status") != "FAILED"]:
        yield problem(f"status=FAILED also lists {len(wrong)} other test cases", "a gate reads all tests")
    session = next((row for row in record.sessions if str(row.get("id")) == exchanges[0].path[-2]), {})
    for name, field in (("cases", "tests_count"), ("failed", "failed_count")):
        expected, listed = session.get(field), len(record.rows(name))
        if record.get(name) is None or type(expected) is not int:
            continue
        is_cut = listed >= 20 and listed % 10 == 0  # a page has 100 test cases, or fewer: the documented size is 20
        if listed > expected or (listed < min(expected, _PAGE) and not is_cut):
            yield problem(f"{listed} test cases are listed, {field} is {expected}", "a gate has no verdict")
    yield from _check_ids(record)


def _check_ids(record: Record) -> Iterator[Finding]:
    """Check whether ids name one test case, and say whether they stay."""
    cases = record.rows("cases")
    for name in ("cases", "cases-before", "failed"):
        ids = Counter((str(row.get("test_group_id")), str(row.get("id"))) for row in record.rows(name))
        if repeated := [each for each, count in ids.items() if count > 1]:
            yield problem(f"{len(repeated)} ids are those of several test cases", "some of them are dropped")
    if lost := [row for row in record.cases if row.get("test_group_id") is None]:
        yield problem(f"{len(lost)} test cases have no test_group_id", "their failures cannot be read")
    listed_ids = {_key(row): row.get("id") for row in cases}
    if any(row.get("id") != listed_ids.get(_key(row), row.get("id")) for row in record.rows("failed")):
        yield problem("the id of a test case differs from response to response", "its failure cannot be read")
    case, asked = record.document("case"), record.get("case")
    if case and asked is not None and str(case.get("id")) != asked.path[-1]:
        yield problem("a single test case is another one", "failures are those of other tests")
    before = {_key(row): row.get("id") for row in record.rows("cases-before")}
    same = [before[_key(row)] == row.get("id") for row in cases if _key(row) in before]
    if not same:
        yield Finding("ok", "two sessions have no test in common, so it is not known whether ids stay")
    stay = "stay" if all(same) else "differ" if not any(same) else "stay for some tests, and differ for others"
    yield Finding("ok", f"ids {stay} from session to session", "this package compares names")


def check_data(record: Record) -> Iterator[Finding]:
    """Check in which format a test case explains its failure."""
    case, exchange = record.document("case"), record.get("case")
    if exchange is not None and exchange.status != HTTPStatus.OK:
        yield problem(f"a single test case results in status {exchange.status}", "messages of failures are missing")
    if not case:
        yield unchecked("no test case was read")
        return
    data = case.get("data")
    is_failing = case.get("status") in ("FAILED", "ERROR")
    if isinstance(data, str) and data.strip():
        form = {"{": "JSON", "<": "XML"}.get(data.lstrip()[0], "another format")
        failure = read_failure(data)
        if failure is not None and not failure.message and not failure.text:
            yield Finding("note", f"{form} without a message", "the cause of the failure is not known")
        elif failure is not None or (not is_failing and form != "another format"):
            yield Finding("ok", form)
        else:
            found = form if form == "another format" else f"{form} without a failure"
            yield problem(f"data of a test is {found}", "messages and causes of failures are missing")
    elif is_failing:
        found = "is missing" if data is None or data == "" else f"is no text, but {type(data).__name__}"
        yield problem(f"data of a failing test {found}", "messages and causes of failures are missing")
    yield unchecked("no failing test was read")


def _seconds_of(row: Row) -> float | None:
    """Return the seconds from the start of a session to its end; None if a date is missing."""
    start, finish = parse_time(row.get("start_date") or row.get("create_date")), parse_time(row.get("finish_date"))
    return None if start is None or finish is None else finish - start


def _unknown_fields(record: Record) -> Iterable[str]:
    """Yield fields that the models do not have."""
    for purpose, model in MODELS.items():
        document = record.document(purpose)
        rows = record.rows(purpose) or ([document] if purpose in _SINGLE else [])
        known = {field.name for field in attrs.fields(model)} | _SECRETS
        yield from {f"{model.__name__}.{name}" for row in rows for name in row.keys() - known}
        if model is Session:
            members = [row["created_by"] for row in rows if isinstance(row.get("created_by"), dict)]
            known = {field.name for field in attrs.fields(Member)}
            yield from {f"Member.{name}" for row in members for name in row.keys() - known}


def _unknown(rows: Sequence[Row], name: str, enum: type[StrEnum]) -> str:
    """Return the values of a field that an enum does not have."""
    values = {str(row[name]) for row in rows if row.get(name) is not None}
    return ", ".join(sorted(values - {member.value for member in enum})[:4])


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in ("test_group_name", "classname", "name"))
