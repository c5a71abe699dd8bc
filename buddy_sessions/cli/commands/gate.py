"""The command `gate`: wait for the sessions of a commit or a CI run, judge them, and exit with the verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, cast

from attrs import evolve
from cyclopts import Group, Parameter

from buddy_sessions import MAIN, BuddyError, ConfigError, Main, SuiteKey, parse_quarantine
from buddy_sessions._base.figures import format_duration
from buddy_sessions._base.validate import LATEST
from buddy_sessions.analysis import Judgement, QuarantinedTest
from buddy_sessions.analysis.commits import LAST, MIN_TESTS
from buddy_sessions.analysis.judgement import AFTER_TESTS, ProgramOutcome

from ..errors import ExitCode, error_text
from ..git_authors import Clone, name_authors
from ..options import (
    FORMAT,
    Answers,
    BranchOption,
    Count,
    Flag,
    Interval,
    Jobs,
    Key,
    MaxBytes,
    Question,
    Revision,
    RunUrl,
    SessionName,
    ask,
)
from ..render.console import Output
from ..render.markdown import DEFAULT_MAX_BYTES
from ..render.result import CommandResult, advice_for, gate_result
from ..render.show import Destination, show
from ..render.text import HASH
from ..suite_selection import parse_session
from ..values import Outcome, Share, Timeout, parse_since, parsed, read_text
from .failures import DETAILS

_TIMEOUT = 1800.0  # seconds

_OFFSET = re.compile(r"[T ].*[+-]\d{2}:?\d{2}$")


def _parse_after(text: str) -> int | datetime:
    text = text.removeprefix("#")
    if text.isdecimal() and len(text) < 8:
        return int(text)
    accepted = "pass a relative_id, or a time such as 2026-01-31T09:00Z"
    try:
        time = parse_since(text, datetime.now(UTC))
    except ValueError:
        raise ValueError(f"{text!r} is not a time: {accepted}") from None
    if text[-1].isdecimal() and not _OFFSET.search(text):
        raise ValueError(f"{text!r} needs an offset, because a local time may be in the future: {accepted}")
    return time


def _read_quarantine(name: str) -> tuple[QuarantinedTest, ...]:
    text = read_text(name)
    try:
        return tuple(parse_quarantine(text))
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


@Parameter(name="*", group=Group("Verdict", sort_key=1))  # before that of the connection
@dataclass(frozen=True)
class VerdictOptions:
    """The options that say what fails: arguments of `judge`."""

    outcome: Outcome = None
    """How the test programs of all jobs ended: an exit code, or a word of your CI, such as success or failed; of
    several jobs in one argument, such as "success failure". A cancelled or skipped run gets no verdict."""
    baseline: Annotated[BranchOption, Parameter(help="Branch to compare with (default: the main branch).")] = MAIN
    last: Count = LAST
    """Number of commits of the baseline. With more, flaky tests block fewer good changes, but more regressions
    pass."""
    quarantine: Annotated[
        tuple[QuarantinedTest, ...],
        parsed(_read_quarantine, accepts_keys=False, n_tokens=1, metavar="FILE", show_default=False),
    ] = ()
    """TOML file with tests that may fail: [[test]] with name (* for any text), until (a date), and reason."""
    min_tests: Share = MIN_TESTS
    """Tests that must have run, as a share of the fewest in a commit of the baseline; 0 means at least one. With
    --outcome success, fewer do not fail."""
    after: Annotated[int | datetime | None, parsed(_parse_after, metavar="RELATIVE_ID|TIME", accepts_keys=False)] = None
    """Start of this attempt of the CI run, such as 2026-01-31T08:30Z, or the highest relative_id before it. Earlier red
    and unfinished sessions are ignored."""


@Parameter(name="*", group=Group("Waiting", sort_key=2))
@dataclass(frozen=True)
class WaitOptions:
    """How long to wait for the sessions of a CI run or a commit."""

    count: Jobs = 1
    timeout: Timeout | None = None
    """Time to wait until all sessions have finished (default: 30m; with --outcome, 1m; with --db, it does not wait).
    With --outcome, they must appear within 1m, even if you pass a longer time."""
    interval: Interval = 10.0
    no_fail_fast: Flag = False
    """Wait for all sessions, even after a new failure."""

    def seconds(self, outcome: str | None, *, is_saved: bool) -> float | None:
        """Return how long to wait; None for not at all."""
        if self.timeout is not None or is_saved:
            return self.timeout
        return _TIMEOUT if outcome is None else AFTER_TESTS


_Format = Annotated[
    Literal["table", "markdown", "json", "jsonl", "junit", "github"],
    FORMAT,
    Parameter(
        help="Output format. json is one object, with the verdict. In jsonl, each line is a failing test. github "
        "annotates the files of a checkout."
    ),
]
_Write = Annotated[
    tuple[Destination, ...],
    Parameter(
        converter=lambda _, tokens: tuple(Destination.parse(token.value) for token in tokens),
        accepts_keys=False,
        n_tokens=1,
        metavar="FORMAT=FILE",
        show_default=False,
    ),
]


async def command(
    key: Key,
    session: SessionName = None,
    /,
    *,
    run_url: RunUrl = None,
    revision: Revision = None,
    verdict: VerdictOptions = VerdictOptions(),
    waiting: WaitOptions = WaitOptions(),
    output_format: _Format = "table",
    write: _Write = (),
    limit: Annotated[Count, Parameter(help="Maximum number of failing tests in the table.")] = 50,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
    git: Clone = Path(),
    question: Question = Question(),
) -> ExitCode:
    """Judge the tests of a change. Exit with 0 if it may be merged, and with 1 if it breaks tests.

    It fails if a failure is new: the test failed in none of the last commits of the main branch. It waits for the
    sessions of a CI run or a commit, and stops at the first new failure. If you name a SESSION, it does not wait.

    Exit codes: 0 passes, 1 fails, 2 wrong usage, 4 not authorised, 5 no verdict, 6 not finished in time, 7 any other
    error.

    For example:

    - buddy-sessions gate acme/storefront/MNbyVedg --run-url https://github.com/acme/web/actions/runs/17 --outcome 0
    - buddy-sessions gate acme/storefront/MNbyVedg --revision 1f0c2d3 --count 3 --write junit=gate.xml
    - buddy-sessions gate acme/storefront/MNbyVedg 383

    Args:
        write: Also write this format to this file, such as markdown=summary.md; - is stdout. Can be repeated.
    """
    suite, name = parse_session(question.access.defaults, key, session)
    name, is_awaited = _name_tests(name, run_url, revision, verdict.outcome)
    formats = (output_format, *(each.format for each in write))
    details = max(DETAILS.get(each, DETAILS["markdown"]) for each in formats)
    outcome, messages, code = verdict.outcome, question.access.messages(), ExitCode.NO_VERDICT
    result = CommandResult(command="gate", suite=suite, about=name, title="No verdict")
    failure: BuddyError | None = None
    if outcome in {"cancelled", "skipped"}:
        result = evolve(result, problems=[f"the tests were {outcome}"], advice=["run the tests, then the gate again"])
    else:
        async with ask(key, question, "waiting" if is_awaited else "reading") as (answers, suite, messages):
            is_saved = question.db is not None
            seconds = waiting.seconds(outcome, is_saved=is_saved) if is_awaited else None
            if seconds is not None and not messages.is_terminal:
                messages.print_note(f"waiting up to {format_duration(seconds)} for {name} in {suite}")
            try:
                judgement = await _ask_for_verdict(
                    answers, suite, name, verdict, waiting, branch=question.branch, details=details, timeout=seconds
                )
            except ConfigError:
                raise
            except BuddyError as error:
                failure, result = error, evolve(result, problems=[error_text(error)])
            else:
                advice = advice_for(outcome=outcome, is_awaited=is_awaited, is_saved=is_saved)
                result = _judged_result(await name_authors(judgement, git), about=name, advice=advice)
                code = _exit_code(judgement, has_waited=seconds is not None)
    problems = result.problems if failure is None else []  # otherwise, the error says it
    _print_verdict(result, output_format, messages, problems=problems, limit=limit, max_bytes=max_bytes)
    for output in write:
        output.write(result, messages, max_bytes=max_bytes)
    if failure is not None:
        raise failure
    return code


def _name_tests(name: str, run_url: str | None, revision: str | None, outcome: str | None) -> tuple[str, bool]:
    """Return the name of what is judged, and whether its sessions are awaited: those of a CI run or a commit."""
    awaited = [each for each in (run_url, revision) if each is not None]
    if len(awaited) > (name == LATEST):
        raise ConfigError("SESSION, --run-url and --revision exclude each other: use one of them")
    name = (awaited or [name])[0]
    if outcome is not None and name == LATEST:  # main may have other tests
        raise ConfigError("--outcome needs the tests that ended so: pass --revision or --run-url, or name a SESSION")
    return name, bool(awaited)


async def _ask_for_verdict(
    answers: Answers,
    suite: SuiteKey,
    name: str,
    verdict: VerdictOptions,
    waiting: WaitOptions,
    *,
    branch: str | Main,
    details: int,
    timeout: float | None,  # noqa: ASYNC109 - the verdict says what is missing
) -> Judgement:
    return await answers.judge(
        suite,
        name,
        branch=branch,
        baseline=verdict.baseline,
        last=verdict.last,
        quarantine=verdict.quarantine,
        outcome=cast("ProgramOutcome | None", verdict.outcome),  # neither cancelled nor skipped
        min_tests=verdict.min_tests,
        after=verdict.after,
        details=details,
        count=waiting.count,
        timeout=timeout,
        interval=waiting.interval,
        fail_fast=not waiting.no_fail_fast,
    )


def _print_verdict(
    result: CommandResult, output_format: str, messages: Output, *, problems: Sequence[str], limit: int, max_bytes: int
) -> None:
    if output_format == "table":
        show(evolve(result, problems=problems), "table", messages, limit=limit)
        return
    for text in (result.title, *problems):
        messages.print_note(text)
    show(result, output_format, messages, max_bytes=max_bytes)


def _judged_result(judgement: Judgement, *, about: str, advice: Mapping[str, str]) -> CommandResult:
    """Return the verdict; if nothing was named, it says which commit was taken."""
    result = gate_result(judgement, about=about, advice=advice)
    if about != LATEST or not judgement.sessions:
        return result
    session = judgement.sessions[0]
    commit = session.revision[:HASH] if session.revision else f"#{session.relative_id}"
    taken = f"Judged the latest commit of {session.ref_name}, {commit}, because none was named"
    return evolve(result, facts=[taken, *result.facts])


def _exit_code(judgement: Judgement, *, has_waited: bool) -> ExitCode:
    if judgement.passes is not None:
        return ExitCode.DONE if judgement.passes else ExitCode.RED
    late = {"unfinished", "few sessions"} if has_waited else {"unfinished"}
    is_late = any(reason.kind in late for reason in judgement.reasons)
    return ExitCode.NOT_FINISHED if is_late else ExitCode.NO_VERDICT
