"""Uploads to `FakeBuddy`: the requests that Buddy's npm reporters were recorded to send, read back with a client."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import pytest

from buddy_sessions import BuddyClient, to_dict
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.recordings import RECORDINGS, cases_of, requests_of, sessions_of, uploads_of

REPLAYED = [name for name in RECORDINGS if sessions_of(name) and name != "jest-250-tests"]  # most of them are left out
COUNTS = ("tests_count", "failed_count", "skipped_count", "error_count")
FIELDS = ("status", "ref_type", "ref_name", "revision", "ci_provider", "ci_run_url", "execution_id", *COUNTS)
PASSED = {"name": "adds", "status": "PASSED"}
FAILED = {"name": "adds", "status": "FAILED"}


@pytest.fixture
def suite(fake_buddy: FakeBuddy) -> FakeSuite:
    return fake_buddy.add_suite("acme", "shop", "MNbyVedg")


async def upload(fake: FakeBuddy, suite: FakeSuite, method: str, path: str, **body: Any) -> tuple[int, Any]:
    """Send a request. Return the status of the response and its content, or its message if it is an error."""
    headers = {"Authorization": f"Bearer {body.pop('token', suite.upload_token)}"}
    async with aiohttp.request(method, fake.base_url / "unit-tests" / path, headers=headers, **body) as response:
        content = await response.json()
        return response.status, content if response.ok else content["errors"][0]["message"]


async def replay(fake: FakeBuddy, suite: FakeSuite, recording: str) -> None:
    """Send the requests of a reporter that were answered."""
    recorded = iter(sessions_of(recording))
    ids: dict[str, str] = {}
    for request in requests_of(recording):
        if request["status"] == 400:
            continue
        names: list[str] = request["path"].removeprefix("/unit-tests/").split("/")
        path = "/".join(ids.get(name, name) for name in names)
        status, content = await upload(fake, suite, request["method"], path, json=request["json"])
        assert status == (request["status"] or status)
        if path == "sessions":
            ids[next(recorded).id] = content["id"]


@pytest.mark.parametrize("recording", REPLAYED)
async def test_recorded_uploads_are_read_back(
    recording: str, suite: FakeSuite, fake_buddy: FakeBuddy, buddy_client: BuddyClient
) -> None:
    await replay(fake_buddy, suite, recording)
    expected = sessions_of(recording)
    sessions = (await buddy_client.sessions(suite.key).collect())[::-1]
    for session, other in zip(sessions, expected, strict=True):
        assert {name: getattr(session, name) for name in FIELDS} == {name: getattr(other, name) for name in FIELDS}
        assert (session.created_by is None) == (other.created_by is None)
        assert (session.finish_date is None) == (other.finish_date is None)
    if len(sessions) == 1:
        last = {case.key: case for case in cases_of(recording)}
        cases = await buddy_client.cases(suite.key, sessions[0]).collect()
        answered = all(request["status"] != 400 for request in requests_of(recording))
        assert not answered or {case.key: case.status for case in cases} == {key: last[key].status for key in last}
        for case in await buddy_client.failures(suite.key, sessions[0], details=True):
            assert (case.data, case.failure) == (last[case.key].data, last[case.key].failure)


async def test_junit_xml_is_imported(suite: FakeSuite, fake_buddy: FakeBuddy, buddy_client: BuddyClient) -> None:
    uploaded = uploads_of("pytest-junit-xml")
    xml = "".join(case["data"] for case in uploaded)
    form = aiohttp.FormData({"ref_type": "BRANCH", "ref_name": "main", "revision": "1cc809d4"})
    form.add_field("files", f'<testsuites><testsuite name="pytest">{xml}</testsuite></testsuites>', filename="a.xml")
    form.add_field("files", '<testsuite name="other"><testcase name="ü"/></testsuite>', filename="b.xml")
    assert (await upload(fake_buddy, suite, "POST", "import", data=form))[0] == 201
    (session,) = await buddy_client.sessions(suite.key).collect()
    assert (session.status, session.branch, session.revision) == ("ERROR", "main", "1cc809d4")
    assert session.tests_count == len({case.key for case in cases_of("pytest-junit-xml")}) + 1  # of the other file
    found = {case.key: case for case in await buddy_client.cases(suite.key, session).collect()}
    expected = {case.key: case for case in cases_of("pytest-junit-xml")}
    assert {str(key): (found[key].status, found[key].time) for key in expected if key.classname} == {
        str(key): (case.status, case.time) for key, case in expected.items() if key.classname
    }
    for failing in await buddy_client.failures(suite.key, session, details=True):
        assert failing.failure == expected[failing.key].failure


@pytest.mark.parametrize(("keeps", "count"), [(False, 1), (True, 3)])
async def test_case_uploaded_three_times(
    keeps: bool, count: int, suite: FakeSuite, fake_buddy: FakeBuddy, buddy_client: BuddyClient
) -> None:
    fake_buddy.keeps_repeated_cases = keeps
    _, session = await upload(fake_buddy, suite, "POST", "sessions", json={})
    for cases in ([FAILED, PASSED], [PASSED]):
        await upload(fake_buddy, suite, "POST", f"sessions/{session['id']}/cases/batch", json={"cases": cases})
    for status in ("ERROR", "PASSED"):  # "add or update"
        case = {**PASSED, "status": status}
        assert (await upload(fake_buddy, suite, "PUT", f"sessions/{session['id']}/cases", json=case))[1]["name"]
    kept = await buddy_client.cases(suite.key, session["id"]).collect()
    assert [case.status for case in kept] == ["PASSED"] * count
    assert len({case.id for case in kept}) == count


@pytest.mark.parametrize(
    ("decides", "cases", "closed", "status"),
    [
        (True, [PASSED], "FAILED", "ERROR"),
        (True, [], "ERROR", "ERROR"),
        (False, [PASSED], "FAILED", "SUCCESSFUL"),
        (False, [FAILED], "PASSED", "ERROR"),
        (True, [FAILED], "PASSED", "ERROR"),
        (True, [PASSED], "PASSED", "SUCCESSFUL"),
        (True, [FAILED], None, "ERROR"),
    ],
)
async def test_status_of_a_closed_session(
    decides: bool, cases: list[Any], closed: str | None, status: str, suite: FakeSuite, fake_buddy: FakeBuddy
) -> None:
    fake_buddy.close_decides = decides
    _, session = await upload(fake_buddy, suite, "POST", "sessions", json={"ref_type": "BRANCH", "ref_name": "main"})
    path = f"sessions/{session['id']}"
    await upload(fake_buddy, suite, "POST", f"{path}/cases/batch", json={"cases": cases})
    body = {"json": {"status": closed}} if closed else {}
    assert (await upload(fake_buddy, suite, "POST", f"{path}/close", **body))[1]["status"] == status
    assert (await upload(fake_buddy, suite, "POST", f"{path}/reopen"))[1]["status"] == "IN_PROGRESS"


async def test_missing_fields_are_null(suite: FakeSuite, fake_buddy: FakeBuddy, buddy_client: BuddyClient) -> None:
    _, content = await upload(fake_buddy, suite, "POST", "sessions", json={})
    session = await buddy_client.session(suite.key, content["id"])
    known = {"id", "relative_id", "status", "url", "html_url", "create_date", "start_date", "duration", *COUNTS}
    assert {name for name, value in to_dict(session).items() if value is not None} == known


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "message"),
    [
        ("POST", "sessions", {"data": b"{"}, 400, "Expecting property name"),
        ("POST", "sessions", {"json": []}, 400, "the body must be a JSON object"),
        ("POST", "sessions", {"json": {"branch": "main"}}, 400, "branch"),
        ("POST", "sessions/ID/cases/batch", {"json": {}}, 400, "cases must be a list"),
        ("POST", "sessions/ID/cases/batch", {"json": {"cases": [{"name": "a"}]}}, 400, "status must be one of PASSED"),
        ("POST", "sessions/ID/cases/batch", {"json": {"cases": [{}]}}, 400, "a test case needs a name"),
        ("POST", "sessions/ID/cases/batch", {"json": {"cases": [{**PASSED, "x": 1}]}}, 400, "has no field 'x'"),
        ("POST", "sessions/ID/close", {"json": {"status": "SUCCESSFUL"}}, 400, "status must be one of PASSED"),
        ("POST", "sessions/nope/close", {}, 404, "Session not found"),
        ("POST", "import", {"data": b"<testsuite/>"}, 400, "the form has no file with a test case"),
        ("GET", "sessions", {}, 404, "Not found"),
        (
            "POST",
            "sessions",
            {"token": "fake-buddy-token"},
            401,
            "not the token of a suite",
        ),
    ],
)
async def test_wrong_upload_is_rejected(
    method: str, path: str, options: Any, status: int, message: str, suite: FakeSuite, fake_buddy: FakeBuddy
) -> None:
    session = suite.create()
    found, text = await upload(fake_buddy, suite, method, path.replace("ID", session["id"]), **options)
    assert found == status
    assert message in text
    assert suite.sessions == [session]


async def test_uploads_are_recorded(suite: FakeSuite, fake_buddy: FakeBuddy) -> None:
    large = json.dumps({"cases": [{**FAILED, "data": "x" * 3_000_000}]}).encode()
    _, session = await upload(fake_buddy, suite, "POST", "sessions", json={"ref_name": "main"})
    await upload(fake_buddy, suite, "POST", f"sessions/{session['id']}/cases/batch", data=io.BytesIO(large))
    created, batch = fake_buddy.requests
    assert (created.status, created.body) == (201, b'{"ref_name": "main"}')
    assert (batch.status, batch.body) == (201, large)
