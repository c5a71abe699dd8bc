"""Syncs of test cases into a store: which sessions are read, and what is read back."""

from __future__ import annotations

import itertools
import json
import logging
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buddy_sessions import (
    ConfigError,
    HarvestError,
    NoVerdictError,
    Session,
    SessionStatus,
    SuiteKey,
    TestCase,
    TestStatus,
    to_dict,
)
from buddy_sessions._decoding.converter import case_from_dict
from buddy_sessions.analysis import TestedSession
from buddy_sessions.models import CaseScope
from buddy_sessions.store.cases import load_cases, save_cases, save_details
from buddy_sessions.store.file import DatabaseFile, DatabaseThread
from buddy_sessions.store.pages import save_page
from buddy_sessions.store.saved_source import SavedSource
from buddy_sessions.store.suites import SuiteState
from buddy_sessions.store.sync_rules import ListEvidence
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.stores import KEY, SyncedSuite

Change = Callable[[SyncedSuite], object]


def cases(*statuses: str) -> list[dict[str, Any]]:
    return [{"name": f"test {number}", "status": status} for number, status in enumerate(statuses)]


def create(suite: FakeSuite, *statuses: str, **fields: Any) -> str:
    """Create a session, by default a finished one, with cases of these statuses, and return its id."""
    session_id: str = suite.create(cases=cases(*statuses), **fields)["id"]
    return session_id


def created(*statuses: str, **fields: Any) -> Change:
    return lambda db: create(db.suite, *statuses, **fields)


def oldest(db: SyncedSuite) -> str:
    """Return the id of the session that was created first."""
    session_id: str = db.suite.sessions[-1]["id"]
    return session_id


def nothing(_: SyncedSuite) -> None:
    """Change nothing."""


def finish_with_more_cases(db: SyncedSuite) -> None:
    db.suite.add_cases(oldest(db), cases("PASSED"))
    db.suite.finish(oldest(db))


def restore(db: SyncedSuite) -> None:
    """Let the server respond again as it should."""
    db.fake.on_request = None


def break_responses(db: SyncedSuite, pattern: str, fault: Fault, **query: str) -> None:
    """Let all responses to a path with this query be wrong."""

    def on_request(request: RecordedRequest) -> None:
        if re.search(pattern, request.path) and request.query.items() >= query.items():
            db.fake.inject(fault)

    db.fake.on_request = on_request


def case_requests(fake: FakeBuddy) -> list[str]:
    """Return the requests for cases so far, sorted, and forget all requests."""
    found: list[str] = []
    for request in fake.requests:
        if "/test-groups/" in request.path:
            found.append("details")
        elif request.path.endswith("/cases"):
            found.append("?".join(["cases", *filter(None, [request.query.get("status")])]))
    fake.requests.clear()
    return sorted(found)


def listed(suite: FakeSuite, session_id: str) -> list[TestCase]:
    """Return the cases of a session on the server, the failing ones with their data."""
    return [
        case_from_dict(suite.case(session_id, case["id"]) if case["status"] in ("FAILED", "ERROR") else case)
        for case in suite.cases(session_id)
    ]


class Sync(NamedTuple):
    """What changes before a sync; its scope and its requests; how many cases of the oldest session are saved then.

    None stands for a session that is no run: its cases were not read since it has changed.
    """

    change: Change
    scope: CaseScope | None
    requests: list[str]
    saved: int | None
    full: bool = False


TWO_FAILED = ["cases?FAILED", "details", "details"]
ONE_FAILED = ["cases?FAILED", "details"]

SYNCS = {
    "cases are read once": [
        Sync(created("FAILED", "FAILED", "PASSED"), None, [], None),
        Sync(nothing, "failed", TWO_FAILED, 2),
        Sync(created("PASSED"), "failed", [], 2),
        Sync(nothing, "all", ["cases", "cases", "details", "details"], 3),
        Sync(nothing, "failed", [], 3),
    ],
    "session without cases": [Sync(created(status="SUCCESSFUL"), "all", [], 0), Sync(nothing, "all", [], 0)],
    "session finishes, and is reopened": [
        Sync(created("FAILED", "FAILED", status="IN_PROGRESS"), "failed", [], None),
        Sync(lambda db: db.suite.finish(oldest(db)), "failed", TWO_FAILED, 2),
        Sync(lambda db: db.suite.reopen(oldest(db)), "failed", [], None),
        Sync(finish_with_more_cases, None, [], None),
        Sync(nothing, "failed", ONE_FAILED, 1),
    ],
    "list is shorter than the count: the next three syncs read it again": [
        Sync(created("FAILED", tests_count=3, failed_count=2), "failed", ["cases?FAILED", *ONE_FAILED], 1),
        *[Sync(nothing, "failed", ["cases?FAILED", *ONE_FAILED], 1)] * 3,
        *[Sync(nothing, "failed", [], 1)] * 2,
        Sync(nothing, "failed", ["cases?FAILED", *ONE_FAILED], 1, full=True),
        Sync(nothing, "failed", [], 1),
    ],
    "all cases are not replaced by the failed ones": [
        Sync(created("PASSED", "FAILED", tests_count=3), "all", ["cases", "cases", "details"], 2),
        Sync(nothing, "failed", [], 2),
        Sync(nothing, "failed", ONE_FAILED, 2, full=True),
        *[Sync(nothing, "all", ["cases", "cases", "details"], 2)] * 3,
        Sync(nothing, "all", [], 2),
    ],
    "cases cannot be read: those from before are kept": [
        Sync(created("FAILED", "PASSED"), "failed", ONE_FAILED, 1),
        Sync(lambda db: break_responses(db, "/cases$", Fault.status(404)), "all", ["cases"], 1),
        *[Sync(nothing, "all", ["cases"], 1)] * 3,
        Sync(nothing, "all", [], 1),
        Sync(nothing, "all", ["cases"], 1, full=True),
    ],
    "an empty list is no reason to forget cases": [
        Sync(created("PASSED", "FAILED"), "all", ["cases", "details"], 2),
        Sync(lambda db: break_responses(db, "/cases$", Fault.body(b'{"cases": []}')), "all", ["cases"], 2, full=True),
        Sync(restore, "all", ["cases", "details"], 2),
    ],
    "all cases cannot be read, but the failed ones can": [
        Sync(lambda db: break_responses(db, "/cases$", Fault.status(404)), None, [], 0),
        Sync(created("FAILED", "PASSED"), "all", ["cases"], None),
        Sync(restore, "failed", ONE_FAILED, 1),
        Sync(nothing, "failed", [], 1),
        Sync(nothing, "all", ["cases", "details"], 2),
    ],
}


@pytest.mark.parametrize("syncs", SYNCS.values(), ids=SYNCS.keys())
async def test_which_cases_are_read(db: SyncedSuite, syncs: list[Sync]) -> None:
    for number, (change, scope, requests, saved, full) in enumerate(syncs):
        change(db)
        db.fake.requests.clear()
        stats = await db.store.sync(db.buddy, [KEY], cases=scope, full=full).run()
        assert stats.requests == len(db.fake.requests)
        assert case_requests(db.fake) == requests, number
        if not db.suite.sessions:
            continue
        assert len(await db.store.cases(KEY, oldest(db))) == (saved or 0)
        runs: list[TestedSession] = []
        with suppress(ConfigError, NoVerdictError):  # none were saved, or none has finished
            runs = await db.store.recent_tests(KEY, cases="failed")
        assert (oldest(db) in [run.session.id for run in runs]) == (saved is not None)
        with suppress(ConfigError, NoVerdictError):  # only failing ones were saved
            complete_runs = await db.store.recent_tests(KEY)
            assert oldest(db) not in [each.session.id for each in complete_runs] or saved == len(
                db.suite.cases(oldest(db))
            )


async def test_view_has_the_cases_that_the_server_lists(db: SyncedSuite) -> None:
    session_id = create(db.suite, "PASSED", "FAILED", "SKIPPED", "ERROR")
    stats = await db.store.sync(db.buddy, [KEY], cases="all").run()
    saved = await db.store.cases(KEY, session_id)
    assert saved == listed(db.suite, session_id)
    assert (stats.cases, stats.verified) == (4, True)
    with closing(sqlite3.connect(db.path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM cases")}
    for case in saved:
        values = {**KEY._asdict(), "session_id": session_id, **to_dict(case)}
        assert rows[case.id] == {name: value for name, value in values.items() if name != "failure"}


async def test_tests_that_passed_are_those_of_one_group(db: SyncedSuite) -> None:
    groups = [{"name": group, "status": "PASSED", "test_group_name": group} for group in ("unit", "browser")]
    db.suite.create(cases=groups)
    await db.sync(cases="all")
    (session,) = await db.store.sessions(KEY)
    unit, _ = await db.store.cases(KEY, session)
    thread = DatabaseThread(str(db.path))
    await thread.open()
    assert await SavedSource(thread).passed_in_group(KEY, session, str(unit.test_group_id)) == {unit.key}
    await thread.close()


@pytest.mark.parametrize(("options", "count"), [({}, 100), ({"details": 3}, 3)])
async def test_details_of_the_first_cases(db: SyncedSuite, options: dict[str, Any], count: int) -> None:
    session_id = create(db.suite, *["FAILED"] * 130, "PASSED")
    await db.sync(cases="all", **options)
    saved = await db.store.cases(KEY, session_id)
    assert [case.has_details for case in saved] == [True] * count + [False] * (130 - count) + [True]


DETAILS = {
    "missing": Fault.status(404),
    "not JSON": Fault.body(b"<html>"),
    "another case": Fault.body(b'{"id": "1", "name": "test 1", "status": "FAILED", "data": "<x/>"}'),
}


@pytest.mark.parametrize("fault", DETAILS.values(), ids=DETAILS.keys())
async def test_lost_details_are_read_again(db: SyncedSuite, fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    session_id = create(db.suite, "FAILED", "FAILED", "PASSED")
    lost = db.suite.cases(session_id)[1]["id"]

    async def sync(*requests: str, full: bool = False) -> list[bool]:
        case_requests(db.fake)
        await db.sync(cases="failed", full=full)
        assert case_requests(db.fake) == list(requests)
        return [case.has_details for case in await db.store.cases(KEY, session_id)]

    break_responses(db, f"{lost}$", fault)
    for _ in range(4):
        assert await sync(*TWO_FAILED) == [True, False]
        assert "the details of 1 failing cases cannot be read" in caplog.text
    assert await sync() == [True, False]
    restore(db)
    assert await sync() == [True, False]
    assert await sync(*TWO_FAILED, full=True) == [True, True]
    break_responses(db, f"{lost}$", fault)
    assert await sync(*TWO_FAILED, full=True) == [True, True]
    restore(db)
    assert await sync(*TWO_FAILED) == [True, True]
    assert await sync() == [True, True]


@pytest.mark.parametrize("is_moved", [False, True], ids=["wrong", "moved"])
async def test_wrong_list_of_errors_does_not_hide_failures(db: SyncedSuite, is_moved: bool) -> None:
    """A case may have moved from one list to the other."""
    session_id = create(db.suite, "FAILED", "ERROR")
    moved = [{**case, "status": "ERROR"} for case in db.suite.cases(session_id, status="FAILED")]
    body = json.dumps({"cases": moved}).encode() if is_moved else b"[]"
    break_responses(db, "/cases$", Fault.body(body), status="ERROR")
    expected = [case.id for case in listed(db.suite, session_id)]
    for found in (expected[:1], expected):
        await db.sync(cases="failed", details=0)
        assert [case.id for case in await db.store.cases(KEY, session_id)] == found
        restore(db)


async def test_limits_of_the_sync_are_those_of_its_cases(db: SyncedSuite) -> None:
    now = datetime.now(UTC)
    for number in range(1, 7):
        date = (now - timedelta(days=7 - number)).isoformat()
        create(db.suite, "FAILED", "FAILED", branch="main" if number % 2 else "other", create_date=date)
    limits: dict[str, Any] = {"cases_branch": "main", "since": now - timedelta(days=3.5)}
    for (name, limit), count in zip(limits.items(), (3, 2), strict=True):
        case_requests(db.fake)
        await db.sync(cases="failed", **{name: limit})
        assert len(case_requests(db.fake)) == count * len(TWO_FAILED), name
        assert len(await db.store.sessions(KEY)) == 6


async def test_missing_session_that_is_found_again_keeps_its_cases(db: SyncedSuite) -> None:
    for _ in range(3):
        create(db.suite, "FAILED")
    await db.sync(cases="all")
    db.fake.inject(Fault.missing_row(1))
    for _ in range(2):
        await db.sync()
        assert [len(run.cases) for run in await db.store.recent_tests(KEY)] == [1] * 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"cases": [{"id": "1", "name": null, "status": "PASSED"}]}',
        b'{"cases": [{"id": "1", "name": "x", "status": "PASSED"}, {"id": "1", "name": "y", "status": "PASSED"}]}',
    ],
    ids=["name", "two-tests-with-one-id"],
)
async def test_wrong_cases_of_one_session_are_read_again(
    db: SyncedSuite, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """There is one warning, and the cases of the other sessions are saved."""
    ids = [create(db.suite, "PASSED", "PASSED") for _ in range(3)]
    break_responses(db, f"{ids[1]}/cases$", Fault.body(body))
    stats = await db.store.sync(db.buddy, [KEY], cases="all").run()
    assert (stats.suites, stats.failed, stats.verified) == (1, 0, False)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    assert [len(await db.store.cases(KEY, session_id)) for session_id in (ids[0], ids[2])] == [2, 2]
    restore(db)
    assert (await db.store.sync(db.buddy, [KEY], cases="all").run()).verified
    assert await db.store.cases(KEY, ids[1]) == listed(db.suite, ids[1])


async def test_suite_fails_if_its_cases_are_refused(db: SyncedSuite) -> None:
    """Then no session counts as read."""
    for _ in range(30):
        create(db.suite, "FAILED")
    break_responses(db, "/cases$", Fault.status(403))
    with pytest.raises(HarvestError):
        await db.sync(cases="failed")
    assert len(case_requests(db.fake)) <= 8
    restore(db)
    await db.sync(cases="failed")
    assert len(await db.store.recent_tests(KEY, cases="failed", last=100)) == 30


_TEXTS = st.lists(st.sampled_from([*"ab1é/% \0~"]), max_size=5).map("".join)


@st.composite
def sessions_with_cases(draw: st.DrawFn) -> tuple[Session, list[TestCase]]:
    """A session with cases, some of the same test, or with the id of another group's case."""
    url, html_url = (draw(st.none() | st.just("https://a/%2F") | _TEXTS) for _ in range(2))
    session = Session(id="1", relative_id=1, status=SessionStatus.SUCCESSFUL, url=url, html_url=html_url)
    cases: dict[object, TestCase] = {}
    for _ in range(draw(st.integers(0, 5))):
        name, group_id = draw(_TEXTS), draw(st.none() | _TEXTS)
        case_id = draw(st.sampled_from([name, f"a.{name}", "ab12", "007", "7"]) | _TEXTS)
        status = TestStatus(draw(st.sampled_from([*TestStatus, "QUARANTINED"])))
        time = draw(st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
        group, classname, data, url, html_url = (draw(st.none() | _TEXTS) for _ in range(5))
        case = TestCase(id=case_id, name=name, status=status, time=time, url=url, html_url=html_url, data=data)
        case = attrs.evolve(case, test_group_name=group, test_group_id=group_id, classname=classname)
        cases[group_id, case_id] = case
    return session, list(cases.values())


def as_saved(session: Session, case: TestCase) -> TestCase:
    """Return a case as it is read back: the URLs follow from the session, unless it fails."""
    if case.is_failing:
        return case
    url = None
    has_plain_ids = case.test_group_id is not None and re.fullmatch("[a-z0-9~.]*", case.id + case.test_group_id)
    if has_plain_ids and session.url is not None:
        url = f"{session.url}/test-groups/{case.test_group_id}/cases/{case.id}"
    return attrs.evolve(case, url=url, html_url=session.html_url)


LARGE = Session(id="1", relative_id=1, status=SessionStatus.SUCCESSFUL)
LARGE_CASE = TestCase(id="1", name="é" * 2**20, status=TestStatus.PASSED, classname="c" * 2**20)


numbers = itertools.count(1)
"""Of suites."""


@given(sample=sessions_with_cases())
@example(
    sample=(LARGE, [LARGE_CASE, attrs.evolve(LARGE_CASE, id="2"), attrs.evolve(LARGE_CASE, id="3", classname=None)])
)
@example(
    sample=(
        LARGE,
        [
            TestCase(id="1", name="a", status=TestStatus.PASSED, test_group_id=group, data=data)
            for group, data in (("1", None), ("2", "read"))
        ],
    )
)
def test_any_case_is_read_back(database: DatabaseFile, sample: tuple[Session, list[TestCase]]) -> None:
    session, cases = sample
    key = SuiteKey("acme", "shop", f"{next(numbers)}")
    page = ListEvidence(claimed=SuiteState(), sessions=[session])
    save_page(database, key, page, datetime.now(UTC))
    for _ in range(2):
        save_cases(database, key, session, "all", cases, is_complete=True, is_verified=True)
        saved = load_cases(database, key, session.id)
        assert saved == [as_saved(session, case) for case in cases]
        assert [type(case.time) for case in saved] == [type(case.time) for case in cases]


@pytest.mark.fault
def test_details_of_a_session_with_many_cases_are_saved_by_a_key(database: DatabaseFile) -> None:
    """Otherwise each one reads all cases of the session, in which time the database's thread serves nobody."""
    key = SuiteKey("acme", "shop", f"{next(numbers)}")
    session = Session(id="1", relative_id=1, status=SessionStatus.ERROR)
    cases = [
        TestCase(id=f"{each}", name=f"{each}", status=TestStatus.FAILED, test_group_id="1") for each in range(30_000)
    ]
    save_page(database, key, ListEvidence(claimed=SuiteState(), sessions=[session]), datetime.now(UTC))
    save_cases(database, key, session, "failed", cases, is_complete=True, is_verified=False)
    begin = time.process_time()
    for ordinal in range(0, 30_000, 15):
        save_details(database, key, session, ordinal, attrs.evolve(cases[ordinal], data="read"))
    assert time.process_time() - begin < 1
    assert sum(case.data == "read" for case in load_cases(database, key, session.id)) == 2000
