"""Syncs of values that a server should not send: each fails at most its own suite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from buddy_sessions import BuddyClient, BuddyError, SessionStore, SuiteKey, TestCase
from buddy_sessions.testing import FakeBuddy, Fault, RecordedRequest

pytestmark = pytest.mark.fault

KEYS = [SuiteKey("acme", "shop", f"s{number:02}") for number in range(10)]
SURROGATE = "half \ud83d a pair"


Respond = Callable[[str, dict[str, str]], Any]
"""Gets the decoded path below the suites of the project, and the query. Returns JSON; None for the right response."""


def new_session(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"id{number}", "relative_id": number, "status": "ERROR", "tests_count": 1, **fields}


async def sync(
    path: Path, respond: Respond, **options: Any
) -> tuple[dict[SuiteKey, BuddyError], dict[SuiteKey, list[TestCase]]]:
    """Sync all suites with their failing cases. Return the failures, and the cases of session 1 of each suite."""
    async with (
        FakeBuddy() as fake,
        BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1) as buddy,
        SessionStore(path) as store,
    ):

        def on_request(request: RecordedRequest) -> None:
            content = respond(unquote(request.path.split("/unit-tests/suites")[-1]), dict(request.query))
            if content is not None:
                fake.inject(Fault.body(json.dumps(content).encode()))

        dates = dict.fromkeys(("create_date", "start_date"), "2026-01-01T10:00:00Z")
        for key in KEYS:
            suite = fake.add_suite(*key, name=f"Tests {key.suite_id}")
            suite.create(id="id1", cases=[{"name": "test 1", "status": "FAILED"}], **dates)
        fake.on_request = on_request
        harvest = store.sync(buddy, KEYS, on_failure="collect", **{"cases": "failed", **options})
        await harvest.run()
        return dict(harvest.failures), {key: await store.cases(key, "id1") for key in KEYS}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.mark.parametrize(
    "listed",
    [
        [{"id": "s00", "name": SURROGATE}],
        [{"id": "s01", "name": "old"}, {"id": "s01", "name": "Tests s01"}],
        [{"id": "", "name": "no id"}],
    ],
    ids=["surrogate", "listed-twice", "empty-id"],
)
async def test_names_that_are_no_texts(path: Path, listed: list[dict[str, str]]) -> None:
    def respond(path: str, query: dict[str, str]) -> Any:
        right = [{"id": key.suite_id, "name": f"Tests {key.suite_id}"} for key in KEYS[1:]]
        return {"suites": [*listed, *right]} if path == "" else None

    failures, cases = await sync(path, respond)
    assert failures == {}
    assert all(cases.values())
    async with SessionStore(path) as store:
        names = {suite.key: suite.name for suite in await store.suites()}
    assert [names[key] for key in KEYS[1:]] == [f"Tests {key.suite_id}" for key in KEYS[1:]]


@pytest.mark.parametrize("session_id", ["..", ""])
async def test_session_whose_id_is_not_a_segment_of_a_url(
    path: Path, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its cases cannot be requested, nor can it alone."""
    status = "ERROR"

    def respond(path: str, query: dict[str, str]) -> Any:
        if path == "/s07/sessions":
            start = (int(query["page"]) - 1) * int(query["per_page"])
            rows = [new_session(number, failed_count=0, error_count=0) for number in range(300, 0, -1)]
            rows[200] = new_session(100, id=session_id, status=status)
            rows[299] = new_session(1, failed_count=1, error_count=0)
            return {"sessions": rows[start : start + int(query["per_page"])]}
        return None

    failures, cases = await sync(path, respond)
    assert failures == {}
    assert f"session {session_id!r}" in caplog.text
    assert "cases are skipped" in caplog.text
    assert all(cases.values())
    status = "IN_PROGRESS"
    for is_full in (True, False, False):
        failures, _ = await sync(path, respond, full=is_full)
        assert failures == {}
