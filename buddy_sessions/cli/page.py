"""The page of a report: figures into HTML, by Jinja's templates, the extra `[report]`.

Whatever a template prints goes through `_printable` and is escaped; an address becomes a link through `words.link`
alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from tempfile import SpooledTemporaryFile
from types import ModuleType, TracebackType
from typing import Self, TextIO

from buddy_sessions import ConfigError, __version__

from . import words
from .charts import charts_of
from .figures import GROWTHS, RECENT, Figures, Growth, fastest
from .output import count, length, one_line

_IN_MEMORY = 16 * 2**20  # bytes
_LONGEST = 240  # characters of a message


@dataclass(frozen=True)
class _Row:
    """What is kept of a suite: its line of the overview, and where its section is."""

    id: str
    it: Figures
    start: int
    size: int


class Page:
    """A page that is made suite by suite. Their sections wait in a temporary file, so that memory need not hold them.

    Raises:
        ConfigError: What draws it is not installed.
    """

    def __init__(self) -> None:
        self._pygal, jinja = _import_pygal(), _import("jinja2")
        self._templates = jinja.Environment(
            loader=jinja.PackageLoader("buddy_sessions.cli"),
            autoescape=True,
            finalize=_printable,
            undefined=jinja.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(words=words, count=count, length=length)
        self._templates.globals.update(LONGEST=_LONGEST, RECENT=RECENT, version=__version__)
        self._rows: list[_Row] = []
        self._growths: list[Growth] = []
        self._sections = SpooledTemporaryFile[bytes](_IN_MEMORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sections.close()

    def add(self, figures: Figures) -> None:
        """Add a suite."""
        name = f"suite-{len(self._rows) + 1}"
        charts = list(charts_of(figures, self._pygal))
        section = self._templates.get_template("suite.html").render(id=name, it=figures, charts=charts).encode()
        start = self._sections.tell()
        self._sections.write(section)
        kept = replace(figures, newest=(), periods=(), failures=(), growths=())
        self._rows.append(_Row(name, kept, start, len(section)))
        # Of each suite what grows fastest: one of many branches must not fill the list alone.
        growths = {growth.measure: growth for growth in reversed(figures.growths)}
        self._growths = fastest([*self._growths, *growths.values()], GROWTHS)

    def write(self, stream: TextIO, now: datetime) -> None:
        """Write the page, after the last suite. Those that need attention come first."""
        rows = sorted(self._rows, key=lambda row: row.it.attention)
        template = self._templates.get_template("report.html")
        stream.writelines(template.generate(rows=rows, sections=self._read(rows), growths=self._growths, now=now))

    def _read(self, rows: Sequence[_Row]) -> Iterator[str]:
        for row in rows:
            self._sections.seek(row.start)
            yield self._sections.read(row.size).decode()


def _printable(value: object) -> object:
    # What a template marks as safe was escaped when it was made.
    return one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _import_pygal() -> ModuleType:
    pygal = _import("pygal")
    # For plug-ins that are not used here it looks into every import of the process, by a protocol that Python 3.12 has
    # dropped and Python 3.11 warns of.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != pygal.__name__]
    return pygal


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(f"{name} is not installed; run: pip install 'buddy_sessions[report]'") from error
