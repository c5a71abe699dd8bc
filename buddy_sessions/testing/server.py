"""`FakeBuddy`: an `aiohttp.web` server that behaves as Buddy's API is documented."""

import asyncio
import inspect
import random
import ssl
from collections import deque
from collections.abc import Callable, Collection
from time import time
from typing import Self

import attrs
from aiohttp import web
from yarl import URL

from .endpoints import UPLOAD_PATH, Call, ErrorResponse, SuiteView, Upload
from .faults import RANDOM_FAULTS, Fault
from .random_history import DEMO_SUITES, Runner
from .suite import FakeSuite
from .wire import JsonObject, RateLimitWindows, RecordedRequest, error_body, json_body

_SCOPES = ("UNIT_TEST_READ", "UNIT_TEST_INFO")  # the newer and the older name of the same scope
_PROJECT_SCOPES = ("PROJECT_READ", "WORKSPACE")  # likewise
_ACCEPT_ITERATIONS = 5  # event loop iterations after which aiohttp knows, and can close, a new connection
_SHUTDOWN_TIMEOUT = 0.05  # seconds


@attrs.define(kw_only=True, eq=False, repr=False)
class FakeBuddy:
    """A fake Buddy server: `async with FakeBuddy() as fake`.

    The attributes up to `fault_rate` are its options, which the constructor takes; the others are its content, and what
    has happened. You may change every attribute while it runs. `host`, `port` and `ssl_context` apply from the next
    start.

    It also takes what Buddy's own reporters upload, with the token of a suite, `FakeSuite.upload_token`. It ignores
    `sort_by`: projects are listed in the order in which they were added.

    It assumes what Buddy does not document: that sessions are listed newest first, any `per_page` is honoured, and a
    page beyond the end is empty; `keeps_repeated_cases`; that a session that is closed as FAILED or ERROR fails,
    although no test case failed; that `branch` selects sessions with the `ref_type` `BRANCH` only; fixed windows of the
    rate limit; the texts of errors; that `run_id` of an upload is shown nowhere; and of JUnit XML, that the group of a
    test case is the name of the element around it, that namespaces are ignored, an empty `time` is 0, and that of
    `1,234.5` is 1234.5 seconds.

    Attributes:
        token: The only token that may read.
        host: The interface to listen on.
        port: The port to listen on; 0 for a free one.
        seed: The seed of the suites' random data.
        scopes: The scopes of the token. Without `UNIT_TEST_READ` or `UNIT_TEST_INFO`, responses are 403; without
            `PROJECT_READ` or `WORKSPACE`, those that list projects. Headers report them, and those that a request
            needs.
        api_enabled: If False, responses are 403, like those of a workspace whose API is disabled.
        largest_page: A larger `per_page` is silently reduced to this; None for no limit.
        refuse_above: A larger `per_page` is rejected with 400; None for no limit.
        latency: Seconds before each request is handled.
        rate_limit: Requests per window. Further requests get a 429. None for no limit and no headers.
        rate_window: Seconds per window. Windows are fixed; windows of whole seconds end on whole seconds.
        keeps_repeated_cases: Whether a session keeps all test cases that are uploaded under the same group, class and
            name. By default, the last one replaces the others.
        ssl_context: Serve HTTPS with this context; None for HTTP.
        on_request: Called with each request before its response is made; awaited if it returns an awaitable. Changes
            that it makes are visible in that response, and a fault that it injects applies to that request.
        fault_rate: The share of requests, from 0.0 to 1.0, that get a random one of `RANDOM_FAULTS` if no fault is
            injected.
        suites: The suites by workspace, project and suite ID.
        requests: All requests so far, in the order of arrival.
        faults: The queue of injected faults. Each request takes the first one.
        max_in_flight: The maximum of `in_flight` so far.
    """

    token: str = "fake-buddy-token"  # noqa: S105 - valid for this server only
    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    scopes: Collection[str] = ("UNIT_TEST_READ", "PROJECT_READ")
    api_enabled: bool = True
    largest_page: int | None = None
    refuse_above: int | None = None
    latency: float = 0.0
    rate_limit: int | None = None
    rate_window: float = 60.0
    keeps_repeated_cases: bool = False
    ssl_context: ssl.SSLContext | None = None
    on_request: Callable[[RecordedRequest], object] | None = None
    fault_rate: float = 0.0
    suites: dict[tuple[str, str, str], FakeSuite] = attrs.field(
        init=False, factory=dict[tuple[str, str, str], FakeSuite]
    )
    requests: list[RecordedRequest] = attrs.field(init=False, factory=list[RecordedRequest])
    faults: deque[Fault] = attrs.field(init=False, factory=deque[Fault])
    max_in_flight: int = attrs.field(init=False, default=0)
    _empty_projects: list[tuple[str, str]] = attrs.field(init=False, factory=list[tuple[str, str]])
    _deleted_suites: int = attrs.field(init=False, default=0)
    _runner: web.ServerRunner | None = attrs.field(init=False, default=None)
    _base_url: URL | None = attrs.field(init=False, default=None)
    _rng: random.Random = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: random.Random(self.seed), takes_self=True),  # noqa: S311 - nothing secret
    )
    _handler_tasks: set[asyncio.Task[None]] = attrs.field(init=False, factory=set[asyncio.Task[None]])
    _rate_limit_windows: RateLimitWindows = attrs.field(init=False, factory=RateLimitWindows)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def in_flight(self) -> int:
        """The number of requests that are being handled now."""
        return len(self._handler_tasks)

    @property
    def base_url(self) -> URL:
        """The base URL for clients, such as `http://127.0.0.1:8080`. It stays the same after `close`.

        Raises:
            RuntimeError: The server was never started.
        """
        if self._base_url is None:
            raise RuntimeError("FakeBuddy has no base_url before it is started: use `async with FakeBuddy() as fake`")
        return self._base_url

    async def start(self) -> None:
        """Start the server.

        Raises:
            RuntimeError: The server is already running.
            OSError: The port is in use, or `host` is not an interface of this machine.
        """
        if self._runner is not None:
            raise RuntimeError("FakeBuddy is already running")
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = self._runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        try:
            await runner.setup()
            await web.TCPSite(runner, self.host, self.port, ssl_context=self.ssl_context).start()
        except BaseException:
            await self.close()
            raise
        scheme = "http" if self.ssl_context is None else "https"
        self._base_url = URL.build(scheme=scheme, host=self.host, port=runner.addresses[0][1])

    async def close(self) -> None:
        """Stop immediately, and cancel the requests in flight. Does nothing if the server is not running."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for _ in range(_ACCEPT_ITERATIONS):
                await asyncio.sleep(0)
            for site in runner.sites:
                await site.stop()
            # `cleanup` would wait for the handlers before it cancels them.
            for task in self._handler_tasks:
                task.cancel()
            await asyncio.gather(*self._handler_tasks, return_exceptions=True)
            await runner.cleanup()

    @property
    def projects(self) -> list[tuple[str, str]]:
        """The workspace and the name of each project: those that have suites, and those of `add_project`."""
        return list(dict.fromkeys([*self._empty_projects, *(key[:2] for key in self.suites.copy())]))

    def add_project(self, workspace: str, project: str) -> None:
        """Add a project without suites, and its workspace if it does not exist. `add_suite` adds its own project."""
        self._empty_projects.append((workspace, project))

    def add_suite(
        self,
        workspace: str,
        project: str,
        suite_id: str,
        *,
        name: str = "Unit tests",
        identifier: str = "unit-tests",
        runner: Runner = "pytest",
    ) -> FakeSuite:
        """Add an empty suite, and its workspace and project if they do not exist. The arguments are its attributes.

        Raises:
            ValueError: The suite already exists.
        """
        key = (workspace, project, suite_id)
        if key in self.suites:
            raise ValueError(f"suite {'/'.join(key)} already exists")
        # A suite that is created again has other sessions than before.
        seed = self.seed + self._deleted_suites
        self.suites[key] = FakeSuite(*key, name=name, identifier=identifier, runner=runner, seed=seed)
        return self.suites[key]

    def delete_suite(self, suite: FakeSuite) -> None:
        """Delete a suite. Requests for it get a 404, until `add_suite` creates it again, with other sessions.

        Raises:
            KeyError: The server has no such suite.
        """
        del self.suites[suite.key]
        self._deleted_suites += 1

    def add_demo_suites(self) -> list[FakeSuite]:
        """Add six suites with 30 to 400 random sessions each to the workspace `acme`, and return them.

        Raises:
            ValueError: The suites already exist.
        """
        return [
            self.add_suite("acme", project, suite_id, name=name, identifier=identifier, runner=runner).populate(count)
            for project, suite_id, identifier, name, count, runner in DEMO_SUITES
        ]

    def inject(self, *faults: Fault, times: int = 1) -> None:
        """Queue faults for the next requests, one per request. The sequence of faults is repeated `times` times."""
        self.faults.extend(faults * times)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        url = request.rel_url
        record = RecordedRequest(request.method, url.raw_path, dict(url.query), request.headers)
        self.requests.append(record)
        task = request.task
        self._handler_tasks.add(task)
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            record.body = await request.content.read()  # of any size, unlike request.read()
            await asyncio.sleep(self.latency)
            result = self.on_request(record) if self.on_request is not None else None
            if inspect.isawaitable(result):
                await result
            fault = self._next_fault()
            if fault is not None:
                response = await fault.handler(request, lambda: self._respond(record, fault.view))
            else:
                response = self._respond(record)
        finally:
            self._handler_tasks.discard(task)
        if response is None:
            request.protocol.force_close()
            return web.Response()  # aiohttp requires one, but does not send it on a closed connection
        record.status = response.status
        return response

    def _next_fault(self) -> Fault | None:
        if self.faults:
            return self.faults.popleft()
        return self._rng.choice(RANDOM_FAULTS) if self._rng.random() < self.fault_rate else None

    def _respond(self, record: RecordedRequest, view: SuiteView | None = None) -> web.Response:
        headers: dict[str, str] = {}
        is_upload, is_allowed = record.path.startswith(UPLOAD_PATH), True
        is_authorised = is_upload or record.headers.get("Authorization") == f"Bearer {self.token}"
        if is_authorised and not is_upload:
            headers = {
                "X-OAuth-Scopes": ", ".join(self.scopes),
                "X-Accepted-OAuth-Scopes": ", ".join(_accepted_scopes(record)),
            }
        if is_authorised and self.rate_limit is not None:
            is_allowed, reported = self._rate_limit_windows.count(time(), self.rate_limit, self.rate_window)
            headers |= reported
        try:
            if not is_authorised:
                status, body = 401, error_body("Unauthorized: the access token is missing, unknown or expired")
            elif not is_allowed:
                status, body = 429, error_body("The API rate limit is exceeded")
            else:
                status, content = self._upload(record) if is_upload else (200, self._read(record, view))
                body = json_body(content)
        except ErrorResponse as error:
            status, body = error.args[0], error_body(error.args[1])
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    def _upload(self, record: RecordedRequest) -> tuple[int, JsonObject]:
        token = record.headers.get("Authorization", "").removeprefix("Bearer ")
        suite = next((suite for suite in self.suites.copy().values() if suite.upload_token == token), None)
        if suite is None:
            raise ErrorResponse(401, "Unauthorized: this is not the token of a suite")
        upload = Upload(
            suite=suite,
            body=record.body,
            content_type=record.headers.get("Content-Type", ""),
            keeps_repeated_cases=self.keeps_repeated_cases,
        )
        return upload.respond(record.method, record.path)

    def _read(self, record: RecordedRequest, view: SuiteView | None) -> JsonObject:
        if record.method != "GET":
            raise ErrorResponse(405, f"Method {record.method} is not allowed")
        if not self.api_enabled:
            raise ErrorResponse(403, "API is disabled in this workspace")
        accepted = _accepted_scopes(record)
        if set(accepted).isdisjoint(self.scopes):
            raise ErrorResponse(403, f"The client cannot receive data: the token lacks the scope {accepted[0]}")
        call = Call(
            suites=self.suites,
            projects=lambda: self.projects,  # not for each request: there may be thousands of suites
            query=record.query,
            view=view or SuiteView(),
            largest_page=self.largest_page,
            refuse_above=self.refuse_above,
        )
        return call.respond(record.path)


def _accepted_scopes(record: RecordedRequest) -> tuple[str, ...]:
    """Return the scopes of which a request needs one."""
    return _PROJECT_SCOPES if record.path.endswith("/projects") else _SCOPES
