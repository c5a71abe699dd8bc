"""How a session is named in a question: the same from the API and from a database."""

from __future__ import annotations

import pytest

from buddy_sessions import ConfigError, NoVerdictError
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.list_source import Ask

A = "acme/shop/a"
URL = "https://app.buddy.works/acme/shop/unit-tests/a/7"
RUN = "https://github.com/acme/unit-tests/actions/runs/17"
NEWEST = "in acme/shop/a: the newest is #9"
ACCEPTED = (
    "name it by its relative_id, ID or URL, or a commit by at least 7 digits of its hash, such as $(git rev-parse HEAD)"
)

FOUND: dict[str | int, list[int]] = {
    "latest": [2],  # #4 is a re-run of an older commit
    3: [3],
    "#3": [3],
    "3": [3],
    "000003": [3],
    "#0000003": [3],
    "first": [1],
    URL: [6],
    "deadbee": [9, 4, 1],  # the sessions of the commit
    "DEADBEEF" + "0" * 32: [9, 4, 1],
    "12345678": [2],  # too long for a relative_id
    RUN: [9, 2, 1],  # the sessions of the CI run
    f"{RUN}/": [9, 2, 1],
    "ccccccc": [7],
}
NOT_FOUND = {
    "#99": f"no session #99 {NEWEST}",
    "another": f"no session another {NEWEST}: {ACCEPTED}",
    "deadbe": f"no session deadbe {NEWEST}: write at least 7 digits of the hash of a commit",
    "fedcba9": f"no session fedcba9 {NEWEST}; the newest 1,000 were searched",
    "fix": "no session fix in acme/shop/a: it is a branch: pass it as branch",
    "#deadbeef": f"no session #deadbeef {NEWEST}: {ACCEPTED}",
    f"{RUN}7": f"no session {RUN}7 {NEWEST}; the newest 1,000 were searched",
}
AMBIGUOUS = {
    "0000003": "session #3 and commit 0000003f",
    "facade5": "the ID of session #5 and commit facade5f",
    "abcdef1": "commit abcdef1b and commit abcdef1a",
    "7": "session #7 and the ID of session #6",
}


@pytest.fixture(autouse=True)
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite whose sessions can be named in every way, also in ways that mean two of them."""
    suite = fake.add_suite("acme", "shop", "a")
    commit = "deadbeef" + "0" * 32
    suite.create("main", "SUCCESSFUL", id="first", revision=commit, ci_run_url=RUN)
    suite.create("main", "ERROR", revision="12345678", ci_run_url=f"{RUN}/")
    suite.create("fix", "ERROR", revision="0000003f")
    suite.create("main", "ERROR", revision=commit)
    suite.create("fix", "SUCCESSFUL", id="facade5", revision="abcdef1a")
    suite.create("fix", "SUCCESSFUL", id="7", revision="abcdef1b")
    for revision, run in (("ccccccc1", "https://ci/9"), ("facade5f", "https://ci/8"), (commit, RUN)):
        suite.create("main", "IN_PROGRESS", revision=revision, ci_run_url=run)
    return suite


@pytest.mark.parametrize(("name", "numbers"), FOUND.items(), ids=map(str, FOUND))
async def test_sessions_are_found(name: str | int, numbers: list[int], ask: Ask) -> None:
    judgement = await (await ask()).judge(A, name, baseline=None)
    assert [session.relative_id for session in judgement.sessions] == numbers


@pytest.mark.parametrize(("name", "message"), NOT_FOUND.items(), ids=NOT_FOUND)
async def test_unknown_session(name: str, message: str, ask: Ask) -> None:
    with pytest.raises(NoVerdictError) as caught:
        await (await ask()).judge(A, name)
    assert str(caught.value) == message


@pytest.mark.parametrize(("name", "meanings"), AMBIGUOUS.items(), ids=AMBIGUOUS)
async def test_name_of_two_sessions_is_an_error_that_lists_both(name: str, meanings: str, ask: Ask) -> None:
    source = await ask()
    for question in (source.judge, source.failures) if name.isdecimal() else (source.judge,):
        with pytest.raises(ConfigError) as caught:
            await question(A, name)
        assert str(caught.value).startswith(f"{name!r} fits {meanings}: write ")


async def test_json_is_no_session(ask: Ask) -> None:
    with pytest.raises(ConfigError, match=r"^not a session: a dict; pass a Session, its relative_id, id or URL$"):
        await (await ask()).judge(A, {"id": "facade5"})  # type: ignore[arg-type]
