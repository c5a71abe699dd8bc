"""A report: its HTML page, rendered by Jinja (the extra `[report]`), and its digest for a chat, JSON lines with a text.

Templates escape HTML in every text, and `_escape_text` escapes invisible characters. A URL becomes a link only through
`web_url`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property, partial
from hashlib import sha256
from itertools import groupby
from typing import Any, get_args

from attrs import frozen

from buddy_sessions import Session, __version__
from buddy_sessions._base.figures import format_count
from buddy_sessions._base.validate import import_extra

from .news import Period, SharedCause, State, SuiteNews, time_of
from .text import SHORT_HASH, author_name, cut, one_line, web_url

MIN_BYTES = 32_000  # what a page may need that says only how many suites are red

_MAX_PLACES = 6  # that a line of the digest names
_SMALL, _LARGE = 30, 400  # suites: up to these nothing is folded; above these all that is not red is
_MAX_NAMED, _MAX_LENGTH = 12, 160  # suites and characters of the names of a new cause; of more, their numbers are shown
_GITHUB_RUN = re.compile(r"(https://github\.com/[\w.-]+/[\w.-]+)/actions/runs/[0-9]+(?:/.*)?", re.ASCII)
_HASH = re.compile("[0-9a-f]{7,64}")
_STATES = get_args(State)
_LEFT_OUT = {
    "tests": "failing tests",
    "others": "suites that are not red",
    "lists": "flaky suites, suites that are not judged",
    "older": "older causes",
    "reds": "red suites of projects",
    "causes": "causes",
}
"""What is left out of a page that is too large, in this order, and how the page names it."""


@frozen(kw_only=True, slots=False)
class Report:
    """The suites of a report and the causes that they share, for all formats."""

    suites: Sequence[SuiteNews]
    causes: Sequence[SharedCause]
    period: Period
    branch: str | None  # None: the main branch of each
    synced_at: datetime | None
    flaky_note: str  # of which suites it is not known whether tests are flaky, and why

    def by_state(self, *states: State) -> list[SuiteNews]:
        """Return the suites in one of these states, by project and name."""
        return [suite for suite in self.suites if suite.state in states]

    @property
    def red(self) -> list[SuiteNews]:
        """The suites that are red."""
        return self.by_state("new", "old")

    @property
    def new(self) -> list[SharedCause]:
        """The causes that are new."""
        return [cause for cause in self.causes if cause.is_new]

    @property
    def red_before(self) -> int:
        """How many suites were red at the beginning of the period, of those that are judged."""
        before = self.period.new_since
        return sum(
            next((is_red for date, is_red in suite.status.verdicts if date < before), suite.state == "old")
            for suite in self.suites
            if suite.state != "unknown"
        )

    @property
    def worse(self) -> int:
        """How many suites were red before, and have a new cause."""
        return len({suite.key for cause in self.new for suite in [*cause.suites, *cause.also] if suite.state == "old"})

    @property
    def title(self) -> str:
        """The news, for a tab, a mail or a chat."""
        new, count = self.by_state("new"), format_count(len(self.suites), "suite")
        red = f"{len(self.red):,} of {len(self.suites):,} red"
        if new:
            names = list(dict.fromkeys(name for cause in self.new for name, _ in self.by_project(cause.suites)))
            more = "…" if len(names) > 2 else ""
            return f"{len(new):,} newly red ({', '.join(cut(name, 40) for name in names[:2])}{more}), {red}"
        if self.worse:
            return f"{format_count(self.worse, 'red suite')} got worse, {red}"
        if self.red:
            return f"Nothing newly red, {red}"
        unknown = len(self.by_state("unknown"))
        return f"No suite red, {unknown:,} not judged" if unknown else f"All {count} green"

    def place(self, suite: SuiteNews) -> str:
        """Return the name of the project of a suite; with its workspace, if there are several."""
        return suite.key.project if self._has_one_workspace else "/".join(suite.key[:2])

    @cached_property
    def _has_one_workspace(self) -> bool:
        return len({suite.key.workspace for suite in self.suites}) == 1

    def by_project(self, suites: Iterable[SuiteNews]) -> list[tuple[str, list[SuiteNews]]]:
        """Return the projects of suites with their suites: most suites first."""
        ordered = sorted(suites, key=self.place)
        groups = [(name, list(members)) for name, members in groupby(ordered, key=self.place)]
        return sorted(groups, key=lambda group: -len(group[1]))

    @property
    def projects(self) -> list[tuple[str, list[SuiteNews]]]:
        """All projects with their suites: newly red ones first, then red ones; of a project, red suites first."""

        def rank(group: tuple[str, list[SuiteNews]]) -> tuple[object, ...]:
            states = [suite.state for suite in group[1]]
            return -states.count("new"), -states.count("old"), group[0]

        groups = [(name, sorted(members, key=_attention)) for name, members in self.by_project(self.suites)]
        return sorted(groups, key=rank)

    @property
    def flaky(self) -> list[SuiteNews]:
        """The suites with flaky tests, those first whose worst test failed most often."""
        pairs = [(suite.flaky.failed, suite) for suite in self.suites if suite.flaky is not None]
        return [suite for _, suite in sorted(pairs, key=lambda pair: -pair[0])]

    @property
    def notes(self) -> list[tuple[str, list[SuiteNews]]]:
        """Why suites are not judged, or what is unusual about those that are, most suites first."""
        names = dict.fromkeys(suite.note for suite in self.suites if suite.note)
        groups = [(name, [suite for suite in self.suites if suite.note == name]) for name in names]
        return sorted(groups, key=lambda group: (group[1][0].state != "unknown", -len(group[1])))


def _attention(suite: SuiteNews) -> tuple[object, ...]:
    states = {"new": 0, "old": 0, "recovered": 1, "unknown": 2, "green": 3}
    since = -suite.since.timestamp() if suite.is_red and suite.since is not None else 0.0
    return states[suite.state], since, suite.flaky is None, suite.name


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
    css, script = (environment.loader.get_source(environment, name)[0] for name in ("report.css", "filter.js"))
    environment.globals.update(
        css=css,
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        authors=_authors,
        commits_by_author=_commits_by_author,
        cut=cut,
        marks=_marks,
        plural=format_count,
        states=_STATES,
        time_of=time_of,
        version=__version__,
        web_url=web_url,
    )
    return environment.get_template("report.html")


def render_page(template: Any, report: Report, *, max_bytes: int | None) -> bytes:
    """Return the page in UTF-8. If it has more than `max_bytes`, as much as necessary is left out, and it says what."""
    projects, causes = report.projects, report.causes[::-1]
    also = {suite.key: cause for cause in causes for suite in cause.also}  # less important than what it has itself
    values = {
        "report": report,
        "period": report.period,
        "projects": projects,
        "anchors": {name: f"p{number}" for number, (name, _) in enumerate(projects)},
        "cause_of": also | {suite.key: cause for cause in causes for suite in cause.suites},
        "can_name": partial(_can_name, report),
        "is_small": len(report.suites) <= _SMALL,
        "is_large": len(report.suites) > _LARGE,
        "max_bytes": max_bytes,
    }
    page = b""
    for count in range(len(_LEFT_OUT) + 1):
        shown, left_out = list(_LEFT_OUT)[count:], ", ".join([*_LEFT_OUT.values()][:count])
        html: str = template.render(values, shown=shown, left_out=left_out)
        page = html.encode()
        if max_bytes is None or len(page) <= max_bytes:
            break
    return page


def _can_name(report: Report, suites: Sequence[SuiteNews]) -> bool:
    length = sum(len(suite.name) for suite in suites) + sum(len(name) for name, _ in report.by_project(suites))
    return len(suites) <= _MAX_NAMED and length <= _MAX_LENGTH


def _commits_by_author(
    commits: Sequence[tuple[SuiteNews, Session]],
) -> Iterator[tuple[str, list[tuple[SuiteNews, Session, str]]]]:
    """Yield the authors of commits; of each commit a suite, its session, and its page on GitHub.

    Buddy does not know the author of a run on GitHub: the page says it.
    """
    for name in dict.fromkeys(author_name(session) for _, session in commits):
        own = [(suite, each) for suite, each in commits if author_name(each) == name]
        yield name, [(suite, each, "" if name else _github_page(each)) for suite, each in own]


def _authors(suite: SuiteNews) -> str:
    """Return the names of those with whose commits a suite became red, or its causes began."""
    began = [suite.status.since.turning_session] if suite.status.since is not None else []
    names = [author_name(session) for session in (*began, *(cause.began for cause in suite.causes))]
    return ", ".join(dict.fromkeys(filter(None, names)))


def _github_page(session: Session) -> str:
    """Return the page of the commit of a session; empty if it did not run on GitHub."""
    match = _GITHUB_RUN.fullmatch(session.ci_run_url or "")
    return f"{match[1]}/commit/{session.revision}" if match and _HASH.fullmatch(session.revision or "") else ""


def _marks(suite: SuiteNews) -> tuple[dict[bool | None, str], str] | None:
    """Return the last commits of a suite as paths of SVG, by `is_failing`, and what they show; None without any.

    Equal marks are one line, which the style cuts into marks.
    """
    recent = suite.status.recent
    if not any(mark is not None for mark in recent):
        return None
    paths: dict[bool | None, str] = {}
    x = 80 - 4 * len(recent)
    for mark, members in groupby(reversed(recent)):
        width = 4 * len(list(members))
        paths[mark] = f"{paths.get(mark, '')}M{x} 6h{width - 1}"
        x += width
    passed, judged = recent.count(False), len(recent) - recent.count(None)
    return paths, f"{passed} of {judged} passed"


def _escape_text(value: object) -> object:
    """Escape invisible characters in a text. Markup that a template has marked as safe is returned unchanged."""
    return one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def digest_rows(report: Report) -> Iterator[dict[str, Any]]:
    """Yield what is posted to a chat: the whole, each cause, what has recovered, and the notes on suites."""
    recovered = report.by_state("recovered")
    yield {
        "kind": "summary",
        "text": report.title,
        "written": report.period.now,
        "new_since": report.period.new_since,
        "synced_at": report.synced_at,
        "suites": len(report.suites),
        "newly_red": len(report.by_state("new")),
        "red": len(report.red),
        "recovered": len(recovered),
        "not_judged": len(report.by_state("unknown")),
    }
    for cause in report.causes:
        yield _cause_row(report, cause)
    if recovered:
        moments = [suite.since for suite in recovered if suite.since is not None]
        row = _suites_row(report, "recovered", f"{format_count(len(recovered), 'suite')} recovered", recovered)
        yield {**row, "since": min(moments, default=None)}
    for reason, suites in report.notes:
        kind = "not judged" if suites[0].state == "unknown" else "judged with a remark"
        text = f"{format_count(len(suites), 'suite')} {kind}, {reason}"
        yield {**_suites_row(report, kind, text, suites), "reason": reason}


def _suites_row(report: Report, kind: str, text: str, suites: Sequence[SuiteNews]) -> dict[str, Any]:
    return {"kind": kind, "text": f"{text}: {_places(report, suites)}", "suites": [str(each.key) for each in suites]}


def _cause_row(report: Report, cause: SharedCause) -> dict[str, Any]:
    messages = [": ".join(filter(None, text)) for text in cause.texts]
    began, named = time_of(cause.first.began), cause.named_commits
    facts = [
        messages[0] if len(messages) == 1 else f"{len(messages):,} causes, such as {messages[0]}",
        ", ".join(filter(None, (format_count(len(cause.hits), "suite"), cause.tests_text))),
        _places(report, cause.suites),
    ]
    age = "" if began is None else f"for {'' if cause.first.is_exact else 'more than '}{report.period.age(began)}"
    commits = ", ".join(filter(None, (_commit_text(session) for _, session in named)))
    others = len(cause.commits) - len(named)
    more = f" and {format_count(others, 'more commit')}" if others else ""
    facts.append(", ".join(filter(None, (age, f"{commits}{more}".strip()))))
    return {
        "kind": "newly red" if cause.is_new else "red",
        "text": " · ".join(filter(None, facts)),
        "messages": messages,
        "suites": [str(suite.key) for suite in cause.suites],
        "also_in": [str(suite.key) for suite in cause.also],
        "tests": cause.tests,
        "failing_tests": cause.failing,
        "messages_read": cause.failing - cause.unread,
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
            for suite, session in cause.commits
        ],
    }


def _commit_text(session: Session) -> str:
    author = f" by {cut(name)}" if (name := author_name(session)) else ""
    return f"{cut(session.revision[:SHORT_HASH])}{author}" if session.revision else ""


def _places(report: Report, suites: Sequence[SuiteNews]) -> str:
    names = [
        f"{project} {members[0].name}" if len(members) == 1 else f"{project} ({len(members)} suites)"
        for project, members in report.by_project(suites)
    ]
    more = f" and {len(names) - _MAX_PLACES} more projects" if len(names) > _MAX_PLACES else ""
    return f"{', '.join(names[:_MAX_PLACES])}{more}"
