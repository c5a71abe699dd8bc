"""`CasePaginator`: the async iterator over the test cases of one session."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable

import attrs

from .._stats import Fetched, Stats
from ..errors import BadRequestError
from ..models import Session, TestCase
from .case_plan import CasePlan
from .read_ahead import FetchPage, PendingPages
from .window import Window

_log = logging.getLogger("buddy_sessions")


class CasePaginator:
    """The test cases of one session, in the order of the API. Each `async for` is a new read.

    Created by `BuddyClient.cases`; the constructor is not public.

    Leaving a loop ends the read, and leaves no task or connection open.

    Example:
        >>> async for case in buddy.cases("acme/storefront/MNbyVedg", "YDnagwGk"):
        ...     print(case.key, case.status, case.time)
    """

    def __init__(
        self,
        session: Session | str | int,
        *,
        name: str,
        fetch_from: Callable[[str], FetchPage[list[TestCase]]],
        fetch_session: Callable[[], Awaitable[Fetched[Session]]] | None,
        new_plan: Callable[[], CasePlan],
    ) -> None:
        self._session = session
        self._name = name
        self._fetch_from = fetch_from
        self._fetch_session = fetch_session
        self._new_plan = new_plan
        self._latest = new_plan()

    def __repr__(self) -> str:
        return f"<CasePaginator {self._name}>"

    async def __aiter__(self) -> AsyncGenerator[TestCase, None]:
        """Iterate over the cases.

        Raises:
            BuddyError: The read failed.
        """
        plan = self._latest = self._new_plan()
        session = self._session
        if self._fetch_session is not None and not isinstance(session, Session):
            found = await self._fetch_session()
            plan.stats += found.stats
            session = found.result()
        if isinstance(session, Session):
            plan.expect(session)
        fetch_page = self._fetch_from(session.id if isinstance(session, Session) else str(session))

        async def fetch(window: Window) -> Fetched[list[TestCase]]:
            fetched = await fetch_page(window)
            plan.stats += fetched.stats
            return fetched

        pending = PendingPages(fetch)
        try:
            while not plan.is_done:
                windows = plan.windows()
                try:
                    page = (await pending.get(windows)).result()
                except BadRequestError:
                    if not plan.on_bad_request(windows[0]):
                        raise
                    continue
                for case in plan.accept_page(windows[0], page):
                    plan.yielded += 1
                    yield case
        finally:
            await pending.cancel()
        if plan.is_complete and plan.expected not in (None, plan.count):
            _log.warning(
                "%s: the session counts %d test cases, but the API lists %d", self._name, plan.expected, plan.count
            )

    async def collect(self) -> list[TestCase]:
        """Return all cases of a new read.

        Raises:
            BuddyError: The read failed.
        """
        return [case async for case in self]

    @property
    def stats(self) -> Stats:
        """The `Stats` of the latest read so far.

        `verified` is True if the session is finished, and as many cases were read as it reports.
        """
        plan = self._latest
        return attrs.evolve(plan.stats, cases=plan.yielded, verified=plan.is_verified)
