"""A source for dlt, with the extra `[dlt]`: tables of the sessions of suites and of their test cases.

dlt loads a state together with the rows. For each table and suite, the state contains the number of the newest session
that was read, and those of older ones that must be read again. The next run reads the list down to the oldest of these.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from itertools import product
from typing import Any, TypeAlias, get_args

import attrs
import dlt
from dlt.sources import DltResource

from ._decoding.converter import to_dict
from ._validate import validate_scope, validate_suite, validate_suites
from ._workers import map_concurrently
from .client import BuddyClient
from .errors import NotFoundError
from .models import CaseScope, Session, SuiteKey, SuiteRef, TestCase

_BATCH = 20
"""The number of sessions whose test cases are in memory at once."""

_DATA_TYPES: dict[type, str] = {datetime: "timestamp", bool: "bool", float: "double", int: "bigint", str: "text"}
"""dlt's data type for each Python type. The first match counts: a bool is also an int, and an enum is also a str."""

_Rows: TypeAlias = list[dict[str, Any]]


def _field_types(model: type[Session | TestCase]) -> dict[str, str]:
    """Return dlt's data type for each field of a model."""
    types: dict[str, str] = {}
    for field in attrs.fields(attrs.resolve_types(model)):
        python_types = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
        matches = (name for kind, name in _DATA_TYPES.items() if any(issubclass(each, kind) for each in python_types))
        types[field.name] = next(matches, "json")
    return types


def _table(types: Mapping[str, str], primary_key: Sequence[str]) -> dict[str, Any]:
    """Return dlt's hints for a table. Its columns have types, so that those that contain only nulls exist, too."""
    columns = {
        name: {"name": name, "data_type": data_type, "nullable": name not in primary_key}
        for name, data_type in types.items()
    }
    return {"columns": columns, "primary_key": primary_key, "write_disposition": "merge"}


_SUITE_TYPES = dict.fromkeys(SuiteKey._fields, "text")
_SESSION_OF_CASE_TYPES = _SUITE_TYPES | {"session_id": "text", "session_relative_id": "bigint"}
_CASE_TYPES = {name: kind for name, kind in _field_types(TestCase).items() if name != "failure"}
_FAILURE_TYPES = {"failure_type": "text", "failure_message": "text"}

_SESSIONS = _table(_SUITE_TYPES | _field_types(Session), (*SuiteKey._fields, "id"))
_CASES = _table(_SESSION_OF_CASE_TYPES | _CASE_TYPES | _FAILURE_TYPES, (*SuiteKey._fields, "session_id", "id"))
_CASES["merge_key"] = (*SuiteKey._fields, "session_id")  # loading a session again replaces all its cases


@dlt.source(name="buddy", section="buddy")
def buddy_source(
    suites: Iterable[SuiteRef],
    token: str = dlt.secrets.value,
    region: str = "US",
    base_url: str | None = None,
    *,
    cases: CaseScope = "failed",
    details: bool = False,
    **settings: Any,
) -> Iterable[DltResource]:
    """Return a dlt source with two resources: the sessions of many suites, and their test cases.

    They fill the tables `sessions` and `cases`; `with_resources("sessions")` selects one. The columns are `workspace`,
    `project`, `suite_id`, and the API's fields under their names (`created_by` as JSON, `duration` and `time` in
    seconds). `cases` also has `session_id`, `session_relative_id`, `failure_type` and `failure_message`.

    The first run reads everything. Each later run reads a suite from its newest session down to the oldest one that was
    not finished when it was last read: one request for an unchanged suite. A session that never finishes makes every
    run read down to it. Deletions and changes of finished sessions are not detected. If you drop the tables, start
    again with `refresh="drop_sources"`. To limit a run, use `source.pages.add_limit`: both resources take their rows
    from the hidden resource `pages`.

    The cases of a session are read when it is finished. If their number differs from the count of the session, or the
    session is not found, the next run reads them once more. If a run sees that a session was reopened, its cases are
    read again when it is finished. They replace the earlier ones; if there are none, the earlier ones stay.

    Args:
        suites: The suites: `SuiteKey`s, texts such as `"workspace/project/suite_id"`, or URLs.
        token: As in `BuddyClient`. By default, dlt reads this and the arguments up to `details` from its configuration,
            under `sources.buddy`.
        region: As in `BuddyClient`.
        base_url: As in `BuddyClient`.
        cases: Which test cases to load: "failed" costs two requests for each session in which tests failed or ended
            with an error; "all" costs one for each session with tests, or more for over 100 cases. If you change it to
            "all", the next run reads everything again.
        details: Whether to read the `data` and the failure of each failing case, with one request for each (and with
            "all", two for each session that has any). A change of this argument applies only to sessions that are read
            later; to read all again, run `with_resources("cases")` with `refresh="drop_resources"`.
        settings: Other arguments of `BuddyClient`.

    Raises:
        ConfigError: An argument is invalid.
        HarvestError: Suites have failed. Raised after all others were read; dlt then loads nothing of this run, and the
            next run reads the same sessions again.
        BuddyError: Test cases cannot be read. Raised at once, with the same consequences.
    """
    keys = [validate_suite(suite) for suite in validate_suites(suites)]
    scope = validate_scope(cases)

    @dlt.resource(selected=False)
    async def pages() -> AsyncIterator[dict[str, _Rows]]:
        # Created here, in the event loop in which dlt runs this function: a client serves one event loop.
        async with (
            BuddyClient(token, region=region, base_url=base_url, **settings) as buddy,
            aclosing(_read(buddy, keys, scope, details=details)) as parts,
        ):
            async for rows in parts:
                yield rows

    @dlt.transformer(data_from=pages, name="sessions", **_SESSIONS)
    def session_rows(page: dict[str, _Rows]) -> _Rows | None:
        return page.get("sessions")

    @dlt.transformer(data_from=pages, name="cases", **_CASES)
    def case_rows(page: dict[str, _Rows]) -> _Rows | None:
        return page.get("cases")

    return pages, session_rows, case_rows


class _Progress:
    """The sessions of one suite that were read for one table.

    Attributes:
        after: Every session up to this `relative_id` was read, and need not be read again.
        scope: The cases that are wanted.

    Args:
        state: The state of the table's resource.
        key: The suite.
        scope: The cases that are wanted. If they were "failed" and are "all" now, nothing counts as read.
    """

    def __init__(self, state: dict[str, Any], key: SuiteKey, scope: CaseScope) -> None:
        self._suites: dict[str, Any] = state.setdefault("suites", {})
        self._key = str(key)
        self.scope: CaseScope = scope
        stored = self._suites.get(self._key, {})
        if scope == "all" and stored.get("scope") == "failed":
            stored = {}
        self._read_up_to: int = stored.get("read_up_to", 0)
        self._were_incomplete = frozenset[int](stored.get("incomplete", ()))
        self._unread = self._were_incomplete.union(stored.get("unfinished", ()))
        self.after = min(self._unread, default=self._read_up_to + 1) - 1
        self._highest = self._read_up_to
        self._unfinished: list[int] = []
        self._incomplete: list[int] = []

    def unread(self, sessions: Iterable[Session]) -> list[Session]:
        """Return the finished sessions that earlier runs have not read, or that must be read again."""
        finished = [session for session in sessions if session.is_finished]
        return [each for each in finished if each.relative_id > self._read_up_to or each.relative_id in self._unread]

    def add(self, session: Session) -> None:
        """Add a session that was read. The next run reads it again if it is not finished."""
        self._highest = max(self._highest, session.relative_id)
        if not session.is_finished:
            self._unfinished.append(session.relative_id)

    def add_incomplete(self, session: Session) -> None:
        """Add a session whose cases are not complete. The next run reads it again, unless this run already did."""
        if session.relative_id not in self._were_incomplete:
            self._incomplete.append(session.relative_id)

    def save(self) -> None:
        """Save to the state that all sessions above `after` were added."""
        self._suites[self._key] = {
            "read_up_to": self._highest,
            "unfinished": self._unfinished,
            "incomplete": self._incomplete,
            "scope": self.scope,
        }


def _load_progress(table: str, keys: Iterable[SuiteKey], scope: CaseScope) -> dict[SuiteKey, _Progress]:
    """Return the progress of each suite for a table; nothing if dlt does not load this table."""
    if table not in dlt.current.source().selected_resources:
        return {}
    state = dlt.current.resource_state(table)
    return {key: _Progress(state, key, scope) for key in keys}


async def _read(
    buddy: BuddyClient, keys: Sequence[SuiteKey], scope: CaseScope, *, details: bool
) -> AsyncGenerator[dict[str, _Rows], None]:
    """Yield rows under the name of their table. dlt saves the state only if all of them are loaded."""
    sessions, cases = _load_progress("sessions", keys, scope), _load_progress("cases", keys, scope)
    tables = [table for table in (sessions, cases) if table]
    if not tables:
        return
    after = {key: min(table[key].after for table in tables) for key in keys}
    async with buddy.harvest(after, after=after) as harvest:  # the keys of `after` are the suites
        async for page in harvest.pages():
            for session, table in product(page.sessions, tables):
                table[page.suite].add(session)
            if sessions:
                yield {"sessions": [_row(to_dict(session), page.suite) for session in page.sessions]}
            if cases:
                unread = cases[page.suite].unread(page.sessions)
                for start in range(0, len(unread), _BATCH):
                    batch = unread[start : start + _BATCH]
                    yield {"cases": await _read_cases(buddy, page.suite, batch, cases[page.suite], details=details)}
            if page.is_last and page.covers is not None:  # None if the list is out of order, or nothing is new
                for table in tables:
                    table[page.suite].save()


async def _read_cases(
    buddy: BuddyClient, key: SuiteKey, sessions: Sequence[Session], progress: _Progress, *, details: bool
) -> _Rows:
    """Return the rows of the test cases of sessions."""
    rows: _Rows = []
    read = partial(_read_session, buddy, key, progress.scope, details)
    results = await map_concurrently(read, sessions, limit=buddy.max_concurrency)
    for session, cases in zip(sessions, results, strict=True):
        if _count(session, progress.scope) not in (None, len(cases)):
            progress.add_incomplete(session)
        rows += [_case_row(case, session, key) for case in cases]
    return rows


async def _read_session(
    buddy: BuddyClient, key: SuiteKey, scope: CaseScope, details: bool, session: Session
) -> list[TestCase]:
    """Return the test cases of a session; none if they are not found: it was deleted, or the response is wrong."""
    failing: list[TestCase] = []
    try:
        if (scope == "failed" or details) and _count(session, "failed") != 0:
            failing = await buddy.failures(key, session, details=details)
        if scope == "failed" or _count(session, "all") == 0:
            return failing
        detailed = {case.id: case for case in failing}
        return [detailed.get(case.id, case) for case in await buddy.cases(key, session).collect()]
    except NotFoundError:
        return []


def _count(session: Session, scope: CaseScope) -> int | None:
    """Return the number of test cases that a session counts, or None."""
    if scope == "all":
        return session.tests_count
    if session.failed_count is None or session.error_count is None:
        return None
    return session.failed_count + session.error_count


def _case_row(case: TestCase, session: Session, key: SuiteKey) -> dict[str, Any]:
    fields = to_dict(case)
    failure = fields.pop("failure") or {}
    names = {"session_id": session.id, "session_relative_id": session.relative_id}
    failure_names = {"failure_type": failure.get("type"), "failure_message": failure.get("message")}
    return _row({**names, **fields, **failure_names}, key)


def _row(fields: dict[str, Any], key: SuiteKey) -> dict[str, Any]:
    row: dict[str, Any] = _escape_surrogates({**key._asdict(), **fields})
    return row


def _escape_surrogates(value: Any) -> Any:
    """Return a JSON value in which lone surrogates are escaped: JSON can contain them, dlt rejects them."""
    if isinstance(value, dict):
        return {name: _escape_surrogates(part) for name, part in value.items()}
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
