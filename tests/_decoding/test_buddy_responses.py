"""The responses in `tests/fixtures/buddy`, served and read: what is documented, and what somebody has seen."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

import attrs
import pytest

from buddy_sessions import (
    BuddyClient,
    Failure,
    Project,
    Session,
    SessionStatus,
    StatusError,
    Suite,
    SuiteKey,
    TestCase,
    TestStatus,
    to_dict,
)
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.buddy_responses import RESPONSES


def read(buddy: BuddyClient, path: str, rows: int) -> Awaitable[Any]:
    """Read what is at a path of the API; of a list, so many rows."""
    _, _, workspace, _, *names = path.split("/")
    if len(names) <= 3:
        return buddy.suites(workspace, names[0]) if names else buddy.projects(workspace)
    project, _, _, suite_id, *rest = names
    key = SuiteKey(workspace, project, suite_id)
    if not rest:
        return buddy.suite(key)
    if len(rest) == 1:
        return buddy.sessions(key, max_sessions=rows).collect()
    _, session_id, *rest = rest
    if not rest:
        return buddy.session(key, session_id)
    if rest == ["cases"]:
        session = Session(id=session_id, relative_id=1, status=SessionStatus.ERROR)
        return buddy.cases(key, session, max_cases=rows).collect()
    _, group_id, _, case_id = rest
    case = TestCase(id=case_id, test_group_id=group_id, name="", status=TestStatus.FAILED)
    return buddy.case(key, session_id, case)


def values(model: Any) -> dict[str, Any]:
    """Return the fields of a model that the API has, as JSON values."""
    fields = attrs.asdict(model) if isinstance(model, Project) else to_dict(model)
    return {name: value for name, value in fields.items() if name != "failure"}


def expected(row: dict[str, Any], model: Any) -> dict[str, Any]:
    """Return what the model must contain of a row: None for what is missing, and `id` always as text."""
    return {name: row.get(name) for name in values(model)} | {name: str(row[name]) for name in ("id",) if name in row}


@pytest.mark.usefixtures("each_decoder")
@pytest.mark.parametrize("name", RESPONSES)
async def test_response_is_read(fake: FakeBuddy, name: str) -> None:
    response = RESPONSES[name]
    body, status = response["body"], response["status"]
    rows = next((rows for rows in body.values() if isinstance(rows, list)), [body])
    fault = Fault.status(status, body=json.dumps(body).encode(), headers=response.get("headers"))
    fake.inject(fault, times=4)  # projects are read twice, and a 400 leads to a request for a smaller page
    async with BuddyClient(fake.token, base_url=fake.base_url, max_attempts=1, max_wait=0) as buddy:
        if status != 200:
            with pytest.raises(StatusError) as caught:
                await read(buddy, response["path"], rows=1)
            assert caught.value.status == status
            assert caught.value.messages == tuple(error["message"] for error in body["errors"])
        else:
            result = await read(buddy, response["path"], len(rows))
            models = result if isinstance(result, list) else [result]
            assert [values(model) for model in models] == [
                expected(row, model) for row, model in zip(rows, models, strict=True)
            ]
            assert "every-field" not in name or values(models[0]).keys() == body.keys() - {"token"}  # a secret
            assert all(model.key.suite_id == model.id for model in models if isinstance(model, Suite))
            failure = response.get("failure")
            assert getattr(models[0], "failure", None) == (failure and Failure(**failure))
            assert "bud_ut" not in repr(models)
    assert {request.path for request in fake.requests} == {response["path"]}
