"""Memory is bounded: any single response, and many members with large names, each different."""

from __future__ import annotations

import asyncio
import gc
import gzip
import re
import sys
import tracemalloc
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import pytest

from buddy_sessions import BuddyClient, Session, SessionPage
from buddy_sessions._decoding import converter
from helpers.faults import KEY, CheckedReader, CostRecorder
from helpers.raw_server import RawServer, Step, http_response, raw_server
from helpers.stores import query

pytestmark = pytest.mark.fault

MIB = 2**20
MEMBER_SIZE = 400_000  # bytes: a page has at most 4 MiB
PAGE_SIZE = 8  # sessions
PAGE_BYTES = PAGE_SIZE * MEMBER_SIZE

SYNC = """
import asyncio, sys
from pathlib import Path
from buddy_sessions import BuddyClient, SessionStore

async def main(base_url, key, path):
    async with BuddyClient("token", base_url=base_url, read_ahead=1) as buddy, SessionStore(path) as store:
        async with store.sync(buddy, [key]) as sync:
            async for _ in sync:
                pass

asyncio.run(main(*sys.argv[1:]))
print(*[line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")])
"""

READ = """
import asyncio, sys
from pathlib import Path
from buddy_sessions import BuddyClient, BuddyError, TestCase

async def main(base_url, key, method):
    async with BuddyClient("secret-token", base_url=base_url) as buddy:
        calls = {
            "sessions": lambda: buddy.sessions(key).collect(),
            "suites": lambda: buddy.suites("acme", "shop"),
            "case": lambda: buddy.case(key, "1", TestCase(id="1", test_group_id="1", name="x", status="FAILED")),
        }
        try:
            await calls[method]()
        except BuddyError as error:
            print(type(error).__name__)
        else:
            print("no error")

asyncio.run(main(*sys.argv[1:]))
print(*[line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")])
"""


class LargeMembersScript:
    """A page of sessions, each of another member whose name has 400 kB. Pages have at most 8 sessions.

    Attributes:
        server: The server that sends the pages.
    """

    def __init__(self, count: int) -> None:
        self.server: RawServer
        self._count = count

    def __iter__(self) -> Iterator[Step]:
        request = self.server.requests[-1].decode()
        if "/sessions" not in request:  # a sync also requests the names of the suites
            yield http_response(b'{"suites": []}')
            return
        page, size = (int(re.findall(rf"[?&]{name}=(\d+)", request)[0]) for name in ("page", "per_page"))
        size = min(size, PAGE_SIZE)
        highest = self._count - (page - 1) * size
        rows = [_session(number) for number in range(highest, max(highest - size, 0), -1)]
        yield http_response(b'{"sessions": [' + b", ".join(rows) + b"]}")


def _session(number: int) -> bytes:
    name = f"{number} ".encode() * (MEMBER_SIZE // len(f"{number} "))
    return b'{"id": "%d", "relative_id": %d, "status": "SUCCESSFUL", "created_by": {"id": %d, "name": "%s"}}' % (
        *(number, number, number),
        name,
    )


def check_members(page: SessionPage) -> None:
    assert len(page.sessions) == PAGE_SIZE
    for session in page.sessions:
        assert session.created_by is not None
        assert session.created_by.name is not None
        assert session.created_by.name.startswith(f"{session.relative_id} ")


@pytest.mark.parametrize("decoder", ["msgspec", "cattrs"])
async def test_read_of_64_members_of_400_kb(
    reader: CheckedReader, decoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use: list[int] = []

    async def read(buddy: BuddyClient) -> list[Session]:
        async for page in buddy.sessions(KEY, per_page=PAGE_SIZE, read_ahead=1).pages():
            check_members(page)
            del page
            gc.collect()
            in_use.append(tracemalloc.get_traced_memory()[0])
        return []

    if decoder == "cattrs":
        monkeypatch.setattr(converter, "fast_decoder", lambda: None)
    script = LargeMembersScript(64)
    tracemalloc.start()
    try:
        async with raw_server(script) as script.server:
            await reader.read(script.server, requests=8, function=read)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    reader.record_property("outcome", f"{(in_use[-1] - in_use[0]) / 1e6:+.1f} MB after 22 MB, peak {peak / 1e6:.0f} MB")
    assert max(in_use[1:]) - in_use[0] < PAGE_BYTES / 2
    assert peak < 8 * PAGE_BYTES


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
async def test_sync_of_128_members_of_400_kb(cost: CostRecorder, tmp_path: Path) -> None:
    """It needs hardly more memory than one of 16 members."""
    peaks: list[int] = []
    for count in (16, 128):
        path, script = tmp_path / f"{count}.db", LargeMembersScript(count)
        async with raw_server(script) as script.server:
            with cost.measure(script.server):
                arguments = (SYNC, str(script.server.base_url), str(KEY), str(path))
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", *arguments, stdout=PIPE)
                out, _ = await process.communicate()
        assert process.returncode == 0
        peaks.append(int(out.split()[1]) * 1024)
        saved = query(path, "SELECT count(*), sum(length(created_by)) > 4e5 * count(*) FROM sessions")
        assert saved == [(count, 1)]
    cost.record_property("outcome", "peaks " + " and ".join(f"{peak / 1e6:.0f} MB" for peak in peaks))
    assert peaks[1] - peaks[0] < 3 * PAGE_BYTES


def fill(start: str, item: str, size: int, end: str = "]}") -> bytes:
    """Return JSON of about this size in bytes that repeats an item."""
    return (start + item * ((size - len(start) - len(end) - 1) // len(item)) + "0" + end).encode()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize(
    ("method", "status", "body", "outcome"),
    [
        pytest.param("sessions", 200, fill('{"sessions":[', "[],", 16 * MIB), "ResponseError", id="page-of-16-mib"),
        pytest.param("sessions", 403, fill('{"errors":[', "[],", 16 * MIB), "ResponseError", id="error-of-16-mib"),
        pytest.param("sessions", 200, fill('{"sessions":[', "[],", 4 * MIB), "ResponseError", id="page-of-4-mib"),
        pytest.param("sessions", 403, fill('{"errors":[', "[],", 4 * MIB), "ForbiddenError", id="error-of-4-mib"),
        pytest.param(
            "sessions",
            200,
            fill('{"sessions":["secret-token\\/",', '"\\/",', 2 * MIB),
            "DecodeError",
            id="with-token",
        ),
        pytest.param("suites", 200, fill('{"suites":[', "{},", 16 * MIB), "ResponseError", id="suites-of-16-mib"),
        pytest.param("suites", 200, fill('{"suites":[', '{"id":"1"},', 5 * MIB // 2), "DecodeError", id="tiny-suites"),
        pytest.param("suites", 200, fill('{"suites":[],"x":"', "long", 16 * MIB, end='"}'), "no error", id="one-text"),
        pytest.param("case", 200, fill('{"x":[', '"ab",', 16 * MIB), "ResponseError", id="case-of-16-mib"),
        pytest.param(
            "case",
            200,
            fill('{"id": "1", "name": "x", "status": "FAILED", "data": "', "[1], ", 16 * MIB, end='"}'),
            "no error",
            id="data-of-16-mib",
        ),
    ],
)
async def test_single_response(cost: CostRecorder, method: str, status: int, body: bytes, outcome: str) -> None:
    """At most 250 MiB are needed, although lists and objects take 20 times the size of their JSON."""
    script = http_response(gzip.compress(body, 1), "Content-Encoding: gzip", status=f"{status} X")
    async with raw_server(script) as server:
        with cost.measure(server):
            arguments = (READ, str(server.base_url), str(KEY), method)
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", *arguments, stdout=PIPE)
            out, _ = await process.communicate()
    assert process.returncode == 0
    result, _, kib, _ = out.decode().rsplit(maxsplit=3)
    cost.record_property("outcome", f"{result}, peak {int(kib) // 1024} MiB")
    assert result == outcome
    assert int(kib) < 250 * 1024
