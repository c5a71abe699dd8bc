"""The recipe for Prefect, with Prefect's own server and a real PostgreSQL, in processes that are really killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from buddy_sessions.testing import FakeBuddy, Fault, RecordedRequest
from helpers.recipe_programs import copy_recipe, running

PREFECT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
}
RATES = {"acme": 40, "globex": 100}  # requests a second


class PrefectApi:
    """Starts flow runs, and asks for their states."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def request(self, path: str, body: object = None) -> Any:
        """Return a JSON object, once the server has started, it exists, and the database of the server is not busy."""
        method = "GET" if body is None else "POST"
        while True:
            try:
                async with self._http.request(method, f"{self._url}/{path}", json=body) as response:
                    if response.ok:
                        return await response.json()
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)

    async def start(self, workspace: str) -> str:
        """Start a flow run for a workspace, and return its id."""
        deployment = await self.request("deployments/name/load-workspace/buddy")
        body = {"parameters": {"workspace": workspace}, "state": {"type": "SCHEDULED"}}
        return str((await self.request(f"deployments/{deployment['id']}/create_flow_run", body))["id"])

    async def finish(self, run: str) -> str:
        """Wait until a flow run is completed, and return the message of its state."""
        while (state := (await self.request(f"flow_runs/{run}"))["state"])["type"] in (
            "SCHEDULED",
            "PENDING",
            "RUNNING",
        ):
            await asyncio.sleep(0.1)
        assert state["type"] == "COMPLETED", state
        return str(state["message"])


def has_children(pid: int) -> bool:
    return subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.DEVNULL, check=False).returncode == 0


@asynccontextmanager
async def serving(
    servers: dict[str, FakeBuddy], postgres: str, folder: Path
) -> AsyncIterator[tuple[PrefectApi, list[int]]]:
    """Serve the flow for these workspaces in three processes. Yield Prefect's API, and the ids of the processes."""
    sections = [
        f'[{name}]\ntoken = "{fake.token}"\nbase_url = "{fake.base_url}"\nrate = {RATES[name]}\ntimeout = 300\n'
        for name, fake in servers.items()
    ]
    (folder / "workspaces.toml").write_text("".join(sections))
    # One flow run for each process: the one that is killed cannot have taken the second flow run, too.
    recipe = copy_recipe("prefect_flow", folder, BATCH=20, DAYS=10_000, AT_ONCE=1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {**PREFECT, "DATABASE_URL": postgres, "PREFECT_HOME": str(folder), "PREFECT_API_URL": url}
    server = f"-m prefect server start --host 127.0.0.1 --port {port} --no-services --no-ui".split()
    fake = servers["acme"]
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        await stack.enter_async_context(running(fake, folder, *server, **environment))
        prefect = PrefectApi(http, url)
        await prefect.request("health")
        workers = [await stack.enter_async_context(running(fake, folder, recipe, **environment)) for _ in range(3)]
        yield prefect, [worker.pid for worker in workers]


async def test_flow_loads_workspaces_with_three_processes(fake: FakeBuddy, postgres: str, tmp_path: Path) -> None:
    """A second flow run of a workspace waits, and continues after the batches of the first one, which is killed."""
    other = FakeBuddy(token="another-token")
    servers = {"acme": fake, "globex": other}
    for workspace, server in servers.items():
        for number in range(45):
            server.add_suite(workspace, "storefront", f"s{number:02}").populate(20)
    fake.suites["acme", "storefront", "s00"].create(status="ERROR", error_message="half a pair, a null: \ud83d \0")
    requested: Counter[str] = Counter()
    times: list[float] = []
    held, released = asyncio.Event(), asyncio.Event()

    async def on_request(request: RecordedRequest) -> None:
        times.append(time.monotonic())
        if request.path.endswith("/sessions"):
            suite = request.path.split("/")[-2]
            requested[suite] += 1
            if suite == "s03":
                fake.inject(Fault.status(404))  # it is gone
            if suite == "s44" and not released.is_set():
                held.set()
                await released.wait()

    fake.on_request = on_request
    async with other, serving(servers, postgres, tmp_path) as (prefect, workers):
        await prefect.start("acme")
        await held.wait()
        (busy,) = [pid for pid in workers if has_children(pid)]
        second, third = await prefect.start("acme"), await prefect.start("globex")
        assert await prefect.finish(third) == "900 sessions of 45 suites; 0 could not be read"
        with psycopg.connect(postgres, autocommit=True) as connection:
            while not connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
                await asyncio.sleep(0.1)  # until the second flow run waits
            clients = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            # One for each of the two flow runs, and this one.
            assert connection.execute(clients).fetchall() == [(3,)]
        assert requested["s44"] == 1
        os.killpg(busy, signal.SIGKILL)
        released.set()
        assert await prefect.finish(second) == "881 sessions of 45 suites; 1 could not be read"
    assert times[RATES["acme"]] - times[0] > 0.8
    last_batch = {f"s{number}" for number in range(40, 45)}
    assert {suite for suite, count in requested.items() if count > 1} <= last_batch
    del fake.suites["acme", "storefront", "s03"]
    suites = [*fake.suites.values(), *other.suites.values()]
    with psycopg.connect(postgres) as connection:
        saved = connection.execute("SELECT workspace, project, suite_id, id, status FROM sessions").fetchall()
    assert sorted(saved) == sorted((*suite.key, one["id"], one["status"]) for suite in suites for one in suite.sessions)
