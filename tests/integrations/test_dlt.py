"""The source for dlt: real pipelines, each in a thread, into a DuckDB file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from buddy_sessions import ConfigError, HarvestError, NotFoundError, Session, SuiteKey, TestCase
from buddy_sessions.dlt import buddy_source
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest


class Warehouse:
    """A DuckDB file, and the pipeline into it.

    Attributes:
        pipelines_folder: The name of the folder for dlt's local state; another name is like another machine.
    """

    def __init__(self, folder: Path, fake: FakeBuddy) -> None:
        self.folder = folder
        self.fake = fake
        self.pipelines_folder = "pipelines"

    async def load(
        self,
        *suites: FakeSuite,
        tables: Sequence[str] = ("sessions",),
        pages: int | None = None,
        refresh: Any = None,
        **settings: Any,
    ) -> int:
        """Run the pipeline once; return the number of requests.

        Args:
            suites: The suites to load.
            tables: The resources to load.
            pages: The number of pages after which dlt stops reading; None reads all.
            refresh: What dlt drops before, as in `Pipeline.run`.
            settings: Arguments of the source.
        """
        before = len(self.fake.requests)

        def run() -> None:
            pipeline = dlt.pipeline(
                "buddy",
                destination=dlt.destinations.duckdb(str(self.folder / "buddy.duckdb")),
                dataset_name="ci",
                pipelines_dir=str(self.folder / self.pipelines_folder),
            )
            source = buddy_source([suite.key for suite in suites], base_url=str(self.fake.base_url), **settings)
            source.pages.add_limit(pages)
            pipeline.run(source.with_resources(*tables), refresh=refresh)

        await asyncio.to_thread(run)
        return len(self.fake.requests) - before

    def rows(self, columns: str, rest: str = "", *, table: str = "sessions") -> list[tuple[Any, ...]]:
        """Return the rows of a query to a table."""
        with duckdb.connect(str(self.folder / "buddy.duckdb"), read_only=True) as database:
            return database.execute(f"SELECT {columns} FROM ci.{table} {rest}").fetchall()

    def column_types(self, table: str = "sessions") -> dict[str, str]:
        """Return the type of each column, in the order of the columns."""
        with duckdb.connect(str(self.folder / "buddy.duckdb"), read_only=True) as database:
            return {name: data_type for name, data_type, *_ in database.execute(f"DESCRIBE ci.{table}").fetchall()}

    def cases(self) -> list[tuple[int, str, str]]:
        """Return the number of the session, the name and the status of each case, sorted."""
        return sorted(self.rows("session_relative_id, name, status", table="cases"))

    def equals(self, *suites: FakeSuite) -> bool:
        """Return whether the table contains exactly the sessions of the suites, each once."""
        expected = [
            (*suite.key, session["id"], session["relative_id"], session["status"])
            for suite in suites
            for session in suite.sessions
        ]
        return sorted(self.rows("workspace, project, suite_id, id, relative_id, status")) == sorted(expected)


@pytest.fixture
def warehouse(fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("SOURCES__BUDDY__TOKEN", fake.token)
    monkeypatch.chdir(tmp_path)  # dlt reads its configuration from the current folder
    return Warehouse(tmp_path, fake)


END_CHECK = 2
"""Each run has a client of its own, which checks the end of its first list above number 1: here, of the empty suite."""


@pytest.fixture
def suites(fake: FakeBuddy) -> list[FakeSuite]:
    suites = [fake.add_suite("acme", "shop", name) for name in ("api", "web", "new")]
    for suite, count in zip(suites, (250, 30, 0), strict=True):
        suite.populate(count)
        for session in suite.sessions:
            if session["status"] == "IN_PROGRESS":
                suite.finish(session["id"])
    return suites


async def test_first_run_reads_everything_and_an_unchanged_suite_costs_one_request(
    warehouse: Warehouse, suites: list[FakeSuite]
) -> None:
    assert await warehouse.load(*suites) == 5 + END_CHECK
    assert warehouse.equals(*suites)
    assert await warehouse.load(*suites) == 3 + END_CHECK
    warehouse.pipelines_folder = "other"  # the state is restored from the destination
    assert await warehouse.load(*suites) == 3 + END_CHECK
    assert warehouse.equals(*suites)


async def test_new_and_finished_sessions_are_merged(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    api, web, _ = suites
    running = [api.create() for _ in range(3)]
    await warehouse.load(*suites)
    assert warehouse.equals(*suites)

    web.create(status="SUCCESSFUL")
    api.create()
    for session in running[1:]:
        api.finish(session["id"], status="ERROR")
    assert await warehouse.load(*suites) == 3 + END_CHECK
    assert warehouse.equals(*suites)

    api.finish(running[0]["id"])
    assert await warehouse.load(*suites) == 3 + END_CHECK
    assert warehouse.equals(*suites)


async def test_unfinished_session_below_many_newer_ones_is_read_again(
    warehouse: Warehouse, suites: list[FakeSuite]
) -> None:
    api = suites[0]
    running = api.create()
    await warehouse.load(api)
    for _ in range(150):
        api.create(status="SUCCESSFUL")
    assert await warehouse.load(api) == 2
    api.finish(running["id"])
    assert await warehouse.load(api) == 2
    assert warehouse.equals(api)
    assert await warehouse.load(api) == 1


async def test_deletion_and_change_of_a_finished_session_are_not_detected(
    warehouse: Warehouse, suites: list[FakeSuite]
) -> None:
    web = suites[1]
    first, second = (web.create(status="SUCCESSFUL")["id"] for _ in range(2))
    await warehouse.load(web)
    web.delete(first)
    web.reopen(second)
    assert await warehouse.load(web) == 1
    assert warehouse.rows("count(*)", f"WHERE id IN ('{first}', '{second}') AND status = 'SUCCESSFUL'") == [(2,)]


async def test_deleted_unfinished_session_is_not_read_for_ever(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    api = suites[0]
    running = api.create()
    for _ in range(150):
        api.create(status="SUCCESSFUL")
    await warehouse.load(api)
    api.delete(running["id"])
    assert [await warehouse.load(api) for _ in range(2)] == [2, 1]


async def test_failed_suite_stops_the_run_before_anything_is_loaded(
    warehouse: Warehouse, suites: list[FakeSuite], fake: FakeBuddy
) -> None:
    await warehouse.load(*suites)
    before = sorted(warehouse.rows("*"))
    for suite in suites:
        suite.create(status="ERROR")
    missing = fake.suites.pop(suites[1].key)
    with pytest.raises(PipelineStepFailed) as failed:
        await warehouse.load(*suites)
    error: BaseException | None = failed.value
    while error is not None and not isinstance(error, HarvestError):
        error = error.__cause__
    assert error is not None
    assert {key: type(failure) for key, failure in error.failures.items()} == {missing.key: NotFoundError}
    assert sorted(warehouse.rows("*")) == before

    fake.suites[missing.key] = missing
    assert await warehouse.load(*suites) == 3
    assert warehouse.equals(*suites)


async def test_suite_that_was_read_in_part_is_read_again(
    warehouse: Warehouse, suites: list[FakeSuite], fake: FakeBuddy
) -> None:
    api = suites[0]
    await warehouse.load(api, pages=1)
    assert warehouse.rows("count(*)") == [(100,)]
    assert await warehouse.load(api) == 3
    assert warehouse.equals(api)


@pytest.mark.parametrize("page_number", [1, 2])
async def test_list_out_of_order_is_read_completely_by_every_run(
    warehouse: Warehouse, fake: FakeBuddy, page_number: int
) -> None:
    suite = fake.add_suite("acme", "shop", "disordered").populate(150)
    page = suite.page

    def page_out_of_order(number: int, size: int, *, branch: str | None = None) -> dict[str, Any]:
        response = page(number, size, branch=branch)
        if number == page_number:
            first, second, *others = response["sessions"]
            response["sessions"] = [second, first, *others]
        return response

    suite.page = page_out_of_order  # type: ignore[method-assign]  # every read, not one request
    requests = await warehouse.load(suite)
    assert requests > 1
    assert warehouse.equals(suite)
    suite.create(status="ERROR")
    assert await warehouse.load(suite) == requests
    assert warehouse.equals(suite)


async def test_every_field_has_a_column_even_if_it_is_null(warehouse: Warehouse, fake: FakeBuddy) -> None:
    suite = fake.add_suite("acme", "shop", "bare")
    suite.create(create_date=None, start_date=None, created_by=None, revision=None, tests_count=None, duration=1.5)
    await warehouse.load(suite)
    columns = warehouse.column_types()
    names = [field.name for field in attrs.fields(Session)]
    assert [name for name in columns if not name.startswith("_dlt")] == [*SuiteKey._fields, *names]
    assert {columns[name] for name in ("create_date", "start_date", "finish_date")} == {"TIMESTAMP WITH TIME ZONE"}
    assert (columns["created_by"], columns["duration"], columns["tests_count"]) == ("JSON", "DOUBLE", "BIGINT")


async def test_created_by_is_json_and_dates_are_timestamps(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    web = suites[1]
    await warehouse.load(web)
    newest = web.sessions[0]
    ((name, created_at),) = warehouse.rows("created_by->>'name', epoch(create_date)", f"WHERE id = '{newest['id']}'")
    assert name == newest["created_by"]["name"]
    assert created_at > 1_000_000_000


async def test_half_of_a_surrogate_pair_is_escaped(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    text = "half a pair: \ud83d"
    session = suites[1].create(status="ERROR", error_message=text, created_by={"id": 1, "name": text})
    await warehouse.load(suites[1])
    texts = warehouse.rows("error_message, created_by->>'name'", f"WHERE id = '{session['id']}'")
    assert texts == [("half a pair: \\ud83d",) * 2]


async def test_invalid_argument_is_reported_before_any_request(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    with pytest.raises(PipelineStepFailed, match="per_page"):
        await warehouse.load(*suites, per_page=0)
    assert warehouse.fake.requests == []


BOTH = ("sessions", "cases")
FAILED_REQUESTS = 2
"""The requests for the failing cases of a session. An unchanged suite costs one request, for the list."""


def cases(*statuses: str) -> list[dict[str, Any]]:
    return [{"name": f"test {number}", "status": status} for number, status in enumerate(statuses)]


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite with a failed session, #1, and a successful one, #2."""
    suite = fake.add_suite("acme", "shop", "cart")
    suite.create(cases=cases("PASSED", "FAILED", "ERROR"))
    suite.create(cases=cases("PASSED", "SKIPPED"))
    return suite


async def test_both_tables_are_filled_from_one_read(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    failing = {
        (*suite.key, session["id"], session["relative_id"], case["id"], case["name"], case["status"])
        for suite in suites
        for session in suite.sessions
        for case in suite.cases(session["id"])
        if case["status"] in ("FAILED", "ERROR")
    }
    failed_sessions = {(suite_id, number) for _, _, suite_id, _, number, *_ in failing}
    assert len({suite_id for suite_id, _ in failed_sessions}) == 2
    requests = 5 + END_CHECK + FAILED_REQUESTS * len(failed_sessions)
    assert await warehouse.load(*suites, tables=BOTH) == requests
    assert warehouse.equals(*suites)
    columns = "workspace, project, suite_id, session_id, session_relative_id, id, name, status"
    assert sorted(warehouse.rows(columns, table="cases")) == sorted(failing)
    assert await warehouse.load(*suites, tables=BOTH) == 3 + END_CHECK


async def test_all_cases_after_the_failed_ones(warehouse: Warehouse, suite: FakeSuite) -> None:
    failed = [(1, "test 1", "FAILED"), (1, "test 2", "ERROR")]
    assert await warehouse.load(suite, tables=BOTH) == 1 + FAILED_REQUESTS
    assert warehouse.cases() == failed
    suite.create(status="SUCCESSFUL", cases=[])
    every = [(1, "test 0", "PASSED"), *failed, (2, "test 0", "PASSED"), (2, "test 1", "SKIPPED")]
    assert await warehouse.load(suite, tables=BOTH, cases="all") == 1 + 2
    assert warehouse.cases() == every
    for scope in ("all", "failed"):
        assert await warehouse.load(suite, tables=BOTH, cases=scope) == 1
    assert warehouse.cases() == every


@pytest.mark.parametrize("scope", ["failed", "all"])
async def test_details_of_failing_cases(warehouse: Warehouse, fake: FakeBuddy, scope: str) -> None:
    suite = fake.add_suite("acme", "shop", "cart")
    failed = {"name": "adds", "status": "FAILED", "type": "AssertionError", "message": "1 != 2"}
    suite.create(cases=[failed, {"name": "totals"}])
    requests = 1 + FAILED_REQUESTS + 1 + (scope == "all")
    assert await warehouse.load(suite, tables=BOTH, cases=scope, details=True) == requests
    rows = warehouse.rows("name, failure_type, failure_message, left(data, 9)", "ORDER BY name", table="cases")
    expected = [("adds", "AssertionError", "1 != 2", "<testcase"), ("totals", None, None, None)]
    assert rows == expected[: len(rows)]
    assert len(rows) == {"failed": 1, "all": 2}[scope]


async def test_every_field_of_a_case_has_a_column(warehouse: Warehouse, suite: FakeSuite) -> None:
    await warehouse.load(suite, tables=["cases"])
    types = {name: kind for name, kind in warehouse.column_types("cases").items() if not name.startswith("_dlt")}
    fields = [field.name for field in attrs.fields(TestCase) if field.name != "failure"]
    names = ["session_id", "session_relative_id", *fields, "failure_type", "failure_message"]
    assert list(types) == [*SuiteKey._fields, *names]
    assert {name: kind for name, kind in types.items() if kind != "VARCHAR"} == {
        "session_relative_id": "BIGINT",
        "time": "DOUBLE",
    }


async def test_cases_are_read_once_and_those_of_an_unfinished_session_later(
    warehouse: Warehouse, suite: FakeSuite
) -> None:
    running = suite.create(status="IN_PROGRESS", cases=cases("FAILED"))
    suite.create(cases=cases("ERROR"))
    assert await warehouse.load(suite, tables=BOTH) == 1 + 2 * FAILED_REQUESTS
    before = warehouse.cases()
    suite.create(cases=cases("PASSED"))
    assert await warehouse.load(suite, tables=BOTH) == 1
    suite.finish(running["id"])
    assert await warehouse.load(suite, tables=BOTH) == 1 + FAILED_REQUESTS
    assert warehouse.cases() == sorted([*before, (3, "test 0", "FAILED")])
    assert await warehouse.load(suite, tables=BOTH) == 1


async def test_cases_of_a_reopened_session_are_replaced(warehouse: Warehouse, suite: FakeSuite) -> None:
    """The session in progress makes each run read down to it."""
    suite.create(status="IN_PROGRESS")
    session_id = suite.create(cases=cases("FAILED", "FAILED"))["id"]
    await warehouse.load(suite, tables=BOTH)
    others = [(1, "test 1", "FAILED"), (1, "test 2", "ERROR")]
    assert warehouse.cases() == [*others, (4, "test 0", "FAILED"), (4, "test 1", "FAILED")]
    for last_status in ("ERROR", "PASSED"):  # without failing cases, those from before stay
        suite.reopen(session_id)
        await warehouse.load(suite, tables=BOTH)
        suite.add_cases(session_id, cases("PASSED", last_status))
        suite.finish(session_id)
        await warehouse.load(suite, tables=BOTH)
        assert warehouse.cases() == [*others, (4, "test 1", "ERROR")]


@pytest.mark.parametrize("first", BOTH)
async def test_table_that_is_selected_later_is_complete(warehouse: Warehouse, suite: FakeSuite, first: str) -> None:
    assert await warehouse.load(suite, tables=[first]) == {"sessions": 1, "cases": 1 + FAILED_REQUESTS}[first]
    suite.create(cases=cases("FAILED"))
    await warehouse.load(suite, tables=[first])
    assert await warehouse.load(suite, tables=BOTH) == {"sessions": 1 + 2 * FAILED_REQUESTS, "cases": 1}[first]
    assert warehouse.equals(suite)
    assert warehouse.cases() == [(1, "test 1", "FAILED"), (1, "test 2", "ERROR"), (3, "test 0", "FAILED")]
    assert await warehouse.load(suite, tables=BOTH) == 1


async def test_only_the_cases_are_read_again_after_a_refresh(warehouse: Warehouse, suite: FakeSuite) -> None:
    await warehouse.load(suite, tables=BOTH)
    await warehouse.load(suite, tables=["cases"], refresh="drop_resources", details=True)
    assert warehouse.rows("count(*)", "WHERE data IS NOT NULL", table="cases") == [(2,)]
    assert await warehouse.load(suite, tables=BOTH) == 1
    assert warehouse.equals(suite)


async def test_nothing_is_read_without_a_table(warehouse: Warehouse, suite: FakeSuite) -> None:
    assert await warehouse.load(suite, tables=["pages"]) == 0


async def test_failed_request_for_cases_stops_the_run_before_anything_is_loaded(
    warehouse: Warehouse, suite: FakeSuite, fake: FakeBuddy
) -> None:
    await warehouse.load(suite, tables=BOTH)
    before = warehouse.cases()
    broken, *_ = [suite.create(cases=cases("FAILED"))["id"] for _ in range(30)]

    def reject(request: RecordedRequest) -> None:
        if broken in request.path:
            fake.inject(Fault.status(403))

    fake.on_request = reject
    with pytest.raises(PipelineStepFailed, match="403"):
        await warehouse.load(suite, tables=BOTH)
    assert (warehouse.rows("count(*)"), warehouse.cases()) == ([(2,)], before)
    fake.on_request = None
    assert await warehouse.load(suite, tables=BOTH) == 1 + 30 * FAILED_REQUESTS
    assert warehouse.equals(suite)
    assert warehouse.cases() == before + [(number, "test 0", "FAILED") for number in range(3, 33)]


async def test_failed_suite_stops_the_run_before_cases_are_loaded(
    warehouse: Warehouse, suite: FakeSuite, fake: FakeBuddy
) -> None:
    other = fake.add_suite("acme", "shop", "other")
    other.create(cases=cases("FAILED"))
    del fake.suites[other.key]
    with pytest.raises(PipelineStepFailed):
        await warehouse.load(suite, other, tables=BOTH)
    fake.suites[other.key] = other
    await warehouse.load(suite, other, tables=BOTH)
    assert warehouse.rows("suite_id, count(*)", "GROUP BY ALL ORDER BY ALL", table="cases") == [
        ("cart", 2),
        ("other", 1),
    ]


async def test_cases_of_a_suite_that_was_read_in_part_are_read_again(
    warehouse: Warehouse, suite: FakeSuite, fake: FakeBuddy
) -> None:
    suite.create(cases=cases("FAILED"))
    for pages in (1, None):  # one is the page of sessions, before their cases
        await warehouse.load(suite, tables=BOTH, pages=pages)
    assert warehouse.cases() == [(1, "test 1", "FAILED"), (1, "test 2", "ERROR"), (3, "test 0", "FAILED")]


@pytest.mark.parametrize("response", [Fault.status(404), Fault.body(b'{"cases": []}')], ids=["missing", "incomplete"])
async def test_cases_that_are_missing_are_read_once_more(
    warehouse: Warehouse, suite: FakeSuite, fake: FakeBuddy, response: Fault
) -> None:
    def hide(request: RecordedRequest) -> None:
        if request.path.endswith("/cases"):
            fake.inject(response)

    fake.on_request = hide
    requests = [await warehouse.load(suite, tables=BOTH) for _ in range(3)]
    assert [count > 1 for count in requests] == [True, True, False]


async def test_cases_are_complete_after_an_incomplete_response(
    warehouse: Warehouse, suite: FakeSuite, fake: FakeBuddy
) -> None:
    running = suite.create(status="IN_PROGRESS", cases=cases("FAILED"))
    await warehouse.load(suite, tables=BOTH)
    suite.finish(running["id"])

    def hide(request: RecordedRequest) -> None:
        if running["id"] in request.path:
            fake.inject(Fault.body(b'{"cases": []}'))

    fake.on_request = hide
    await warehouse.load(suite, tables=BOTH)
    fake.on_request = None
    await warehouse.load(suite, tables=BOTH)
    assert warehouse.cases() == [(1, "test 1", "FAILED"), (1, "test 2", "ERROR"), (3, "test 0", "FAILED")]


async def test_counts_that_are_unknown(warehouse: Warehouse, fake: FakeBuddy) -> None:
    suite = fake.add_suite("acme", "shop", "cart")
    suite.create(cases=cases("FAILED"), failed_count=None)
    suite.create(cases=cases("ERROR"), error_count=None)
    assert await warehouse.load(suite, tables=BOTH) == 1 + 2 * FAILED_REQUESTS
    assert warehouse.cases() == [(1, "test 0", "FAILED"), (2, "test 0", "ERROR")]
    assert await warehouse.load(suite, tables=BOTH) == 1


async def test_half_of_a_surrogate_pair_in_a_case_is_escaped(warehouse: Warehouse, fake: FakeBuddy) -> None:
    suite = fake.add_suite("acme", "shop", "cart")
    suite.create(cases=[{"name": "half a pair: \ud83d", "status": "FAILED"}])
    await warehouse.load(suite, tables=BOTH)
    assert warehouse.cases() == [(1, "half a pair: \\ud83d", "FAILED")]


async def test_scope_must_be_known(warehouse: Warehouse, suite: FakeSuite) -> None:
    with pytest.raises(ConfigError, match="cases must be 'failed' or 'all'"):
        await warehouse.load(suite, cases="passed")


async def test_arguments_of_the_configuration(
    warehouse: Warehouse, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__BUDDY__CASES", "all")
    monkeypatch.setenv("SOURCES__BUDDY__DETAILS", "true")
    await warehouse.load(suite, tables=BOTH)
    assert len(warehouse.cases()) == 5
    assert warehouse.rows("count(failure_type)", table="cases") == [(2,)]
