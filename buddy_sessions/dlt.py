"""A source for dlt, the extra `[dlt]`: the sessions of suites as a table that each run brings up to date.

What a run has proved is kept in the state that dlt loads together with the rows, one number for each suite: at or below
it, every session was loaded, and was finished by then. So the next run reads what lies above, and no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any, get_args

import attrs
import dlt

from .client import BuddyClient
from .converter import to_json
from .intervals import Intervals, union
from .models import Session, SessionPage, SuiteKey

_KEY = (*SuiteKey._fields, "id")
_TYPES: dict[type, Any] = {datetime: "timestamp", bool: "bool", float: "double", int: "bigint", str: "text"}
"""dlt's types; the first that fits counts: a bool is an int, an int may be a float, an enum is its text."""


def _columns() -> dict[str, Any]:
    """Return each column with its type, so that one of which nothing is known yet is there all the same."""
    types: dict[str, Any] = dict.fromkeys(SuiteKey._fields, "text")
    for field in attrs.fields(attrs.resolve_types(Session)):
        kinds = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
        fits = (name for python, name in _TYPES.items() if any(issubclass(kind, python) for kind in kinds))
        types[field.name] = next(fits, "json")
    return {name: {"name": name, "data_type": kind, "nullable": name not in _KEY} for name, kind in types.items()}


@dlt.resource(section="buddy", primary_key=_KEY, write_disposition="merge", columns=_columns())
async def sessions(
    suites: Iterable[SuiteKey],
    token: str = dlt.secrets.value,
    region: str = "US",
    base_url: str | None = None,
    **settings: Any,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Return a dlt resource: what is new, or was not finished, in the sessions of many suites, page by page.

    It makes the table `sessions`: `workspace`, `project`, `suite_id`, and the API's fields under their names
    (`created_by` as JSON, `duration` in seconds). The first run reads everything. Each other one reads a suite from its
    newest session down to the lowest that was not finished when it was last read, or else the newest: one request for a
    suite in which nothing has happened. A session that never ends keeps the reading that deep. A deletion is not seen,
    nor a change to a finished session. Where the table is dropped, `refresh="drop_sources"` begins anew.

    Args:
        suites: Their keys.
        token: As in `BuddyClient`. Like the next two, it is looked for in dlt's configuration if it is left out, under
            `sources.buddy`.
        region: As in `BuddyClient`.
        base_url: As in `BuddyClient`.
        settings: Other arguments of `BuddyClient`.

    Raises:
        ConfigError: An argument cannot work.
        HarvestError: Suites have failed. Raised when all others were read; dlt then loads nothing of this run, and the
            next one reads the same again.
    """
    proved: dict[str, int] = dlt.current.resource_state().setdefault("proved", {})
    since = {key: proved.get(str(key), 0) for key in map(SuiteKey.checked, suites)}
    readings: dict[SuiteKey, _Reading] = {}
    async with (
        # Made here, in the event loop that dlt runs this in: a client serves one.
        BuddyClient(token, region=region, base_url=base_url, **settings) as buddy,
        buddy.harvest(since, since=since) as harvest,
    ):
        async for page in harvest.pages():
            reading = readings.setdefault(page.suite, _Reading(since[page.suite]))
            reading.take(page)
            yield [_unicode({**page.suite._asdict(), **to_json(session)}) for session in page.sessions]
            if page.last:
                proved[str(page.suite)] = readings.pop(page.suite).proved


def _unicode(value: Any) -> Any:
    """Return a JSON value without halves of surrogate pairs, which JSON can hold and dlt refuses: as JSON escapes."""
    if isinstance(value, dict):
        return {name: _unicode(part) for name, part in value.items()}
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


class _Reading:
    """What one run has proved of a suite."""

    def __init__(self, since: int) -> None:
        self._settled: Intervals = ((0, since),)
        self._unfinished: int | None = None

    def take(self, page: SessionPage) -> None:
        """Take note of what a page holds, and of what it proves."""
        if page.covers:
            self._settled = union(self._settled, page.covers)
        for session in page.sessions:
            if not session.finished:
                self._unfinished = session.relative_id

    @property
    def proved(self) -> int:
        """The highest number at or below which every session has been read, finished."""
        highest = self._settled[0][1]
        return highest if self._unfinished is None else min(highest, self._unfinished - 1)
