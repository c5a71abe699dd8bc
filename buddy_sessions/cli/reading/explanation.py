"""Judges sessions to explain them, as the report and the tools for agents do: no gate depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from attrs import evolve

from buddy_sessions import ConfigError, Main, Session
from buddy_sessions.analysis.judgement import Baseline, Judgement, judge

from ..errors import NothingToJudgeError
from ..options import DEFAULT_LAST
from .suite_reader import SuiteReader


async def explain(
    reader: SuiteReader, sessions: Sequence[Session], branch: str | Main | None, *, reach: int = DEFAULT_LAST
) -> Judgement:
    """Return the verdict on sessions, compared with the CI runs of a branch before them, as far as these are known.

    Tests that did not run change no colour. `reach` CI runs show since when a test fails. Raises ConfigError if the
    test cases of the sessions were not saved.
    """
    runs, unread = await reader.judged_runs(sessions)
    baseline: Baseline | None = None
    others: list[Session] = []
    if any(case.is_failing for run in runs for case in run.cases):
        with suppress(ConfigError, NothingToJudgeError):
            baseline = await reader.baseline(sessions, branch, last=reach, skip_unsaved=True)
            baseline = evolve(baseline, last=DEFAULT_LAST)
            others = await reader.other_sessions(sessions, baseline)
    return evolve(judge(runs, baseline, others=others, unread=unread), missing_tests=())
