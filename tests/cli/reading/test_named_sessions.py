"""How a session is named in an argument: the same from the API and from a database."""

from __future__ import annotations

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, Source

A = "acme/shop/a"
URL = "https://app.buddy.works/acme/shop/unit-tests/a/7"
RUN = "https://github.com/acme/unit-tests/actions/runs/17"
NEWEST = "in acme/shop/a: the newest is #9"

FOUND = {
    "latest": 4,
    "#3": 3,
    "3": 3,
    "000003": 3,
    "#0000003": 3,
    "first": 1,
    URL: 6,
    "deadbee": 4,  # the newest finished session of the commit
    "DEADBEEF" + "0" * 32: 4,
    "12345678": 2,  # too long for a relative_id
    RUN: 2,  # the newest finished session of the CI run
    f"{RUN}/": 2,
}
NOT_FOUND = {
    "#99": f"no session #99 {NEWEST}",
    "another": f"no session another {NEWEST}",
    "deadbe": f"no session deadbe {NEWEST}",  # too short for a commit
    "#deadbeef": f"no session #deadbeef {NEWEST}",
    f"{RUN}7": f"no session {RUN}7 {NEWEST}",
    "https://ci/9": "acme/shop/a has no finished session of CI run https://ci/9 yet: try again when one has finished",
    "ccccccc": "acme/shop/a has no finished session of commit ccccccc1 yet: try again when one has finished",
}
AMBIGUOUS = {
    "0000003": "session #3 and commit 0000003f",
    "facade5": "the ID of session #5 and commit facade5f",
    "abcdef1": "commit abcdef1b and commit abcdef1a",
    "7": "session #7 and the ID of session #6",
}


@pytest.fixture(autouse=True)
def suite(fake: FakeBuddy) -> None:
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


@pytest.mark.parametrize(("name", "number"), FOUND.items(), ids=FOUND)
def test_session_is_found(name: str, number: int, source: Source, call: Call) -> None:
    code, out, err = call("failures", A, name, *source("failed"), "--format", "table")
    assert (code, out.startswith(f"{A} #{number} "), err) == (0, True, "")


@pytest.mark.parametrize(("name", "message"), NOT_FOUND.items(), ids=NOT_FOUND)
def test_unknown_session_is_5(name: str, message: str, source: Source, call: Call) -> None:
    assert call("failures", A, name, *source("failed")) == (5, "", f"error: {message}\n")


@pytest.mark.parametrize(("name", "meanings"), AMBIGUOUS.items(), ids=AMBIGUOUS)
def test_name_of_two_sessions_is_2_and_lists_both(name: str, meanings: str, source: Source, call: Call) -> None:
    code, out, err = call("failures", A, name, *source("failed"))
    assert (code, out, err.startswith(f"error: {name!r} fits {meanings}: write ")) == (2, "", True)


@pytest.mark.parametrize("name", ["7", "#7", "0000007"])
def test_few_requests_find_a_relative_id_far_down(name: str, fake: FakeBuddy, call: Call) -> None:
    """A name of seven digits can also be that of a commit: then, the newest 1,000 sessions are read, too."""
    suite = fake.add_suite("acme", "shop", "b").populate(1200)
    fake.requests.clear()
    code, out, err = call("failures", "acme/shop/b", name, "--format", "table")
    assert (code, suite.sessions[-7]["html_url"] in out, err) == (0, True, "")
    assert len([request for request in fake.requests if request.path.endswith("/sessions")]) <= 3 + 10 * (len(name) > 6)


@pytest.mark.parametrize(("places", "requests"), [([1190], 3), ([1190, 1000], 5), ([501], 9), ([100], 11)], ids=str)
def test_search_for_a_commit_ends_below_its_last_session(
    places: list[int], requests: int, fake: FakeBuddy, call: Call
) -> None:
    """Not more than 200 sessions below the last one that was found are read, and not more than 1,000 in all."""
    commit = "feedbeef" + "0" * 32
    suite = fake.add_suite("acme", "shop", "b")
    for relative_id in range(1, 1201):
        suite.create("main", "SUCCESSFUL", revision=commit if relative_id in places else None)
    fake.requests.clear()
    assert call("failures", "acme/shop/b", commit).code == (0 if places != [100] else 5)
    assert len([each for each in fake.requests if each.query.get("page")]) == requests


def test_whole_hash_of_a_commit_is_never_requested_as_an_id(fake: FakeBuddy, call: Call) -> None:
    assert call("failures", A, "deadbeef" + "0" * 32).code == 0
    assert not [request for request in fake.requests if request.path.endswith("0" * 32)]
