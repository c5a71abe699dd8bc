"""The six tools of the MCP server, which read tests for agents."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

from attrs import evolve
from pydantic import AfterValidator, BeforeValidator, Field

from buddy_sessions import MAIN, ConfigError, ForbiddenError, Main, NotFoundError, Suite, SuiteStatus
from buddy_sessions.analysis.by_test import find_test
from buddy_sessions.analysis.completeness import find_judged_runs, remark_on_tests
from buddy_sessions.analysis.runs import find_ci_runs, name_sessions
from buddy_sessions.analysis.suite_status import MAX_SEARCHED

from ..input.keys import KeyDefaults, describe_suite
from ..options import BranchOptions
from ..reading.case_source import CaseSource
from ..reading.judging import explain
from ..reading.named_sessions import (
    find_session,
    find_session_before,
    find_sessions,
    parse_session,
    parse_session_of,
)
from ..reading.suite_reader import SuiteReader
from ..reading.suite_report import is_stale
from ..render.agent import render_for_agent
from ..render.result import READER_LIMIT, Column, Item, Result, Section, describe_branch
from ..render.text import format_age, format_moment, session_facts, streak_facts, web_url
from .compare import compare_result
from .failures import failures_result, verdict_text
from .flaky import flaky_result
from .history import history_result
from .status import status_result

MAX_DETAILS = 200
"""The number of failing tests of a session whose messages are read at once, with one request each."""

_STREAK = 100  # sessions that are searched for the beginning of a red streak
_PAGE = 25  # sessions, or names of suites
_SUITES = 100  # of one result
_MAX_OFFSET = 100_000  # of any list; a higher one is as good as this one
_STATES = {True: "red", False: "green", None: "no verdict"}
_COMPLETE = (Column("STATUS"), Column("TIME"))  # of a single test


def _to_text(value: object) -> str:
    """Return an argument as text: agents also send numbers and null."""
    return "" if value is None else str(value).strip()


_Text = BeforeValidator(_to_text)
_Suite = Annotated[
    str, _Text, Field(description="WORKSPACE/PROJECT/SUITE_ID, the URL of a suite or a session, or a suite's name")
]
_Project = Annotated[str, _Text, Field(description="WORKSPACE/PROJECT or WORKSPACE, or the URL of a project")]
_Status = Annotated[
    str, _Text, Field(description='Only suites that are "red", "green" or "stale", or have "no verdict"')
]
_MaxAge = Annotated[int, Field(ge=0, le=10_000, description="Hours after which a verdict or sync is stale (0: never)")]
_Branch = Annotated[str, _Text, Field(description="A branch (default: the main branch)")]
_AllBranches = Annotated[bool, Field(description="Mix the sessions of all branches, tags and pull requests")]
_Session = Annotated[str, _Text, Field(description='#383, an ID, a URL, the hash of a commit, or "latest"')]
_Test = Annotated[str, _Text, Field(description="The name of a test as results show it, or a part of it")]
_Last = Annotated[int, Field(ge=2, le=100, description="How many of the newest finished sessions to look at")]
_Offset = Annotated[
    int,
    Field(ge=0, description="Continues an earlier result, which names the number"),
    AfterValidator(lambda offset: min(offset, _MAX_OFFSET)),
]


class Tools:
    """The tools. Each returns text of at most 24,000 characters."""

    def __init__(self, source: CaseSource, defaults: KeyDefaults) -> None:
        self._source = source
        self._defaults = defaults

    async def _open(self, suite: str, session: str = "") -> tuple[SuiteReader, str | None]:
        """Return a suite, and the name of a session if one of the arguments names it."""
        target, name = parse_session(self._defaults, await self._key_of(suite), session or None)
        return SuiteReader(self._source, await self._source.find(target)), name

    async def _key_of(self, text: str) -> str:
        """Return the key of the suite with this name or ID, or else the text. Raises ConfigError for several."""
        if not text or "/" in text or not (self._source.is_saved or self._defaults.workspace):
            return text
        suites: list[Suite] = []
        with suppress(ForbiddenError, NotFoundError):  # then it has to be a key
            suites = await self._source.list_suites("", self._defaults)
        found = [suite for suite in suites if text.casefold() in {suite.id.casefold(), (suite.name or "").casefold()}]
        if len(found) > 1:
            error = ConfigError(f"{text!r} is the name of {len(found):,} suites: use the key of one")
            for suite in found[:_PAGE]:
                error.add_note(describe_suite(suite))
            raise error
        return str(found[0].key) if found else text

    async def _render(
        self,
        result: Result,
        *statuses: SuiteStatus,
        offset: int,
        page: int | None = None,
        hint: str = "",
        complete: bool = False,
    ) -> str:
        """Return the text of a result from an item on, of `page` items (default: as many as fit).

        With a database, it says how old that is: as old as these statuses.
        """
        if self._source.is_saved and not statuses and result.suite is not None:
            statuses = tuple(await self._source.statuses([result.suite]))
        synced = [status.synced_at for status in statuses if status.synced_at is not None]
        if synced:
            oldest, newest = (format_moment(find(synced)) for find in (min, max))
            ends = oldest if oldest == newest else f"{oldest} to {newest}"
            hint = f"{hint}\nRead from a database. Last synced: {ends}, {format_age(min(synced), datetime.now(UTC))}."
        shown = result if page is None else result.limited(offset + page)
        more = len(result.items) > len(shown.items)
        return render_for_agent(shown, offset=offset, more=more, hint=hint, complete=complete)

    async def list_suites(
        self,
        project: _Project = "",
        status: _Status = "",
        max_age: _MaxAge = 0,
        offset: _Offset = 0,
    ) -> str:
        """List suites, red ones first: whether the main branch of each is red, since when, and by whom."""
        if status not in {"", "stale", *_STATES.values()}:
            raise ConfigError(f"status must be one of {', '.join([*_STATES.values(), 'stale'])}; it is {status!r}")
        names = {suite.key: suite.name for suite in await self._source.list_suites(project, self._defaults)}
        statuses = [evolve(each, name=names[each.suite]) for each in await self._source.statuses(list(names))]
        now, age = datetime.now(UTC), timedelta(hours=max_age) if max_age else None
        total = status_result(statuses, now, max_age=age)
        stale = {each.suite: "stale" for each in statuses if is_stale(each, now, age)}
        shown = [each for each in statuses if status in {"", _STATES[each.is_failing], stale.get(each.suite)}]
        result = evolve(status_result(shown, now, max_age=age), title=total.title, is_red=total.is_red)
        return await self._render(result, *statuses, offset=offset, page=_SUITES)

    async def list_sessions(
        self, suite: _Suite, branch: _Branch = "", all_branches: _AllBranches = False, offset: _Offset = 0
    ) -> str:
        """List the sessions of a branch, newest first: whether each is red, its commit, and by whom."""
        reader, _ = await self._open(suite)
        name = await reader.search.choose_branch(_choose(branch, all_branches))
        count = min(offset + _PAGE + 1, MAX_SEARCHED)
        sessions = await reader.search.take(count, name, limit=count)
        ci_runs = find_judged_runs(sessions, is_complete=len(sessions) < count)
        items = [Item(None, (", ".join(session_facts(session)),), web_url(session.html_url)) for session in sessions]
        result = Result(
            command="list",
            suite=reader.suite,
            title="Sessions, newest first",
            about=describe_branch(name),
            columns=[Column("SESSION")],
            facts=[streak_facts(ci_runs)] if ci_runs and name is not None else [],
            sections=[Section("", items)],
        )
        return await self._render(result, offset=offset, page=_PAGE)

    async def get_failures(
        self,
        suite: _Suite,
        *,
        session: _Session = "",
        branch: _Branch = "",
        all_branches: _AllBranches = False,
        test: _Test = "",
        offset: _Offset = 0,
    ) -> str:
        """Explain the failing tests of a session: one line for each cause, which are new, flaky or failing since when.

        Without a session, it is the latest finished one of the branch. With a test: its complete message and trace.
        """
        reader, name = await self._open(suite, session)
        selected = _choose(branch, all_branches)
        sessions = await find_sessions(reader, name, branch=selected)
        judgement = await explain(reader, sessions, MAIN)
        if test:
            searched = f"the failing tests of {name_sessions(judgement.sessions)}"
            key = find_test((each.case.key for each in judgement.tests), test, searched=searched)
            found = [each for each in judgement.tests if each.case.key == key]
            read = await reader.add_failures([(each.session, each.case) for each in found])
            result = failures_result(reader.suite, evolve(judgement, tests=found).with_cases(read), by_cause=False)
            result = evolve(result, title="One failing test", is_red=None, columns=_COMPLETE, facts=[], causes=[])
            return await self._render(result, offset=offset, complete=True)
        read = await reader.add_failures([(each.session, each.case) for each in judgement.tests[:MAX_DETAILS]])
        result = failures_result(reader.suite, judgement.with_cases(read), by_cause=True)
        newest = judgement.sessions[0]
        if newest.branch is not None and newest.has_verdict:
            streak = await reader.verdicts(branch=newest.branch, last=_STREAK, below=newest.relative_id + 1)
            ci_runs = find_ci_runs(streak, is_complete=len(streak) < _STREAK)
            judged = find_judged_runs(streak, is_complete=len(streak) < _STREAK) or ci_runs
            facts = [streak_facts(judged), *filter(None, [remark_on_tests(ci_runs)])]
            result = evolve(result, facts=[*facts, *result.facts])
        if judgement.is_red is not None:  # a session is red, whether its failures are known or not
            is_red = any(session.is_failing for session in judgement.sessions)
            titles = dict.fromkeys([verdict_text(evolve(judgement, baseline=None)), result.title])
            result = evolve(result, is_red=is_red, title=": ".join(titles))
        hint = "For the complete message and trace of a test, add test=NAME." if judgement.tests else ""
        return await self._render(result, offset=offset, hint=hint)

    async def find_flaky_tests(
        self,
        suite: _Suite,
        branch: _Branch = "",
        all_branches: _AllBranches = False,
        last: _Last = 10,
        offset: _Offset = 0,
    ) -> str:
        """Find tests whose status changed at least 3 times in the last sessions, or differs on the same commit.

        Reads all tests: one request for each 100 tests of each session.
        """
        reader, _ = await self._open(suite)
        result = await flaky_result(reader, _choose(branch, all_branches), last=last)
        hint = "Since when one fails: call get_test_history." if result.items else ""
        return await self._render(result, offset=offset, hint=hint)

    async def get_test_history(
        self,
        suite: _Suite,
        *,
        test: _Test,
        branch: _Branch = "",
        all_branches: _AllBranches = False,
        last: _Last = 20,
        offset: _Offset = 0,
    ) -> str:
        """Say since when a test fails, which commits are in between, and what it did in each CI run.

        `last` CI runs are searched for a failure; while the test fails, older ones are read, too.
        """
        reader, _ = await self._open(suite)
        result = await history_result(reader, _choose(branch, all_branches), test, last=last)
        return await self._render(result, offset=offset, page=READER_LIMIT)

    async def compare_sessions(self, suite: _Suite, old: _Session = "", new: _Session = "", offset: _Offset = 0) -> str:
        """Compare the tests of two sessions: newly failing, fixed, still failing, slower, added, removed.

        By default, the latest finished session of the main branch with the one before it on its branch. Reads all
        tests: one request for each 100 tests of each session.
        """
        reader, name = await self._open(suite, new)
        after = await find_session(reader, name)
        name = parse_session_of(reader.suite, old)
        before = await (find_session(reader, name) if old else find_session_before(reader, after))
        result = await compare_result(reader, before, after)
        return await self._render(result, offset=offset, hint="For messages and causes, call get_failures.")


def _choose(branch: str, all_branches: bool) -> str | Main | None:
    """Return the branch that the arguments of a tool select."""
    return BranchOptions(branch or None, all_branches).choose()
