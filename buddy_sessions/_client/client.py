"""`BuddyClient`: checks the arguments, and connects the parts of the package."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Self, Unpack

import attrs

from .._base.streams import AsyncContext
from .._base.validate import (
    validate_after,
    validate_branch,
    validate_by_suite,
    validate_case,
    validate_cursor,
    validate_int,
    validate_key,
    validate_name,
    validate_revision,
    validate_run_url,
    validate_seconds,
    validate_session_ref,
    validate_since,
    validate_status,
)
from .._http.credentials import Secret, hide_token
from .._paging.case_paginator import CasePaginator
from .._paging.pacing import RequestSlots
from .._paging.paginator import PageReader, SessionPaginator
from .._paging.selection import ReadSpec
from .._streams.harvest import Harvest, OnFailure
from .._streams.poller import OnFirstFailure
from .._streams.status_changes import StatusPoller, StatusWatch
from .._streams.watch import ChangePoller, Watch
from ..analysis.branches import MAIN, Main
from ..errors import ConfigError
from ..models import (
    Cursor,
    Project,
    RateLimit,
    Session,
    SessionRef,
    Suite,
    SuiteKey,
    SuiteRef,
    TestCase,
    TestStatus,
)
from ..questions.named_sessions import explain_missing
from ..questions.questions import Questions
from ..questions.suite_reader import ApiSource
from ..questions.wait import WaitSpec, await_sessions
from .options import (
    ClientOptions,
    new_api,
    options_from_environment,
    token_from_environment,
)


class BuddyClient(AsyncContext, Questions):
    """Reads the unit-test sessions of Buddy suites, and answers questions about them: see `Questions`.

    Use it as `async with BuddyClient(token) as buddy` or `async with BuddyClient.from_env() as buddy`, or call `close`.
    It can be created before the event loop runs. Any number of tasks of one event loop can share it; another loop,
    thread or process needs a client of its own.

    A `suite` is a `Suite`, its key, `"workspace/project/suite_id"`, or its URL. A `session` is a `Session`, its `id` or
    URL, or its `relative_id`, which costs one or two requests more. Methods that read raise `NotFoundError` if what you
    name does not exist or is hidden, and another `BuddyError` if a request fails; those of `Questions` raise
    `NoVerdictError` for a session, commit or branch that does not exist.

    Args:
        token: A personal access token or an OAuth token with the scope UNIT_TEST_READ (older name
            UNIT_TEST_INFO), or an async callable that returns one within `timeout`, and is called again after a 401.
            Its own errors are raised unchanged.
        region: The region of the account: "US" (default), "EU" or "AS", in upper or lower case. A token of one region
            is not valid in another.
        base_url: The URL of the API on premises, such as `https://buddy.example.com/api`, instead of a region.
        http_session: An aiohttp session to send requests with (default: one of the client's own). The client never
            closes or changes it.
        ssl: How to check the certificate of the server (default: the certificates of the system).
        trust_env: Whether to use the proxy of the environment, `HTTPS_PROXY`, except for hosts in `NO_PROXY` and for
            this machine (default: False). With an `http_session`, the `trust_env` of that session applies; if it would
            send the token to a proxy unencrypted, that is a `ConfigError`.
        per_page: The number of sessions to request per page (default: 100).
        read_ahead: The maximum number of pages of one suite that are requested at once (default: 4). A harvest or a
            sync requests pages in advance only while no suite is waiting.
        max_concurrency: The maximum number of requests of the client at once (default: 8). An `http_session` with fewer
            connections lowers it.
        timeout: Seconds for one attempt, from connecting to the last byte (default: 30).
        max_attempts: The maximum number of attempts for a request that fails, including the first one (default: 4).
        max_wait: Total seconds that one request may wait for the rate limit and between its attempts (default: 300).
        backoff: Seconds before the second attempt, and twice as long before each further one, at most 20, plus up to
            half of it at random (default: 0.5). With 0, as in tests, there is no pause.
        limiter: A limiter that is shared with other clients, also on other machines: its `acquire` is awaited before
            each request (default: none).

    Raises:
        ConfigError: An argument is invalid; each method raises it before any I/O. Also if the client is used in a
            second event loop or process, or without asyncio.

    Example:
        >>> async with BuddyClient("my-token") as buddy:
        ...     async for session in buddy.sessions("acme/storefront/MNbyVedg"):
        ...         print(session.relative_id, session.status)
    """

    def __init__(self, token: str | Callable[[], Awaitable[str]], **options: Unpack[ClientOptions]) -> None:
        hidden = hide_token(token)
        del token  # a traceback that shows local variables must not show it
        self.api = new_api(hidden, options)  # internal: for other modules of this package, such as the store
        super().__init__(ApiSource(self.api))

    @classmethod
    def from_env(
        cls, *, token: str | Callable[[], Awaitable[str]] | None = None, **options: Unpack[ClientOptions]
    ) -> Self:
        """Return a client that is configured by environment variables, unless an argument says otherwise.

        `BUDDY_TOKEN` is the token. `BUDDY_API_ENDPOINT`, `BUDDY_API_URL` or `BUDDY_BASE_URL`, the first that is set, is
        the base URL. If none is set, `BUDDY_REGION` is the region. An empty variable counts as not set.

        Raises:
            ConfigError: There is no token, or a setting is invalid.
        """
        hidden = hide_token(token or token_from_environment())
        del token  # as in the constructor
        return cls(hidden.reveal() if isinstance(hidden, Secret) else hidden, **options_from_environment(options))

    def __repr__(self) -> str:
        # A traceback also shows a client whose __init__ has failed.
        return f"<BuddyClient {self.api.base_url if hasattr(self, 'api') else 'not initialised'}>"

    async def __aenter__(self) -> Self:
        self.api.transport.check_event_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections of this client. Your own aiohttp session stays open. You can call it more than once."""
        await self.api.transport.close()

    @property
    def rate_limit(self) -> RateLimit | None:
        """The rate limit as reported by the last response; None if no response has reported one."""
        return self.api.transport.rate_limiter.rate_limit

    async def projects(self, workspace: str) -> list[Project]:
        """Return the projects of a workspace that the token can see, with one request for each 100 of them.

        Raises:
            ForbiddenError: The token lacks the scope PROJECT_READ (older name WORKSPACE), or the API is disabled in the
                workspace.
        """
        return await self.api.projects(validate_name("workspace", workspace))

    async def suites(self, workspace: str, project: str | None = None) -> list[Suite]:
        """Return the suites of a project, in the order of the API, with one request.

        Without a project, it returns the suites of all projects that the token can see. This costs the requests of
        `projects`, and one for each project. A project that is not found (404) is left out.
        """
        if project is None and isinstance(workspace, str) and workspace.count("/") == 1:
            raise ConfigError(f"{workspace!r} is a project: pass suites{(*workspace.split('/'),)}")
        validate_name("workspace", workspace)
        if project is not None:
            validate_name("project", project)
        return await self.api.suites(workspace, project)

    async def suite(self, suite: SuiteRef) -> Suite:
        """Return one suite, with its timeout and the threshold of slow tests, with one request."""
        return await self.api.suite(validate_key(suite))

    def sessions(
        self,
        suite: SuiteRef,
        *,
        branch: str | None = None,
        after: int | None = None,
        since: datetime | None = None,
        cursor: Cursor | None = None,
        max_sessions: int | None = None,
        per_page: int | None = None,
        read_ahead: int | None = None,
    ) -> SessionPaginator:
        """Return an async iterator over the sessions of a suite, newest first. Its first step sends the first request.

        Args:
            branch: Only sessions of this branch, and those that do not say what they have tested.
            after: Only sessions with a higher `relative_id`. Reading stops when all of them were read.
            since: Only sessions created at this time or later; an aware datetime. Reading stops at the first page that
                is entirely older. A session without a date is included.
            cursor: The position to continue from: the cursor of an earlier read with the same `branch`, `after` and
                `since`.
            max_sessions: The maximum number of sessions to yield. No more pages are requested than needed.
            per_page: The page size (default: the client's).
            read_ahead: The maximum number of pages to request at once (default: the client's).

        Raises:
            BuddyError: While iterating, such as NotFoundError, or UnstableListingError if the list changes faster than
                it can be read. `error.cursor` is the position to continue from.
        """
        key = validate_key(suite)
        spec = ReadSpec(
            branch=validate_branch(branch),
            after=0 if after is None else validate_int("after", after, minimum=0),
            since=validate_since(since),
            cursor=validate_cursor(cursor),
            max_sessions=None if max_sessions is None else validate_int("max_sessions", max_sessions, minimum=0),
            per_page=None if per_page is None else validate_int("per_page", per_page),
            read_ahead=None if read_ahead is None else validate_int("read_ahead", read_ahead),
        )
        return SessionPaginator(self.api.read(key, spec))

    async def session(self, suite: SuiteRef, session: SessionRef) -> Session:
        """Return one session of a suite as it is now, with one request; by its `relative_id`, usually with two."""
        key = validate_key(suite)
        reference = validate_session_ref(session, key)
        with explain_missing(reference):
            return (await self.api.session(key, reference)).result()

    async def wait(
        self,
        suite: SuiteRef,
        *,
        revision: str | None = None,
        run_url: str | None = None,
        branch: str | None = None,
        after: int | datetime | None = None,
        count: int = 1,
        interval: float = 10.0,
        timeout: float = 1800.0,  # noqa: ASYNC109 - an error says which sessions there are
        appear_timeout: float | None = None,
        fail_fast: int | None = None,
    ) -> list[Session]:
        """Wait until sessions exist and have finished, such as those of a CI run; return all of them, newest first.

        A session must match each of `revision`, `run_url`, `branch` and `after` that you pass. Without a `revision` or
        a `run_url`, only the newest `count` sessions are awaited. Otherwise, the first poll searches the newest 1,000
        sessions; a later one the newest 100, and all new ones. After the first read, a failed request is retried until
        the timeout, also after a 401, 403 or 404.

        Args:
            revision: Only sessions of this commit: 7 or more digits of its hash.
            run_url: Only sessions of this CI run: their `ci_run_url`. Re-runs share it, so pass `after`, too.
            branch: Only sessions of this branch.
            after: Only sessions with a higher `relative_id`, or created at this time (an aware datetime) or later.
            count: The minimum number of sessions to wait for, such as one for each job of a matrix.
            interval: Seconds between two polls, with a jitter of 10 %.
            timeout: Seconds until all sessions must have finished.
            appear_timeout: Seconds until `count` sessions must exist (default: `timeout`).
            fail_fast: Return as soon as this number of sessions is red, without waiting for the others.

        Raises:
            ConfigError: Also if no argument says which sessions to wait for.
            WaitTimeoutError: `error.sessions` are those that exist: fewer than `count`, or some have not finished.
            BuddyError: The first request failed with a non-retryable error, or could not reach the server.
        """
        spec = WaitSpec(
            suite=validate_key(suite),
            revision=validate_revision(revision),
            run_url=validate_run_url(run_url),
            branch=validate_branch(branch),
            after=validate_after(after),
            count=validate_int("count", count),
            interval=validate_seconds("interval", interval),
            timeout=validate_seconds("timeout", timeout),
            appear_timeout=validate_seconds("appear_timeout", timeout if appear_timeout is None else appear_timeout),
            fail_fast=None if fail_fast is None else validate_int("fail_fast", fail_fast),
        )
        if all(selector is None for selector in (revision, run_url, branch, after)):
            raise ConfigError("nothing to wait for", advice="pass {revision}, {run_url}, {branch} or {after}")
        return await await_sessions(self.api, spec)

    def cases(
        self,
        suite: SuiteRef,
        session: SessionRef,
        *,
        status: TestStatus | str | None = None,
        max_cases: int | None = None,
    ) -> CasePaginator:
        """Return an async iterator over the test cases of a session. Its first step sends the first request.

        If `session` is not a `Session`, the client requests it first, to know how many cases to expect. At most
        `max_cases` are yielded.
        """
        key = validate_key(suite)
        return self.api.cases(
            key,
            validate_session_ref(session, key),
            status=validate_status(status),
            max_cases=None if max_cases is None else validate_int("max_cases", max_cases, minimum=0),
            reads_session=True,
        )

    async def case(self, suite: SuiteRef, session: SessionRef, case: TestCase) -> TestCase:
        """Return a test case, as listed by `cases`, with its `data` and its `failure`, with one request."""
        key = validate_key(suite)
        group_id, case_id = validate_case(case)
        return await self.api.case(key, validate_session_ref(session, key), group_id, case_id)

    def harvest(
        self,
        suites: Iterable[SuiteRef] | AsyncIterable[SuiteRef] | str,
        *,
        branch: str | None = None,
        after: int | Mapping[SuiteKey, int] | Mapping[str, int] | None = None,
        since: datetime | None = None,
        cursors: Mapping[SuiteKey, Cursor] | Mapping[str, Cursor] | None = None,
        concurrency: int | None = None,
        on_failure: OnFailure = "raise",
    ) -> Harvest:
        """Return the sessions of many suites as one stream of `(key, session)`. You can iterate over it once.

        Args:
            suites: The suites: any iterable or async iterable, which is consumed lazily; or `"workspace"` or
                `"workspace/project"` for all its suites.
            branch: Only sessions of this branch.
            after: Only sessions with a higher `relative_id`: one number for all suites, or a mapping with that of each
                suite. A suite that the mapping lacks is read whole.
            since: Only sessions created at this time or later; an aware datetime.
            cursors: Where to continue in each suite, such as the `cursors` of an earlier harvest with the same other
                arguments. A suite that the mapping lacks is read from its newest session.
            concurrency: The number of suites to read at once (default: `max_concurrency` of the client).
            on_failure: "raise" raises `HarvestError` after all other suites were read; "collect" only lists the failed
                suites in `harvest.failures`.

        Raises:
            ConfigError: Also if `after` or `cursors` names a suite that is not harvested. While iterating, if `suites`
                is consumed lazily, and if one of its elements is not a suite.
        """
        spec = ReadSpec(branch=validate_branch(branch), since=validate_since(since))
        after_by_suite: dict[SuiteKey, int] = {}
        after_all = 0
        if isinstance(after, Mapping):
            after_by_suite = validate_by_suite("after", after, partial(validate_int, minimum=0))
        elif after is not None:
            after_all = validate_int("after", after, minimum=0)
        checked = validate_by_suite("cursors", cursors, lambda name, cursor: validate_cursor(cursor, name))
        positions = {key: cursor for key, cursor in checked.items() if cursor is not None}

        def read(key: SuiteKey, slots: RequestSlots) -> PageReader:
            after, cursor = after_by_suite.get(key, after_all), positions.get(key)
            return self.api.read(key, attrs.evolve(spec, after=after, cursor=cursor, slots=slots))

        return Harvest(
            self.api,
            suites,
            read,
            concurrency=self.api.max_concurrency if concurrency is None else validate_int("concurrency", concurrency),
            on_failure=on_failure,
            required=[*after_by_suite, *positions],
            cursors=positions,
        )

    def watch(
        self,
        suites: Iterable[SuiteRef] | str,
        *,
        interval: float = 60.0,
        branch: str | None = None,
        on_failure: OnFirstFailure = "raise",
    ) -> Watch:
        """Return the changes in many suites from now on, as one stream of `Change`.

        Args:
            suites: The suites; or `"workspace"` or `"workspace/project"` to watch all its suites, also those created
                later.
            interval: Seconds between two polls of a suite, with a jitter of 10 %.
            branch: Only sessions of this branch.
            on_failure: "raise" ends the watch if the first poll of a suite gets a 401, 403 or 404; "retry" polls the
                suite again later.
        """
        return Watch(ChangePoller(self.api, suites, branch, interval=interval, on_failure=on_failure))

    def watch_status(
        self,
        suites: Iterable[SuiteRef] | str,
        *,
        branch: str | Main = MAIN,
        interval: float = 60.0,
        on_failure: OnFirstFailure = "raise",
    ) -> StatusWatch:
        """Return the status changes of many suites as one stream. The first event of each suite is its current status.

        Args:
            suites: As in `watch`.
            branch: The branch whose status is reported (default: the main branch of each suite, see `main_branch`).
            interval: Seconds between two polls of a suite, with a jitter of 10 %.
            on_failure: As in `watch`.
        """
        return StatusWatch(StatusPoller(self.api, suites, branch, interval=interval, on_failure=on_failure))
