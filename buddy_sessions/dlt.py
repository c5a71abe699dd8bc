"""A source for dlt, with the extra `[dlt]`: a table of the sessions of suites, which each run updates.

dlt loads a state together with the rows. For each suite it contains one number: every session up to this number was
loaded, and was finished when it was loaded. So the next run reads only the sessions above it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any, get_args

import attrs
import dlt

from ._decoding.converter import to_dict
from ._validate import validate_suite, validate_suites
from .client import BuddyClient
from .models import Session, SuiteKey, SuiteRef

_PRIMARY_KEY = (*SuiteKey._fields, "id")

_DATA_TYPES: dict[type, str] = {datetime: "timestamp", bool: "bool", float: "double", int: "bigint", str: "text"}
"""dlt's data type for each Python type. The first match counts: a bool is also an int, and an enum is also a str."""


def _columns() -> dict[str, Any]:
    """Return the columns with their types, so that the table also has the columns that contain only nulls."""
    types: dict[str, str] = dict.fromkeys(SuiteKey._fields, "text")
    for field in attrs.fields(attrs.resolve_types(Session)):
        python_types = [kind for kind in get_args(field.type) or (field.type,) if kind is not type(None)]
        matches = (name for kind, name in _DATA_TYPES.items() if any(issubclass(each, kind) for each in python_types))
        types[field.name] = next(matches, "json")
    return {
        name: {"name": name, "data_type": data_type, "nullable": name not in _PRIMARY_KEY}
        for name, data_type in types.items()
    }


@dlt.resource(section="buddy", primary_key=_PRIMARY_KEY, write_disposition="merge", columns=_columns())
async def sessions(
    suites: Iterable[SuiteRef],
    token: str = dlt.secrets.value,
    region: str = "US",
    base_url: str | None = None,
    **settings: Any,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Return a dlt resource: the new and the unfinished sessions of many suites, page by page.

    It fills the table `sessions`: `workspace`, `project`, `suite_id`, and the API's fields under their names
    (`created_by` as JSON, `duration` in seconds). The first run reads everything. Each later run reads a suite from its
    newest session down to the oldest one that was not finished when it was last read: one request for an unchanged
    suite. A session that never finishes makes every run read down to it. Deletions and changes of finished sessions are
    not detected. If you drop the table, start again with `refresh="drop_sources"`.

    Args:
        suites: The suites: `SuiteKey`s, texts such as `"workspace/project/suite_id"`, or URLs.
        token: As in `BuddyClient`. Like `region` and `base_url`, it is read from dlt's configuration under
            `sources.buddy` by default.
        region: As in `BuddyClient`.
        base_url: As in `BuddyClient`.
        settings: Other arguments of `BuddyClient`.

    Raises:
        ConfigError: An argument is invalid.
        HarvestError: Suites have failed. Raised after all others were read; dlt then loads nothing of this run, and the
            next run reads the same sessions again.
    """
    state: dict[str, int] = dlt.current.resource_state().setdefault("read_up_to", {})
    after = {key: state.get(str(key), 0) for key in map(validate_suite, validate_suites(suites))}
    read_up_to = dict(after)
    async with (
        # Created here, in the event loop in which dlt runs this function: a client serves one event loop.
        BuddyClient(token, region=region, base_url=base_url, **settings) as buddy,
        buddy.harvest(after, after=after) as harvest,  # the keys of `after` are the suites
    ):
        async for page in harvest.pages():
            key = page.suite
            for session in page.sessions:  # newest first: the oldest unfinished session decides
                number = session.relative_id
                read_up_to[key] = max(number, read_up_to[key]) if session.is_finished else number - 1
            yield [_escape_surrogates({**key._asdict(), **to_dict(session)}) for session in page.sessions]
            if page.is_last and page.covers is not None:  # None if the list is out of order, or nothing is new
                state[str(key)] = read_up_to[key]


def _escape_surrogates(value: Any) -> Any:
    """Return a JSON value in which lone surrogates are escaped: JSON can contain them, dlt rejects them."""
    if isinstance(value, dict):
        return {name: _escape_surrogates(part) for name, part in value.items()}
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
