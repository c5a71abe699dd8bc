"""Syncs of test cases into a store: which sessions are read, and what is read back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import (
    BuddyClient,
    ConfigError,
    HarvestError,
    SessionStore,
    StoreError,
    TestCase,
    TestKey,
    TestRun,
    to_dict,
)
from buddy_sessions._decoding.converter import case_from_dict
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.stores import KEY, OTHER_KEY, collect_numbers, execute, query, sync

FAILED_REQUESTS = ["cases?FAILED", "details", "details"]
"""The requests for a session with two failed cases."""


def cases(*statuses: str) -> list[dict[str, Any]]:
    return [{"name": f"test {number}", "status": status} for number, status in enumerate(statuses)]


def create(suite: FakeSuite, *statuses: str, **fields: Any) -> str:
    """Create a finished session with cases of these statuses, and return its id."""
    session_id: str = suite.create(cases=cases(*statuses), **fields)["id"]
    return session_id


def case_requests(fake: FakeBuddy) -> list[str]:
    """Return the requests for cases so far, and forget all requests."""
    found: list[str] = []
    for request in fake.requests:
        if "/test-groups/" in request.path:
            found.append("details")
        elif request.path.endswith("/cases"):
            found.append("?".join(["cases", *filter(None, [request.query.get("status")])]))
    fake.requests.clear()
    return found


def listed(suite: FakeSuite, session_id: str, status: str | None = None) -> list[TestCase]:
    """Return the cases of a session on the server, the failing ones with their data."""
    return [
        case_from_dict(suite.case(session_id, case["id"]) if case["status"] in ("FAILED", "ERROR") else case)
        for case in suite.cases(session_id)
        if status is None or case["status"] == status
    ]


class TestScope:
    async def test_failed_cases_are_saved_with_their_messages(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "PASSED", "FAILED", "SKIPPED", "FAILED")
        assert await sync(store, buddy, cases="failed") == [1]
        assert case_requests(fake) == FAILED_REQUESTS
        saved = await store.cases(KEY, session_id)
        assert saved == listed(suite, session_id, "FAILED")
        assert all(case.failure for case in saved)

    async def test_all_cases_are_saved(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "PASSED", "ERROR", "SKIPPED", *["PASSED"] * 30)
        await sync(store, buddy, cases="all")
        assert case_requests(fake) == ["cases", "cases", "details"]  # two pages of 20
        (session,) = await store.sessions(KEY)
        assert await store.cases(KEY, session) == listed(suite, session_id)

    async def test_errors_are_failing(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "FAILED", "ERROR")
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == ["cases?FAILED", "cases?ERROR", "details", "details"]
        assert [case.status for case in await store.cases(KEY, session_id)] == ["FAILED", "ERROR"]

    async def test_no_cases_by_default(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "FAILED")
        await sync(store, buddy)
        assert case_requests(fake) == []
        assert await store.cases(KEY, session_id) == []

    @pytest.mark.parametrize(("scope", "requests"), [("failed", []), ("all", ["cases"])])
    async def test_session_without_failures(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        scope: Any,
        requests: list[str],
    ) -> None:
        create(suite, "PASSED", "SKIPPED")
        create(suite)
        await sync(store, buddy, cases=scope)
        assert case_requests(fake) == requests
        await sync(store, buddy, cases=scope)
        assert case_requests(fake) == []

    async def test_session_without_counts(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """Without a count, the list decides. It cannot be verified, so it is read twice."""
        create(suite, "FAILED", failed_count=None, error_count=None)
        for requests in (["cases?FAILED", "cases?ERROR", "details"], ["cases?FAILED", "cases?ERROR", "details"], []):
            await sync(store, buddy, cases="failed")
            assert case_requests(fake) == requests

    async def test_details_of_100_cases_at_most(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, *["FAILED"] * 130)
        await sync(store, buddy, cases="failed")
        assert case_requests(fake).count("details") == 100
        assert [case.failure is None for case in await store.cases(KEY, session_id)] == [False] * 100 + [True] * 30

    @pytest.mark.parametrize("change", [{"test_group_id": None}, {}])
    async def test_case_without_details_is_saved(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        change: dict[str, Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It has no group, so there is no path for it; or it was deleted after it was listed."""
        session = suite.create(cases=[{**cases("FAILED")[0], **change}])

        def delete(request: RecordedRequest) -> None:
            if "/test-groups/" in request.path:
                fake.inject(Fault.status(404))

        fake.on_request = delete
        await sync(store, buddy, cases="failed")
        (case,) = await store.cases(KEY, session["id"])
        assert (case.name, case.data) == ("test 0", None)
        assert ("1 failing cases were not found" in caplog.text) == (not change)

    @pytest.mark.parametrize("scope", ["passed", "", True, 1])
    async def test_scope_must_be_known(self, store: SessionStore, buddy: BuddyClient, scope: Any) -> None:
        with pytest.raises(ConfigError, match="cases must be 'failed' or 'all'"):
            store.sync(buddy, [KEY], cases=scope)
        with pytest.raises(ConfigError, match="cases must be 'failed' or 'all'"):
            await store.runs(KEY, cases=scope)


class TestWhichSessions:
    async def test_cases_are_read_once(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create(suite, "FAILED", "FAILED")
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == FAILED_REQUESTS
        create(suite, "PASSED")
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == []

    async def test_sessions_that_were_synced_without_cases(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create(suite, "FAILED", "FAILED")
        await sync(store, buddy)
        assert await sync(store, buddy, cases="failed") == []
        assert case_requests(fake) == FAILED_REQUESTS

    async def test_all_cases_after_the_failed_ones(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "PASSED", "FAILED")
        await sync(store, buddy, cases="failed")
        await sync(store, buddy, cases="all")
        case_requests(fake)
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == []
        assert len(await store.cases(KEY, session_id)) == 2

    async def test_session_in_progress_is_read_when_it_is_finished(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session = suite.create(status="IN_PROGRESS", cases=cases("FAILED", "FAILED"))
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == []
        suite.finish(session["id"])
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == FAILED_REQUESTS

    async def test_reopened_session_is_read_again(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "FAILED", "FAILED")
        await sync(store, buddy, cases="failed")
        suite.reopen(session_id)
        await sync(store, buddy, cases="failed")
        suite.add_cases(session_id, cases("PASSED"))
        suite.finish(session_id)
        case_requests(fake)
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == ["cases?FAILED", "details"]
        assert [case.name for case in await store.cases(KEY, session_id)] == ["test 1"]

    async def test_limits_of_the_sync(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        now = datetime.now(UTC)
        for number in range(1, 7):
            created = (now - timedelta(days=7 - number)).isoformat()
            create(suite, "FAILED", "FAILED", branch="main" if number % 2 else "other", create_date=created)
        await sync(store, buddy)
        limits: list[tuple[dict[str, Any], int]] = [
            ({"branch": "main"}, 3),
            ({"after": 4}, 1),
            ({"since": now - timedelta(days=3.5)}, 1),
        ]
        for limit, count in limits:
            case_requests(fake)
            await sync(store, buddy, cases="failed", **limit)
            assert len(case_requests(fake)) == count * len(FAILED_REQUESTS), limit

    async def test_deleted_session_is_skipped(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """It was deleted between the request for the list and that for its cases."""
        first, second = create(suite, "FAILED"), create(suite, "FAILED")

        def delete(request: RecordedRequest) -> None:
            if first in request.path and first in [session["id"] for session in suite.sessions]:
                suite.delete(first)

        fake.on_request = delete
        assert await sync(store, buddy, cases="failed") == [2, 1]
        assert len(await store.cases(KEY, second)) == 1
        case_requests(fake)
        for requests in (["cases?FAILED"], []):  # it is requested once more
            await sync(store, buddy, cases="failed")
            assert case_requests(fake) == requests

    async def test_cases_of_a_deleted_session_are_kept(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "FAILED", "PASSED")
        await sync(store, buddy, cases="failed")
        saved = await store.cases(KEY, session_id)

        def reject(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                fake.inject(Fault.status(404))

        fake.on_request = reject
        for _ in range(3):
            await sync(store, buddy, cases="all")
        assert await store.cases(KEY, session_id) == saved

    async def test_wrong_number_of_cases_is_read_twice(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        """A list that is shorter than the session's count may be incomplete, or the count may be wrong."""
        create(suite, "FAILED", tests_count=3, failed_count=2)
        for requests in (["cases?FAILED", "cases?FAILED", "details"],) * 2 + ([],):
            await sync(store, buddy, cases="failed")
            assert case_requests(fake) == requests

    async def test_incomplete_list_is_corrected_by_the_next_sync(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "FAILED", "FAILED")

        def hide(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                fake.inject(Fault.body(b'{"cases": []}'))

        fake.on_request = hide
        async with store.sync(buddy, [KEY], cases="failed") as harvest:
            _ = [pair async for pair in harvest]
        assert not harvest.stats.verified
        fake.on_request = None
        assert await store.cases(KEY, session_id) == []
        await sync(store, buddy, cases="failed")
        assert len(await store.cases(KEY, session_id)) == 2


class TestChangedSessions:
    """The saved cases of a session belong to its saved state."""

    async def check_left_out(self, store: SessionStore, session_id: str) -> None:
        assert await store.cases(KEY, session_id) == []
        assert await store.runs(KEY, cases="failed") == []
        assert await store.runs(KEY) == []
        assert await store.history(KEY, TestKey(*GROUP, "test 0")) == []

    async def test_cases_from_before_a_change_are_left_out(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "FAILED")
        await sync(store, buddy, cases="all")
        suite.reopen(session_id)
        suite.finish(session_id, status="SUCCESSFUL")
        await sync(store, buddy)
        await self.check_left_out(store, session_id)
        await sync(store, buddy, cases="all")
        assert len(await store.cases(KEY, session_id)) == 1

    async def test_unfinished_session_is_not_a_run(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        session_id = create(suite, "FAILED")
        await sync(store, buddy, cases="all")
        suite.reopen(session_id)
        await sync(store, buddy, cases="all")
        await self.check_left_out(store, session_id)

    async def test_session_that_changes_while_its_cases_are_read(
        self,
        store: SessionStore,
        buddy: BuddyClient,
        fake: FakeBuddy,
        suite: FakeSuite,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Another sync saves the change before the cases arrive."""
        session_id = create(suite, "FAILED")

        async def respond_late(_request: Any, make_response: Callable[[], Any]) -> Any:
            response = make_response()
            suite.reopen(session_id)
            await sync(store, buddy)
            return response

        def delay(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                fake.on_request = None
                fake.inject(Fault("late", respond_late))

        fake.on_request = delay
        with caplog.at_level(logging.INFO, "buddy_sessions"):
            async with store.sync(buddy, [KEY], cases="all") as harvest:
                await collect_numbers(harvest)
        assert harvest.stats.cases == 0
        assert "has changed meanwhile" in caplog.text
        await self.check_left_out(store, session_id)
        suite.finish(session_id)
        await sync(store, buddy, cases="all")
        assert len(await store.runs(KEY)) == 1

    async def test_row_that_another_program_has_written(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite, path: Path
    ) -> None:
        """The same session in other words is no change."""
        ids = [create(suite, "FAILED") for _ in range(30)]
        await sync(store, buddy)
        execute(path, "UPDATE session_rows SET create_date = replace(create_date, 'Z', '+00:00')")
        await sync(store, buddy, cases="failed")
        assert len(await store.cases(KEY, ids[0])) == 1
        case_requests(fake)
        await sync(store, buddy, cases="failed")
        assert case_requests(fake) == []

    async def test_missing_session_that_is_found_again_keeps_its_cases(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        ids = [create(suite, "FAILED") for _ in range(3)]
        await sync(store, buddy, cases="all")
        fake.inject(Fault.missing_row(1))
        for _ in range(2):
            await sync(store, buddy)
        assert len(await store.cases(KEY, ids[1])) == 1
        assert len(await store.runs(KEY)) == 3

    async def test_failed_cases_are_not_all_cases_after_a_404(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        create(suite, "FAILED", "PASSED")
        await sync(store, buddy, cases="failed")

        def reject(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                fake.inject(Fault.status(404))

        fake.on_request = reject
        for _ in range(3):
            await sync(store, buddy, cases="all")
        assert await store.runs(KEY) == []
        assert len(await store.runs(KEY, cases="failed")) == 1


class TestFailures:
    async def test_failed_sync_is_resumed(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        ids = [create(suite, "FAILED") for _ in range(5)]

        def fail(request: RecordedRequest) -> None:
            if ids[1] in request.path:
                fake.inject(Fault.status(403))

        fake.on_request = fail
        with pytest.raises(HarvestError):
            await sync(store, buddy, cases="failed")
        fake.on_request = None
        saved = [session_id for session_id in ids if await store.cases(KEY, session_id)]
        assert ids[1] not in saved
        case_requests(fake)
        await sync(store, buddy, cases="failed")
        assert case_requests(fake).count("cases?FAILED") == len(ids) - len(saved)
        assert all([await store.cases(KEY, session_id) for session_id in ids])

    async def test_sync_that_is_cancelled_saves_whole_sessions(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        ids = [create(suite, *["FAILED"] * 3) for _ in range(20)]
        fake.latency = 0.005
        task = asyncio.create_task(sync(store, buddy, cases="failed"))
        while not [session_id for session_id in ids if await store.cases(KEY, session_id)]:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        assert {len(await store.cases(KEY, session_id)) for session_id in ids} == {0, 3}
        fake.latency = 0
        await sync(store, buddy, cases="failed")
        assert {len(await store.cases(KEY, session_id)) for session_id in ids} == {3}

    async def test_file_that_fails(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path) -> None:
        create(suite, "FAILED")
        await sync(store, buddy)
        execute(path, "DROP TABLE case_reads")
        with pytest.raises(HarvestError) as caught:
            await sync(store, buddy, cases="failed")
        assert "case_reads" in str(caught.value.failures[KEY])
        with pytest.raises(StoreError, match="case_reads"):
            await store.runs(KEY)

    async def test_stats_count_cases_and_requests(
        self, store: SessionStore, buddy: BuddyClient, fake: FakeBuddy, suite: FakeSuite
    ) -> None:
        for _ in range(3):
            create(suite, "FAILED", "PASSED")
        async with store.sync(buddy, [KEY], cases="failed") as harvest:
            _ = [pair async for pair in harvest]
        assert (harvest.stats.cases, harvest.stats.sessions) == (3, 3)
        assert harvest.stats.requests == len(fake.requests)
        assert harvest.stats.verified


class TestReadingBack:
    async def test_any_case_is_read_back_unchanged(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        given: list[dict[str, Any]] = [
            {"name": "ü <&>", "id": "a/b . .. % ü", "classname": None, "time": None, "status": "FAILED", "data": "<x"},
            {"name": "", "test_group_name": "\ud800", "time": 0.25, "status": "QUARANTINED"},
            {"name": "x", "time": 3, "html_url": None, "url": None},
        ]
        session_id = suite.create(cases=given, status="ERROR", tests_count=3)["id"]
        await sync(store, buddy, cases="all")
        saved = await store.cases(KEY, session_id)
        assert saved == listed(suite, session_id)
        assert [type(case.time) for case in saved] == [type(None), float, int]

    async def test_runs_are_oldest_first(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
        for number in range(1, 6):
            create(suite, "PASSED", "FAILED", branch="main" if number % 2 else "other")
        await sync(store, buddy, cases="all")
        runs = await store.runs(KEY)
        assert [run.session.relative_id for run in runs] == [1, 2, 3, 4, 5]
        assert [case.status for case in runs[0].cases] == ["PASSED", "FAILED"]
        assert [run.session.relative_id for run in await store.runs(KEY, last=2)] == [4, 5]
        assert [run.session.relative_id for run in await store.runs(KEY, branch="main", last=2)] == [3, 5]
        failed = await store.runs(KEY, cases="failed")
        assert [[case.status for case in run.cases] for run in failed] == [["FAILED"]] * 5
        assert await store.runs(OTHER_KEY) == []

    async def test_runs_have_only_sessions_whose_cases_were_saved(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        create(suite, "FAILED")
        await sync(store, buddy, cases="failed")
        create(suite, "PASSED")
        await sync(store, buddy, cases="all", after=1)
        create(suite, "FAILED")
        await sync(store, buddy)
        assert [run.session.relative_id for run in await store.runs(KEY)] == [2]
        failed = await store.runs(KEY, cases="failed")
        assert [(run.session.relative_id, len(run.cases)) for run in failed] == [(1, 1), (2, 0)]

    async def test_deleted_sessions_are_left_out(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        ids = [create(suite, "FAILED") for _ in range(3)]
        await sync(store, buddy, cases="all")
        suite.delete(ids[1])
        for _ in range(2):
            await sync(store, buddy, full=True)
        assert [run.session.id for run in await store.runs(KEY)] == [ids[0], ids[2]]
        assert [run.session.id for run in await store.history(KEY, TestKey(*GROUP, "test 0"))] == [ids[2], ids[0]]

    async def test_history_of_a_test(self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite) -> None:
        for statuses in (["PASSED", "FAILED"], ["PASSED"], ["PASSED", "PASSED"]):
            create(suite, *statuses)
        suite.create(cases=[{"name": "test 1", "classname": None}, {"name": "test 1", "test_group_name": None}])
        await sync(store, buddy, cases="all")
        history = await store.history(KEY, TestKey(*GROUP, "test 1"))
        assert [(run.session.relative_id, run.cases[0].status) for run in history] == [(3, "PASSED"), (1, "FAILED")]
        for key in (TestKey(GROUP[0], None, "test 1"), TestKey(None, GROUP[1], "test 1")):
            (run,) = await store.history(KEY, key)
            assert [case.key for case in run.cases] == [key]
        assert await store.history(KEY, TestKey(None, None, "unknown")) == []

    async def test_history_has_every_case_with_the_key(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create(cases=[{"name": "test", "id": "1"}, {"name": "test", "id": "2"}])
        await sync(store, buddy, cases="all")
        (run,) = await store.history(KEY, TestKey(*GROUP, "test"))
        assert [case.id for case in run.cases] == ["1", "2"]
        assert isinstance(run, TestRun)

    async def test_table_has_the_fields_of_the_api(
        self, store: SessionStore, buddy: BuddyClient, suite: FakeSuite, path: Path
    ) -> None:
        create(suite, "FAILED")
        await sync(store, buddy, cases="failed")
        names = [name for _, name, *_ in query(path, "SELECT * FROM pragma_table_info('cases')")]
        (case,) = await store.cases(KEY, suite.sessions[0]["id"])
        assert names == [*KEY._fields, "session_id", *(name for name in to_dict(case) if name != "failure")]


GROUP = ("tests/cart/test_total.py", "CartTest")
"""The default group and class of FakeBuddy's cases."""
