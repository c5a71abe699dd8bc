"""The requests of `doctor`, at most 15, which only read, and what was received. Each depends on those before it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, TypeAlias

from attrs import field, frozen

from buddy_sessions import BuddyError, Project, RateLimit, RateLimitError, Region, Session, TestCase
from buddy_sessions._api import Api
from buddy_sessions._decoding.converter import decode_list, decode_object, decode_page, decode_suites

from .shapes import Shape, load_json

JsonRow: TypeAlias = dict[str, Any]

MAX_REQUESTS = 15
_SIZE, _DOCUMENTED_SIZE = 100, 20  # of a page
_FINAL = 0, HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS
_MAX_GROUPS = 3  # projects, or suites, in which to look for a session

SESSION_LISTS = "page-1", "page-2", "window", "beyond", "branch"  # the purposes of requests for sessions of a suite
FINISHED = "SUCCESSFUL", "ERROR", "SKIPPED"
_RESPONSES = {**dict.fromkeys((*SESSION_LISTS, "again", "no-branch"), "sessions"), "failed": "cases"}

DECODERS: dict[str, Callable[..., object]] = {
    "projects": partial(decode_list, name="projects", model=Project),
    "suites": partial(decode_suites, workspace="", project=""),
    "sessions": decode_page,
    "session": partial(decode_object, model=Session),
    "cases": partial(decode_list, name="cases", model=TestCase),
    "case": partial(decode_object, model=TestCase),
}


@frozen(kw_only=True, slots=False)
class Exchange:
    """One request and its response. Times are in seconds; `at` is when it ended, by the clock of this machine.

    Without a response, `status` is 0, and `error` says why. The names of `headers` are in lower case.
    """

    purpose: str = ""
    path: tuple[str, ...] = ()
    query: Mapping[str, str | int] = field(factory=dict)
    status: int = 0
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    at: float = 0.0
    error: str = ""
    rate_limit: RateLimit | None = None

    @property
    def name(self) -> str:
        """The name of the documented object in a success."""
        return _RESPONSES.get(self.purpose, self.purpose)

    @cached_property
    def json(self) -> Any:
        """The JSON value in the body; None if it is none."""
        return load_json(self.body)

    @property
    def document(self) -> JsonRow:
        """The JSON object in the body of a success; an empty one if there is none."""
        return self.json if self.status == HTTPStatus.OK and isinstance(self.json, dict) else {}

    @property
    def rows(self) -> list[JsonRow]:
        """The objects in a list; none if there is no such list."""
        rows = self.document.get(self.name)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    @property
    def numbers(self) -> list[int]:
        """The `relative_id` of each session in a list that has a valid one."""
        return [row["relative_id"] for row in self.rows if type(row.get("relative_id")) is int]

    @property
    def size(self) -> int:
        """The size of the page that was asked for."""
        return int(self.query.get("per_page", 0))

    @property
    def server_time(self) -> float | None:
        """The `Date` of the response in Unix seconds; None without a valid one."""
        try:
            return parsedate_to_datetime(self.headers.get("date", "")).timestamp()
        except (ValueError, OverflowError):
            return None

    @property
    def is_disabled(self) -> bool:
        """Whether an error says that the API of the workspace is disabled."""
        return self.status == HTTPStatus.FORBIDDEN and b"disabled" in self.body.lower()

    def scopes(self, kind: str) -> list[str]:
        """Return the scopes in a header, whose name Buddy's documentation spells with an O or a zero."""
        return _split(self.headers.get(f"x-{kind}oauth-scopes") or self.headers.get(f"x-{kind}0auth-scopes", ""))


class Record(dict[str, Exchange]):
    """The exchanges by their purpose. What is cached is for the checks, which begin when all exchanges are there."""

    region: Region | None = None
    """The region of Buddy's API; None for another server."""

    def __missing__(self, purpose: str) -> Exchange:
        """Return an empty exchange for a request that was not necessary."""
        return Exchange()

    @property
    def answered(self) -> list[Exchange]:
        """The exchanges with a response."""
        return [each for each in self.values() if each.status]

    @property
    def asked(self) -> Exchange:
        """The request for what the argument of the command names."""
        return self["page-1"] if "page-1" in self else self["suites"] if "suites" in self else self["projects"]

    @cached_property
    def sessions(self) -> list[JsonRow]:
        """All sessions, each once."""
        return [*{str(row.get("id")): row for name in SESSION_LISTS for row in self[name].rows}.values()]

    @cached_property
    def finished(self) -> list[JsonRow]:
        """All sessions that have finished."""
        return [row for row in self.sessions if row.get("status") in FINISHED]

    def shift_of(self, page: Exchange) -> int:
        """Return how many sessions earlier than expected a page begins, as if so many were created; 0 if unknown."""
        first = self["page-1"]
        listed = sorted({*first.numbers, *self["page-2"].numbers}, reverse=True)
        if not page.numbers or page.numbers[0] not in listed:
            return 0
        size = min(page.size, len(first.rows))  # the server may cut page 1; a window is smaller
        return (int(page.query["page"]) - 1) * size - listed.index(page.numbers[0])

    @cached_property
    def shape(self) -> Shape:
        """The shape of all responses."""
        shape = Shape()
        for each in self.answered:
            name = each.name if each.status == HTTPStatus.OK else "errors"
            shape.add(name, each.body.decode(errors="replace") if each.json is None else each.json)
            lists = {name: _split(text) if "-scopes" in name else text for name, text in each.headers.items()}
            shape.add("headers", lists)
        return shape


def _split(text: str) -> list[str]:
    return text.replace(",", " ").split()


def parse_time(value: object) -> float | None:
    """Return an ISO 8601 time, of which one without a zone is in UTC, in Unix seconds; None if it is none."""
    try:
        moment = datetime.fromisoformat(value.upper()) if isinstance(value, str) else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def number_in(value: object) -> float | None:
    """Return a number of a size with which one can calculate."""
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else None


def seconds_of(row: JsonRow) -> float | None:
    """Return the seconds from the start of a session to its end; None if a date is missing."""
    start, finish = parse_time(row.get("start_date") or row.get("create_date")), parse_time(row.get("finish_date"))
    return None if start is None or finish is None else finish - start


class Probe:
    """Sends requests, and keeps what was received."""

    def __init__(self, api: Api) -> None:
        self.record = Record()
        self.record.region = next((region for region in Region if region.host == api.base_url.host), None)
        self.count = 0
        self._api = api

    async def run(self, target: Sequence[str]) -> None:
        """Send the requests for a suite, a project, a workspace, or without any of these."""
        if not target:
            await self._ask("workspaces", "workspaces")
            return
        root = "workspaces", target[0], "projects"
        projects = await self._ask("projects", *root, page=1, per_page=20)
        for project in target[1:2] or [str(row.get("name")) for row in projects.rows[:_MAX_GROUPS]]:
            suites = await self._ask("suites", *root, project, "unit-tests", "suites")
            for suite_id in target[2:] or [str(row.get("id")) for row in suites.rows[:_MAX_GROUPS]]:
                sessions = *root, project, "unit-tests", "suites", suite_id, "sessions"
                first = await self._ask("page-1", *sessions, page=1, per_page=_SIZE)
                if first.status == HTTPStatus.BAD_REQUEST:
                    first = await self._ask("page-1", *sessions, page=1, per_page=_DOCUMENTED_SIZE)
                if first.rows:
                    await self._read_suite(sessions, first)
                    return

    async def _read_suite(self, sessions: tuple[str, ...], first: Exchange) -> None:
        rows, size, record = first.rows, first.size, self.record
        second = await self._ask("page-2", *sessions, page=2, per_page=size)
        if len(rows) > 1:  # the second half of page 1, or a page across its end
            page, per_page = (3, len(rows) * 2 // 5) if second.rows and len(rows) > 4 else (2, len(rows) // 2)
            await self._ask("window", *sessions, page=page, per_page=per_page)
        branches = Counter(str(row.get("ref_name")) for row in rows if row.get("ref_type") == "BRANCH")
        for name, _ in branches.most_common(1):
            await self._ask("branch", *sessions, page=1, per_page=size, branch=name)
        if any(record.shift_of(record[name]) for name in ("page-2", "window")):
            await self._ask("again", *sessions, page=1, per_page=size)
        end = max(first.numbers, default=0) // len(rows)  # the highest relative_id counts sessions
        await self._ask("beyond", *sessions, page=end + 3, per_page=size)
        await self._ask("no-branch", *sessions, page=1, per_page=size, branch="no-such-branch")
        await self._read_cases(sessions, first)

    async def _read_cases(self, sessions: tuple[str, ...], first: Exchange) -> None:
        """Send the requests for a session, if possible one with failing tests, and for its test cases."""
        finished = [row for row in first.rows if row.get("status") in FINISHED and row.get("tests_count")]
        finished.sort(key=lambda row: not row.get("failed_count"))
        row = (finished or first.rows)[0]
        place, page = (*sessions, str(row.get("id"))), {"page": 1, "per_page": first.size}
        await self._ask("session", *place)
        if not finished:
            return
        cases = (await self._ask("cases", *place, "cases", **page)).rows
        if row.get("failed_count"):
            cases = [*(await self._ask("failed", *place, "cases", **page, status="FAILED")).rows, *cases]
        case = next((each for each in cases if each.get("status") in ("FAILED", "ERROR")), next(iter(cases), {}))
        if case.get("id") is not None and case.get("test_group_id") is not None:
            await self._ask("case", *place, "test-groups", str(case["test_group_id"]), "cases", str(case["id"]))

    async def _ask(self, purpose: str, *path: str, **query: str | int) -> Exchange:
        """Send a request, and return it with its response, or with the error in place of one.

        It replaces an earlier one for the same purpose. Without a connection, a valid token or a quota, no further one
        is sent.
        """
        if self.count == MAX_REQUESTS or any(each.status in _FINAL for each in self.record.values()):
            return Exchange()
        self.count += 1
        started = time.perf_counter()
        received: dict[str, Any]
        try:
            response = await self._api.receive(*path, **query)
            received = {"status": response.status, "headers": response.headers, "body": response.body}
            received["rate_limit"] = response.rate_limit
        except RateLimitError as error:  # the request was not sent
            received = {"status": HTTPStatus.TOO_MANY_REQUESTS, "error": str(error)}
        except (BuddyError, UnicodeEncodeError) as error:  # a name that the server has sent
            received = {"error": str(error)}
        exchange = self.record[purpose] = Exchange(
            purpose=purpose,
            path=path,
            query=query,
            seconds=time.perf_counter() - started,
            at=datetime.now(UTC).timestamp(),
            **received,
        )
        return exchange
