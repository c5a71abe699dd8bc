"""Accounts at a fake Buddy: a suite, a token, and changes of the responses."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import trustme
from aiohttp import web
from attrs import frozen

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from buddy_sessions.testing.endpoints import SuiteView
from buddy_sessions.testing.plugin import serve_in_thread
from buddy_sessions.testing.wire import RecordedRequest, error_body

KEY = ("acme", "shop", "MNbyVedg")
SUITE, PROJECT = "/".join(KEY), "/".join(KEY[:2])

JsonObject: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[RecordedRequest, web.Response], web.Response | bytes | None]
"""Changes a response in place, or returns the one to send instead. Bytes are sent as they are."""


def add_suite(fake: FakeBuddy, sessions: int = 250, **options: Any) -> FakeSuite:
    """Add the suite with random sessions. Of the newest ones, one has failing tests, and one is running."""
    suite = fake.add_suite(*KEY, **options)
    now = datetime.now(UTC).replace(microsecond=0)
    suite.populate(sessions, until=now - timedelta(hours=2))
    for minutes, branch, names in ((90, "main-2", ()), (70, "main", ("adds", "rounds")), (50, "main", ())):
        created = now - timedelta(minutes=minutes)
        cases = [
            {"name": name, "status": "FAILED" if name in names else "PASSED", "message": f"{name}: 1 != 2"}
            for name in ("adds", "rounds", "sends_receipt", "applies_tax")
        ]
        dates = {"create_date": created, "start_date": created, "finish_date": created + timedelta(seconds=42)}
        suite.create(branch, cases=cases, duration=42, **{name: f"{date:%FT%TZ}" for name, date in dates.items()})
    started = f"{now - timedelta(minutes=1):%FT%TZ}"
    suite.create("main", create_date=started, start_date=started)
    return suite


@frozen
class Account:
    """An account that is wrong in one point, or healthy.

    Attributes:
        name: What is wrong, or special.
        check: The check of `doctor` that is meant to find it; empty if the account is healthy.
        also: Other checks that would be right, too.
        target: The argument of `doctor`.
        prepare: Called with the server before it starts.
        before: Called with the server and each request, before its response is made.
        view: What the responses to a request show of the suites.
        changes: Changes of the responses, in this order.
        environment: Environment variables besides those that lead to the server.
        tls: Serve HTTPS, with a certificate of an unknown authority.
    """

    name: str
    check: str = ""
    also: tuple[str, ...] = ()
    target: str | None = SUITE
    prepare: Callable[[FakeBuddy], object] = add_suite
    before: Callable[[FakeBuddy, RecordedRequest], object] = lambda _fake, _request: None
    view: Callable[[RecordedRequest], SuiteView] = lambda _: SuiteView()
    changes: tuple[Change, ...] = ()
    environment: Mapping[str, str] = {}
    tls: bool = False

    def server(self) -> FakeBuddy:
        """Return a server for this account. Start it in the loop of the client if the test uses virtual time."""
        fake = FakeBuddy(rate_limit=1000)
        if self.tls:
            fake.ssl_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("127.0.0.1").configure_cert(fake.ssl_context)
        self.prepare(fake)
        fake.on_request = partial(self._on_request, fake)
        return fake

    def _on_request(self, fake: FakeBuddy, request: RecordedRequest) -> None:
        self.before(fake, request)
        view = self.view(request)

        async def handle(raw: web.BaseRequest, make_response: Callable[[], web.Response]) -> web.Response | None:
            response = self._list_workspaces(fake, request, make_response())
            for change in self.changes:
                changed = change(request, response)
                if isinstance(changed, bytes):
                    assert raw.transport is not None
                    raw.transport.write(changed)
                    return None
                response = changed or response
            return response

        return fake.inject(Fault(self.name, handle, view))

    def _list_workspaces(self, fake: FakeBuddy, request: RecordedRequest, response: web.Response) -> web.Response:
        """Respond to the list of workspaces, which FakeBuddy does not know, if the token is valid."""
        if request.path != "/workspaces" or response.status in {401, 429}:
            return response
        if not fake.api_enabled or {"PROJECT_READ", "WORKSPACE"}.isdisjoint(fake.scopes):
            return error(403, "The client cannot receive data", response)
        workspaces = sorted({workspace for workspace, _ in fake.projects})
        rows = [{"url": "", "html_url": "", "id": 1, "name": name, "domain": name} for name in workspaces]
        return success({"url": "", "html_url": "", "workspaces": rows}, response)


def success(content: JsonObject, response: web.Response) -> web.Response:
    """Return a response with this content, and with the headers of another one."""
    headers = {name: value for name, value in response.headers.items() if name.startswith("X-")}
    return web.json_response(content, headers=headers)


def error(status: int, message: str, response: web.Response) -> web.Response:
    """Return an error of Buddy, with the headers of another response."""
    changed = success({}, response)
    changed.set_status(status)
    changed.body = error_body(message)
    return changed


def html(text: str, status: int = 200) -> Change:
    """Return a change of all responses: they are pages of something that is not Buddy."""
    return lambda _request, _response: web.Response(
        status=status, text=f"<html>{text}</html>", content_type="text/html"
    )


def header(name: str, value: Callable[[], object] | str | None) -> Change:
    """Return a change of all responses: a header has this value, or is not there."""

    def change(_request: RecordedRequest, response: web.Response) -> None:
        response.headers.popall(name, None)
        if value is not None:
            response.headers[name] = value if isinstance(value, str) else str(value())

    return change


def content(change: Callable[[RecordedRequest, Any], object]) -> Change:
    """Return a change of all JSON with status 200. None: it was changed in place."""

    def apply(request: RecordedRequest, response: web.Response) -> None:
        if response.status == 200:
            before = json.loads(cast("bytes", response.body))
            after = change(request, before)
            response.body = json.dumps(before if after is None else after).encode()

    return apply


def rows(name: str, change: Callable[[RecordedRequest, list[JsonObject]], object]) -> Change:
    """Return a change of all lists with this name, in place."""
    return content(lambda request, found: change(request, found[name]) if name in found else None)


def _each(name: str, one: str, change: Callable[[JsonObject], object]) -> Change:
    def apply(request: RecordedRequest, found: JsonObject) -> None:
        for row in found.get(name, [found] if re.search(one, request.path) else []):
            change(row)

    return content(apply)


def sessions(change: Callable[[JsonObject], object]) -> Change:
    """Return a change of each session, in place."""
    return _each("sessions", "/sessions/[^/]+$", change)


def finished(change: Callable[[JsonObject], object]) -> Change:
    """Return a change of each session that has finished, in place."""
    return sessions(lambda row: change(row) if row["status"] != "IN_PROGRESS" else None)


def cases(change: Callable[[JsonObject], object]) -> Change:
    """Return a change of each test case, in place."""
    return _each("cases", "/cases/[^/]+$", change)


def single_case(change: Callable[[JsonObject], object]) -> Change:
    """Return a change of each test case that is read with its `data`, in place."""
    return _each("", "/cases/[^/]+$", change)


class Served(NamedTuple):
    """A running account, and the environment variables that lead to it."""

    fake: FakeBuddy
    environment: dict[str, str]


@contextmanager
def served(account: Account) -> Iterator[Served]:
    """Serve an account from a thread of its own."""
    fake = account.server()
    with serve_in_thread(fake):
        yield Served(fake, {"BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url), **account.environment})
