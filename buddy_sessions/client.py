"""The client: puts the parts together, and checks every argument before any I/O."""

from __future__ import annotations

import math
import os
import ssl
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from .converter import decode_page, decode_suites
from .credentials import Credentials, concealed
from .endpoints import Region, check_branch, parse_base_url, sessions_url, suites_url
from .errors import ConfigError
from .fast import DecodedPage
from .harvest import Harvest, OnFailure, Source
from .models import Cursor, SessionPage, Suite, SuiteKey, WalkStats
from .pacing import Budget, Gate, RateLimit
from .paging import SessionPaginator
from .transport import Transport
from .walk import ServerTraits, Walk, Window
from .watch import Notes, Watch


class BuddyClient:
    """Reads the unit-test sessions of Buddy suites.

    Use it as `async with BuddyClient(token) as buddy`, or `close` it. It may be made outside a running event loop, and
    serves one loop.

    Args:
        token: A personal access token or an OAuth token with the scope UNIT_TEST_INFO; or an async callable that gives
            one. It is called when a token is needed, its result is reused, and it is asked once more on a 401.
        region: Where the account lives; a token of one region is not valid in another.
        base_url: The API's URL on premises, such as `https://buddy.example.com/api`; it beats the region.
        http_session: An aiohttp session to send requests through. It stays the caller's: never closed or changed.
        ssl: How to check the server's certificate; the default rules if left out.
        per_page: Sessions asked for in one page.
        read_ahead: Pages of one walk that are in flight at once, at most.
        max_concurrency: Requests of this client that are in flight at once, at most.
        timeout: Seconds that one attempt may take, from connecting to the last byte.
        attempts: Tries of one request, the first among them.
        max_wait: Seconds that one request may wait, for the rate limit and between its attempts, together.
        budget: An allowance shared with other clients, on other machines too: awaited before each request.

    Raises:
        ConfigError: An argument cannot work.
    """

    def __init__(
        self,
        token: str | Callable[[], Awaitable[str]],
        *,
        region: Region | str = Region.US,
        base_url: str | URL | None = None,
        http_session: aiohttp.ClientSession | None = None,
        ssl: ssl.SSLContext | None = None,
        per_page: int = 100,
        read_ahead: int = 4,
        max_concurrency: int = 8,
        timeout: float = 30.0,
        attempts: int = 4,
        max_wait: float = 300.0,
        budget: Budget | None = None,
    ) -> None:
        token = concealed(token)
        region = Region.parse(region)
        self._base_url = region.base_url if base_url is None else parse_base_url(base_url)
        self._per_page = _whole("per_page", per_page)
        self._read_ahead = _whole("read_ahead", read_ahead)
        self._traits = ServerTraits()
        self._max_concurrency = _whole("max_concurrency", max_concurrency)
        patience = _seconds("max_wait", max_wait, zero=True)
        self._gate = Gate(max_concurrency=self._max_concurrency, max_wait=patience, budget=budget)
        self._transport = Transport(
            Credentials(token),
            self._gate,
            http_session=http_session,
            ssl_context=ssl,
            max_concurrency=self._max_concurrency,
            timeout=_seconds("timeout", timeout),
            attempts=_whole("attempts", attempts),
            max_wait=patience,
        )

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Return a client set up by the environment variables of Buddy's own tools.

        `BUDDY_TOKEN` is the token. The base URL is the first that is set of `BUDDY_API_ENDPOINT` (Buddy's login
        action), `BUDDY_API_URL` (its SDKs) and `BUDDY_BASE_URL` (its Terraform provider); else `BUDDY_REGION` decides:
        US, EU or AS, in any case. An empty variable counts as not set.

        Args:
            overrides: Arguments of `BuddyClient`, which beat the environment.

        Raises:
            ConfigError: No token is to be found, or a setting cannot work.
        """
        if "base_url" not in overrides and "region" not in overrides:
            names = "BUDDY_API_ENDPOINT", "BUDDY_API_URL", "BUDDY_BASE_URL"
            if base_url := next(filter(None, map(os.environ.get, names)), None):
                overrides["base_url"] = base_url
            elif region := os.environ.get("BUDDY_REGION"):
                overrides["region"] = region
        token = concealed(overrides.pop("token", None) or os.environ.get("BUDDY_TOKEN", ""))
        if not token:
            raise ConfigError(
                "no token: set BUDDY_TOKEN to a personal access token with the scope UNIT_TEST_INFO "
                "(a suite's BUDDY_UT_TOKEN does not serve)"
            )
        return cls(token, **overrides)

    def __repr__(self) -> str:
        # A traceback shows one that __init__ has refused, too.
        return f"<BuddyClient {getattr(self, '_base_url', 'unusable')}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        # Not there when __init__ has failed.
        transport: Transport | None = getattr(self, "_transport", None)
        if transport is not None and transport.open:
            _warn(f"unclosed {self!r}: use `async with`, or await its close()", ResourceWarning, source=self)

    async def close(self) -> None:
        """Close what this client opened; the caller's aiohttp session stays open. Closing twice is fine."""
        await self._transport.close()

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the last answer said of the rate limit; None where none has said anything."""
        return self._gate.rate_limit

    def sessions(
        self,
        workspace: str,
        project: str,
        suite_id: str,
        *,
        branch: str | None = None,
        since: int | None = None,
        start: Cursor | None = None,
        max_sessions: int | None = None,
        per_page: int | None = None,
        read_ahead: int | None = None,
    ) -> SessionPaginator:
        """Return the sessions of a suite, newest first, to be iterated. Nothing is requested before that.

        Args:
            workspace: The workspace's name in its URL.
            project: The project's name in its URL.
            suite_id: The suite's ID.
            branch: Only sessions of this branch.
            since: Only sessions with a higher `relative_id`; asking stops as soon as all of them are proved read.
            start: Where to go on: the cursor of an earlier walk with the same arguments.
            max_sessions: How many to yield at most. No request is made that this does not need.
            per_page: Another page size than the client's.
            read_ahead: Another number of pages in flight than the client's.

        Raises:
            ConfigError: An argument cannot work. Raised here, before any I/O.
        """
        key = SuiteKey(workspace, project, suite_id)
        url = sessions_url(self._base_url, key)
        check_branch(branch)
        fixed = {} if branch is None else {"branch": branch}
        if start is not None and not isinstance(start, Cursor):
            raise ConfigError(f"start must be a Cursor, not {type(start).__name__}: Cursor.parse reads its text")
        size = self._per_page if per_page is None else _whole("per_page", per_page)
        ahead = self._read_ahead if read_ahead is None else _whole("read_ahead", read_ahead)
        most = None if max_sessions is None else _whole("max_sessions", max_sessions, least=0)
        floor = 0 if since is None else _whole("since", since, least=0)

        async def fetch(window: Window, stats: WalkStats) -> DecodedPage:
            address = url.with_query({"page": window.page, "per_page": window.per_page, **fixed})
            return await self._transport.get(address, lambda body: decode_page(body, page=window.page), stats)

        def walk(*, trim: bool = True) -> Walk:
            return Walk(
                per_page=size, traits=self._traits, read_ahead=ahead, since=floor, most=most, start=start, trim=trim
            )

        return SessionPaginator(key, fetch=fetch, walk=walk, start=start)

    def harvest(
        self,
        suites: Iterable[SuiteKey] | AsyncIterable[SuiteKey],
        *,
        branch: str | None = None,
        since: Mapping[SuiteKey, int] | None = None,
        concurrency: int | None = None,
        on_failure: OnFailure = "raise",
    ) -> Harvest:
        """Return the sessions of many suites as one stream of `(key, session)`, to be iterated once.

        Args:
            suites: Their keys, from any iterable: they are taken one by one, as they are needed.
            branch: Only sessions of this branch.
            since: For each suite in it, only sessions with a higher `relative_id` than this.
            concurrency: Suites read at once; `max_concurrency` of the client if left out.
            on_failure: "raise" raises `HarvestError` after all other suites were yielded; "collect" leaves it at
                `harvest.failures`.

        Raises:
            ConfigError: An argument cannot work. A key that cannot is a failure of its suite.
        """
        check_branch(branch)
        floors = {} if since is None else since

        def read(key: SuiteKey) -> SessionPaginator:
            return self.sessions(*key, branch=branch, since=floors.get(key))

        return self._harvest(suites, read, concurrency=concurrency, on_failure=on_failure)

    def _harvest(
        self,
        suites: Iterable[SuiteKey] | AsyncIterable[SuiteKey],
        read: Callable[[SuiteKey], Source],
        *,
        concurrency: int | None,
        on_failure: OnFailure,
    ) -> Harvest:
        """Return a harvest of what `read` makes of each suite, with this client's concurrency unless told another."""
        workers = self._max_concurrency if concurrency is None else _whole("concurrency", concurrency)
        return Harvest(suites, read, concurrency=workers, on_failure=on_failure)

    def watch(self, suites: Iterable[SuiteKey], *, every: float = 60.0, branch: str | None = None) -> Watch:
        """Return what changes in many suites from now on, as one stream of `Change`.

        Args:
            suites: Their keys. One that comes twice counts once.
            every: Seconds from one round of a suite to its next; a tenth more or less, by chance.
            branch: Only sessions of this branch.

        Raises:
            ConfigError: An argument cannot work. Raised here, before any I/O.
        """
        return self._watch(suites, every=every, branch=branch)

    def _watch(
        self, suites: Iterable[SuiteKey], *, every: float, branch: str | None, notes: Notes | None = None
    ) -> Watch:
        """Return a watch that keeps notes, if it is given any."""
        check_branch(branch)

        def read(key: SuiteKey) -> AsyncIterator[SessionPage]:
            # Most rounds need one page: nothing is worth reading ahead.
            return self.sessions(*key, branch=branch, read_ahead=1).pages()

        return Watch(suites, read, every=_seconds("every", every), concurrency=self._max_concurrency, notes=notes)

    async def suites(self, workspace: str, project: str) -> list[Suite]:
        """Return the suites of a project, in Buddy's order. Buddy does not paginate this list.

        Args:
            workspace: The workspace's name in its URL.
            project: The project's name in its URL.

        Raises:
            ConfigError: A name cannot work. Raised before any I/O.
            BuddyError: Any other branch.
        """
        url = suites_url(self._base_url, workspace, project)
        return await self._transport.get(
            url, lambda body: decode_suites(body, workspace=workspace, project=project), WalkStats()
        )


def _whole(name: str, value: object, *, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ConfigError(f"{name} must be a whole number from {least}, not {value!r}")
    return value


def _seconds(name: str, value: float, *, zero: bool = False) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or value < 0 or (value == 0 and not zero):
        raise ConfigError(f"{name} must be a number of seconds{'' if zero else ' above 0'}, not {value!r}")
    return float(value)
