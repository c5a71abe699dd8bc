"""Hints after the error of an unknown suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy, Fault
from helpers.command_line import Call, sync_database

HINT = "did you mean acme/shop/MNbyVedg (Backend unit tests)?"


@pytest.fixture(autouse=True)
def suites(fake: FakeBuddy) -> None:
    fake.add_suite("acme", "shop", "MNbyVedg", name="Backend unit tests", identifier="backend").populate(1)
    fake.add_suite("acme", "shop", "65OmRb8v", name="Browser tests, slow", identifier="slow")
    fake.add_suite("acme", "shop", "ax9kQ3xW", name="Browser tests, fast", identifier="fast")


def error_and_notes(err: str) -> tuple[str, list[str]]:
    error, *notes = err.splitlines()
    return error, notes


@pytest.mark.parametrize("name", ["MNbyVedX", "backend unit test", "BACKEND", "bakcend"])
def test_similar_id_or_name_is_suggested(name: str, call: Call, fake: FakeBuddy) -> None:
    code, out, err = call("list", name, "-w", "acme", "-p", "shop", "--quiet")
    error, notes = error_and_notes(err)
    assert (code, out, notes) == (7, "", [HINT])
    assert error.startswith("error: Suite not found (404): ")
    assert len(fake.requests) == 2


def test_many_suites_get_one_suggestion(call: Call, fake: FakeBuddy) -> None:
    keys = ["acme/shop/65OmRb8v", "acme/shop/MNby", "acme/shop/MNbyV"]
    code, _, err = call("harvest", *keys, "--concurrency", "1")
    first, second = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert code == 3
    assert first.startswith("failed: acme/shop/MNby: Suite not found (404): ")
    assert first.endswith(f"; {HINT}")
    assert "did you mean" not in second


@pytest.mark.parametrize("arguments", [["export"], ["report", "-o", "x.html", "--suite"], ["flaky"]])
def test_suite_of_a_database_is_suggested_without_a_request(
    arguments: list[str], call: Call, fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake.add_suite("acme", "other", "backend")
    sync_database(fake, Path("x.db"))
    fake.requests.clear()
    code, out, err = call(*arguments, "acme/shop/Backend", "--db", "x.db")
    error, notes = error_and_notes(err)
    assert (code, out, notes) == (2, "", [HINT])
    assert error == (
        "error: acme/shop/Backend not found in 'x.db': run buddy-sessions sync acme/shop/Backend --db x.db"
    )
    assert not fake.requests
    assert error_and_notes(call(*arguments, "acme/shop/zzzzzz", "--db", "x.db").err)[1] == []


def test_no_similar_suite(call: Call) -> None:
    notes = error_and_notes(call("list", "acme/shop/zzzzzz").err)[1]
    assert notes == ["to see the suites of the project, run buddy-sessions suites acme/shop"]


def test_project_that_does_not_exist(call: Call) -> None:
    note = "there is no project acme/shoop, or the token's owner cannot see it: check both names"
    assert error_and_notes(call("list", "acme/shoop/a").err)[1] == [note]


@pytest.mark.parametrize("fault", [Fault.status(503), Fault.status(429, headers={"Retry-After": "120"})])
def test_failed_request_is_ignored_and_not_repeated(fault: Fault, call: Call, fake: FakeBuddy) -> None:
    fake.inject(Fault.status(404), fault)
    code, _, err = call("list", "acme/shop/MNby")
    assert (code, "did you mean" in err) == (7, False)
    assert err.splitlines()[-1].startswith("error: HTTP 404 (injected fault) (404): ")
    assert len(fake.requests) == 2
