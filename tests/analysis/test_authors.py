"""Who started a session."""

from __future__ import annotations

import pytest
from attrs import evolve

from buddy_sessions import Member
from buddy_sessions.analysis.authors import who
from helpers.recordings import sessions_of

RUN = "https://github.com/acme/web/actions/runs/1234567890"


@pytest.mark.parametrize(
    ("recording", "text", "url"),
    [
        ("ci-buddy-push", "John Doe", None),
        ("ci-github-pull-request", "run 1234567890", RUN),
        ("ci-circleci-tag", "run 1234", "https://circleci.com/gh/acme/web/1234"),
        ("ci-none-branch", "", None),
    ],
)
def test_author_or_run_of_each_ci(recording: str, text: str, url: str | None) -> None:
    (session,) = sessions_of(recording)
    assert who(session) == (text, url)


def test_author_comes_before_the_run() -> None:
    (session,) = sessions_of("ci-github-push")
    assert who(evolve(session, created_by=Member(name="Ada"))) == ("Ada", None)
    assert who(evolve(session, created_by=Member(id=1))) == ("run 1234567890", RUN)


@pytest.mark.parametrize("url", ["https://ci.example", "https://ci.example/", "https://[", "http://ci/%00/"])
def test_run_without_a_name(url: str) -> None:
    (session,) = sessions_of("ci-github-push")
    assert who(evolve(session, ci_run_url=url)) == (("run %00" if "%" in url else "run"), url)
