"""The source for dlt: real pipelines, each in a thread, into a DuckDB file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import attrs
import dlt
import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from buddy_sessions import HarvestError, NotFoundError, Session, SuiteKey
from buddy_sessions.dlt import sessions
from buddy_sessions.testing import FakeBuddy, FakeSuite


class Warehouse:
    """A DuckDB file, and the pipeline into it.

    Attributes:
        pipelines_folder: The name of the folder for dlt's local state; another name is like another machine.
    """

    def __init__(self, folder: Path, fake: FakeBuddy) -> None:
        self.folder = folder
        self.fake = fake
        self.pipelines_folder = "pipelines"

    async def load(self, *suites: FakeSuite, pages: int | None = None, **settings: Any) -> int:
        """Run the pipeline once; return the number of requests.

        Args:
            suites: The suites to load.
            pages: The number of pages after which dlt stops reading; None reads all.
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
            table = sessions([suite.key for suite in suites], base_url=str(self.fake.base_url), **settings)
            pipeline.run(table if pages is None else table.add_limit(pages))

        await asyncio.to_thread(run)
        return len(self.fake.requests) - before

    def rows(self, columns: str, rest: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a query to the table."""
        with duckdb.connect(str(self.folder / "buddy.duckdb"), read_only=True) as database:
            return database.execute(f"SELECT {columns} FROM ci.sessions {rest}").fetchall()

    def column_types(self) -> dict[str, str]:
        """Return the type of each column, in the order of the columns."""
        with duckdb.connect(str(self.folder / "buddy.duckdb"), read_only=True) as database:
            return {name: data_type for name, data_type, *_ in database.execute("DESCRIBE ci.sessions").fetchall()}

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
