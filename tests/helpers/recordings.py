"""The recordings in `tests/fixtures/recordings`: one file for each run of a test runner.

They were recorded from Buddy's npm reporters, which upload to the URL in `BUDDY_API_URL`. `requests` is what a reporter
sent. `sessions` is what a server would list afterwards, if a case replaces an earlier one of the same test.
`tests/fixtures/recordings.toml` says what a user sees of each.
"""

from __future__ import annotations

import json
import tomllib
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from buddy_sessions import Session, TestCase
from buddy_sessions._decoding.converter import case_from_dict, session_from_dict
from buddy_sessions.testing import FakeBuddy, FakeSuite

_FIXTURES = Path(__file__).parent.parent / "fixtures"
_DOCUMENTS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((_FIXTURES / "recordings").glob("*"))
}
RECORDINGS = list(_DOCUMENTS)
"""The names of the recordings."""
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((_FIXTURES / "recordings.toml").read_text(encoding="utf-8"))
"""What a user sees of each recording. To add one, add its file and its table."""


def requests_of(recording: str) -> list[dict[str, Any]]:
    """Return the requests of a reporter, in order: `method`, `path` and `json`, the body."""
    requests: list[dict[str, Any]] = _DOCUMENTS[recording]["requests"]
    return requests


def uploads_of(recording: str) -> list[dict[str, Any]]:
    """Return the test cases of all requests, as they were uploaded. Long lists are cut in some recordings."""
    cases = [case for request in requests_of(recording) for case in (request["json"] or {}).get("cases", ())]
    return [case for case in cases if isinstance(case, dict)]


def cases_of(recording: str) -> list[TestCase]:
    """Return the test cases of all requests, as a client reads them."""
    return [case_from_dict({"id": str(index), **case}) for index, case in enumerate(uploads_of(recording))]


def sessions_of(recording: str) -> list[Session]:
    """Return the sessions that a reporter has created, oldest first."""
    created = [request for request in requests_of(recording) if request["path"].endswith("/sessions")]
    ids = {request["response"]["id"] for request in created if isinstance(request.get("response"), dict)}
    sessions = map(session_from_dict, _DOCUMENTS[recording].get("sessions", ()))  # of the whole suite, if there are ids
    return sorted((each for each in sessions if not ids or each.id in ids), key=lambda each: each.relative_id)


def environment_of(recording: str) -> dict[str, str]:
    """Return the variables of the CI in which a recording was made."""
    environment: dict[str, str] = _DOCUMENTS[recording]["env"]
    return environment


async def replay_uploads(recording: str, fake: FakeBuddy, suite: FakeSuite) -> None:
    """Send the requests of a reporter that the server took, also those whose response was lost."""
    headers = {"Authorization": f"Bearer {suite.upload_token}"}
    recorded = iter(sessions_of(recording))
    ids: dict[str, str] = {}
    async with aiohttp.ClientSession(fake.base_url, headers=headers) as http:
        for request in requests_of(recording):
            if request.get("status", HTTPStatus.OK) not in {HTTPStatus.OK, HTTPStatus.CREATED}:
                continue
            names: list[str] = request["path"].split("/")
            path = "/".join(ids.get(name, name) for name in names)
            async with http.request(request["method"], path, **_body_of(request)) as response:
                content = await response.json()
                assert response.ok, content
            if path.endswith("/sessions"):
                created: dict[str, str] = request.get("response") or {"id": next(recorded).id}
                ids[created["id"]] = content["id"]


def _body_of(request: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request, as an argument of aiohttp: JSON, or a form with JUnit XML."""
    body = request["json"] and {**request["json"]}
    if request["path"].endswith("/import"):
        form = aiohttp.FormData()
        cases = "".join(case["data"] for case in body["cases"])
        form.add_field("files", f'<testsuites><testsuite name="pytest">{cases}</testsuite></testsuites>', filename="x")
        return {"data": form}
    if body and "cases" in body:
        body["cases"] = [case for case in body["cases"] if isinstance(case, dict)]
    return {"json": body}
