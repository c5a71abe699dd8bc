"""The law of verdicts: on any history, they are those of the rules, which `helpers.rules` has once more."""

from __future__ import annotations

import asyncio
from datetime import date

import attrs
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import MAIN, ConfigError, TestKey
from buddy_sessions.analysis import QuarantinedTest
from helpers import rules
from helpers.list_source import SUITE, ask_about
from helpers.random_histories import BRANCHES, History, histories, long_histories, questions


@given(histories() | long_histories(), st.sampled_from([None, *BRANCHES]))
def test_status_follows_the_rules(history: History, branch: str | None) -> None:
    expected = rules.status(history.rows, branch or rules.MAIN, now=history.now)
    ask = ask_about(history.sessions, history.models_of_cases, as_of=history.now)
    (status,) = asyncio.run(ask.status([SUITE], branch=branch or MAIN))
    assert status.is_failing == expected.is_failing
    if status.commit is not None and status.since is not None:
        assert {session.id for session in status.commit.counted} == set(expected.counted)
        assert status.is_since_exact == expected.is_since_exact
        assert rules.commit_of(rules_row(history, status.since.first.id)) == expected.since


@given(st.data())
def test_gate_follows_the_rules(data: st.DataObject) -> None:
    history = data.draw(histories() | long_histories())
    ask = ask_about(history.sessions, history.models_of_cases, as_of=history.now)
    for question in data.draw(st.lists(questions(history), min_size=5, max_size=5)):
        if question["name"].startswith("undefined"):
            continue  # no name of a CI run
        expected = rules.gate(history.rows, history.cases, **question, now=history.now)
        listed = [str(TestKey(*test)) for test in question["quarantine"]]
        question["quarantine"] = [QuarantinedTest(name, date.max, exact=True) for name in listed]
        question["baseline"] = MAIN if question["baseline"] == rules.MAIN else question["baseline"]
        try:
            judgement = asyncio.run(ask.judge(SUITE, question.pop("name"), **question))
        except ConfigError:  # the name fits several sessions
            continue
        assert judgement.passes == expected.passes, (judgement.reasons, expected.reason)
        if judgement.tests and judgement.tests[0].novelty is not None:
            assert {attrs.astuple(test.case.key): test.novelty for test in judgement.tests} == expected.novelty


def rules_row(history: History, session_id: str) -> rules.Row:
    return next(row for row in history.rows if row["id"] == session_id)
