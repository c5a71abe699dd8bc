"""Memory is bounded: any single response, and many members with large names, each different."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy, Fault, RecordedRequest
from helpers.faults import Server
from helpers.raw_server import http_response, raw_server
from helpers.stores import query

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc"),
]

MIB = 2**20
MEMBER_SIZE = 160_000  # bytes: a page has at most 4 MiB
PAGE_SIZE = 20  # sessions

PROGRAM = """
import asyncio, sys
from pathlib import Path
from buddy_sessions import BuddyClient, BuddyError, SessionStore, TestCase

async def use(buddy, path):
    is_synced = Path(path).exists()
    async with SessionStore(path) as store:
        if is_synced:
            return await store.judge("acme/shop/cases", baseline=None, details=True)
        cases = "failed" if Path(path).stem == "cases" else None
        await store.sync(buddy, [f"acme/shop/{Path(path).stem}"], cases=cases).run()

async def main(base_url, *arguments):
    key = "acme/shop/MNbyVedg"
    async with BuddyClient("secret-token", base_url=base_url, read_ahead=1) as buddy:
        calls = {
            "sessions": lambda: buddy.sessions(key).collect(),
            "suites": lambda: buddy.suites("acme", "shop"),
            "case": lambda: buddy.case(key, "1", TestCase(id="1", test_group_id="1", name="x", status="FAILED")),
        }
        for argument in arguments:
            outcome = "no error"
            try:
                await (calls[argument]() if argument in calls else use(buddy, argument))
            except BuddyError as error:
                outcome = type(error).__name__
            status = Path("/proc/self/status").read_text().splitlines()
            print(outcome, *[line.split()[1] for line in status if line.startswith("VmHWM")], sep=":")

asyncio.run(main(*sys.argv[1:]))
"""


WITHOUT_MSGSPEC = "import sys\nsys.modules['msgspec'] = None\n"


async def run(server: Server, *arguments: object, start: str = "") -> tuple[list[str], list[int]]:
    """Call methods in a process of its own, or sync to a file, or judge what is in it.

    Return the outcomes, and the bytes of memory that the process has needed at most, up to each.
    """
    command = (sys.executable, "-c", start + PROGRAM, server.base_url, *arguments)
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    lines = [line.split(":") for line in out.decode().splitlines()]
    return [outcome for outcome, _ in lines], [int(kib) * 1024 for _, kib in lines]


def page_of_large_members(request: RecordedRequest) -> bytes:
    """Return a page of sessions, each of another member whose name has 160 kB. The ID of the suite is their number."""
    if not request.path.endswith("/sessions"):  # a sync also requests the names of the suites
        return b'{"suites": []}'
    size = min(request.per_page, PAGE_SIZE)
    highest = int(request.path.split("/")[-2]) - (request.page - 1) * size
    numbers = range(highest, max(highest - size, 0), -1)
    members = [{"id": n, "name": f"{n} " * (MEMBER_SIZE // len(f"{n} "))} for n in numbers]
    rows = [{"id": str(m["id"]), "relative_id": m["id"], "status": "ERROR", "created_by": m} for m in members]
    return json.dumps({"sessions": rows}).encode()


@pytest.mark.parametrize(
    "start", [pytest.param("", id="msgspec"), pytest.param(WITHOUT_MSGSPEC, id="cattrs", marks=pytest.mark.slow)]
)
async def test_sync_of_400_members_of_160_kb(fake: FakeBuddy, tmp_path: Path, start: str) -> None:
    """The further 200 need less than half of their size: how many pages have arrived at once differs."""
    fake.on_request = lambda request: fake.inject(Fault.body(page_of_large_members(request)))
    paths = [tmp_path / "200.db", tmp_path / "400.db"]
    outcomes, peaks = await run(fake, *paths, start=start)
    assert outcomes == ["no error", "no error"]
    assert peaks[1] - peaks[0] < 200 * MEMBER_SIZE / 2
    for path in paths:
        saved = query(path, "SELECT count(*), sum(length(created_by)) > 1.5e5 * count(*) FROM sessions")
        assert saved == [(int(path.stem), 1)]


def gzip_bomb() -> bytes:
    """Return the start of a gzip stream of 300 MiB of zeros: equal blocks, so that only two are compressed."""
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    first, block = (compressor.compress(bytes(MIB)) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 299 * block


def compressed(start: str, item: str, size: int, end: str = "]}") -> bytes:
    """Compress JSON of about this size in bytes that repeats an item."""
    items = item * ((size - len(start) - len(end) - 1) // len(item)) if item else ""
    return gzip.compress((start + items + "0" + end).encode(), 1)


CASE = '{"id": "1", "name": "x", "status": "FAILED", "data": "'
RESPONSES = {
    "gzip bomb": ("sessions", 200, gzip_bomb(), "ResponseError"),
    "page of 16 MiB": ("sessions", 200, compressed('{"sessions":[', "[],", 16 * MIB), "ResponseError"),
    "error of 16 MiB": ("sessions", 403, compressed('{"errors":[', "[],", 16 * MIB), "ForbiddenError"),
    "page of 4 MiB": ("sessions", 200, compressed('{"sessions":[', "[],", 4 * MIB), "ResponseError"),
    "page with the token": (
        *("sessions", 200, compressed('{"sessions":["secret-token\\/",', '"\\/",', 2 * MIB)),
        "DecodeError",
    ),
    "suites of 16 MiB": ("suites", 200, compressed('{"suites":[', "{},", 16 * MIB), "ResponseError"),
    "case of 16 MiB": ("case", 200, compressed('{"x":[', '"ab",', 16 * MIB), "ResponseError"),
    "data of 16 MiB": (
        *("case", 200, compressed(CASE, "[1], ", 16 * MIB, '"}')),
        "no error",
    ),
    "data of 16 MiB of nested JSON": (
        *("case", 200, compressed(CASE + '{\\"failure\\": {}, \\"more\\": [', "[],", 15 * MIB, ']}"}')),
        "no error",
    ),
    "data of 16 MiB of XML with distinct names": (
        *("case", 200, compressed(CASE + "<a>" + "".join(f"<a{n}/>" for n in range(1_600_000)), "", 0, '</a>"}')),
        "no error",
    ),
    "data of 16 MiB of one XML tag": (
        *("case", 200, compressed(CASE + "<a " + "".join(f"a{n}='' " for n in range(1_200_000)), "", 0, '/>"}')),
        "no error",
    ),
}


async def test_large_responses() -> None:
    """At most 250 MiB are needed, although lists and objects take 20 times the size of their JSON."""
    responses = [
        http_response(body, "Content-Encoding: gzip", status=f"{status} X") for _, status, body, _ in RESPONSES.values()
    ]
    async with raw_server(*responses) as server:
        outcomes, peaks = await run(server, *[method for method, *_ in RESPONSES.values()])
    assert dict(zip(RESPONSES, outcomes, strict=True)) == {name: outcome for name, (*_, outcome) in RESPONSES.items()}
    assert len(server.requests) == len(RESPONSES)
    assert max(peaks) < 250 * MIB, peaks


@pytest.mark.parametrize(
    ("count", "output"),
    [
        pytest.param(40, "x" * (4 * MIB), id="40-of-4-MiB", marks=pytest.mark.slow),
        pytest.param(12, "<a>" * (15 * MIB // 7) + "</a>" * (15 * MIB // 7), id="12-of-15-MiB-of-nested-XML"),
    ],
)
async def test_sync_and_verdict_of_long_failures(fake: FakeBuddy, tmp_path: Path, count: int, output: str) -> None:
    """Their details are saved one by one, and not too many arrive at once; they are read one by one."""
    fake.token = "secret-token"
    suite = fake.add_suite("acme", "shop", "cases")
    session = suite.create(cases=[{"name": f"test {number}", "status": "FAILED"} for number in range(count)])

    def respond(request: RecordedRequest) -> None:
        if "/test-groups/" in request.path:
            case = suite.case(session["id"], request.path.split("/")[-1])
            data = f"<testcase><failure>{output}</failure></testcase>"
            fake.inject(Fault.body(json.dumps({**case, "data": data}).encode()))

    fake.on_request = respond
    path = tmp_path / "cases.db"
    for _ in range(2):  # the second process judges
        outcomes, peaks = await run(fake, path)
        assert outcomes == ["no error"]
        assert max(peaks) < 250 * MIB, peaks
    assert query(path, f"SELECT count(*) FROM cases WHERE length(data) > {len(output)}") == [(count,)]
