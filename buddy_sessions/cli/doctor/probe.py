"""The requests of `doctor`: at most 15, which only read. Each depends on the responses before it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus

from buddy_sessions import BuddyError, RateLimitError
from buddy_sessions._api.api import Api
from buddy_sessions._base.regions import API_HOSTS

from .record import FINISHED, Exchange, JsonRow, Record

MAX_REQUESTS = 15
_SIZE, _DOCUMENTED_SIZE = 100, 20  # of a page
_FINAL = 0, HTTPStatus.TOO_MANY_REQUESTS
_MAX_GROUPS = 3  # projects, or suites, in which to look for a session


class Probe:
    """Sends requests, and keeps what was received."""

    def __init__(self, api: Api) -> None:
        self.record = Record()
        self.record.region = next((region for region, host in API_HOSTS.items() if host == api.host), None)
        self.count = 0
        self._api = api

    async def run(self, target: Sequence[str]) -> None:
        """Send the requests for a suite, a project, a workspace, or without any of these."""
        if (await self._ask("token", "user", "token")).status == HTTPStatus.UNAUTHORIZED:
            return
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
        """Send the requests for the sessions of a suite, whose first page was received."""
        rows, size, record = first.rows, first.size, self.record
        second = await self._ask("page-2", *sessions, page=2, per_page=size)
        if len(rows) > 1:  # the second half of page 1, or a page across its end
            page, per_page = (3, len(rows) * 2 // 5) if second.rows and len(rows) > 4 else (2, len(rows) // 2)
            await self._ask("window", *sessions, page=page, per_page=per_page)
        branches = Counter(str(row.get("ref_name")) for row in rows if row.get("ref_type") == "BRANCH")
        for name, _ in branches.most_common(1):
            await self._ask("branch", *sessions, page=1, per_page=size, branch=name)
        if record.missing_of_branch or any(record.shift_of(record[name]) for name in ("page-2", "window")):
            await self._ask("again", *sessions, page=1, per_page=size)
        end = max(first.numbers, default=0) // len(rows)  # the highest relative_id counts sessions
        await self._ask("beyond", *sessions, page=end + 3, per_page=size)
        await self._ask("no-branch", *sessions, page=1, per_page=size, branch="no-such-branch")
        await self._read_cases(sessions, first)

    async def _read_cases(self, sessions: tuple[str, ...], first: Exchange) -> None:
        """Send the requests for a session, if possible one with failing tests, and for its test cases."""
        finished = [row for row in first.rows if row.get("status") in FINISHED and row.get("tests_count")]
        finished.sort(key=lambda row: not row.get("failed_count"))
        row: JsonRow = {}
        for row in (finished or first.rows)[:2]:  # the first may have been deleted meanwhile
            if (await self._ask("session", *sessions, str(row.get("id")))).status != HTTPStatus.NOT_FOUND:
                break
        if not finished:
            return
        place, page = (*sessions, str(row.get("id"))), {"page": 1, "per_page": first.size}
        cases = (await self._ask("cases", *place, "cases", **page)).rows
        if row.get("failed_count"):
            cases = [*(await self._ask("failed", *place, "cases", **page, status="FAILED")).rows, *cases]
        case = next((each for each in cases if each.get("status") in ("FAILED", "ERROR")), next(iter(cases), {}))
        if case.get("id") is not None and case.get("test_group_id") is not None:
            await self._ask("case", *place, "test-groups", str(case["test_group_id"]), "cases", str(case["id"]))

    async def _ask(self, purpose: str, *path: str, **query: str | int) -> Exchange:
        """Send a request, and return it with its response, or with the error in place of one.

        It replaces an earlier one for the same purpose. Without a connection or a quota, no further one is sent.
        """
        if self.count == MAX_REQUESTS or any(each.status in _FINAL for each in self.record.values()):
            return Exchange()
        self.count += 1
        started = time.perf_counter()
        response, status, error = None, 0, ""
        try:
            response = await self._api.receive(*path, **query)
        except RateLimitError as failure:  # the request was not sent
            status, error = HTTPStatus.TOO_MANY_REQUESTS, str(failure)
        except (BuddyError, UnicodeEncodeError) as failure:  # a name that the server has sent
            error = str(failure)
        exchange = self.record[purpose] = Exchange(
            purpose=purpose,
            path=path,
            query=query,
            status=status if response is None else response.status,
            headers={} if response is None else response.headers,
            body=b"" if response is None else response.body,
            seconds=time.perf_counter() - started,
            at=datetime.now(UTC).timestamp(),
            error=error,
        )
        return exchange
