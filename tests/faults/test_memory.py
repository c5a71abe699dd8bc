"""Sessions with large members, each different: memory stays flat, because every cache is bounded in bytes."""

from __future__ import annotations

import asyncio
import gc
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

MEMBER_SIZE = 2**20  # bytes
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


class LargeMembersScript:
    """A page of sessions, each of another member whose name has 1 MB. Pages have at most 8 sessions.

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
async def test_read_of_64_members_of_1_mb(reader: CheckedReader, decoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    reader.record_property("outcome", f"{(in_use[-1] - in_use[0]) / 1e6:+.1f} MB after 56 MB, peak {peak / 1e6:.0f} MB")
    assert max(in_use[1:]) - in_use[0] < PAGE_BYTES / 2
    assert peak < 8 * PAGE_BYTES


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
async def test_sync_of_128_members_of_1_mb(cost: CostRecorder, tmp_path: Path) -> None:
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
        saved = query(path, "SELECT count(*), sum(length(created_by)) > 1e6 * count(*) FROM sessions")
        assert saved == [(count, 1)]
    cost.record_property("outcome", "peaks " + " and ".join(f"{peak / 1e6:.0f} MB" for peak in peaks))
    assert peaks[1] - peaks[0] < 3 * PAGE_BYTES
