"""The digest of a report, for a chat: a JSON line, with a text to post, for the whole and for each cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from buddy_sessions._base.figures import format_count

from .html import Report
from .news import SharedCause, SuiteNews, time_of
from .text import SHORT_HASH, author_name, cut

_MAX_PLACES = 6


def digest_rows(report: Report) -> Iterator[dict[str, Any]]:
    """Yield what is posted to a chat: the whole, each cause, what has recovered, and what is not judged."""
    count = {state: len(report.by_state(state)) for state in ("new", "recovered", "unknown")}
    yield {
        "kind": "summary",
        "text": report.title,
        "written": report.period.now,
        "new_since": report.period.new_since,
        "synced_at": report.synced_at,
        "suites": len(report.suites),
        "newly_red": count["new"],
        "red": len(report.red),
        "recovered": count["recovered"],
        "not_judged": count["unknown"],
    }
    for cause in report.causes:
        yield _cause_row(report, cause)
    if recovered := report.by_state("recovered"):
        moments = [suite.since for suite in recovered if suite.since is not None]
        yield {
            "kind": "recovered",
            "text": f"{format_count(len(recovered), 'suite')} recovered: {_places(report, recovered)}",
            "suites": [str(suite.key) for suite in recovered],
            "since": min(moments, default=None),
        }
    for reason, suites in report.notes:
        if suites[0].state == "unknown":
            yield {
                "kind": "not judged",
                "text": f"{format_count(len(suites), 'suite')} not judged, {reason}: {_places(report, suites)}",
                "suites": [str(suite.key) for suite in suites],
                "reason": reason,
            }


def _cause_row(report: Report, cause: SharedCause) -> dict[str, Any]:
    messages = [": ".join(filter(None, text)) for text in cause.texts]
    began, (_, first) = time_of(cause.first.began), cause.commits[0]
    facts = [
        messages[0],
        f"{format_count(len(cause.hits), 'suite')}, {format_count(cause.tests, 'test') if cause.tests else 'no test'}",
        _places(report, cause.suites),
    ]
    age = "" if began is None else f"for {'' if cause.first.is_exact else 'more than '}{report.period.age(began)}"
    author = f" by {cut(name)}" if (name := author_name(first)) else ""
    commit = f"{cut(first.revision[:SHORT_HASH])}{author}" if first.revision else ""
    facts.append(", ".join(filter(None, (age, commit))))
    return {
        "kind": "newly red" if cause.is_new else "red",
        "text": " · ".join(filter(None, facts)),
        "messages": messages,
        "suites": [str(suite.key) for suite in cause.suites],
        "also_in": [str(suite.key) for suite in cause.also],
        "tests": cause.tests,
        "is_flaky": cause.is_flaky,
        "since": began,
        "is_since_exact": cause.first.is_exact,
        "commits": [
            {
                "project": report.place(suite),
                "revision": session.revision,
                "author": author_name(session) or None,
                "html_url": session.html_url,
                "ci_run_url": session.ci_run_url,
            }
            for suite, session in cause.named_commits
        ],
    }


def _places(report: Report, suites: Sequence[SuiteNews]) -> str:
    names = [
        f"{project} {members[0].name}" if len(members) == 1 else f"{project} ({len(members)} suites)"
        for project, members in report.by_project(suites)
    ]
    more = f" and {len(names) - _MAX_PLACES} more projects" if len(names) > _MAX_PLACES else ""
    return f"{', '.join(names[:_MAX_PLACES])}{more}"
