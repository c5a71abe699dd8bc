"""The checks of `doctor`: what each looks for, what is fine, what it means if it is not, and what to do. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from itertools import pairwise
from statistics import median
from typing import Literal

from attrs import evolve, field, frozen

from buddy_sessions import DecodeError, RateLimit, Region, SessionStatus
from buddy_sessions.models import case_ids

from .probe import SESSION_LISTS, Record
from .shapes import CONSTANT, NEEDED_SCOPES


@frozen
class Finding:
    """One result of a check: what that means, and what to do; if empty, as in the table of checks."""

    level: Literal["ok", "note", "problem", "unchecked"]
    public: str
    """The result in words and numbers of this package."""
    private: str = ""
    """The rest of it, for people who know the account."""
    meaning: str = field(default="", kw_only=True)
    advice: str = field(default="", kw_only=True)

    @property
    def found(self) -> str:
        """The whole result."""
        return f"{self.public} {self.private}".rstrip()


REPORT_IT = "send the file of --report FILE with an issue"
_LEVELS = "unchecked", "ok", "note", "problem"
_PAGE = 100
_SLOW = 2000  # milliseconds
_COUNTS = "tests_count", "failed_count", "skipped_count", "error_count"
_USED = *_COUNTS, "start_date", "duration", "revision", "ref_type", "ref_name"
_problem, _note, _fact = partial(Finding, "problem"), partial(Finding, "note"), partial(Finding, "ok")


def _connection(record: Record) -> Iterator[Finding]:
    for each in record.values():
        if not each.status:
            advice = "for the certificate of your company, set SSL_CERT_FILE to a file with its authority"
            yield _problem("no response:", each.error, advice=advice if "TLS" in each.error else "")
        elif not isinstance(each.json, dict) and (each.status < HTTPStatus.BAD_REQUEST or each.body.strip()):
            advice = "is it the page of a proxy? Is the base URL …/api?"
            yield _problem(f"{each.purpose}: status {each.status} without JSON", advice=advice)


def _token(record: Record) -> Iterator[Finding]:
    others = " or ".join(f"--region {region}" for region in Region if region != record.region)
    for each in record.values():
        if each.status == HTTPStatus.UNAUTHORIZED:
            advice = "set BUDDY_TOKEN to a personal access token, not the BUDDY_UT_TOKEN of a suite"
            advice += f"; if it is one of another region, add {others}" if record.region else ""
            yield _problem("the token is rejected (401)", advice=advice)
        elif each.status == HTTPStatus.FORBIDDEN and not each.is_disabled and each.purpose != "workspaces":
            has, needs = (", ".join(filter(CONSTANT.fullmatch, each.scopes(kind))) for kind in ("", "accepted-"))
            scopes = f"the token has {has or 'unknown scopes'}; this needs {needs or 'unknown ones'}"
            if each.purpose == "projects":
                yield _note("the token may not list projects (403):", scopes, meaning="only a WORKSPACE needs it")
            else:
                yield _problem(f"the token may not read the {each.name} (403):", scopes)
    if record.answered:
        listed = next(filter(None, (each.scopes("") for each in record.answered)), [])
        yield _fact("accepted, scopes:", ", ".join(listed) or "unknown")
        if further := [scope for scope in listed if scope not in NEEDED_SCOPES]:
            meaning, advice = "this package only reads tests", "a token with UNIT_TEST_READ and PROJECT_READ is enough"
            yield _note("accepted, the token has further rights:", ", ".join(further), meaning=meaning, advice=advice)


def _api(record: Record) -> Iterator[Finding]:
    for each in record.values():
        is_list = each.purpose in ("projects", "suites", "page-1", "page-2", "beyond")  # other checks are about them
        is_missing = is_list and each.status == HTTPStatus.NOT_FOUND
        is_optional = each.purpose == "workspaces" and each.status < HTTPStatus.INTERNAL_SERVER_ERROR
        if each.is_disabled:
            advice = "let an administrator enable the API in the settings of the workspace"
            yield _problem("the API is disabled in the workspace", advice=advice)
        elif each.status not in (0, 200, 401, 403, 429) and not (is_missing or is_optional):
            meaning = f"{each.name} cannot be read completely"
            yield _problem(f"{each.purpose}: status {each.status}", meaning=meaning)


def _clock(record: Record) -> Iterator[Finding]:
    skews = [moment - each.at + each.seconds / 2 for each in record.answered if (moment := each.server_time)]
    skew = median(skews or [0])
    if not skews and record.answered:
        yield _note("no valid Date header", meaning="the clock of this machine counts for the rate limit")
    elif abs(skew) > 60:
        yield _problem(f"the server is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} this machine")


def _suites(record: Record) -> Iterator[Finding]:
    asked = record.asked
    if asked.status == HTTPStatus.NOT_FOUND:
        yield _problem(f"{asked.purpose}: not found (404)")
    if asked.is_read and not asked.models:
        advice = "let its tests upload their results, and try again" if asked.name == "sessions" else ""
        yield _note(f"no {asked.name} to read", meaning="there is nothing to check", advice=advice)


def _page_size(record: Record) -> Iterator[Finding]:
    first, count = record["page-1"], len(record["page-1"].models)
    for each in (first, record["window"]):
        if len(each.models) > each.size:
            yield _problem(f"asked for {each.size} sessions, received {len(each.models)}")
    if count and first.size < _PAGE:
        yield _note(f"per_page=100 is refused, {first.size} is honoured")
    if 0 < len(record["page-2"].models) <= count < first.size:
        yield _note(f"asked for {first.size} sessions, received {count}")


def _order(record: Record) -> Iterator[Finding]:
    for numbers in (record[name].numbers for name in SESSION_LISTS):
        if broken := sum(upper <= lower for upper, lower in pairwise(numbers)):
            yield _problem(f"{broken} of {len(numbers)} sessions are not newest first, by relative_id")


def _paging(record: Record) -> Iterator[Finding]:
    first, again = record["page-1"].numbers, record["again"].numbers
    for each in (record["page-2"], record["window"]):
        shift = record.shift_of(each)
        if shift and not 0 < shift <= max(again, default=first[0]) - first[0]:
            yield _problem(f"page 2 of {each.size} begins {abs(shift)} sessions too {'early' if shift > 0 else 'late'}")


def _branch(record: Record) -> Iterator[Finding]:
    listed, branch = record["branch"], record["branch"].query.get("branch")
    if record["no-branch"].models:
        yield _problem("a branch that does not exist has sessions: the filter is ignored")
    if others := [session for session in listed.models if session.ref_name != branch]:
        yield _problem(f"{len(others)} of {len(listed.models)} sessions of a branch are of another one")
    newest = next((session for session in record["page-1"].models if session.branch == branch), None)
    if listed.is_read and newest is not None and newest.relative_id not in listed.numbers:
        yield _problem("the newest session of a branch is not listed for it", meaning="a verdict may be outdated")


def _end(record: Record) -> Iterator[Finding]:
    if record["beyond"].models:
        yield _problem("a page after the end is no empty list")
    elif record["beyond"].status == HTTPStatus.NOT_FOUND:
        yield _note("a page after the end is a 404", meaning="it is read as an empty page")


def _rate_limit(record: Record) -> Iterator[Finding]:
    for index, each in enumerate(record.values()):
        if each.status == HTTPStatus.TOO_MANY_REQUESTS:
            meaning, advice = "the rate limit is used up, also by other tools", "wait, and try again"
            yield _problem(f"no requests remain, after {index} requests", meaning=meaning, advice=advice)
    reported = [(each.rate_limit, each.server_time or each.at) for each in record.answered if each.rate_limit]
    limit, now = reported[-1] if reported else (RateLimit(), 0.0)
    if limit.remaining is None or limit.reset_at is None:
        if record.answered:
            yield _note("X-Rate-Limit-Remaining or -Reset is missing, or not a number of seconds")
    elif (seconds := limit.reset_at.timestamp() - now) < -5:
        yield _problem("the reset is in the past, or not a Unix time")
    else:
        count = f"{max(limit.limit or 0, limit.remaining):,} requests, {limit.remaining:,} remain"
        yield _fact(f"{count}, {seconds:,.0f} s until the reset")


def _fields(record: Record) -> Iterator[Finding]:
    for each in record.values():
        error = each.decoded.error
        if isinstance(error, DecodeError):  # the check of the connection reports what is no JSON
            yield _problem(f"{each.purpose}: {error.field or 'the object'}", str(error))
    invalid = (value for each in record.values() for value in each.decoded.invalid)
    counts = Counter(f"{each.model}.{each.field} {each.reason}" for each in invalid)
    if counts:
        values = "; ".join(f"{what} ({count})" for what, count in counts.items())
        yield _problem(values, meaning="these values are read as None")
    missing = sorted(name for name in _USED if all(getattr(each, name) is None for each in record.finished))
    if len(record.finished) > 1 and missing:
        yield _note(f"no session has {', '.join(missing)}", meaning="what needs them finds nothing")
    if unknown := sorted(record.shape.unknown_fields):
        yield _note(f"unknown: {len(unknown)}", f"({', '.join(unknown[:6])})")


def _values(record: Record) -> Iterator[Finding]:
    for name, unknown in record.shape.unknown_values.items():
        values = ", ".join(unknown)
        if name in ("session.status", "case.status"):
            yield _problem(f"unknown {name}:", values, meaning="it counts as neither red nor green")
        elif name.startswith("session."):
            yield _note(f"unknown {name}:", values, meaning="it is kept")
    counts = [[getattr(session, name) for name in _COUNTS] for session in record.finished]
    if wrong := [each for each in counts if None not in each and (min(each) < 0 or each[0] < sum(each[1:]))]:
        yield _problem(f"the counts of {len(wrong)} sessions do not add up")
    failing = [each for each in record.finished if each.failing_count]
    green = [each for each in failing if each.status == SessionStatus.SUCCESSFUL]
    if len(green) * 2 > len(failing):
        yield _problem(f"{len(green)} of {len(failing)} sessions with failing tests are SUCCESSFUL")


def _dates(record: Record) -> Iterator[Finding]:
    now = max((max(each.server_time or 0, each.at) for each in record.values()), default=0)  # by the later clock
    created = [each.create_date.timestamp() for each in record.sessions if each.create_date]
    if (ahead := max(created, default=0) - now) > 120:
        yield _problem(f"the newest session is created {ahead:,.0f} s in the future: times may be local ones")
    ratios = [
        each.duration / length
        for each in record.sessions
        if each.duration is not None and each.finish_date and (start := each.start_date or each.create_date)
        if (length := (each.finish_date - start).total_seconds()) >= 2
    ]
    if ratios and median(ratios) > 200:  # a ratio above it is no rounding, and no parallel run
        yield _problem("durations are in milliseconds")
    seconds = [case.time for case in record["cases"].models if case.time is not None]
    duration = next((each.duration for each in record["session"].models), None)
    if seconds and duration is not None and median(seconds) > max(duration, 1):
        yield _problem("most tests take longer than their session: their times may be in milliseconds")


def _case_ids(record: Record) -> Iterator[Finding]:
    for each, name in ((record["cases"], "tests_count"), (record["failed"], "failed_count")):
        cases, listed = each.models, len(each.models)
        expected = next((getattr(session, name) for session in record["session"].models), None)
        is_cut = listed >= 20 and listed % 10 == 0  # a page may have fewer than 100: the documented size is 20
        if each.is_read and expected is not None and not is_cut and listed != min(expected, _PAGE):
            yield _problem(f"{listed} test cases are listed, {name} is {expected}")
        if len({*map(case_ids, cases)}) < listed:
            yield _problem("several test cases have the same id")
        if lost := [case for case in cases if case.test_group_id is None]:
            yield _problem(f"{len(lost)} test cases have no test_group_id")
    ids = {case.key: case.id for case in record["cases"].models}
    if any(case.id != ids.get(case.key, case.id) for case in record["failed"].models):
        yield _problem("the id of a test case differs from response to response")
    if any(case.id != record["case"].path[-1] for case in record["case"].models):
        yield _problem("a single test case is another one", meaning="failures are those of other tests")


def _data(record: Record) -> Iterator[Finding]:
    for case in record["case"].models:
        text, failure = (case.data or "").strip(), case.failure
        form = {"{": "JSON", "<": "XML"}.get(text[:1], "another format")
        if case.is_failing and not text:
            yield _problem("data of a failing test is missing")
        elif case.is_failing and failure is None:
            yield _problem(f"data of a test is {form}, without a known failure")
        elif failure is not None and not failure.message and not failure.text:
            yield _note(f"{form} without a message")


def _latency(record: Record) -> Iterator[Finding]:
    times = [1000 * each.seconds for each in record.answered]
    if times:
        find = _note if median(times) > _SLOW else _fact
        yield find(f"{median(times):,.0f} ms, at most {max(times):,.0f} ms")


_NEEDS: dict[str, Callable[[Record], object]] = {
    "no response": lambda record: record.answered,
    "no SUITE, PROJECT or WORKSPACE is given, or it cannot be read": lambda record: record.asked.is_read,
    "no session": lambda record: record["page-1"].models,
    "no finished session with tests": lambda record: record["cases"].is_read,
    "no test with data was read": lambda record: [case for case in record["case"].models if case.data],
}
"""What a check needs, by the reason why there is nothing to look at."""


@frozen
class Check:
    """A row of the table: `find` yields what is wrong, and without `needs`, there is nothing to look at."""

    find: Callable[[Record], Iterator[Finding]]
    needs: str
    fine: str
    meaning: str
    advice: str = REPORT_IT


_RESPONSE, _TARGET, _SESSION, _CASES, _CASE = _NEEDS
_NOTHING = "nothing can be read"
_LOSES = "a read may miss sessions or repeat them"
_NETWORK = "the network, a proxy or the base URL is wrong"
_URL = "check the base URL, HTTPS_PROXY and NO_PROXY"
_SCOPES = (
    "create a token with the scopes UNIT_TEST_READ and PROJECT_READ (formerly UNIT_TEST_INFO and WORKSPACE), "
    "for this workspace"
)
_NAMES = "check the names, and that the owner of the token can see them"

CHECKS = {
    "connection": Check(_connection, _RESPONSE, "all responses are JSON", _NETWORK, _URL),
    "token": Check(_token, _RESPONSE, "", _NOTHING, _SCOPES),
    "api": Check(_api, _TARGET, "enabled", _NOTHING, "try again later; if it stays, " + REPORT_IT),
    "clock": Check(_clock, _RESPONSE, "the clocks agree", "ages and --since are wrong", "set the clock"),
    "suites": Check(_suites, _TARGET, "visible", _NOTHING, _NAMES),
    "page-size": Check(_page_size, _SESSION, "as requested", "reads take more requests, or miss sessions"),
    "order": Check(_order, _SESSION, "newest first, by relative_id", _LOSES),
    "paging": Check(_paging, _SESSION, "pages continue each other", _LOSES),
    "branch": Check(_branch, _SESSION, "a branch has its own sessions only", "all sessions are read for a branch"),
    "end": Check(_end, _SESSION, "a page after the end is empty", "the end cannot be found, or sessions are repeated"),
    "rate-limit": Check(_rate_limit, _RESPONSE, "", "the rate limit is not respected until a 429"),
    "fields": Check(_fields, _SESSION, "as documented", "this package ignores them, or cannot read the response"),
    "values": Check(_values, _SESSION, "as documented", "statuses, pass rates and gates are wrong"),
    "dates": Check(_dates, _SESSION, "times and durations as documented", "ages, --since and durations are wrong"),
    "case-ids": Check(_case_ids, _CASES, "each test case has an id, and is listed once", "failures cannot be read"),
    "data": Check(_data, _CASE, "in a known format", "messages and causes of failures are missing"),
    "latency": Check(_latency, _RESPONSE, "", "a read of many suites takes long", "is a proxy slow?"),
}


def examine(record: Record) -> dict[str, Finding]:
    """Return what each check has found: its worst finding, or the first of equally bad ones."""
    worst: dict[str, Finding] = {}
    for name, check in CHECKS.items():
        fine = Finding("ok", check.fine) if _NEEDS[check.needs](record) else Finding("unchecked", check.needs)
        finding = max([*check.find(record), fine], key=lambda each: _LEVELS.index(each.level))
        if finding.level in ("note", "problem"):
            finding = evolve(finding, meaning=finding.meaning or check.meaning, advice=finding.advice or check.advice)
        worst[name] = finding
    return worst
