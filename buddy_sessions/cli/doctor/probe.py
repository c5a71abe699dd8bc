"""The requests of `doctor`: at most 15, which only read. Each depends on the responses before it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from buddy_sessions import BuddyError, RateLimitError
from buddy_sessions._api.api import Api

from .list_checks import missing_of_branch, shift_of
from .record import Exchange, Record, Row

MAX_REQUESTS = 15
SIZE = 100
"""The page size to ask for, the default of `BuddyClient`."""
NO_BRANCH = "no-such-branch"
"""A branch that no suite has."""
_MAX_GROUPS = 3  # projects, or suites, in which to look for a session
_FINISHED = "SUCCESSFUL", "ERROR"


class Probe:
    """Sends requests, and keeps what was received. A request that fails without a usable response is repeated once."""

    def __init__(self, api: Api) -> None:
        self.record = Record()
        self._api = api
        self._is_stopped = False  # there is no connection, or no quota

    async def run(self, target: Sequence[str]) -> None:
        """Send the requests for a suite, a project, a workspace, or without any of these."""
        if not await self._ask("token", "user", "token") or self.record.status("token") == HTTPStatus.UNAUTHORIZED:
            return
        if not target:
            await self._ask("workspaces", "workspaces")
            return
        root = "workspaces", target[0], "projects"
        await self._ask("projects", *root, page=1, per_page=20)
        names = [str(row.get("name")) for row in self.record.rows("projects")]
        for project in target[1:2] or names[:_MAX_GROUPS]:
            await self._ask("suites", *root, project, "unit-tests", "suites")
            ids = [str(row.get("id")) for row in self.record.rows("suites")]
            for suite_id in target[2:] or ids[:_MAX_GROUPS]:
                sessions = *root, project, "unit-tests", "suites", suite_id, "sessions"
                await self._ask("page-1", *sessions, page=1, per_page=SIZE)
                if self.record.status("page-1") == HTTPStatus.BAD_REQUEST:
                    await self._ask("page-1", *sessions, page=1, per_page=20)
                if self.record.rows("page-1") or target[2:]:
                    await self._read_suite(sessions)
                    return

    async def _read_suite(self, sessions: tuple[str, ...]) -> None:
        """Send the requests for the sessions of a suite, whose first page was received."""
        first, rows = self.record.get("page-1"), self.record.rows("page-1")
        if first is None or not rows:
            return
        size = int(first.query["per_page"])
        await self._ask("page-2", *sessions, page=2, per_page=size)
        if len(rows) > 1:  # the second half of page 1, or a page across its end
            window = (3, len(rows) * 2 // 5) if self.record.rows("page-2") and len(rows) > 4 else (2, len(rows) // 2)
            await self._ask("window", *sessions, page=window[0], per_page=window[1])
        branches = Counter(str(row["ref_name"]) for row in rows if row.get("ref_type") == "BRANCH")
        if branches:
            await self._ask("branch", *sessions, page=1, per_page=size, branch=branches.most_common(1)[0][0])
        if missing_of_branch(self.record) or any(shift_of(self.record, name) for name in ("page-2", "window")):
            await self._ask("again", *sessions, page=1, per_page=size)
        end = max(self.record.numbers("page-1"), default=0) // len(rows)  # the highest relative_id counts sessions
        await self._ask("beyond", *sessions, page=end + 3, per_page=size)
        await self._ask("no-branch", *sessions, page=1, per_page=size, branch=NO_BRANCH)
        await self._read_cases(sessions, rows, size)

    async def _read_cases(self, sessions: tuple[str, ...], rows: Sequence[Row], size: int) -> None:
        """Send the requests for single sessions and their test cases."""
        finished = [row for row in rows if row.get("status") in _FINISHED and row.get("tests_count")]
        finished.sort(key=lambda row: not row.get("failed_count"))
        row: Row = {}
        for row in (finished or rows)[:2]:  # the first may have been deleted meanwhile
            await self._ask("session", *sessions, str(row.get("id")))
            if self.record.status("session") != HTTPStatus.NOT_FOUND:
                break
        if not finished:
            return
        place = *sessions, str(row.get("id"))
        await self._ask("cases", *place, "cases", page=1, per_page=size)
        if row.get("failed_count"):
            await self._ask("failed", *place, "cases", page=1, per_page=size, status="FAILED")
        listed = [*self.record.rows("failed"), *self.record.rows("cases")]
        case = next((each for each in listed if each.get("status") in ("FAILED", "ERROR")), next(iter(listed), {}))
        if case.get("id") is not None and case.get("test_group_id") is not None:
            await self._ask("case", *place, "test-groups", str(case["test_group_id"]), "cases", str(case["id"]))

    async def _ask(self, purpose: str, *path: str, **query: str | int) -> bool:
        """Send a request unless there were too many; return whether there is a response from the API."""
        exchanges = self.record.exchanges
        while len(exchanges) < MAX_REQUESTS and not self._is_stopped:
            is_repeated = bool(exchanges) and exchanges[-1].purpose == purpose
            exchange = await send(self._api, purpose, path, query)
            self.record.add(exchange)
            is_throttled = exchange.status == HTTPStatus.TOO_MANY_REQUESTS
            if 0 < exchange.status < HTTPStatus.INTERNAL_SERVER_ERROR and not is_throttled:
                return True
            if is_repeated:
                self._is_stopped = is_throttled or not exchange.status
                break
        return False


async def send(api: Api, purpose: str, path: tuple[str, ...], query: Mapping[str, Any]) -> Exchange:
    """Send one request, and return it with its response, or with the error in place of one."""
    started = time.perf_counter()
    status, body, error = 0, b"", ""
    headers: Mapping[str, str] = {}
    try:
        response = await api.receive(*path, **query)
        status, headers, body = response.status, response.headers, response.body
    except RateLimitError as failure:  # the request was not sent
        status, error = HTTPStatus.TOO_MANY_REQUESTS, str(failure)
    except (BuddyError, UnicodeEncodeError) as failure:  # a name that the server has sent
        error = str(failure)
    return Exchange(
        purpose=purpose,
        path=path,
        query=query,
        status=status,
        headers=headers,
        body=body,
        seconds=time.perf_counter() - started,
        at=datetime.now(UTC).timestamp(),
        error=error,
    )
