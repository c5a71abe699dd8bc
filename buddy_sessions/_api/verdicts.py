"""The search for the verdict of a suite in the lists of the API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from .._base.outage import Outage
from .._base.workers import map_concurrently
from .._paging.scope import ReadSpec
from ..analysis.branches import Main
from ..analysis.suite_status import SuiteStatus, VerdictSearch, find_status, is_newest_first
from ..errors import BuddyError, ClientClosedError, UnstableListingError
from ..models import Session, SuiteKey
from .api import Api


class UnverifiedListError(UnstableListingError):
    """Sessions may be missing in a list that was read: no verdict rests on it."""


def search_of(api: Api, suite: SuiteKey) -> VerdictSearch:
    """Return the search in a suite of the API. A list in order that is not verified raises UnverifiedListError."""

    async def read(branch: str | None) -> AsyncGenerator[Sequence[Session], None]:
        reader = api.read(suite, ReadSpec(branch=branch, read_ahead=1))
        last: list[Session] = []
        is_ordered = True
        async with aclosing(reader.pages()) as pages:
            async for page in pages:
                is_ordered = is_ordered and is_newest_first([*last, *page.sessions])
                last = [*page.sessions[-1:]] or last
                if is_ordered and not reader.stats.verified:
                    raise UnverifiedListError(
                        f"no verdict: the list of sessions of {suite} is not verified, some may be missing: try again"
                    )
                yield page.sessions

    return VerdictSearch(read, partial(api.newest_of, suite))


async def find_statuses(api: Api, suites: Sequence[SuiteKey], *, branch: str | Main | None) -> list[SuiteStatus]:
    """Return the statuses of suites, in their order. An error of one suite is in its own.

    The error of a suite is in its status. An error that every other suite would have, too, is raised.
    """
    outage = Outage()

    async def read(suite: SuiteKey) -> SuiteStatus:
        try:
            status = await find_status(search_of(api, suite), suite, branch=branch)
        except ClientClosedError:
            raise
        except BuddyError as error:
            if outage.is_shown_by(error):
                raise
            return SuiteStatus(suite=suite, error=error.with_traceback(None))
        outage.on_success()
        return status

    return await map_concurrently(read, suites, limit=api.max_concurrency)
