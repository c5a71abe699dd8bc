"""The result of a command, for all formats: a title, facts, sections of tests, rows for programs; and of a gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from attrs import evolve, frozen
from rich.text import Text

from buddy_sessions import BuddyError, Session, SuiteKey, TestCase, TestKey
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions._base.validate import LATEST
from buddy_sessions._export import SESSION_CASE_COLUMNS, Row, session_case_row, session_row
from buddy_sessions.analysis import FailingTest, Judgement
from buddy_sessions.analysis.baseline import NOVELTIES, Cause
from buddy_sessions.analysis.commits import has_crashed
from buddy_sessions.analysis.remarks import CHECK_UPLOAD

from ..errors import error_text
from .text import origin, remark_text, status_mark

MAX_SESSIONS = 5  # how many sessions a text lists


@frozen
class Column:
    """A column of a table; `phrase` says what its cells are in a text, and is empty if they are left out there.

    If `can_be_cut` is true, its cells are cut in a table that is too wide; if `wraps` is true, they get more lines.
    If that is not enough, columns are left out: that of the highest rank first, of equal ones the last.
    """

    title: str
    phrase: str = "{}"
    is_number: bool = True
    can_be_cut: bool = False
    wraps: bool = False
    rank: int = 0


@frozen
class Item:
    """One thing that a section lists, such as a test: its name, its cells in a table, and a remark.

    A cell can be a text of rich: formats without colours and links ignore these. `row` is what programs get.
    """

    key: TestKey | None
    cells: Sequence[str | Text] = ()
    remark: str = ""
    case: TestCase | None = None
    row: Row | None = None
    is_excused: bool = False
    """Whether the remark says why this test does not count."""
    url: str | None = None
    """Its page in Buddy."""


@frozen
class Section:
    """Items below a title."""

    title: str
    items: Sequence[Item]


@frozen(kw_only=True)
class CommandResult:
    """The result of a command. The texts may contain uploaded names and messages: each format escapes them."""

    command: str = ""
    """In markdown, what it is the result of."""
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
    problems: Sequence[str] = ()
    """Why it is not green, other than by a failing test."""
    advice: Sequence[str] = ()
    """What to do about the problems and the facts, which precede it."""
    csv_columns: Sequence[str] = ()
    """The fields of rows that are columns of CSV, also if there are no rows."""
    warnings: Sequence[str] = ()

    @property
    def items(self) -> list[Item]:
        """All items of the sections."""
        return [item for section in self.sections for item in section.items]

    @property
    def rows(self) -> list[Row]:
        """What programs get."""
        return [item.row for item in self.items if item.row is not None]

    @property
    def verdict(self) -> Row:
        """What programs get of a gate: the verdict, what it rests on, and the failing tests."""
        counts = Counter(row["novelty"] or "new" for row in self.rows)
        return {
            "verdict": {True: "fails", False: "passes", None: "none"}[self.is_red],
            "title": self.title,
            "reasons": self.problems,
            "advice": self.advice,
            "facts": [*self.warnings, *self.facts],
            "counts": None if self.is_red is None else {kind: counts[kind] for kind in NOVELTIES},
            "sessions": [session_row(session, emails=False) for session in self.sessions],
            "tests": self.rows,
        }

    def limited(self, count: int | None) -> CommandResult:
        """Return the result with at most `count` items; with all for None."""
        items = islice(self.items, count)
        sections = [evolve(section, items=list(islice(items, len(section.items)))) for section in self.sections]
        return evolve(self, sections=sections)


CASE_CELLS = (Column("STATUS", "", is_number=False), Column("TIME", ""))

_TITLES = {
    "no failing test": "failed without a failing test",
    "outcome": "the outcome is a failure",
    "ended early": "the test program ended before its session did",
    "no upload": "no session was found",
    "no test ran": "no test ran",
    "few tests": "tests did not run",
    "no baseline": "nothing to compare with",
}
"""What fails if no new failure does, or is missing for a verdict, by `Reason.kind`."""

_FEW_TESTS = "see the log of the tests: a file that cannot be loaded may upload nothing. If tests were removed, pass "
_NOT_AWAITED = "run the gate again when all sessions have ended, or wait for them with --revision or --run-url"
ADVICE = {
    "new failure": "",
    "no failing test": "see the log of the tests: they ended before all had run",
    "outcome": f"see the log of the tests: running them again repairs no broken file. If there is none, {CHECK_UPLOAD}",
    "ended early": "see the log of the tests: perhaps a file cannot be loaded, or they were killed",
    "no upload": f"see the log of the tests, and {CHECK_UPLOAD}",
    "no test ran": "check which tests the job selects",
    "few tests": f"{_FEW_TESTS}--outcome success if they ended well, or a lower --min-tests",
    "unfinished": "allow more time with --timeout; if an earlier run was killed, leave out its sessions with --after",
    "few sessions": f"see why jobs uploaded nothing, and {CHECK_UPLOAD}; or wait longer with --timeout",
    "no session": "see with buddy-sessions list SUITE what there is: the tests uploaded nothing, or for another "
    "commit, or before --after",
    "incomplete list": "run the gate again",
    "incomplete cases": "run the gate again in a minute; if that does not help, run the tests again",
    "unknown status": "update this package; until then, look at the session in Buddy",
    "no count": "pass --outcome: it says that all tests ran",
    "maybe rerun": "if a job was run again, pass --after with the start of this attempt; or pass --outcome",
    "ignored": "check --after, and the clock that it comes from",
    "no baseline": "run the tests on each push to the main branch, too, or compare with another --baseline",
}
"""What to do, by the `kind` of a reason or a remark, if no option says otherwise."""
_OF_DATABASE = {
    "no upload": f"run sync first; if that does not help, see the log of the tests, and {CHECK_UPLOAD}",
    "incomplete list": "run sync, then the gate again",
    "incomplete cases": "run sync --cases failed, then the gate again; if that does not help, run the tests again",
}
_AFTER = {
    "success": {"few tests": f"if no tests were removed, {CHECK_UPLOAD}"},
    "failure": {
        "few tests": f"{_FEW_TESTS}a lower --min-tests",
        "no count": "run the tests again: if they succeed, their number is not needed",
    },
}


def advice_for(*, outcome: str | None, is_awaited: bool, is_saved: bool) -> dict[str, str]:
    """Return what to do after a gate with these options. A failure must not be passed as a success."""
    not_awaited = {} if is_awaited else dict.fromkeys(("unfinished", "few sessions"), _NOT_AWAITED)
    return ADVICE | not_awaited | _AFTER.get(outcome or "", {}) | (_OF_DATABASE if is_saved else {})


def case_item(suite: SuiteKey, session: Session, case: TestCase, remark: str = "") -> Item:
    """Return a test of a session, with the cells of `CASE_CELLS`."""
    cells = (status_mark(case.status), format_duration(case.time))
    return Item(case.key, cells, remark, case, session_case_row(suite, session, case))


def failing_item(judgement: Judgement, test: FailingTest) -> Item:
    """Return a failing test. Its remark says why it does not count, or that it may be of another change."""
    item = case_item(judgement.suite, test.session, test.case, remark_text(test, judgement.baseline))
    return evolve(item, is_excused=not test.counts)


def _judged_item(judgement: Judgement, test: FailingTest) -> Item:
    item = failing_item(judgement, test)
    since = test.since.first.relative_id if test.since is not None else None
    values = {name: getattr(test, name) for name in ("novelty", "failed_in", "failed_elsewhere")}
    return evolve(item, row={**(item.row or {}), **values, "since": since})


def crashed_sessions(judgement: Judgement) -> list[Session]:
    """Return the sessions that failed without a failing test."""
    failing = {test.session.id for test in judgement.tests}
    return [each for each in judgement.sessions if has_crashed(each) and each.id not in failing]


def gate_result(
    judgement: Judgement,
    *,
    about: str,
    advice: Mapping[str, str],
    describe_error: Callable[[BuddyError], str] = error_text,
) -> CommandResult:
    """Return the verdict with what it rests on. `about` names what was judged, if there is no session.

    `advice` and `describe_error` are for readers who cannot pass options.
    """
    suite, tests = judgement.suite, judgement.tests
    sections: list[Section] = []
    for kind in (None, *NOVELTIES):
        items = [_judged_item(judgement, test) for test in tests if test.novelty == kind]
        sections.append(Section(f"{(kind or 'failing tests').capitalize()} ({len(items):,})", items))
    problems = [each.describe(describe_error) for each in judgement.reasons if each.kind != "new failure"]
    kinds = [each.kind for each in (*judgement.reasons, *judgement.remarks)]
    return CommandResult(
        command="gate",
        suite=suite,
        about=about,
        sessions=judgement.sessions,
        title=_title(judgement),
        is_red=None if judgement.passes is None else not judgement.passes,
        facts=[
            *_one_session(judgement, about),
            *(remark.describe(describe_error) for remark in judgement.remarks),
            *_facts(judgement),
        ],
        causes=judgement.causes,
        columns=CASE_CELLS,
        sections=sections,
        csv_columns=(*SESSION_CASE_COLUMNS, "novelty", "failed_in", "failed_elsewhere", "since"),
        problems=problems,
        advice=[text for text in dict.fromkeys(map(advice.get, kinds)) if text],
        warnings=[
            f"the quarantine of {entry.pattern!r} ended on {entry.until}: fix the test, or set another day"
            for entry in judgement.expired
        ],
    )


def _title(judgement: Judgement) -> str:
    counts = {kind: sum(test.novelty == kind for test in judgement.tests) for kind in NOVELTIES}
    new = sum(test.counts for test in judgement.tests)
    others = [f"{count:,} {kind}" for kind, count in counts.items() if count and kind != "new"]
    text = ", ".join([format_count(new, "new failure" if judgement.baseline else "failure"), *others])
    titles = list(dict.fromkeys(_TITLES[reason.kind] for reason in judgement.reasons if reason.kind in _TITLES))
    if judgement.passes is None:
        parts = [*titles, *([text] if judgement.tests else [])]
        return ": ".join(filter(None, ["No verdict", ", ".join(parts)]))
    if judgement.passes:
        return f"Passes: {text}"
    return f"Fails: {text if new else ', '.join([*titles, *others])}"


def _one_session(judgement: Judgement, about: str) -> Iterator[str]:
    """Yield what is not known if `about` names a session, and not its commit or its CI run."""
    if about == LATEST or len(judgement.sessions) != 1:
        return
    (session,) = judgement.sessions
    if about != session.ci_run_url and not (session.revision or "").lower().startswith(about.lower()):
        yield f"Only #{session.relative_id} was judged: what other jobs of its commit say is not known"


def _facts(judgement: Judgement) -> Iterator[str]:
    """Yield since when the known failures fail, and what they were compared with."""
    first = {test.since.first for test in judgement.tests if test.since is not None}
    for session in sorted(first, key=lambda each: each.relative_id)[-MAX_SESSIONS:]:
        yield f"Failing since #{session.relative_id}: {origin(session)}"
    if (baseline := judgement.baseline) is not None and baseline.commits:
        commits = baseline.commits
        ends = dict.fromkeys(f"#{each.relative_id}" for each in (commits[-1].first, commits[0].sessions[0]))
        yield f"Compared with {baseline.branch}: {format_count(len(commits), 'commit')}, {' to '.join(ends)}"
