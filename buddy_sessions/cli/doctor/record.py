"""What `doctor` has sent and received, and what it finds in that. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from buddy_sessions import Region
from buddy_sessions._decoding.shapes import Shape, load_json

JsonRow: TypeAlias = dict[str, Any]
Level: TypeAlias = Literal["ok", "note", "problem", "unchecked"]

SESSION_LISTS = "page-1", "page-2", "window", "beyond", "branch"
"""The purposes of requests for sessions of a suite."""
FINISHED = "SUCCESSFUL", "ERROR", "SKIPPED"
_RESPONSES = {**dict.fromkeys((*SESSION_LISTS, "again", "no-branch"), "sessions"), "failed": "cases"}


@frozen(kw_only=True, slots=False)
class Exchange:
    """One request and its response. Times are in seconds; `at` is when it ended, by the clock of this machine.

    Without a response, `status` is 0, and `error` says why. The names of `headers` are in lower case.
    """

    purpose: str = ""
    path: tuple[str, ...] = ()
    query: Mapping[str, str | int] = field(factory=dict)
    status: int = 0
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    at: float = 0.0
    error: str = ""

    @property
    def name(self) -> str:
        """The name of the documented object in a success."""
        return _RESPONSES.get(self.purpose, self.purpose)

    @cached_property
    def json(self) -> Any:
        """The JSON value in the body; None if it is none."""
        return load_json(self.body)

    @property
    def document(self) -> JsonRow:
        """The JSON object in the body of a success; an empty one if there is none."""
        return self.json if self.status == HTTPStatus.OK and isinstance(self.json, dict) else {}

    @property
    def rows(self) -> list[JsonRow]:
        """The objects in a list; none if there is no such list."""
        rows = self.document.get(self.name)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    @property
    def numbers(self) -> list[int]:
        """The `relative_id` of each session in a list that has a valid one."""
        return [row["relative_id"] for row in self.rows if type(row.get("relative_id")) is int]

    @property
    def size(self) -> int:
        """The size of the page that was asked for."""
        return int(self.query.get("per_page", 0))

    @property
    def server_time(self) -> float | None:
        """The `Date` of the response in Unix seconds; None without a valid one."""
        try:
            return parsedate_to_datetime(self.headers.get("date", "")).timestamp()
        except (ValueError, OverflowError):
            return None

    @property
    def is_disabled(self) -> bool:
        """Whether an error says that the API of the workspace is disabled."""
        return self.status == HTTPStatus.FORBIDDEN and b"disabled" in self.body.lower()

    def scopes(self, kind: str) -> list[str]:
        """Return the scopes in a header, whose name Buddy's documentation spells with an O or a zero."""
        return _split(self.headers.get(f"x-{kind}oauth-scopes") or self.headers.get(f"x-{kind}0auth-scopes", ""))


class Record(dict[str, Exchange]):
    """The exchanges by their purpose. What is cached is for the checks, which begin when all exchanges are there."""

    region: Region | None = None
    """The region of Buddy's API; None for another server."""

    def __missing__(self, purpose: str) -> Exchange:
        """Return an empty exchange for a request that was not necessary."""
        return Exchange()

    @property
    def answered(self) -> list[Exchange]:
        """The exchanges with a response."""
        return [each for each in self.values() if each.status]

    @property
    def asked(self) -> Exchange:
        """The request for what the argument of the command names."""
        return self["page-1"] if "page-1" in self else self["suites"] if "suites" in self else self["projects"]

    @cached_property
    def sessions(self) -> list[JsonRow]:
        """All sessions, each once."""
        return [*{str(row.get("id")): row for name in SESSION_LISTS for row in self[name].rows}.values()]

    @cached_property
    def finished(self) -> list[JsonRow]:
        """All sessions that have finished."""
        return [row for row in self.sessions if row.get("status") in FINISHED]

    @cached_property
    def now(self) -> float:
        """The latest time by a clock of the server or of this machine."""
        return max((max(each.server_time or 0, each.at) for each in self.values()), default=0)

    def shift_of(self, page: Exchange) -> int:
        """Return how many sessions earlier than expected a page begins, as if so many were created; 0 if unknown."""
        first = self["page-1"]
        known = sorted({*first.numbers, *self["page-2"].numbers}, reverse=True)
        if not page.numbers or page.numbers[0] not in known:
            return 0
        size = min(page.size, len(first.rows)) if page.purpose == "page-2" else page.size  # page 1 may be cut
        return (int(page.query["page"]) - 1) * size - known.index(page.numbers[0])

    @property
    def missing_of_branch(self) -> set[int]:
        """The `relative_id`s of a branch on page 1 that are not listed for it, although an older one is."""
        branch, rows = self["branch"], self["page-1"].rows
        oldest = min(branch.numbers, default=0) if len(branch.rows) >= len(rows) else 0  # older ones are on page 2
        reference = "BRANCH", branch.query.get("branch")
        numbers = [row.get("relative_id") for row in rows if (row.get("ref_type"), row.get("ref_name")) == reference]
        return {number for number in numbers if type(number) is int and number > oldest} - {*branch.numbers}

    @property
    def deleted(self) -> set[int]:
        """The `relative_id`s of page 1 that were deleted meanwhile: a second request of page 1 lacks them."""
        again = self["again"].numbers
        return {number for number in self["page-1"].numbers if again and min(again) < number and number not in again}

    @cached_property
    def shape(self) -> Shape:
        """The shape of all responses."""
        shape = Shape()
        for each in self.answered:
            name = each.name if each.status == HTTPStatus.OK else "errors"
            shape.add(name, each.body.decode(errors="replace") if each.json is None else each.json)
            lists = {name: _split(text) if "-scopes" in name else text for name, text in each.headers.items()}
            shape.add("headers", lists)
        return shape


class Word(str):
    """A word of this package, in a finding."""

    __slots__ = ()


@frozen
class Finding:
    """What a check has found, what that means, and what to do; if empty, as in the table of checks.

    `template` is a text of this package, and `values` are for its `{}`.
    """

    level: Level
    template: str
    values: tuple[object, ...] = ()
    meaning: str = field(default="", kw_only=True)
    advice: str = field(default="", kw_only=True)

    @property
    def found(self) -> str:
        """What was found, for people who know the account."""
        return self.template.format(*self.values)

    @property
    def public(self) -> str:
        """What was found, for a report: with numbers and words of this package only."""
        return self.template.format(*(each if isinstance(each, int | float | Word) else "…" for each in self.values))


def _split(text: str) -> list[str]:
    return text.replace(",", " ").split()


def parse_time(value: object) -> float | None:
    """Return an ISO 8601 time, of which one without a zone is in UTC, in Unix seconds; None if it is none."""
    try:
        moment = datetime.fromisoformat(value.upper()) if isinstance(value, str) else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
