"""What `doctor` has sent and received, and what a check finds in it. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from attrs import Factory, frozen

Level: TypeAlias = Literal["ok", "note", "problem", "unchecked"]
Row: TypeAlias = dict[str, Any]

LISTS = {"projects": "projects", "suites": "suites", "cases": "cases", "failed": "cases"}
"""The field of the body that is a list, by the purpose of the request; `sessions` for all others."""
SESSION_LISTS = "page-1", "page-2", "window", "beyond", "branch"
"""The purposes of requests for sessions of a suite."""


@frozen(kw_only=True)
class Exchange:
    """One request and its response. Times are in seconds; `at` is when it ended, by the clock of this machine.

    Without a response, `status` is 0, and `error` says why.
    """

    purpose: str
    path: tuple[str, ...]
    query: Mapping[str, str | int] = Factory(dict[str, str | int])
    status: int = 0
    headers: Mapping[str, str] = Factory(dict[str, str])
    body: bytes = b""
    seconds: float = 0.0
    at: float = 0.0
    error: str = ""

    @property
    def server_time(self) -> float | None:
        """The `Date` of the response in Unix seconds; None without a valid one."""
        try:
            return parsedate_to_datetime(self.headers.get("date", "")).timestamp()
        except (ValueError, OverflowError):
            return None


@frozen
class Finding:
    """What a check has found, what that means for this package, and what to do."""

    level: Level
    found: str
    meaning: str = ""
    advice: str = ""


REPORT_IT = "report it with --report FILE"


def problem(found: str, meaning: str, advice: str = REPORT_IT) -> Finding:
    """Return a problem; by default, one that only a report can solve."""
    return Finding("problem", found, meaning, advice)


def unchecked(reason: str) -> Finding:
    """Return why a check has nothing to look at."""
    return Finding("unchecked", reason)


class Record:
    """All exchanges, by their purpose: of two with the same purpose, the second one, which repeats the first."""

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        self.exchanges: list[Exchange] = []
        self._by_purpose: dict[str, Exchange] = {}
        self._documents: dict[str, Any] = {}
        for exchange in exchanges:
            self.add(exchange)

    def add(self, exchange: Exchange) -> None:
        """Add an exchange."""
        self.exchanges.append(exchange)
        self._by_purpose[exchange.purpose] = exchange
        self._documents[exchange.purpose] = load(exchange.body)

    def last(self) -> list[Exchange]:
        """Return the exchanges that were not repeated."""
        return [*self._by_purpose.values()]

    def get(self, purpose: str) -> Exchange | None:
        """Return an exchange; None if it was not necessary."""
        return self._by_purpose.get(purpose)

    def status(self, purpose: str) -> int | None:
        """Return the status of a response: 0 if there was none, None if the request was not necessary."""
        exchange = self.get(purpose)
        return None if exchange is None else exchange.status

    def document(self, purpose: str) -> Row:
        """Return the JSON object in the body of a success; an empty one if there is none."""
        document = self._documents.get(purpose) if self.status(purpose) == HTTPStatus.OK else None
        return document if isinstance(document, dict) else {}

    def rows(self, purpose: str) -> list[Row]:
        """Return the objects in a list; none if there is no such list."""
        rows = self.document(purpose).get(LISTS.get(purpose, "sessions"))
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def numbers(self, purpose: str) -> list[int]:
        """Return the `relative_id` of each session in a list that has a valid one."""
        return [row["relative_id"] for row in self.rows(purpose) if type(row.get("relative_id")) is int]

    @property
    def sessions(self) -> list[Row]:
        """All sessions, each once."""
        return [*{str(row.get("id")): row for name in SESSION_LISTS for row in self.rows(name)}.values()]

    @property
    def cases(self) -> list[Row]:
        """All test cases, each as often as it is listed."""
        return [*self.rows("failed"), *self.rows("cases")]


def load(body: bytes) -> Any:
    """Return a JSON value; None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def parse_time(value: object) -> float | None:
    """Return an ISO 8601 time, of which one without a zone is in UTC, in Unix seconds; None if it is none."""
    try:
        moment = datetime.fromisoformat(value.upper()) if isinstance(value, str) else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
