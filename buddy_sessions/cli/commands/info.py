"""The command `info`: print what a database has of each suite, and how large it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from buddy_sessions import SavedSuite, SessionStore, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import suite_names

from ..options import Quiet, SavedFile, TableFormat
from ..render.console import Output
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import show
from ..render.text import UNKNOWN, format_age, plain
from ..values import find_database

_COLUMNS = (
    Column("SUITE", is_number=False),
    Column("NAME", is_number=False, can_be_cut=True, rank=1),
    Column("SESSIONS"),
    Column("COVERED", is_number=False),
    Column("LAST SYNC", is_number=False),
    Column("NOT FOUND", is_number=False),
)
_VALUES = tuple(field.name for field in attrs.fields(SavedSuite) if field.name != "suite")
_FIELDS = (*SuiteKey._fields, *_VALUES)


async def command(*, db: SavedFile, output_format: TableFormat = None, quiet: Quiet = False) -> None:
    """Print the suites of a database, their saved sessions and last syncs, and the size of the file.

    COVERED is a range without a gap: each of its sessions is saved, or older than `--since` or `--keep`.
    NOT FOUND: since when the suite is missing, or how many of its sessions are.

    For example:

    - buddy-sessions info --db sessions.db
    """
    now = datetime.now(UTC)
    async with SessionStore(find_database(db)) as store:
        suites = await store.info()
    size = sum(file.stat().st_size for file in (db, Path(f"{db}-wal")) if file.exists())
    sessions = format_count(sum(each.sessions for each in suites), "session")
    result = CommandResult(
        title=f"{format_count(len(suites), 'suite')}, {sessions}, {size / 1e6:,.1f} MB",
        columns=_COLUMNS,
        sections=[Section("", [_item(each, now) for each in suites])],
        fields=_FIELDS,
    )
    show(result, output_format, Output(stderr=True, quiet=quiet))


def _item(saved: SavedSuite, now: datetime) -> Item:
    if saved.missing_since is not None:
        state = f"{'missing' if saved.deleted_at is None else 'deleted'} since {format_age(saved.missing_since, now)}"
    else:
        counts = {"missing": saved.missing, "deleted": saved.deleted}
        state = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    cells = (
        plain(str(saved.suite)),
        plain(saved.name),
        f"{saved.sessions:,}",
        UNKNOWN if saved.covered is None else "#{} to #{}".format(*saved.covered),
        format_age(saved.synced_at, now),
        state,
    )
    row: dict[str, Any] = {**suite_names(saved.suite), **{name: getattr(saved, name) for name in _VALUES}}
    return Item(None, cells, row=row)
