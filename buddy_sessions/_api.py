"""The endpoints of Buddy's API that this package reads: their URLs, decoders and body limits.

The arguments of each method are valid: `BuddyClient` has checked them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from attrs import evolve
from yarl import URL

from ._base.figures import Fetched, Stats
from ._base.validate import validate_case
from ._base.workers import map_concurrently
from ._decoding.converter import (
    DecodedPage,
    decode_list,
    decode_object,
    decode_page,
    decode_suites,
)
from ._http.responses import Response
from ._http.transport import MAX_LONG_BODY, OnSize, Transport
from ._paging.case_paginator import CasePaginator, CasePlan
from ._paging.pacing import DOCUMENTED_SIZE, PageSize, RequestSlots, ServerTraits, Window
from ._paging.paginator import PageReader
from ._paging.reconciler import Reconciler
from ._paging.requests import FetchPage, PageRequests, take_404_as_end
from ._paging.selection import ReadSpec
from .errors import BadRequestError, ConfigError, NotFoundError, ResponseError
from .models import FAILING, Cursor, Project, Session, Suite, SuiteKey, TestCase, TestStatus

_T = TypeVar("_T")

_PROJECT_QUERIES: tuple[tuple[int, dict[str, str | None]], ...] = (
    (100, {"sort_by": "create_date", "sort_direction": "ASC"}),  # new projects come at the end
    (DOCUMENTED_SIZE, {}),
)
"""The page size and the order to ask for in a list of projects; the second if the server refuses the first."""
_MAX_PROJECT_READS = 3

_log = logging.getLogger("buddy_sessions")


def failing_statuses(session: Session) -> Sequence[TestStatus]:
    """Return the statuses of failing tests that a session may list: those it counts; both if a red one counts none."""
    counts = zip(FAILING, (session.failed_count, session.error_count), strict=True)
    counted = [status for status, count in counts if count != 0]
    return counted or (FAILING if session.is_failing else ())


class Api:
    """Buddy's API, as one client reads it."""

    def __init__(
        self, transport: Transport, base_url: URL, *, per_page: int, read_ahead: int, max_concurrency: int
    ) -> None:
        self.max_concurrency = max_concurrency
        self.transport = transport
        self.base_url = base_url
        self._per_page = per_page
        self._read_ahead = read_ahead
        self._traits = ServerTraits()
        self._case_traits = ServerTraits()

    @property
    def now(self) -> datetime:
        """The time by the clock of the server, as of the last response; by that of this machine if none has a date."""
        return self.transport.server_time or datetime.now(UTC)

    async def receive(self, *path: str, **query: str | int) -> Response:
        """Send one request to the endpoint below these names, and return its response as it is, whatever the status.

        Raises `TransportError` or `ResponseError` if there is none, and `RateLimitError` if it may not be sent yet.
        """
        return await self.transport.get_once(endpoint_url(self.base_url, *path).with_query(query))

    async def projects(self, workspace: str) -> list[Project]:
        """Return the projects of a workspace, each once.

        Nothing in this list shows a gap, so it is read until two reads agree, at most three times.
        """
        url = endpoint_url(self.base_url, "workspaces", workspace, "projects")
        queries = [*_PROJECT_QUERIES]
        projects: dict[str, Project] = {}
        previous: set[str] | None = None
        for _ in range(_MAX_PROJECT_READS):
            listed = await self._read_projects(url, queries)
            if set(listed) == previous:
                return [*listed.values()]
            previous = set(listed)
            projects |= listed
        _log.warning("the projects of %s changed while they were read: some may be missing; try again later", workspace)
        return [*projects.values()]

    async def _read_projects(self, url: URL, queries: list[tuple[int, dict[str, str | None]]]) -> dict[str, Project]:
        """Return the listed projects by name. Queries that the server refuses are removed."""
        projects: dict[str, Project] = {}
        decode = partial(decode_list, name="projects", model=Project)
        page = 1
        while True:
            per_page, order = queries[0]
            fetch = self._page_fetcher(url, order, decode, empty=list[Project]())
            try:
                listed = (await fetch(Window(page, per_page))).result()
            except BadRequestError:
                if len(queries) == 1:
                    raise
                del queries[0]
                projects, page = {}, 1
                continue
            new = {project.name: project for project in listed if project.name not in projects}
            if not new:  # a short page is not the end: a server may hide projects
                return projects
            projects |= new
            page += 1

    async def suites(self, workspace: str, project: str | None) -> list[Suite]:
        """Return the suites of a project; for None, of all projects of the workspace."""
        if project is None:
            names = [each.name for each in await self.projects(workspace)]
            read = partial(self._visible_suites, workspace)
            lists = await map_concurrently(read, names, concurrency=self.max_concurrency)
            return [suite for suites in lists for suite in suites]
        url = self._suites_url(workspace, project)
        decode = partial(decode_suites, workspace=workspace, project=project)
        return (await self.transport.get(url, decode, max_body=MAX_LONG_BODY)).result()

    async def _visible_suites(self, workspace: str, project: str) -> list[Suite]:
        """Return the suites of a project that was listed; none if it was deleted meanwhile, or its tests are hidden."""
        try:
            return await self.suites(workspace, project)
        except NotFoundError:
            return []

    async def suite(self, key: SuiteKey) -> Suite:
        """Return one suite."""
        decode = partial(decode_object, model=Suite, key=key)
        return (await self.transport.get(self._suites_url(*key), decode)).result()

    async def session(self, key: SuiteKey, session: Session | str | int) -> Fetched[Session]:
        """Return one session of a suite: of this ID, or of this `relative_id`, which usually takes two requests."""
        if not isinstance(session, int):
            session_id = _id_of(session)
            url = self._suites_url(*key, "sessions", session_id)
            fetched = await self.transport.get(url, partial(decode_object, model=Session))
            if fetched.value is not None and fetched.value.id != session_id:
                message = f"the response is another session, {fetched.value.id!r}: try again"
                return Fetched(stats=fetched.stats, error=ResponseError(message, url=str(url)))
            return fetched
        newest, stats = await self._first_session(key)
        listed = newest
        if newest is not None and newest.relative_id > session:
            # The offset is right, unless newer sessions were deleted.
            cursor = Cursor(session + 1, newest.relative_id - session)
            listed, cost = await self._first_session(key, cursor)
            stats += cost
        if listed is None or listed.relative_id != session:
            reason = "the suite has none yet" if newest is None else f"the newest is #{newest.relative_id}"
            error = NotFoundError(status=404, messages=[f"no session #{session}: {reason}"], advice="")
            return Fetched(stats=stats, error=error)
        return Fetched(stats=stats, value=listed)

    async def _first_session(self, key: SuiteKey, cursor: Cursor | None = None) -> tuple[Session | None, Stats]:
        """Return the newest session of a suite, or the newest one below a cursor, and what this took."""
        reader = self.read(key, ReadSpec(cursor=cursor, max_sessions=1))
        try:
            page = await reader.next_page()
        finally:
            await reader.close()
        return (page.sessions[0] if page and page.sessions else None), reader.stats

    async def case(
        self, key: SuiteKey, session: Session | str | int, group_id: str, case_id: str, *, on_size: OnSize = None
    ) -> TestCase:
        """Return one test case of a session, with its `data`. The session is requested first for its `relative_id`."""
        if isinstance(session, int):
            session = (await self.session(key, session)).result()
        url = self._suites_url(*key, "sessions", _id_of(session), "test-groups", group_id, "cases", case_id)
        decode = partial(decode_object, model=TestCase)
        return (await self.transport.get(url, decode, max_body=MAX_LONG_BODY, on_size=on_size)).result()

    async def with_details(
        self, key: SuiteKey, session: Session | str, case: TestCase, *, on_size: OnSize = None
    ) -> TestCase:
        """Return a listed test case with its `data`; unchanged if it was deleted meanwhile, or cannot be requested.

        It is also unchanged if the response is another test case, or has another status: then its `data` says nothing
        about the listed one.
        """
        try:
            ids = validate_case(case)
        except ConfigError:  # a case without a group has no path
            return case
        try:
            detailed = await self.case(key, session, *ids, on_size=on_size)
        except NotFoundError:
            return case
        is_same = detailed.id == case.id and detailed.test_group_id in {None, case.test_group_id}
        return detailed if is_same and detailed.status == case.status else case

    def cases(
        self,
        key: SuiteKey,
        session: Session | str | int,
        *,
        status: TestStatus | None,
        group_id: str | None = None,
        max_cases: int | None = None,
        reads_session: bool = False,
    ) -> CasePaginator:
        """Return a paginator over the test cases of a session, or of one group of its tests.

        The session is requested first if `reads_session` is true.
        """
        group = () if group_id is None else ("test-groups", group_id)
        plan = CasePlan(PageSize(self._per_page, self._case_traits), self._read_ahead, status, max_cases)
        if isinstance(session, Session):
            plan.expect(session)
        decode = partial(decode_list, name="cases", model=TestCase)
        name = f"{key}, session {_id_of(session)}"

        async def fetch(window: Window) -> Fetched[list[TestCase]]:
            nonlocal session
            stats = Stats()
            if reads_session and not isinstance(session, Session):
                fetched = await self.session(key, session)
                if fetched.error is not None:
                    return Fetched(stats=fetched.stats, error=fetched.error)
                stats, session = fetched.stats, fetched.result()
                plan.expect(session)
            url = self._suites_url(*key, "sessions", _id_of(session), *group, "cases")
            filters = {"status": status and status.value}
            page = await self._page_fetcher(url, filters, decode, empty=list[TestCase]())(window)
            return evolve(page, stats=page.stats + stats)

        slots = RequestSlots(self._read_ahead, reads=1)
        return CasePaginator(name, plan, PageRequests(fetch, slots, self.transport.check_event_loop))

    def read(self, key: SuiteKey, spec: ReadSpec) -> PageReader:
        """Return a new read of a suite."""
        read_ahead = self._read_ahead if spec.read_ahead is None else spec.read_ahead
        slots = spec.slots
        if slots is None or read_ahead == 1:
            slots = RequestSlots(read_ahead, reads=1)
        reconciler = Reconciler(
            spec,
            per_page=self._per_page if spec.per_page is None else spec.per_page,
            traits=self._traits,
            read_ahead=slots.total,
        )
        last_digest = spec.last_digest

        def decode(body: bytes, **context: Any) -> DecodedPage:
            nonlocal last_digest
            decoded, last_digest = decode_page(body, last_digest=last_digest, **context), None  # compare only page 1
            return decoded

        url = self._suites_url(*key, "sessions")
        fetch = self._page_fetcher(url, {"branch": spec.branch}, decode, empty=DecodedPage(()))
        return PageReader(key, spec, reconciler, PageRequests(fetch, slots, self.transport.check_event_loop))

    def _suites_url(self, workspace: str, project: str, *below: str) -> URL:
        """Return the URL of a project's suites, or of what is below them: a suite, its sessions, and so on."""
        return endpoint_url(self.base_url, "workspaces", workspace, "projects", project, "unit-tests", "suites", *below)

    def _page_fetcher(
        self, url: URL, filters: Mapping[str, str | None], decode: Callable[..., _T], *, empty: _T
    ) -> FetchPage[_T]:
        """Return a function that requests a page of a list, and decodes it. A filter that is None is left out."""
        query = {name: value for name, value in filters.items() if value is not None}

        async def fetch(window: Window) -> Fetched[_T]:
            page_url = url.with_query({"page": window.page, "per_page": window.per_page, **query})
            fetched = await self.transport.get(page_url, partial(decode, page=window.page))
            return take_404_as_end(fetched, window.page, empty)

        return fetch


def _id_of(session: Session | str | int) -> str:
    return session.id if isinstance(session, Session) else str(session)


def endpoint_url(base_url: URL, *names: str) -> URL:
    """Return the URL of an endpoint. Each name becomes one segment of the path, below that of the base URL."""
    segments = [quote(name, safe="") for name in names]  # an ID of a test case can be any text, such as ".."
    path = "/".join(each.replace(".", "%2E") if each in {".", ".."} else each for each in segments)
    return base_url.with_path(f"{base_url.raw_path.rstrip('/')}/{path}", encoded=True)
