"""`suite`, `cases`, `case` and `failures` of a client, with a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buddy_sessions import (
    BadRequestError,
    BuddyClient,
    ConfigError,
    ResponseError,
    Session,
    SuiteKey,
    TestCase,
    TestStatus,
    to_dict,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest

KEY = SuiteKey("acme", "shop", "unit")


def some_cases(passed: int = 0, failed: int = 0, skipped: int = 0, errors: int = 0) -> list[dict[str, Any]]:
    statuses = ["PASSED"] * passed + ["FAILED"] * failed + ["SKIPPED"] * skipped + ["ERROR"] * errors
    return [{"name": f"test {number}", "status": status} for number, status in enumerate(statuses)]


async def read_session(buddy: BuddyClient, suite: FakeSuite) -> Session:
    """Return the newest session of a suite, and forget the request."""
    (session,) = await buddy.sessions(KEY, max_sessions=1).collect()
    return session


async def test_response_with_another_session_is_an_error(fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient) -> None:
    """Of a confused cache."""
    session, other = suite.create(), suite.create()
    fake.inject(Fault.body(json.dumps(other).encode()))
    with pytest.raises(ResponseError, match=f"the response is another session, '{other['id']}'"):
        await buddy.session(KEY, session["id"])


class TestCases:
    async def test_cases_of_one_status(self, fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient) -> None:
        suite.create(cases=some_cases(passed=30, failed=3, skipped=2, errors=1))
        session = await read_session(buddy, suite)
        fake.requests.clear()
        paginator = buddy.cases(KEY, session, status=TestStatus.SKIPPED)
        assert [case.name for case in await paginator.collect()] == ["test 33", "test 34"]
        assert fake.requests[0].query == {"page": "1", "per_page": "100", "status": "SKIPPED"}
        assert (len(fake.requests), paginator.stats.verified) == (1, True)
        with pytest.raises(BadRequestError, match="status must be one of"):
            await buddy.cases(KEY, session.id, status="QUARANTINED").collect()

        def ignore_status(request: Any) -> None:
            request.query.pop("status")

        fake.on_request = ignore_status
        again = buddy.cases(KEY, session, status=TestStatus.SKIPPED)
        assert [case.name for case in await again.collect()] == ["test 33", "test 34"]

    async def test_no_more_pages_than_max_cases_needs(
        self, fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient
    ) -> None:
        suite.create(cases=some_cases(500))
        session = await read_session(buddy, suite)
        for max_cases, requests in [(0, 0), (50, 1), (100, 1), (150, 2)]:
            fake.requests.clear()
            paginator = buddy.cases(KEY, session, max_cases=max_cases)
            assert len(await paginator.collect()) == max_cases == paginator.stats.cases
            assert len(fake.requests) == requests
            assert not paginator.stats.verified

    async def test_session_in_progress_is_not_verified(
        self, fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient
    ) -> None:
        session = suite.create(status="IN_PROGRESS", cases=some_cases(120))
        fake.on_request = lambda _: suite.add_cases(session, [{"name": f"added {len(fake.requests)}"}])
        paginator = buddy.cases(KEY, session["id"])
        names = [case.name for case in await paginator.collect()]
        assert 120 <= len(set(names)) == len(names)
        assert not paginator.stats.verified

    @pytest.mark.parametrize(("counted", "listed"), [(100, 250), (0, 1), (100, 100)])
    async def test_list_longer_than_the_session_counts_is_read_to_its_end(
        self, suite: FakeSuite, buddy: BuddyClient, counted: int, listed: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        created = suite.create(cases=some_cases(counted), status="SUCCESSFUL")
        session = await read_session(buddy, suite)
        suite.add_cases(created, [{"name": f"added {number}"} for number in range(listed - counted)])
        paginator = buddy.cases(KEY, session)
        assert len(await paginator.collect()) == listed
        assert paginator.stats.verified is (listed == counted)
        message = f"the session counts {counted} test cases, but the API lists {listed}"
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert [message in each for each in warnings] == ([] if listed == counted else [True])

    async def test_equal_ids_of_two_groups_are_two_cases(
        self, fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient
    ) -> None:
        session = suite.create(status="ERROR", tests_count=2, failed_count=2)
        groups = ["chrome", "firefox"]
        rows = [{"id": "testLogin", "test_group_id": each, "name": "login", "status": "FAILED"} for each in groups]

        def respond(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                listed = [] if request.query.get("status") == "ERROR" else rows
                fake.inject(Fault.body(json.dumps({"cases": listed}).encode()))

        fake.on_request = respond
        paginator = buddy.cases(KEY, session["id"])
        assert [case.test_group_id for case in await paginator.collect()] == groups
        assert (paginator.stats.cases, paginator.stats.verified) == (2, True)
        assert [case.test_group_id for case in await buddy.failures(KEY, session["id"])] == groups


class TestSingleCase:
    async def test_token_that_a_test_has_printed_is_hidden(
        self, fake: FakeBuddy, suite: FakeSuite, buddy: BuddyClient
    ) -> None:
        """Otherwise, a gate would publish it in a comment."""
        message = f"environ({{'BUDDY_TOKEN': '{fake.token}', 'CI': '1'}})"
        session = suite.create(cases=[{"name": "adds", "status": "FAILED", "message": message}])
        (case,) = await buddy.failures(KEY, session["id"], details=True)
        assert case.failure is not None
        assert case.failure.message == "environ({'BUDDY_TOKEN': '***', 'CI': '1'})"
        assert fake.token not in repr(to_dict(case))

    @pytest.mark.parametrize(
        "case",
        [
            "an id",
            TestCase(id="", name="adds", status=TestStatus.FAILED, test_group_id="group"),
            TestCase(id="1", name="adds", status=TestStatus.FAILED),
            TestCase(id="\ud800", name="adds", status=TestStatus.FAILED, test_group_id="group"),
        ],
        ids=["text", "no-id", "no-group", "surrogate"],
    )
    async def test_invalid_case(self, fake: FakeBuddy, buddy: BuddyClient, case: Any) -> None:
        with pytest.raises(ConfigError, match="case"):
            await buddy.case(KEY, "YDnagwGk", case)
        assert not fake.requests


class TestFailures:
    @pytest.mark.parametrize("ids", [{"test_group_id": None}, {"id": "\ud800"}], ids=["no-group", "no-url"])
    async def test_case_that_no_url_names_is_returned_without_details(
        self, suite: FakeSuite, buddy: BuddyClient, ids: dict[str, Any]
    ) -> None:
        session = suite.create(cases=[{"name": "adds", "status": "FAILED", **ids}])
        (case,) = await buddy.failures(KEY, session["id"], details=True)
        assert case.failure is None
