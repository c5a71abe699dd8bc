"""The recipe for Prefect, with a real Prefect server and a real PostgreSQL, in processes that are really killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from buddy_sessions.testing import FakeBuddy, Fault, RecordedRequest
from helpers.recipe_programs import RECIPES, finish, running


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server with its own folder, which listens on no port."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    initdb = shutil.which("initdb", path=programs or os.environ.get("PATH"))
    if initdb is None:
        pytest.skip("no PostgreSQL: initdb is neither in /usr/lib/postgresql/*/bin nor on the PATH")
    # It refuses to run as root. Debian's package creates a user for it.
    other: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:  # pytest's are private, and too long for a socket
        if other:
            shutil.chown(folder, "postgres", "postgres")
        data, control = f"{folder}/data", Path(initdb).with_name("pg_ctl")
        options = f"-c listen_addresses= -c unix_socket_directories={folder}"

        def run(*command: str | Path) -> None:
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **other)

        run(initdb, "-D", data, "-U", "buddy", "-A", "trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        run(control, "start", "-w", "-D", data, "-o", options, "-l", f"{folder}/log")
        try:
            yield f"postgresql://buddy@/postgres?host={folder}"
        finally:
            run(control, "stop", "-w", "-D", data, "-m", "immediate")


PREFECT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


async def test_flow_repeats_only_the_batch_that_failed(fake: FakeBuddy, postgres: str, tmp_path: Path) -> None:
    """A flow that is killed continues with the batches that it has not completed."""
    suites = [fake.add_suite("acme", "storefront", f"s{number:02}").populate(20) for number in range(45)]
    suites[0].create(status="ERROR", error_message="half a pair, and a null: \ud83d \0")
    requested: list[str] = []
    times: list[float] = []

    def fail_once(request: RecordedRequest) -> None:
        requested.append(request.path.split("/")[-2])
        times.append(time.monotonic())
        if requested.count("s44") == 1 and requested[-1] == "s44":
            fake.inject(Fault.status(404))  # the client does not retry this

    fake.on_request = fail_once
    recipe = RECIPES / "prefect_flow.py"
    environment = {**PREFECT, "DATABASE_URL": postgres, "PREFECT_HOME": str(tmp_path)}
    async with running(fake, tmp_path, recipe, **environment) as process:
        assert process.stderr
        printed = ""
        while "Retry 1/3" not in printed:
            line = (await process.stderr.readline()).decode()
            assert line, f"the flow ended early: {printed}"
            printed += line
        # All processes share 10 requests a second.
        assert times[-1] - times[0] > len(times) / 10 - 1.5
        while printed.count("Completed()") < 2:
            printed += (await process.stderr.readline()).decode()
    requested.clear()
    async with running(fake, tmp_path, recipe, **environment) as process:
        code, printed, log = await finish(process)
    assert code == 0, log
    assert "901 sessions" in printed
    rows = [(suite.key[2], one["id"], one["status"]) for suite in suites for one in suite.sessions]
    with psycopg.connect(postgres) as connection:
        saved = connection.execute("SELECT suite_id, id, status FROM sessions ORDER BY suite_id, relative_id DESC")
        assert saved.fetchall() == rows
    assert set(requested) <= {"unit-tests", *(f"s{number}" for number in range(40, 45))}
