"""The fake Buddy itself: a real `aiohttp.web` server on the loopback that answers as Buddy's API does."""

import asyncio
import inspect
import re
import ssl
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from time import time
from typing import Self
from urllib.parse import unquote

import attrs
from aiohttp import web
from yarl import URL

from .data import DEMO_SUITES
from .faults import Fault
from .suite import FakeSuite
from .wire import DEFAULT_PER_PAGE, Answer, RateWindows, RecordedRequest, error, ok

_SCOPES = {"UNIT_TEST_INFO", "UNIT_TEST_READ"}  # the same right, under its older and its newer name
_PATH = re.compile(r"/workspaces/([^/]+)/projects/([^/]+)/unit-tests/suites(?:/([^/]+)/sessions)?")
_POSITIVE = re.compile(r"0*[1-9][0-9]{0,8}")
_WORTH_COMPRESSING = 1024  # bytes
_ACCEPTING = 5  # turns of the loop after which a connection that was just accepted is known, and will be closed
_SHUTDOWN_TIMEOUT = 0.05  # seconds that an answer under way gets when the server closes


@attrs.define(kw_only=True, eq=False, repr=False)
class FakeBuddy:
    """A Buddy of your own: `async with FakeBuddy() as fake`.

    Every attribute may be changed while it runs; `host`, `port` and `ssl_context` count from the next start.

    Attributes:
        token: The one token that is accepted.
        host: The interface to listen on.
        port: The port to listen on; 0 takes a free one.
        seed: What the suites' chance starts from.
        scopes: The token's scopes. Without `UNIT_TEST_INFO` or `UNIT_TEST_READ` the answer is 403.
        api_enabled: False answers 403, as a workspace does whose API is switched off.
        largest_page: A larger `per_page` is silently brought down to this; None for any size.
        refuse_above: A larger `per_page` is answered with 400; None for never.
        latency: Seconds that pass before each request is looked at.
        rate_limit: Requests in a window, past which the answer is 429; None for no limit and no headers.
        rate_window: Seconds in a window. The windows are fixed, and end on whole seconds if this is whole.
        compress: Answer in gzip where the client takes it and the body is larger than 1 KiB.
        ssl_context: Serve https with this.
        api_url: What `url` fields in bodies begin with, for suites that are added from then on.
        app_url: What `html_url` fields in bodies begin with, likewise.
        on_request: Called with each request before its answer is computed, and awaited if it returns an
            awaitable. What it changes shows in that answer; a fault that it injects hits that request.
        suites: The suites by workspace, project and suite ID.
        requests: All requests so far, in the order of their arrival.
        faults: What `inject` has queued and no request has met yet.
        max_in_flight: The most requests that were ever being answered at once.
    """

    token: str = "fake-buddy-token"  # noqa: S105 - opens nothing but this server
    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    scopes: Collection[str] = ("UNIT_TEST_INFO",)
    api_enabled: bool = True
    largest_page: int | None = None
    refuse_above: int | None = None
    latency: float = 0.0
    rate_limit: int | None = None
    rate_window: float = 60.0
    compress: bool = False
    ssl_context: ssl.SSLContext | None = None
    api_url: str = "https://api.buddy.works"
    app_url: str = "https://app.buddy.works"
    on_request: Callable[[RecordedRequest], object] | None = None
    suites: dict[tuple[str, str, str], FakeSuite] = attrs.field(
        init=False, factory=dict[tuple[str, str, str], FakeSuite]
    )
    requests: list[RecordedRequest] = attrs.field(init=False, factory=list[RecordedRequest])
    faults: deque[Fault] = attrs.field(init=False, factory=deque[Fault])
    max_in_flight: int = attrs.field(init=False, default=0)
    _runner: web.ServerRunner | None = attrs.field(init=False, default=None)
    _base_url: URL | None = attrs.field(init=False, default=None)
    _answering: set[asyncio.Task[None]] = attrs.field(init=False, factory=set[asyncio.Task[None]])
    _windows: RateWindows = attrs.field(init=False, factory=RateWindows)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return len(self._answering)

    @property
    def base_url(self) -> URL:
        """Where the server listens, `http://127.0.0.1:PORT`; kept after it was closed.

        Raises:
            RuntimeError: It was never started.
        """
        if self._base_url is None:
            raise RuntimeError("no address before the start: use `async with FakeBuddy() as fake`")
        return self._base_url

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            RuntimeError: It is running already.
            OSError: The address is taken.
        """
        if self._runner is not None:
            raise RuntimeError("FakeBuddy is running already")
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
        """Stop at once, cutting off what is under way. Harmless if it is not running."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for _ in range(_ACCEPTING):
                await asyncio.sleep(0)
            for site in runner.sites:
                await site.stop()
            # aiohttp would wait for them first.
            for task in self._answering:
                task.cancel()
            await asyncio.gather(*self._answering, return_exceptions=True)
            await runner.cleanup()

    def add_suite(
        self,
        workspace: str,
        project: str,
        suite_id: str,
        *,
        name: str = "Unit tests",
        identifier: str = "unit-tests",
    ) -> FakeSuite:
        """Add an empty suite, and with it the workspace and the project, and return it.

        Raises:
            ValueError: There is such a suite.
        """
        key = (workspace, project, suite_id)
        if key in self.suites:
            raise ValueError(f"there is a suite {'/'.join(key)} already")
        bases = {"api_url": self.api_url, "app_url": self.app_url}
        self.suites[key] = FakeSuite(*key, name=name, identifier=identifier, seed=self.seed, **bases)
        return self.suites[key]

    def add_demo_suites(self, workspace: str = "acme", *, until: datetime | None = None) -> list[FakeSuite]:
        """Add six believable suites in the projects `storefront` and `payments`, of 30 to 400 sessions each.

        Args:
            workspace: The workspace to add them to.
            until: An aware time that no session is later than; now if left out.

        Returns:
            The suites that were added.

        Raises:
            ValueError: They were added before, or `until` has no time zone.
        """
        added: list[FakeSuite] = []
        for project, suite_id, identifier, name, count in DEMO_SUITES:
            suite = self.add_suite(workspace, project, suite_id, name=name, identifier=identifier)
            added.append(suite.populate(count, until=until))
        return added

    def inject(self, *faults: Fault, times: int = 1) -> None:
        """Queue `faults`, in order and the whole row `times` times: one for each request to come."""
        self.faults.extend(faults * times)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        url = request.rel_url
        record = RecordedRequest(request.method, url.raw_path, dict(url.query), request.headers)
        self.requests.append(record)
        task = request.task
        self._answering.add(task)
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            called = self.on_request(record) if self.on_request is not None else None
            if inspect.isawaitable(called):
                await called
            if self.faults:
                response = await self.faults.popleft().play(request, lambda: self._respond(record))
            else:
                response = self._respond(record)
        finally:
            self._answering.discard(task)
        if response is None:
            request.protocol.force_close()
            return web.Response()  # never sent, but aiohttp wants one
        record.status = response.status
        return response

    def _respond(self, record: RecordedRequest) -> web.Response:
        allowed, headers = True, dict[str, str]()
        if record.headers.get("Authorization") != f"Bearer {self.token}":
            status, body = error(401, "Unauthorized: the access token is missing, unknown or expired")
        else:
            if self.rate_limit is not None:
                allowed, headers = self._windows.spend(time(), self.rate_limit, self.rate_window)
            status, body = self._route(record) if allowed else error(429, "The API rate limit is exceeded")
        response = web.Response(status=status, body=body, content_type="application/json", headers=headers)
        taken = "gzip" in record.headers.get("Accept-Encoding", "")
        if self.compress and taken and len(body) > _WORTH_COMPRESSING:
            response.enable_compression(web.ContentCoding.gzip)
        return response

    def _route(self, record: RecordedRequest) -> Answer:
        path = _PATH.fullmatch(record.path)
        if path is None:
            return error(404, "Not found")
        if record.method != "GET":
            return error(405, f"Method {record.method} is not allowed")
        if not self.api_enabled:
            return error(403, "API is disabled in this workspace")
        if _SCOPES.isdisjoint(self.scopes):
            return error(403, "The client cannot receive data: the token lacks the scope UNIT_TEST_INFO")
        workspace, project, suite_id = (unquote(segment) for segment in path.groups(""))
        if not suite_id:
            return self._list_suites(workspace, project)
        suite = self.suites.get((workspace, project, suite_id))
        return error(404, "Suite not found") if suite is None else self._list_sessions(suite, record.query)

    def _list_suites(self, workspace: str, project: str) -> Answer:
        # A copy, since suites may be added from another thread.
        found = [suite for key, suite in self.suites.copy().items() if key[:2] == (workspace, project)]
        if not found:
            return error(404, "Project not found")
        url, html_url = found[0].url.rpartition("/")[0], found[0].html_url.rpartition("/")[0]
        return ok({"url": url, "html_url": html_url, "suites": [suite.summary() for suite in found]})

    def _list_sessions(self, suite: FakeSuite, query: Mapping[str, str]) -> Answer:
        page, per_page = query.get("page", "1"), query.get("per_page", str(DEFAULT_PER_PAGE))
        for name, text in (("page", page), ("per_page", per_page)):
            if not _POSITIVE.fullmatch(text):
                return error(400, f"{name} must be a positive integer")
        number, size = int(page), int(per_page)
        if self.refuse_above is not None and size > self.refuse_above:
            return error(400, f"per_page must not be greater than {self.refuse_above}")
        if self.largest_page is not None:
            size = min(size, self.largest_page)
        return ok(suite.page(number, size, branch=query.get("branch")))
