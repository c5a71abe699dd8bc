"""The HTML page of a report, rendered by Jinja (the extra `[report]`).

Templates escape HTML in every text, and `_escape_text` escapes invisible characters. A URL becomes a link only through
`web_url`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from buddy_sessions import MAIN, __version__
from buddy_sessions._base.extras import import_extra
from buddy_sessions._base.figures import format_count, format_duration

from ..reading.suite_report import MAX_OTHERS, NEWEST, RECENT, ReportContext, SuiteReport, ended
from .styled import RECENT_LEGEND
from .text import UNKNOWN, format_share, one_line, ref_name, started_by, web_url

MIN_BYTES = 32_000
"""What a page may need that says only how many suites are red."""

_STATES = ("newly red", "still red", "recovered")
_MAX_OTHER_ROWS = 300  # rows of the table of other branches
_LEFT_OUT = {"others": "other branches", "figures": "figures", "tests": "failing tests", "suites": "suites"}
"""What is left out of a page that is too large, in this order, and how the page names it."""


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
        count=format_count,
        duration=format_duration,
        ended=ended,
        moment=_moment,
        percent=format_share,
        ref_name=ref_name,
        started_by=started_by,
        web_url=web_url,
        MAIN=MAIN,
        MAX_OTHERS=MAX_OTHERS,
        NEWEST=NEWEST,
        RECENT=RECENT,
        RECENT_LEGEND=RECENT_LEGEND,
        version=__version__,
    )
    return environment.get_template("report.html")


def render_page(
    template: Any, suites: Sequence[SuiteReport], context: ReportContext, *, max_bytes: int | None
) -> bytes:
    """Return the page in UTF-8. If it has more than `max_bytes`, as much as necessary is left out, and it says what."""
    oldest = datetime.min.replace(tzinfo=UTC)
    newest_first = sorted(suites, key=lambda it: (it.streak and ended(it.streak.first)) or oldest, reverse=True)
    newly_red, still_red, recovered = ([it for it in newest_first if it.state == state] for state in _STATES)
    red = newly_red + still_red
    flaky = [(it, test) for it in red for test in it.tests if test.baseline == "flaky"]
    others = [(it, session) for it in suites for session in it.others]
    others.sort(key=lambda other: ended(other[1]) or oldest, reverse=True)
    latest = [it.latest for it in suites if it.latest is not None] + [session for _, session in others[:1]]
    names = Counter(map(_short_name, suites))
    values = {
        "red": red,
        "newly_red": newly_red,
        "still_red": still_red,
        "recovered": recovered,
        "flaky": flaky,
        "incomplete": [it for it in suites if it.status.remark],
        "outdated": [it for it in suites if not it.is_up_to_date],
        "no_branch": [it for it in suites if it.status.reason == "no main branch"],
        "suites": sorted(suites, key=_attention),
        "namesakes": {it.status.suite for it in suites if names[_short_name(it)] > 1},
        "others": others,
        "other_count": sum(it.other_count for it in suites),
        "context": context,
        "newest": max(filter(None, map(ended, latest)), default=None),
        "max_bytes": max_bytes,
    }
    most = {
        "others": min(_MAX_OTHER_ROWS, len(others)),
        "figures": len(suites),
        "tests": len(red),
        "suites": max(len(suites), len(flaky)),
    }

    def render(shown: Mapping[str, int]) -> bytes:
        less = [
            f"{'some ' if shown[name] else ''}{text}" for name, text in _LEFT_OUT.items() if shown[name] < most[name]
        ]
        page: str = template.render(values, shown=shown, left_out=", ".join(less))
        return page.encode()

    return render(most) if max_bytes is None else _fit(render, most, max_bytes)


def _fit(render: Callable[[Mapping[str, int]], bytes], shown: Mapping[str, int], max_bytes: int) -> bytes:
    """Return a page with as much of everything as fits in `max_bytes`."""
    page = render(shown)
    if len(page) <= max_bytes:
        return page
    for name in _LEFT_OUT:
        choices = [{**shown, name: number} for number in range(max(1, shown[name]))]
        if len(render(choices[0])) <= max_bytes:
            too_large = bisect_left(choices, max_bytes + 1, key=lambda choice: len(render(choice)))
            return render(choices[too_large - 1])
        shown = choices[0]
    return render(shown)


def _short_name(report: SuiteReport) -> tuple[str, str]:
    """Return how lists name a suite, unless another one has the same name."""
    key = report.status.suite
    return report.status.name or key.suite_id, key.project


def _attention(report: SuiteReport) -> tuple[object, ...]:
    """Return what the table of all suites is sorted by: red ones first, then by lower pass rate."""
    rate = report.recent.pass_rate
    return not report.is_red, 2.0 if rate is None else rate, report.status.suite


def _moment(value: datetime | None) -> str:
    """Return a day and a time: `2 Nov 2026, 10:16`."""
    return UNKNOWN if value is None else f"{value.day} {value:%b %Y, %H:%M}"


def _escape_text(value: object) -> object:
    """Escape invisible characters in a text. Markup that a template has marked as safe is returned unchanged."""
    return one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
