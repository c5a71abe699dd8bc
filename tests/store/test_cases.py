"""Syncs of test cases into a store: which sessions are read, and what is read back."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import (
    BuddyClient,
    HarvestError,
    Session,
    SessionStatus,
    SessionStore,
    TestCase,
    TestKey,
    TestStatus,
    to_dict,
)
from buddy_sessions._decoding.converter import case_from_dict
from buddy_sessions.store.cases import load_cases, save_cases
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.messages import PageToSave
from buddy_sessions.store.pages import save_page
from buddy_sessions.store.schema import MARKERS
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.stores import KEY, OTHER_KEY, SyncedSuite, collect_numbers, query

_SUITE = "workspace = 'acme' AND project = 'shop' AND suite_id = 'x'"

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
    async def test_failed_cases_are_saved_with_their_messages(self, db: SyncedSuite) -> None:
        session_id = create(db.suite, "PASSED", "FAILED", "SKIPPED", "ERROR")
        assert await db.sync(cases="failed") == [1]
        assert case_requests(db.fake) == ["cases?FAILED", "cases?ERROR", "details", "details"]
        saved = await db.store.cases(KEY, session_id)
        assert saved == [*listed(db.suite, session_id, "FAILED"), *listed(db.suite, session_id, "ERROR")]
        assert all(case.failure for case in saved)

    async def test_all_cases_are_saved(self, db: SyncedSuite) -> None:
        session_id = create(db.suite, "PASSED", "ERROR", "SKIPPED", *["PASSED"] * 30)
        await db.sync(cases="all")
        assert case_requests(db.fake) == ["cases", "cases", "details"]  # two pages of 20
        (session,) = await db.store.sessions(KEY)
        assert await db.store.cases(KEY, session) == listed(db.suite, session_id)

    @pytest.mark.parametrize(("scope", "requests"), [("failed", []), ("all", ["cases"])])
    async def test_session_without_failures(self, db: SyncedSuite, scope: Any, requests: list[str]) -> None:
        create(db.suite, "PASSED", "SKIPPED")
        create(db.suite)
        await db.sync(cases=scope)
        assert case_requests(db.fake) == requests
        await db.sync(cases=scope)
        assert case_requests(db.fake) == []

    @pytest.mark.parametrize(("options", "count"), [({}, 100), ({"details": 3}, 3), ({"details": 0}, 0)])
    async def test_details_of_the_first_cases(self, db: SyncedSuite, options: dict[str, Any], count: int) -> None:
        session_id = create(db.suite, *["FAILED"] * 130, "PASSED")
        await db.sync(cases="all", **options)
        assert case_requests(db.fake).count("details") == count
        saved = await db.store.cases(KEY, session_id)
        assert [case.failure is not None for case in saved] == [True] * count + [False] * (131 - count)
        assert [case.has_details for case in saved] == [True] * count + [False] * (130 - count) + [True]

    @pytest.mark.parametrize("change", [{"test_group_id": None}, {}])
    async def test_case_without_details_is_saved(
        self, db: SyncedSuite, change: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """It has no group, so there is no path for it; or it was deleted after it was listed."""
        session = db.suite.create(cases=[{**cases("FAILED")[0], **change}])

        def delete(request: RecordedRequest) -> None:
            if "/test-groups/" in request.path:
                db.fake.inject(Fault.status(404))

        db.fake.on_request = delete
        await db.sync(cases="failed")
        (case,) = await db.store.cases(KEY, session["id"])
        assert (case.name, case.data) == ("test 0", None)
        assert ("1 failing cases were not found" in caplog.text) == (not change)


class TestWhichSessions:
    async def test_cases_are_read_once_if_they_are_asked_for(self, db: SyncedSuite) -> None:
        session_id = create(db.suite, "FAILED", "FAILED")
        await db.sync()
        assert (case_requests(db.fake), await db.store.cases(KEY, session_id)) == ([], [])
        assert await db.sync(cases="failed") == []
        assert case_requests(db.fake) == FAILED_REQUESTS
        create(db.suite, "PASSED")
        await db.sync(cases="failed")
        assert case_requests(db.fake) == []

    async def test_cases_are_read_when_the_session_has_finished(self, db: SyncedSuite) -> None:
        session_id = create(db.suite, "FAILED", "FAILED", status="IN_PROGRESS")
        await db.sync(cases="failed")
        assert case_requests(db.fake) == []
        db.suite.finish(session_id)
        await db.sync(cases="failed")
        assert case_requests(db.fake) == FAILED_REQUESTS
        db.suite.reopen(session_id)
        await db.sync(cases="failed")
        db.suite.add_cases(session_id, cases("PASSED"))
        db.suite.finish(session_id)
        case_requests(db.fake)
        await db.sync(cases="failed")
        assert case_requests(db.fake) == ["cases?FAILED", "details"]
        assert [case.name for case in await db.store.cases(KEY, session_id)] == ["test 1"]

    async def test_limits_of_the_sync(self, db: SyncedSuite) -> None:
        now = datetime.now(UTC)
        for number in range(1, 7):
            created = (now - timedelta(days=7 - number)).isoformat()
            create(db.suite, "FAILED", "FAILED", branch="main" if number % 2 else "other", create_date=created)
        await db.sync()
        limits: list[tuple[dict[str, Any], int]] = [
            ({"branch": "main"}, 3),
            ({"after": 4}, 1),
            ({"since": now - timedelta(days=3.5)}, 1),
        ]
        for limit, count in limits:
            case_requests(db.fake)
            await db.sync(cases="failed", **limit)
            assert len(case_requests(db.fake)) == count * len(FAILED_REQUESTS), limit

    async def test_deleted_session_is_skipped(self, db: SyncedSuite) -> None:
        """It was deleted between the request for the list and that for its cases."""
        first, second = create(db.suite, "FAILED"), create(db.suite, "FAILED")

        def delete(request: RecordedRequest) -> None:
            if first in request.path and first in [session["id"] for session in db.suite.sessions]:
                db.suite.delete(first)

        db.fake.on_request = delete
        assert await db.sync(cases="failed") == [2, 1]
        assert len(await db.store.cases(KEY, second)) == 1
        case_requests(db.fake)
        for requests in (["cases?FAILED"], []):  # it is requested once more
            await db.sync(cases="failed")
            assert case_requests(db.fake) == requests

    async def test_cases_that_cannot_be_read_replace_none(self, db: SyncedSuite) -> None:
        """The failed ones remain, and do not count as all."""
        session_id = create(db.suite, "FAILED", "PASSED")
        await db.sync(cases="failed")
        saved = await db.store.cases(KEY, session_id)

        def reject(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                db.fake.inject(Fault.status(404))

        db.fake.on_request = reject
        for _ in range(3):
            await db.sync(cases="all")
        assert await db.store.cases(KEY, session_id) == saved
        assert await db.store.runs(KEY) == []
        assert len(await db.store.runs(KEY, cases="failed")) == 1

    @pytest.mark.parametrize(
        ("counts", "requests"),
        [
            ({"tests_count": 3, "failed_count": 2}, ["cases?FAILED", "cases?FAILED", "details"]),
            ({"failed_count": None, "error_count": None}, ["cases?FAILED", "cases?ERROR", "details"]),
        ],
        ids=["wrong", "unknown"],
    )
    async def test_list_that_cannot_be_verified_is_read_twice(
        self, db: SyncedSuite, counts: dict[str, Any], requests: list[str]
    ) -> None:
        """A list that is shorter than the session's count may be incomplete, or the count may be wrong."""
        create(db.suite, "FAILED", **counts)
        for expected in (requests, requests, []):
            await db.sync(cases="failed")
            assert case_requests(db.fake) == expected

    async def test_cases_are_not_replaced_by_fewer(self, db: SyncedSuite) -> None:
        """The list of all cases is shorter than the count: only the list of all cases is read again."""
        session_id = create(db.suite, "PASSED", "FAILED", tests_count=3)
        for cases in ("all", "failed"):
            await db.sync(cases=cases)
            assert len(await db.store.cases(KEY, session_id)) == 2


class TestChangedSessions:
    """The saved cases of a session belong to its saved state."""

    async def check_left_out(self, db: SyncedSuite, session_id: str) -> None:
        assert await db.store.cases(KEY, session_id) == []
        assert await db.store.runs(KEY, cases="failed") == []
        assert await db.store.runs(KEY) == []
        assert await db.store.history(KEY, TestKey(*GROUP, "test 0")) == []

    async def test_cases_from_before_a_change_are_left_out(self, db: SyncedSuite) -> None:
        """And an unfinished session is not a run."""
        session_id = create(db.suite, "FAILED")
        await db.sync(cases="all")
        db.suite.reopen(session_id)
        await db.sync(cases="all")
        await self.check_left_out(db, session_id)
        db.suite.finish(session_id, status="SUCCESSFUL")
        await db.sync()
        await self.check_left_out(db, session_id)
        await db.sync(cases="all")
        assert len(await db.store.cases(KEY, session_id)) == 1

    async def test_session_that_changes_while_its_cases_are_read(
        self, db: SyncedSuite, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another sync saves the change before the cases arrive."""
        session_id = create(db.suite, "FAILED")

        async def reopen() -> None:
            db.suite.reopen(session_id)
            await db.sync()

        def delay(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                db.fake.on_request = None
                db.respond_late(reopen)

        db.fake.on_request = delay
        with caplog.at_level(logging.INFO, "buddy_sessions"):
            async with db.store.sync(db.buddy, [KEY], cases="all") as harvest:
                await collect_numbers(harvest)
        assert harvest.stats.cases == 0
        assert "has changed meanwhile" in caplog.text
        await self.check_left_out(db, session_id)
        db.suite.finish(session_id)
        await db.sync(cases="all")
        assert len(await db.store.runs(KEY)) == 1

    async def test_missing_session_that_is_found_again_keeps_its_cases(self, db: SyncedSuite) -> None:
        ids = [create(db.suite, "FAILED") for _ in range(3)]
        await db.sync(cases="all")
        db.fake.inject(Fault.missing_row(1))
        for _ in range(2):
            await db.sync()
        assert len(await db.store.cases(KEY, ids[1])) == 1
        assert len(await db.store.runs(KEY)) == 3


class TestFailures:
    async def test_failed_sync_is_resumed(self, db: SyncedSuite) -> None:
        ids = [create(db.suite, "FAILED") for _ in range(5)]

        def fail(request: RecordedRequest) -> None:
            if ids[1] in request.path:
                db.fake.inject(Fault.status(403))

        db.fake.on_request = fail
        with pytest.raises(HarvestError):
            await db.sync(cases="failed")
        db.fake.on_request = None
        saved = [session_id for session_id in ids if await db.store.cases(KEY, session_id)]
        assert ids[1] not in saved
        case_requests(db.fake)
        await db.sync(cases="failed")
        assert case_requests(db.fake).count("cases?FAILED") == len(ids) - len(saved)
        assert all([await db.store.cases(KEY, session_id) for session_id in ids])

    async def test_sync_that_is_cancelled_saves_whole_sessions(self, db: SyncedSuite) -> None:
        ids = [create(db.suite, *["FAILED"] * 3) for _ in range(20)]
        db.fake.latency = 0.005
        task = asyncio.create_task(db.sync(cases="failed"))
        while not [session_id for session_id in ids if await db.store.cases(KEY, session_id)]:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        assert {len(await db.store.cases(KEY, session_id)) for session_id in ids} == {0, 3}
        db.fake.latency = 0
        await db.sync(cases="failed")
        assert {len(await db.store.cases(KEY, session_id)) for session_id in ids} == {3}

    async def test_stats_count_cases_and_requests(self, db: SyncedSuite) -> None:
        for _ in range(3):
            create(db.suite, "FAILED", "PASSED")
        async with db.store.sync(db.buddy, [KEY], cases="failed") as harvest:
            _ = [pair async for pair in harvest]
        assert (harvest.stats.cases, harvest.stats.sessions) == (3, 3)
        assert harvest.stats.requests == len(db.fake.requests)
        assert harvest.stats.verified


class TestReadingBack:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, [1, 3, 5]),
            ({"branch": "main", "last": 2}, [3, 5]),
            ({"branch": "fix"}, [2, 4]),
            ({"branch": "*"}, [1, 2, 3, 4, 5, 7]),
            ({"branch": "*", "last": 2}, [5, 7]),
            ({"up_to": 4, "last": 1}, [3]),
        ],
        ids=str,
    )
    async def test_runs_of_a_branch_are_oldest_first(
        self, db: SyncedSuite, arguments: dict[str, Any], expected: list[int]
    ) -> None:
        """By default of the main one. A session without a verdict is no run."""
        for number in range(1, 6):
            create(db.suite, "PASSED", "FAILED", branch="main" if number % 2 else "fix")
        cases = db.suite.cases(db.suite.sessions[0])
        db.suite.create(status="SKIPPED", cases=cases)
        db.suite.create(cases=cases, ref_type="TAG", ref_name="main")
        await db.sync(cases="all")
        runs = await db.store.runs(KEY, **arguments)
        failed = await db.store.runs(KEY, cases="failed", **arguments)
        for saved, statuses in ((runs, ["PASSED", "FAILED"]), (failed, ["FAILED"])):
            assert [run.session.relative_id for run in saved] == expected
            assert all([case.status for case in run.cases] == statuses for run in saved)
        assert await db.store.runs(OTHER_KEY, **arguments) == []

    async def test_runs_have_only_sessions_whose_cases_were_saved(self, db: SyncedSuite) -> None:
        create(db.suite, "FAILED")
        await db.sync(cases="failed")
        create(db.suite, "PASSED")
        await db.sync(cases="all", after=1)
        create(db.suite, "FAILED")
        await db.sync()
        assert [run.session.relative_id for run in await db.store.runs(KEY)] == [2]
        failed = await db.store.runs(KEY, cases="failed")
        assert [(run.session.relative_id, len(run.cases)) for run in failed] == [(1, 1), (2, 0)]

    async def test_deleted_sessions_are_left_out(self, db: SyncedSuite) -> None:
        ids = [create(db.suite, "FAILED") for _ in range(3)]
        await db.sync(cases="all")
        db.suite.delete(ids[1])
        for _ in range(2):
            await db.sync(full=True)
        assert [run.session.id for run in await db.store.runs(KEY)] == [ids[0], ids[2]]
        assert [run.session.id for run in await db.store.history(KEY, TestKey(*GROUP, "test 0"))] == [ids[2], ids[0]]

    async def test_history_of_a_test(self, db: SyncedSuite) -> None:
        for statuses in (["PASSED", "FAILED"], ["PASSED"], ["PASSED", "PASSED"]):
            create(db.suite, *statuses)
        db.suite.create(cases=[{"name": "test 1", "classname": None}, {"name": "test 1", "test_group_name": None}])
        await db.sync(cases="all")
        history = await db.store.history(KEY, TestKey(*GROUP, "test 1"))
        assert [(run.session.relative_id, run.cases[0].status) for run in history] == [(3, "PASSED"), (1, "FAILED")]
        for key in (TestKey(GROUP[0], None, "test 1"), TestKey(None, GROUP[1], "test 1")):
            (run,) = await db.store.history(KEY, key)
            assert [case.key for case in run.cases] == [key]
        assert await db.store.history(KEY, TestKey(None, None, "unknown")) == []
        for branch, expected in ((None, history), ("main", history), ("*", history), ("fix", [])):
            assert await db.store.history(KEY, TestKey(*GROUP, "test 1"), branch=branch) == expected
        db.suite.create(cases=[{"name": "test", "id": "1"}, {"name": "test", "id": "2"}])
        await db.sync(cases="all")
        (run,) = await db.store.history(KEY, TestKey(*GROUP, "test"))
        assert [case.id for case in run.cases] == ["1", "2"]

    async def test_view_has_the_fields_of_the_api(self, db: SyncedSuite) -> None:
        session_id = create(db.suite, "FAILED", "PASSED")
        await db.sync(cases="all")
        with closing(sqlite3.connect(db.path)) as connection:
            connection.row_factory = sqlite3.Row
            rows = [dict(row) for row in connection.execute("SELECT * FROM cases ORDER BY id")]
        saved = sorted(await db.store.cases(KEY, session_id), key=lambda case: case.id)
        expected = [{**KEY._asdict(), "session_id": session_id, **to_dict(case)} for case in saved]
        assert rows == [{name: value for name, value in case.items() if name != "failure"} for case in expected]

    @pytest.mark.parametrize(
        "condition",
        [
            f"{_SUITE} AND name = 'x'",
            f"{_SUITE} AND session_id = 'x' AND status <> 'PASSED'",
            f"{_SUITE} AND status = 'FAILED' GROUP BY name",
            "suite_id = 'x' AND name = 'x'",
            "session_id = 'x'",
        ],
    )
    async def test_queries_use_indexes(self, db: SyncedSuite, condition: str) -> None:
        """Only the few suites are read completely, and the sessions of one suite, never all tests or cases."""
        plan = query(db.path, f"EXPLAIN QUERY PLAN SELECT * FROM cases WHERE {condition}")
        assert {step for *_, step in plan if step.startswith("SCAN")} <= {
            "SCAN suites USING COVERING INDEX sqlite_autoindex_suite_rows_1"
        }

    @pytest.mark.parametrize("id_", ["", "com.example.Tests.{name}", "{session}-{number}"])
    async def test_passed_case_takes_at_most_60_bytes(self, db: SyncedSuite, tmp_path: Path, id_: str) -> None:
        """Its id is one of 24 hexadecimal digits, has the name of the test, or is another one in each session."""
        sessions, count = 60, 200
        for session in range(sessions):
            given = [
                {"name": f"adds_discount_{number}", "test_group_name": str(number // 8)} for number in range(count)
            ]
            for number, case in enumerate(given if id_ else ()):
                case["id"] = id_.format(**case, session=session, number=number)
            db.suite.create(cases=given)
        sizes: list[int] = []
        async with BuddyClient(db.fake.token, base_url=db.fake.base_url) as buddy:
            for scope in (None, "all"):
                async with SessionStore(tmp_path / f"{scope}.db") as store:
                    await store.sync(buddy, [KEY], cases=scope).run()
                sizes.append((tmp_path / f"{scope}.db").stat().st_size)
        assert sizes[1] - sizes[0] <= 60 * sessions * count


_TEXTS = st.lists(st.sampled_from([*"ab1é/ \0\ud800{}", *MARKERS]), max_size=5).map("".join)


@st.composite
def sessions_with_cases(draw: st.DrawFn) -> tuple[Session, list[TestCase]]:
    """A session with cases whose URLs are made of its own, of ids and of other texts."""
    urls = draw(st.lists(st.none() | _TEXTS, min_size=2, max_size=2))
    session = Session(id="1", relative_id=1, status=SessionStatus.SUCCESSFUL, url=urls[0], html_url=urls[1])
    cases: list[TestCase] = []
    for _ in range(draw(st.integers(0, 5))):
        name, group_id = draw(_TEXTS), draw(st.none() | _TEXTS)
        case_id = draw(st.sampled_from([name, f"a.{name}", "ab12", "AB12", "abc"]) | _TEXTS)
        parts = [part for part in (*urls, case_id, group_id, "/", draw(_TEXTS)) if part]
        url = st.none() | st.lists(st.sampled_from(parts)).map("".join)
        status = TestStatus(draw(st.sampled_from([*TestStatus, "QUARANTINED", "\ud800"])))
        time = draw(st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
        group, classname, data = (draw(st.none() | _TEXTS) for _ in range(3))
        case = TestCase(id=case_id, name=name, status=status, time=time, url=draw(url), html_url=draw(url), data=data)
        cases.append(attrs.evolve(case, test_group_name=group, test_group_id=group_id, classname=classname))
    return session, cases


@given(sessions_with_cases())
def test_any_case_is_read_back_unchanged(sample: tuple[Session, list[TestCase]]) -> None:
    session, cases = sample
    with TemporaryDirectory() as folder, closing(DatabaseFile(f"{folder}/sessions.db")) as file:
        file.open()
        save_page(file, KEY, PageToSave(sessions=[session], commit=0, sync=1))
        for _ in range(2):
            assert save_cases(file, KEY, session, "all", cases, is_verified=True)
            saved = load_cases(file, KEY, session.id)
            assert saved == cases
            assert [type(case.time) for case in saved] == [type(case.time) for case in cases]


class TestBadInput:
    """It is stored right, or only the cases of that session fail."""

    @pytest.mark.parametrize(
        "body",
        [
            b"[]",
            b'{"cases": [{"id": "1", "name": null, "status": "PASSED"}]}',
            b'{"cases": [{"id": "1", "name": "x", "status": "PASSED"}, {"id": "1", "name": "y", "status": "PASSED"}]}',
            b'{"cases": ["' + b"x" * 2**22 + b'"]}',
        ],
        ids=["shape", "name", "two-tests-with-one-id", "too-large"],
    )
    async def test_wrong_cases_of_one_session(
        self, db: SyncedSuite, body: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One warning, and the next sync reads them again."""
        ids = [create(db.suite, "PASSED", "PASSED") for _ in range(3)]

        def spoil(request: RecordedRequest) -> None:
            if request.path.endswith(f"{ids[1]}/cases"):
                db.fake.inject(Fault.body(body))

        db.fake.on_request = spoil
        stats = await db.store.sync(db.buddy, [KEY], cases="all").run()
        assert (stats.suites, stats.failed, stats.verified) == (1, 0, False)
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
        assert [len(await db.store.cases(KEY, session_id)) for session_id in (ids[0], ids[2])] == [2, 2]
        db.fake.on_request = None
        assert (await db.store.sync(db.buddy, [KEY], cases="all").run()).verified
        assert await db.store.cases(KEY, ids[1]) == listed(db.suite, ids[1])

    async def test_suite_fails_if_all_responses_are_wrong(self, db: SyncedSuite) -> None:
        for _ in range(50):
            create(db.suite, "FAILED")

        def spoil(request: RecordedRequest) -> None:
            if request.path.endswith("/cases"):
                db.fake.inject(Fault.body(b"[]"))

        db.fake.on_request = spoil
        with pytest.raises(HarvestError):
            await db.sync(cases="failed")
        assert len(case_requests(db.fake)) < 30


GROUP = ("tests/cart/test_total.py", "CartTest")
"""The default group and class of FakeBuddy's cases."""
