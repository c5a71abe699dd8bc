"""Servers that are wrong in one point, each with the check of `doctor` that is meant to find it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import formatdate
from itertools import count
from typing import Any, cast

from aiohttp import web

from buddy_sessions.testing import FakeBuddy, Fault
from buddy_sessions.testing.endpoints import SuiteView, cut_page
from buddy_sessions.testing.wire import RecordedRequest
from helpers.accounts import (
    KEY,
    PROJECT,
    Account,
    Change,
    JsonObject,
    add_suite,
    cases,
    error,
    finished,
    header,
    html,
    rows,
    sessions,
    single_case,
)
from helpers.raw_server import http_response


def settings(**values: Any) -> Callable[[FakeBuddy], None]:
    """Return a function that adds the suite, and sets attributes of the server."""

    def prepare(fake: FakeBuddy) -> None:
        add_suite(fake)
        for name, value in values.items():
            setattr(fake, name, value)

    return prepare


def _cut(cut: Callable[[list[JsonObject], int, int], list[JsonObject]]) -> Callable[[RecordedRequest], SuiteView]:
    return lambda _request: SuiteView(cut=cut)


def _without(request: RecordedRequest, name: str) -> str | None:
    """Remove a parameter from a request, and return it."""
    return cast("dict[str, str]", request.query).pop(name, None)


def _ignores(name: str) -> Callable[[FakeBuddy, RecordedRequest], object]:
    return lambda _fake, request: _without(request, name)


def _filters(hides: Callable[[JsonObject, str], bool]) -> Callable[[RecordedRequest], SuiteView]:
    """Return a view that has another filter for a branch."""

    def view(request: RecordedRequest) -> SuiteView:
        branch = _without(request, "branch")
        if branch is None:
            return SuiteView()
        return SuiteView(cut=lambda rows, *page: cut_page([row for row in rows if not hides(row, branch)], *page))

    return view


def _oldest_first(found: list[JsonObject], number: int, size: int) -> list[JsonObject]:
    return cut_page(found[::-1], number, size)


def _twice(found: list[JsonObject], number: int, size: int) -> list[JsonObject]:
    again = [{**row, "id": f"{row['id']}x"} if "relative_id" in row else row for row in found[3:4]]
    return cut_page([*found[:4], *again, *found[4:]], number, size)


def _no_page_after_the_end(request: RecordedRequest, response: web.Response) -> web.Response | None:
    found = json.loads(cast("bytes", response.body))
    is_beyond = any(found.get(name) == [] for name in ("sessions", "cases", "projects"))
    return error(404, "Page not found", response) if is_beyond and request.page > 1 else None


def refuse_pages_after_the_end(fake: FakeBuddy) -> None:
    """Let a server respond with 404 to each page after the end of a list, as some frameworks do."""

    def change_response(request: RecordedRequest) -> None:
        async def handle(_: web.BaseRequest, make_response: Callable[[], web.Response]) -> web.Response:
            response = make_response()
            return _no_page_after_the_end(request, response) or response

        fake.inject(Fault("404 after the end", handle))

    fake.on_request = change_response


def _sets(**values: Any) -> Callable[[JsonObject], None]:
    return lambda row: row.update(values)


def _loses(name: str) -> Callable[[JsonObject], object]:
    return lambda row: row.pop(name, None)


def _undated(request: RecordedRequest, response: web.Response) -> bytes:
    headers = [f"{name}: {value}" for name, value in response.headers.items() if name.startswith(("X-", "Content-T"))]
    return http_response(cast("bytes", response.body), *headers, status=f"{response.status} X")


def date_header(seconds: float) -> Change:
    """Return a change of `Date`, and of the end of the rate limit's window, by so many seconds."""

    def change(_request: RecordedRequest, response: web.Response) -> None:
        response.headers["Date"] = formatdate(time.time() + seconds, usegmt=True)
        if reset := response.headers.get("X-Rate-Limit-Reset"):
            response.headers["X-Rate-Limit-Reset"] = str(int(reset) + int(seconds))

    return change


def _limit(limit: object, remaining: object, reset: Callable[[], object] | str | None) -> tuple[Change, ...]:
    names = ("Limit", "Remaining", "Reset")
    values = (limit, remaining, reset)
    return tuple(
        header(f"X-Rate-Limit-{name}", value if callable(value) or value is None else str(value))
        for name, value in zip(names, values, strict=True)
    )


def _times(change: Callable[[datetime], object]) -> Callable[[JsonObject], None]:
    """Return a change of all dates of a session."""

    def apply(row: JsonObject) -> None:
        for name in ("create_date", "start_date", "finish_date"):
            if row.get(name) is not None:
                row[name] = change(datetime.fromisoformat(row[name]))

    return apply


def _changing_ids() -> Change:
    numbers = count()
    return cases(lambda row: row.update(id=f"{next(numbers):024x}"))


def _equal_ids(_request: RecordedRequest, found: list[JsonObject]) -> None:
    for row in found:
        row["id"], row["test_group_id"] = found[0]["id"], found[0]["test_group_id"]


def _empty_message(row: JsonObject) -> None:
    row["data"] = json.dumps({"name": row["name"], "failure": {"message": "", "stackTrace": ""}})


def _other_case(row: JsonObject) -> None:
    row.update(id="0" * 24, name="another test", status="PASSED")


def _one_more_row(request: RecordedRequest, found: list[JsonObject]) -> None:
    if len(found) == request.per_page:
        found.append({**found[-1], "id": "onemore1", "relative_id": found[-1]["relative_id"] - 1})


def _one_row_less(_request: RecordedRequest, found: list[JsonObject]) -> None:
    del found[:1]


def _passed_only(request: RecordedRequest, found: list[JsonObject]) -> None:
    if request.query.get("status") == "FAILED":
        found.clear()


def _more_rows(_request: RecordedRequest, found: list[JsonObject]) -> None:
    found += [{**found[0], "id": f"{number:024x}", "name": f"more {number}"} for number in range(23)]


_LOCAL = timedelta(hours=2)


def _wrong(check: str, name: str, *changes: Change, **fields: Any) -> Account:
    return Account(name, check, changes=changes, **fields)


WRONG_SERVERS = (
    _wrong("connection", "the certificate is of an unknown authority", tls=True),
    _wrong("connection", "nothing listens on the port", environment={"BUDDY_API_URL": "http://127.0.0.1:1"}),
    _wrong("connection", "a login page responds to everything with HTML and 200", html("<form>Log in</form>")),
    _wrong("connection", "a proxy responds with 502 and HTML", html("Bad gateway", 502)),
    _wrong("token", "the token is unknown: 401", environment={"BUDDY_TOKEN": "unknown"}),
    _wrong(
        "token",
        "403 with the scopes of the token and of the endpoint",
        header("X-OAuth-Scopes", "WORKSPACE, <b>, TOKEN_INFO"),
        header("X-Accepted-0Auth-Scopes", "UNIT_TEST_READ"),
        prepare=settings(scopes=("WORKSPACE",)),
    ),
    _wrong("api", "the API of the workspace is disabled: 403", prepare=settings(api_enabled=False)),
    _wrong("clock", "the server's clock is 3 minutes ahead", date_header(180)),
    _wrong("clock", "no response has a Date", _undated),
    _wrong("suites", "the project has no suites", target=PROJECT, prepare=lambda fake: fake.add_project(*KEY[:2])),
    _wrong("suites", "the suite does not exist", target=f"{PROJECT}/other"),
    _wrong("suites", "the project does not exist", target="acme/other"),
    _wrong("page-size", "per_page is silently reduced to 30", prepare=settings(largest_page=30)),
    _wrong("page-size", "a per_page above 50 is refused with 400", prepare=settings(refuse_above=50)),
    _wrong("page-size", "a page has one row more than requested", rows("sessions", _one_more_row), also=("paging",)),
    _wrong("order", "the oldest session is the first", view=_cut(_oldest_first)),
    _wrong("order", "two sessions have the same relative_id", also=("values", "fields"), view=_cut(_twice)),
    _wrong("paging", "page is ignored: page 2 repeats page 1", before=_ignores("page")),
    _wrong(
        "paging",
        "page 2 begins five rows too late",
        view=_cut(lambda found, number, size: found[(number - 1) * (size + 5) :][:size]),
    ),
    _wrong("branch", "branch is ignored", before=_ignores("branch")),
    _wrong("branch", "branch is a prefix", view=_filters(lambda row, branch: not row["ref_name"].startswith(branch))),
    _wrong("branch", "branch finds nothing", view=_filters(lambda _row, _branch: True)),
    _wrong("end", "after the end: 404", _no_page_after_the_end),
    _wrong(
        "end",
        "after the end: the last page again",
        view=_cut(lambda found, number, size: cut_page(found, min(number, -(-len(found) // size)), size)),
    ),
    _wrong("rate-limit", "no headers of the rate limit", *_limit(None, None, None)),
    _wrong("rate-limit", "Reset is in milliseconds", *_limit(1000, 990, lambda: int(time.time() + 60) * 1000)),
    _wrong("rate-limit", "Reset is seconds from now", *_limit(1000, 990, "60")),
    _wrong("rate-limit", "Remaining is not a number", *_limit(1000, "unlimited", lambda: int(time.time()) + 60)),
    _wrong("rate-limit", "429 after three requests, for an hour", prepare=settings(rate_limit=3, rate_window=3600)),
    _wrong("fields", "a session has an unknown field", sessions(_sets(labels=["nightly"]))),
    _wrong("fields", "duration is a text", sessions(lambda row: row.update(duration=str(row["duration"])))),
    _wrong("fields", "relative_id is missing", sessions(_loses("relative_id"))),
    _wrong("fields", "revision is missing everywhere", sessions(_loses("revision")), also=("values",)),
    _wrong("fields", "test cases have no group", cases(_loses("test_group_id")), also=("case-ids",)),
    _wrong("values", "unknown status of a session", finished(_sets(status="CANCELLED"))),
    _wrong("values", "unknown ref_type", sessions(_sets(ref_type="MERGE_REQUEST"))),
    _wrong("values", "the counts do not add up", finished(lambda row: row.update(failed_count=row["tests_count"] + 5))),
    _wrong(
        "values", "a session with failing tests is SUCCESSFUL", finished(_sets(status="SUCCESSFUL", failed_count=1))
    ),
    _wrong("dates", "dates are local times, called UTC", sessions(_times(lambda date: f"{date + _LOCAL:%FT%T}Z"))),
    _wrong("dates", "durations are in milliseconds", finished(lambda row: row.update(duration=row["duration"] * 1000))),
    _wrong(
        "dates",
        "times of test cases are in milliseconds",
        cases(lambda row: row.update(time=row["time"] * 1000)),
        also=("values", "data", "case-ids"),
    ),
    _wrong("case-ids", "case ids differ in each response", _changing_ids()),
    _wrong("case-ids", "all cases of a list have the same id", rows("cases", _equal_ids)),
    _wrong(
        "case-ids", "fewer failing cases are listed than counted", rows("cases", _one_row_less), also=("values", "data")
    ),
    _wrong("case-ids", "no failing case is listed, although some are counted", rows("cases", _passed_only)),
    _wrong("case-ids", "more than a short page of cases are listed, and fewer counted", rows("cases", _more_rows)),
    _wrong("data", "a single case has no data", single_case(_loses("data"))),
    _wrong("data", "data is neither JSON nor XML", single_case(_sets(data="not ok 1 - adds\n ---\n found: 3\n"))),
    _wrong("data", "data is JSON of an unknown form", single_case(_sets(data='{"result": {"error": "1 != 2"}}'))),
    _wrong("data", "the message is empty", single_case(_empty_message)),
    _wrong("data", "a single case is another one", single_case(_other_case), also=("case-ids",)),
    _wrong("latency", "each response takes more than 2 seconds", target=None, prepare=settings(latency=2.05)),
)
"""Servers that are wrong in one point."""
