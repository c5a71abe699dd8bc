"""The source for dlt: real pipelines, in a thread of their own, into a DuckDB file."""

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
    """A DuckDB file, and the pipeline into it."""

    def __init__(self, folder: Path, fake: FakeBuddy) -> None:
        self.folder = folder
        self.fake = fake
        self.place = "pipelines"

    async def load(self, *suites: FakeSuite, pages: int | None = None, **settings: Any) -> int:
        """Run the pipeline once; return how many requests it has cost."""
        before = len(self.fake.requests)

        def run() -> None:
            pipeline = dlt.pipeline(
                "buddy",
                destination=dlt.destinations.duckdb(str(self.folder / "buddy.duckdb")),
                dataset_name="ci",
                pipelines_dir=str(self.folder / self.place),
            )
            table = sessions([SuiteKey(*suite.key) for suite in suites], base_url=str(self.fake.base_url), **settings)
            pipeline.run(table if pages is None else table.add_limit(pages))

        await asyncio.to_thread(run)
        return len(self.fake.requests) - before

    def rows(self, columns: str, rest: str = "") -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "buddy.duckdb"), read_only=True) as database:
            return database.execute(f"SELECT {columns} FROM ci.sessions {rest}").fetchall()

    def described(self) -> list[tuple[str, str]]:
        """Return each column with its type."""
        with duckdb.connect(str(self.folder / "buddy.duckdb"), read_only=True) as database:
            return [(name, kind) for name, kind, *_ in database.execute("DESCRIBE ci.sessions").fetchall()]

    def holds(self, *suites: FakeSuite) -> bool:
        """Whether the table holds what the suites hold, each session once."""
        alive = [
            (*suite.key, one["id"], one["relative_id"], one["status"]) for suite in suites for one in suite.sessions
        ]
        return sorted(self.rows("workspace, project, suite_id, id, relative_id, status")) == sorted(alive)


@pytest.fixture
def warehouse(fake: FakeBuddy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("SOURCES__BUDDY__TOKEN", fake.token)
    # The configuration of another machine, or of the folder that the tests run in, is none of theirs.
    monkeypatch.chdir(tmp_path)
    return Warehouse(tmp_path, fake)


@pytest.fixture
def suites(fake: FakeBuddy) -> list[FakeSuite]:
    suites = [fake.add_suite("acme", "shop", name) for name in ("api", "web", "new")]
    for suite, count in zip(suites, (250, 30, 0), strict=True):
        suite.populate(count)
        for session in suite.sessions:
            if session["status"] == "IN_PROGRESS":
                suite.finish(session["id"])
    return suites


async def test_the_first_run_reads_everything_and_the_next_one_request_for_each_suite(
    warehouse: Warehouse, suites: list[FakeSuite]
) -> None:
    assert await warehouse.load(*suites) == 5
    assert warehouse.holds(*suites)
    assert await warehouse.load(*suites) == 3
    warehouse.place = "elsewhere"  # on another machine: the state comes from the destination
    assert await warehouse.load(*suites) == 3
    assert warehouse.holds(*suites)


async def test_what_is_new_and_what_is_finished_later_is_merged(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    api, web, _ = suites
    running = [api.create() for _ in range(3)]
    await warehouse.load(*suites)
    assert warehouse.holds(*suites)

    web.create(status="SUCCESSFUL")
    api.create()
    for session in running[1:]:
        api.finish(session["id"], status="ERROR")
    assert await warehouse.load(*suites) == 3
    assert warehouse.holds(*suites)

    api.finish(running[0]["id"])
    assert await warehouse.load(*suites) == 3
    assert warehouse.holds(*suites)


async def test_a_session_that_ends_below_many_newer_ones_is_read_again(
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
    assert warehouse.holds(api)
    assert await warehouse.load(api) == 1


async def test_what_it_does_not_see_is_a_deletion_and_a_change_to_a_finished_session(
    warehouse: Warehouse, suites: list[FakeSuite]
) -> None:
    web = suites[1]
    first, second = (web.create(status="SUCCESSFUL")["id"] for _ in range(2))
    await warehouse.load(web)
    web.delete(first)
    web.reopen(second)
    assert await warehouse.load(web) == 1
    assert warehouse.rows("count(*)", f"WHERE id IN ('{first}', '{second}') AND status = 'SUCCESSFUL'") == [(2,)]


async def test_an_unfinished_session_that_is_deleted_holds_up_nothing(
    warehouse: Warehouse, suites: list[FakeSuite]
) -> None:
    api = suites[0]
    running = api.create()
    for _ in range(150):
        api.create(status="SUCCESSFUL")
    await warehouse.load(api)
    api.delete(running["id"])
    assert [await warehouse.load(api) for _ in range(2)] == [2, 1]


async def test_a_suite_that_fails_stops_the_run_before_anything_is_loaded_and_names_itself(
    warehouse: Warehouse, suites: list[FakeSuite], fake: FakeBuddy
) -> None:
    await warehouse.load(*suites)
    before = sorted(warehouse.rows("*"))
    for suite in suites:
        suite.create(status="ERROR")
    gone = fake.suites.pop(suites[1].key)
    with pytest.raises(PipelineStepFailed) as failed:
        await warehouse.load(*suites)
    error: BaseException | None = failed.value
    while error is not None and not isinstance(error, HarvestError):
        error = error.__cause__
    assert error is not None
    assert {key: type(why) for key, why in error.failures.items()} == {SuiteKey(*gone.key): NotFoundError}
    assert sorted(warehouse.rows("*")) == before

    fake.suites[gone.key] = gone
    assert await warehouse.load(*suites) == 3
    assert warehouse.holds(*suites)


async def test_a_suite_that_was_not_read_to_its_end_is_read_again(
    warehouse: Warehouse, suites: list[FakeSuite], fake: FakeBuddy
) -> None:
    api = suites[0]
    await warehouse.load(api, pages=1)
    assert warehouse.rows("count(*)") == [(100,)]
    assert await warehouse.load(api) == 3
    assert warehouse.holds(api)


@pytest.mark.parametrize("disordered", [1, 2])
async def test_what_a_list_proves_that_is_not_in_order_is_nothing(
    warehouse: Warehouse, fake: FakeBuddy, disordered: int
) -> None:
    suite = fake.add_suite("acme", "shop", "disordered").populate(150)
    page = suite.page

    def disorder(number: int, size: int, *, branch: str | None = None) -> dict[str, Any]:
        answer = page(number, size, branch=branch)
        if number == disordered:
            first, second, *others = answer["sessions"]
            answer["sessions"] = [second, first, *others]
        return answer

    suite.page = disorder  # type: ignore[method-assign]  # the fake has no such fault of its own
    requests = await warehouse.load(suite)
    assert requests > 1
    assert warehouse.holds(suite)
    suite.create(status="ERROR")
    assert await warehouse.load(suite) == requests
    assert warehouse.holds(suite)


async def test_every_field_has_its_column_whatever_is_null(warehouse: Warehouse, fake: FakeBuddy) -> None:
    suite = fake.add_suite("acme", "shop", "bare")
    suite.create(create_date=None, start_date=None, created_by=None, revision=None, tests_count=None, duration=1.5)
    await warehouse.load(suite)
    columns = dict(warehouse.described())
    names = [field.name for field in attrs.fields(Session)]
    assert [name for name in columns if not name.startswith("_dlt")] == [*SuiteKey._fields, *names]
    assert {columns[name] for name in ("create_date", "start_date", "finish_date")} == {"TIMESTAMP WITH TIME ZONE"}
    assert (columns["created_by"], columns["duration"], columns["tests_count"]) == ("JSON", "DOUBLE", "BIGINT")


async def test_who_created_a_session_is_json_and_times_are_times(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    web = suites[1]
    await warehouse.load(web)
    newest = web.sessions[0]
    ((name, moment),) = warehouse.rows("created_by->>'name', epoch(create_date)", f"WHERE id = '{newest['id']}'")
    assert name == newest["created_by"]["name"]
    assert moment > 1_000_000_000


async def test_half_a_character_stops_nothing(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    half = "half a pair: \ud83d"
    session = suites[1].create(status="ERROR", error_message=half, created_by={"id": 1, "name": half})
    await warehouse.load(suites[1])
    texts = warehouse.rows("error_message, created_by->>'name'", f"WHERE id = '{session['id']}'")
    assert texts == [("half a pair: \\ud83d",) * 2]


async def test_a_wrong_argument_is_told_before_any_request(warehouse: Warehouse, suites: list[FakeSuite]) -> None:
    with pytest.raises(PipelineStepFailed, match="per_page"):
        await warehouse.load(*suites, per_page=0)
    assert warehouse.fake.requests == []
