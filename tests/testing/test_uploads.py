"""Uploads to `FakeBuddy`: the requests that Buddy's npm reporters were recorded to send, read back with a client."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from buddy_sessions import BuddyClient, Failure, Session, TestCase
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.recordings import EXPECTED, RECORDINGS, replay_uploads, sessions_of

COUNTS = ("tests_count", "failed_count", "skipped_count", "error_count")
FIELDS = ("status", "ref_type", "ref_name", "revision", "ci_provider", "ci_run_url", "execution_id")
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


def describe(session: Session) -> str:
    return f"{session.ref_type or '-'} {session.ref_name or '-'} {session.status}"


def message_of(case: TestCase) -> str:
    """Return the type and the message of a failure."""
    assert case.failure is not None
    return ": ".join(filter(None, (case.failure.type, case.failure.message)))


@pytest.mark.parametrize("recording", RECORDINGS)
async def test_recorded_run_is_read_back(
    recording: str, suite: FakeSuite, fake_buddy: FakeBuddy, buddy_client: BuddyClient
) -> None:
    expected = EXPECTED[recording]
    await replay_uploads(recording, fake_buddy, suite)
    sessions = await buddy_client.sessions(suite.key).collect()
    assert [describe(session) for session in reversed(sessions)] == expected["sessions"]
    failing = [case for each in sessions for case in await buddy_client.failures(suite.key, each, details=True)]
    assert {str(case.key)[:200]: message_of(case)[:200] for case in failing} == expected.get("failures", {})
    fields = FIELDS if "is_cut" in expected else (*FIELDS, *COUNTS)
    for session, recorded in zip(sessions, reversed(sessions_of(recording)), strict=False):  # one was not recorded
        assert {name: getattr(session, name) for name in fields} == {name: getattr(recorded, name) for name in fields}
        assert (session.created_by is None) == (recorded.created_by is None)
        assert (session.finish_date is None) == (recorded.finish_date is None)


async def test_no_case_of_junit_xml_is_lost(suite: FakeSuite, fake_buddy: FakeBuddy, buddy_client: BuddyClient) -> None:
    form = aiohttp.FormData({"ref_type": "BRANCH", "ref_name": "main", "revision": "1cc809d4"})
    for xml in (
        '<testcase name="a" time="1,234.5"><skipped/></testcase>',
        '<testsuite name="x"><testcase name="b"/><testsuite name="ü"><testcase name="c"/></testsuite></testsuite>',
        '<j:testsuite xmlns:j="urn:j" name="x"><j:testcase name="d"><j:failure/></j:testcase></j:testsuite>',
    ):
        form.add_field("files", xml, filename="a.xml")
    assert (await upload(fake_buddy, suite, "POST", "import", data=form))[0] == 201
    (session,) = await buddy_client.sessions(suite.key).collect()
    assert (session.status, session.branch, session.revision) == ("ERROR", "main", "1cc809d4")
    found = await buddy_client.cases(suite.key, session).collect()
    assert [(case.test_group_name, case.name, case.status, case.time) for case in found] == [
        (None, "a", "SKIPPED", 1234.5),
        ("x", "b", "PASSED", 0),
        ("ü", "c", "PASSED", 0),
        ("x", "d", "FAILED", 0),
    ]
    (failing,) = await buddy_client.failures(suite.key, session, details=True)
    assert failing.failure == Failure(kind="failure")


async def test_documented_fields_are_taken(suite: FakeSuite, fake_buddy: FakeBuddy, buddy_client: BuddyClient) -> None:
    fields = {"run_id": "68f72b", "execution_id": "68f72c", "action_execution_id": "68f72d"}
    form = aiohttp.FormData({**fields, "files": "<testcase/>"})
    assert (await upload(fake_buddy, suite, "POST", "import", data=form))[0] == 400, "a file has a name"
    form = aiohttp.FormData(fields)
    form.add_field("files", "<testcase/>", filename="a.xml")
    assert (await upload(fake_buddy, suite, "POST", "import", data=form))[0] == 201
    assert (await upload(fake_buddy, suite, "POST", "sessions", json=fields))[0] == 201
    for session in await buddy_client.sessions(suite.key).collect():
        assert (session.execution_id, session.action_execution_id) == ("68f72c", "68f72d")


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
        ("POST", "sessions", {"token": "fake-buddy-token"}, 401, "not the token of a suite"),
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
