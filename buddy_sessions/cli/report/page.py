"""The HTML page of a report, rendered by Jinja (the extra `[report]`).

Templates escape HTML in every text, and `_escape_text` escapes invisible characters. A URL becomes a link only through
`web_url`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from buddy_sessions import __version__

from ..extras import import_extra
from ..formats.formatting import one_line, web_url
from ..formats.tables import ref_text, status_text
from . import formats
from .charts import draw_charts, draw_sparkline
from .suite_statistics import RECENT, SuiteStatistics

_MAX_MESSAGE_LENGTH = 160  # characters: two lines


def load_template() -> Any:
    """Return the Jinja template of the page. Raises ConfigError if the extra `[report]` is not installed."""
    jinja = import_extra("jinja2", extra="report")
    environment = jinja.Environment(
        loader=jinja.PackageLoader(__package__),
        autoescape=True,
        finalize=_escape_text,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        formats=formats,
        one_line=one_line,
        ref_text=ref_text,
        status_text=status_text,
        web_url=web_url,
        draw_charts=draw_charts,
        draw_sparkline=draw_sparkline,
        MAX_MESSAGE_LENGTH=_MAX_MESSAGE_LENGTH,
        RECENT=RECENT,
        version=__version__,
    )
    return environment.get_template("report.html")


def render_page(
    template: Any, suites: Sequence[SuiteStatistics], now: datetime, *, days: int | None = None
) -> Iterator[str]:
    """Yield the HTML of the page, piece by piece. Suites that need attention come first.

    Args:
        template: The template.
        suites: The statistics of the suites.
        now: The time that the page shows.
        days: The number of days that the statistics are limited to; None if they are not.
    """
    ordered = sorted(suites, key=lambda suite: suite.sort_key)
    yield from template.generate(suites=ordered, now=now, days=days)


def _escape_text(value: object) -> object:
    """Escape invisible characters in a text. Markup that a template has marked as safe is returned unchanged."""
    return one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
