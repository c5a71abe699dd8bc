"""The server of all benchmarks, in a process of its own, so that its work is not counted as the client's.

The URL selects what it serves: under `/SESSIONS/MILLISECONDS`, every suite has that many sessions, and every response
has that latency; under `/SESSIONS-GIANT/MILLISECONDS`, suites whose ID is `giant` have `GIANT` sessions; under
`/SESSIONSxCASES.KIND/MILLISECONDS`, every session has that many test cases, with IDs of a kind. It is a bare protocol
that serves prepared pages, because it must be much faster than the clients. The list of the suites of a project has
those whose sessions were requested before.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, cast
from urllib.parse import quote

from buddy_sessions.testing import FakeSuite

_MAX_PAGE_SIZE = 100

KINDS = {
    "hex": "24 hexadecimal digits, others in each session",
    "stable": "24 hexadecimal digits, the same in each session",
    "decimal": "decimal digits, others in each session",
    "names": "names",
    "mixed": "names and the session",
}
"""The kinds of ids of passed test cases. A case of another kind, "failed", has failed."""


class Server:
    """A running server, seen from a benchmark."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._counted = 0

    def url(self, sessions: int, milliseconds: int = 0) -> str:
        """Return the base URL under which every suite has `sessions` sessions, and every response this latency."""
        return f"{self._root}/{sessions}/{milliseconds}"

    def cases_url(self, sessions: int, cases: int, kind: str = "hex", milliseconds: int = 0) -> str:
        """Return a base URL as `url` does, under which every session has that many test cases of one of `KINDS`."""
        return f"{self._root}/{sessions}x{cases}.{kind}/{milliseconds}"

    def giant_url(self, sessions: int, giant: int, milliseconds: int) -> str:
        """Return a base URL as `url` does, under which suites whose ID is `giant` have `giant` sessions."""
        return f"{self._root}/{sessions}-{giant}/{milliseconds}"

    def count_requests(self) -> int:
        """Return the number of requests since the previous call."""
        with urllib.request.urlopen(f"{self._root}/requests") as response:
            previous, self._counted = self._counted, int(response.read())
        return self._counted - previous


@contextmanager
def run_server() -> Iterator[Server]:
    """Run a server. It ends with its standard input, so also when this process is killed."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        yield Server(process.stdout.readline().strip())


@lru_cache
def page_template(count: int, cases: str) -> bytes:
    """Return a page of `count` realistic sessions, with a `%d` of fixed width for each number and within each ID."""
    suite = FakeSuite("acme", "shop", "MNbyVedg").populate(_MAX_PAGE_SIZE, until=datetime(2026, 1, 1, tzinfo=UTC))
    sessions = suite.sessions[:count]
    page = {"url": f"{suite.url}/sessions", "html_url": suite.html_url, "sessions": sessions}
    ids = [session["id"] for session in sessions]
    for session in sessions:
        session["relative_id"] = "NUMBER"
        session.update(counts(cases) if cases else {})
    # Compact and in UTF-8, as servers in other languages write JSON.
    text = json.dumps(page, ensure_ascii=False, separators=(",", ":")).replace("%", "%%")
    for session_id in ids:
        text = text.replace(session_id, "S%07d")
    return text.replace('"NUMBER"', "%8d").encode()


def counts(cases: str) -> dict[str, Any]:
    """Return the fields of a session with test cases, which all have passed or failed."""
    count, _, kind = cases.partition(".")
    failed = int(count) if kind == "failed" else 0
    status = "ERROR" if failed else "SUCCESSFUL"
    return {"status": status, "tests_count": int(count), "failed_count": failed, "skipped_count": 0, "error_count": 0}


@lru_cache
def case_templates(cases: str) -> list[str]:
    """Return the test cases of a session, each with `%(session)s` and with `%(number)07d` within what differs."""
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    session = suite.create(**counts(cases))
    groups: dict[str, int] = {}
    templates: list[str] = []
    for index, case in enumerate(suite.cases(session["id"])):
        group = groups.setdefault(case["test_group_id"], len(groups))
        name = f"com.example.{case['classname']}.{case['name']}.{index}"
        case["id"], case["test_group_id"] = {
            "stable": (case["id"], case["test_group_id"]),
            "decimal": (f"<number>{index:04}", f"<number>{group:03}"),
            "names": (name, f"com.example.group{group}"),
            "mixed": (f"<session>-{name}", f"<session>-group{group}"),
        }.get(cases.partition(".")[2], (f"{case['id'][:-7]}<number>", f"{case['test_group_id'][:-7]}<number>"))
        group_id, case_id = (quote(case[name], safe="<>") for name in ("test_group_id", "id"))
        case["url"] = f"{session['url']}/test-groups/{group_id}/cases/{case_id}"
        text = json.dumps(case, separators=(",", ":")).replace("%", "%%").replace(session["id"], "<session>")
        templates.append(text.replace("<session>", "%(session)s").replace("<number>", "%(number)07d"))
    return templates


def cases_response(cases: str, session: str, page: int, per_page: int) -> bytes:
    """Return the response for one page of the test cases of a session."""
    values = {"session": session, "number": int(session[1:])}
    rows = [template % values for template in case_templates(cases)[(page - 1) * per_page : page * per_page]]
    return http_response(f'{{"cases": [{",".join(rows)}]}}'.encode())


def case_response(cases: str, session: str, case_id: str) -> bytes:
    """Return the response for one test case, with its details."""
    values = {"session": session, "number": int(session[1:])}
    found = next(
        case for case in (json.loads(each % values) for each in case_templates(cases)) if case["id"] == case_id
    )
    return http_response(json.dumps({**found, "data": "<testcase><failure message='1 != 2'/></testcase>"}).encode())


@lru_cache(maxsize=512)
def page_response(sessions: int, page: int, per_page: int, cases: str = "") -> bytes:
    """Return the response for one page of a list of `sessions` sessions, newest first."""
    newest = sessions - (page - 1) * per_page
    numbers = range(newest, max(newest - per_page, 0), -1)
    # Each session contains its ID in two links and as `id`, then its number. IDs are in no order, as Buddy's are.
    values = [value for number in numbers for value in (*(number * 7_654_321 % 10_000_000,) * 3, number)]
    return http_response(page_template(len(numbers), cases) % tuple(values))


def suites_response(suites: Iterable[str]) -> bytes:
    """Return the response for the list of suites with these IDs."""
    rows = [{"id": suite_id, "identifier": suite_id, "name": suite_id} for suite_id in suites]
    return http_response(json.dumps({"suites": rows}).encode())


def http_response(body: bytes) -> bytes:
    """Return the response with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """One connection."""

    requests = 0
    suites: ClassVar[dict[str, dict[str, None]]] = {}  # IDs by the path of their list, in order of the first request
    _transport: asyncio.Transport
    _rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Respond to each complete request."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            self._respond(request.split(b" ", 2)[1].decode())

    def _respond(self, target: str) -> None:
        path, _, query = target.partition("?")
        if path == "/requests":
            self._transport.write(http_response(b"%d" % Connection.requests))
            return
        Connection.requests += 1
        _, sessions, milliseconds, *_, last = path.split("/")
        sessions, _, cases = sessions.partition("x")
        parameters = dict(pair.split("=") for pair in query.split("&") if pair)
        number, per_page = int(parameters.get("page", 1)), int(parameters.get("per_page", 1))
        if last == "cases":
            page = cases_response(cases, path.split("/")[-2], number, per_page)
        elif query:
            suites_path, suite_id, _ = path.rsplit("/", 2)
            Connection.suites.setdefault(suites_path, {})[suite_id] = None
            small, _, giant = sessions.partition("-")
            count = int(giant if giant and "/giant/" in path else small)
            page = page_response(count, number, per_page, cases)
        elif "/test-groups/" in path:
            page = case_response(cases, path.split("/")[-5], last)
        else:
            page = suites_response(Connection.suites.get(path, ()))
        if milliseconds == "0":
            self._transport.write(page)
        else:
            asyncio.get_running_loop().call_later(int(milliseconds) / 1000, self._transport.write, page)


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    import_module("uvloop" if find_spec("uvloop") else "asyncio").run(main())
