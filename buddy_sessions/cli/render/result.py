"""What a command has found, for all formats: a title, facts, sections of tests, and rows for programs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from attrs import evolve, frozen
from rich.text import Text

from buddy_sessions import Session, SuiteKey, TestCase, TestKey
from buddy_sessions._export.session_rows import Row
from buddy_sessions.analysis.baseline import Cause

MAX_SESSIONS = 5
"""How many sessions a text lists."""
READER_LIMIT = 20
"""How many tests a long list has by default, in formats that people read."""


@frozen
class Column:
    """A column of a table; `phrase` says what its cells are in a text, and is empty if they are left out there.

    If `can_be_cut` is true, its cells are cut in a table of suites that is too wide; if `wraps` is true, they get more
    lines.
    """

    title: str
    phrase: str = "{}"
    is_number: bool = True
    can_be_cut: bool = False
    wraps: bool = False


@frozen
class Item:
    """One thing that a section lists, such as a test: its name, its cells in a table, and a remark.

    A cell can be a text of rich: formats without colours and links ignore these.
    """

    key: TestKey | None
    cells: Sequence[str | Text] = ()
    remark: str = ""
    case: TestCase | None = None
    row: Row | None = None
    """What programs get."""
    url: str | None = None
    """Its page in Buddy."""


@frozen
class Section:
    """Items below a title. `row` is what programs get, if not a row for each item."""

    title: str
    items: Sequence[Item]
    row: Row | None = None


@frozen(kw_only=True)
class Result:
    """What a command has found. The texts may contain uploaded names and messages: each format escapes them."""

    command: str
    noun: str = "test"
    """What the items are."""
    suite: SuiteKey | None = None
    about: str = ""
    """Which sessions it is about, if these are not listed: `branch main`."""
    sessions: Sequence[Session] = ()
    old: Sequence[Session] = ()
    """The sessions that `sessions` are compared with."""
    title: str = ""
    """The verdict, in words of this package."""
    is_red: bool | None = None
    facts: Sequence[str] = ()
    causes: Sequence[Cause] = ()
    columns: Sequence[Column] = ()
    sections: Sequence[Section] = ()
    reader_limit: int | None = None
    """How many items formats for people have by default; None for all."""
    crashed: Sequence[Session] = ()
    """Sessions that failed without a failing test."""
    problems: Sequence[str] = ()
    """Why it is not green, although neither a test nor a session has failed."""
    fields: Sequence[str] = ()
    """The columns of rows."""
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    """What is only printed to stderr."""

    @property
    def items(self) -> list[Item]:
        """All items of the sections."""
        return [item for section in self.sections for item in section.items]

    @property
    def rows(self) -> list[Row]:
        """What programs get: a row for each item, or for each section that has one."""
        rows = (
            row
            for section in self.sections
            for row in ([item.row for item in section.items] if section.row is None else [section.row])
        )
        return [row for row in rows if row is not None]

    def limited(self, count: int | None) -> Result:
        """Return the result with at most `count` items; with all for None."""
        items = islice(self.items, count)
        sections = [evolve(section, items=list(islice(items, len(section.items)))) for section in self.sections]
        return evolve(self, sections=sections)
