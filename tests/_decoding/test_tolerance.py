"""Responses with values that do not fit, read by a client: nothing is lost, and what was left out is counted."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from buddy_sessions import BuddyClient, Project, Session, Suite, TestCase
from buddy_sessions._decoding.converter import InvalidValue, decode_list, decode_suites
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.buddy_responses import RESPONSES

REQUIRED = {"id", "relative_id", "name", "status"}
WRONG: tuple[Any, ...] = (None, True, "", "7", "soon", 7, 7.0, 0.5, -(2**70), 1e300, [], [1], {}, {"id": "7"})


def spoil(row: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return an object in which some values, also of nested objects, have another type."""
    spoiled = {name: spoil(value, random) if isinstance(value, dict) else value for name, value in row.items()}
    for name in row.keys() - REQUIRED:
        if random.random() < 0.1:
            spoiled[name] = random.choice(WRONG)
    return spoiled


def serve(fake: FakeBuddy, rows: list[dict[str, Any]], name: str) -> None:
    """Respond to each first page of a list with these rows."""

    def respond(request: RecordedRequest) -> None:
        if request.path.endswith(f"/{name}") and request.page == 1:
            fake.inject(Fault.body(json.dumps({name: rows}).encode()))

    fake.on_request = respond


async def test_fields_are_logged_once(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
) -> None:
    """By a client, but each value counts."""
    row = suite.create(cases=[{"name": "adds", "status": "PASSED"}])
    (case,) = suite.cases(row["id"])
    for _ in range(2):
        serve(fake, [{**row, "duration": "12", "created_by": {"id": "1"}}], "sessions")
        sessions = buddy.sessions(suite.key)
        assert [each.duration for each in await sessions.collect()] == [None]
        assert sessions.stats.invalid_fields == 2
        serve(fake, [{**case, "time": "0.1"}], "cases")
        cases = buddy.cases(suite.key, row["id"])
        assert [each.time for each in await cases.collect()] == [None]
        assert cases.stats.invalid_fields == 1
    messages = [record.getMessage().partition("; GET")[0] for record in caplog.records if record.levelname == "WARNING"]
    assert sorted(messages) == [
        "case.time must be a number, not a string: it is None, and logged once",
        "session.created_by.id must be a whole number, not a string: it is None, and logged once",
        "session.duration must be a number, not a string: it is None, and logged once",
    ]


async def test_token_in_a_value_is_not_logged(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, caplog: pytest.LogCaptureFixture
) -> None:
    suite.populate(1)
    serve(fake, [{**suite.sessions[0], "create_date": fake.token, "tests_count": fake.token}], "sessions")
    assert len(await buddy.sessions(suite.key).collect()) == 1
    assert "session.create_date" in caplog.text
    assert fake.token not in caplog.text


@pytest.mark.parametrize(
    ("name", "model"), [("sessions", Session), ("cases", TestCase), ("projects", Project), ("suites", Suite)]
)
def test_lists_with_random_types(name: str, model: type[Any]) -> None:
    """No row is lost."""
    response = RESPONSES[name]["body"]
    random = Random(2)
    invalid: list[InvalidValue] = []
    for _ in range(100):
        body = json.dumps({name: [spoil(row, random) for row in response[name]]}).encode()
        if model is Suite:
            rows: list[Any] = decode_suites(body, workspace="acme", project="shop", invalid=invalid)
        else:
            rows = decode_list(body, name, model, invalid=invalid)
        assert len(rows) == len(response[name])
    assert {each.model for each in invalid} == {name.removesuffix("s")}
