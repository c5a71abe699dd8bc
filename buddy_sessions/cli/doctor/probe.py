"""The requests of `doctor`, at most 15, which only read, and what was received. Each depends on those before it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

from attrs import field, frozen

from buddy_sessions import BuddyError, Project, RateLimit, RateLimitError, Region, ResponseError, Session, TestCase
from buddy_sessions._api import Api
from buddy_sessions._decoding.converter import InvalidValue, decode_list, decode_object, decode_suites
from buddy_sessions._http.rate_limit import parse_http_date

from .shapes import OBJECTS, Shape, load_json

MAX_REQUESTS = 15
_SIZE, _DOCUMENTED_SIZE = 100, 20  # of a page
_FINAL = 0, HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS
_MAX_GROUPS = 3  # projects, or suites, in which to look for a session

SESSION_LISTS = "page-1", "page-2", "window", "beyond", "branch"  # the purposes of requests for sessions of a suite
_RESPONSES = {**dict.fromkeys((*SESSION_LISTS, "again", "no-branch"), "sessions"), "failed": "cases"}

_Model: TypeAlias = Any  # a Project, Suite, Session or TestCase
_DECODERS: dict[str, Callable[..., _Model | list[_Model]]] = {
    "projects": partial(decode_list, name="projects", model=Project),
    "suites": partial(decode_suites, workspace="", project=""),
    "sessions": partial(decode_list, name="sessions", model=Session),
    "session": partial(decode_object, model=Session),
    "cases": partial(decode_list, name="cases", model=TestCase),
    "case": partial(decode_object, model=TestCase),
}


class Decoded(NamedTuple):
    """The content of a response, as this package reads it: models, values that do not fit, and why nothing is read."""

    models: list[_Model]
    invalid: list[InvalidValue]
    error: ResponseError | None = None


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

    @cached_property
    def decoded(self) -> Decoded:
        """What is read from a success."""
        invalid: list[InvalidValue] = []
        if self.status != HTTPStatus.OK or self.name not in _DECODERS:
            return Decoded([], invalid)
        try:
            content = _DECODERS[self.name](self.body, invalid=invalid)
        except ResponseError as error:
            return Decoded([], invalid, error)
        return Decoded(content if isinstance(content, list) else [content], invalid)

    @property
    def is_read(self) -> bool:
        """Whether it is a success that can be read."""
        return self.status == HTTPStatus.OK and self.decoded.error is None

    @property
    def models(self) -> list[_Model]:
        """The objects in a list; or the only one of the response."""
        return self.decoded.models

    @property
    def numbers(self) -> list[int]:
        """The `relative_id` of each session in a list."""
        return [session.relative_id for session in self.models]

    @property
    def size(self) -> int:
        """The size of the page that was asked for."""
        return int(self.query.get("per_page", 0))

    @property
    def server_time(self) -> float | None:
        """The `Date` of the response in Unix seconds; None without a valid one."""
        date = parse_http_date(self.headers.get("date"))
        return None if date is None else date.timestamp()

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
    def sessions(self) -> list[Session]:
        """All sessions, each once."""
        return [*{session.id: session for name in SESSION_LISTS for session in self[name].models}.values()]

    @property
    def finished(self) -> list[Session]:
        """All sessions that have finished."""
        return [session for session in self.sessions if session.is_finished]

    def shift_of(self, page: Exchange) -> int:
        """Return how many sessions too early page 2 of any size begins, as if so many were created; 0 if unknown."""
        first = self["page-1"].numbers
        if not page.numbers or page.numbers[0] not in first:
            return 0
        return min(page.size, len(first)) - first.index(page.numbers[0])  # the server may cut page 1

    @cached_property
    def shape(self) -> Shape:
        """The shape of all responses."""
        shape = Shape()
        for each in self.answered:
            name = each.name if each.status == HTTPStatus.OK else "errors"
            shape.add(name, each.body.decode(errors="replace") if each.json is None else each.json)
            headers = {name: each.headers[name] for name in OBJECTS["headers"] if name in each.headers}
            shape.add("headers", {name: _split(text) if "-scopes" in name else text for name, text in headers.items()})
        return shape


def _split(text: str) -> list[str]:
    return text.replace(",", " ").split()


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
        for project in target[1:2] or [each.name for each in projects.models[:_MAX_GROUPS]]:
            suites = await self._ask("suites", *root, project, "unit-tests", "suites")
            for suite_id in target[2:] or [each.id for each in suites.models[:_MAX_GROUPS]]:
                sessions = *root, project, "unit-tests", "suites", suite_id, "sessions"
                first = await self._ask("page-1", *sessions, page=1, per_page=_SIZE)
                if first.status == HTTPStatus.BAD_REQUEST:
                    first = await self._ask("page-1", *sessions, page=1, per_page=_DOCUMENTED_SIZE)
                if first.models:
                    await self._read_suite(sessions, first)
                    return

    async def _read_suite(self, sessions: tuple[str, ...], first: Exchange) -> None:
        count, size, record = len(first.models), first.size, self.record
        await self._ask("page-2", *sessions, page=2, per_page=size)
        if count > 1:  # the second half of page 1
            await self._ask("window", *sessions, page=2, per_page=count // 2)
        for name, _ in Counter(filter(None, (each.branch for each in first.models))).most_common(1):
            await self._ask("branch", *sessions, page=1, per_page=size, branch=name)
        if any(record.shift_of(record[name]) for name in ("page-2", "window")):
            await self._ask("again", *sessions, page=1, per_page=size)
        end = max(first.numbers) // count  # the highest relative_id counts sessions
        await self._ask("beyond", *sessions, page=end + 3, per_page=size)
        await self._ask("no-branch", *sessions, page=1, per_page=size, branch="no-such-branch")
        await self._read_cases(sessions, first)

    async def _read_cases(self, sessions: tuple[str, ...], first: Exchange) -> None:
        """Send the requests for a session, if possible one with failing tests, and for its test cases."""
        finished = [each for each in first.models if each.is_finished and each.tests_count]
        finished.sort(key=lambda each: not each.failed_count)
        session = (finished or first.models)[0]
        place, page = (*sessions, session.id), {"page": 1, "per_page": first.size}
        await self._ask("session", *place)
        if not finished:
            return
        cases = (await self._ask("cases", *place, "cases", **page)).models
        if session.failed_count:
            cases = [*(await self._ask("failed", *place, "cases", **page, status="FAILED")).models, *cases]
        case = next((each for each in cases if each.is_failing), next(iter(cases), None))
        if case is not None and case.test_group_id is not None:
            await self._ask("case", *place, "test-groups", case.test_group_id, "cases", case.id)

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
        except BuddyError as error:
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
