"""Real proxies between the client and Buddy: nginx and haproxy as reverse proxies, squid as a forward proxy."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import define, field
from yarl import URL

from buddy_sessions import BuddyClient, HarvestError, NotFoundError, ServerError, Stats, StatusError, TransportError
from buddy_sessions.testing import FakeBuddy, RecordedRequest
from helpers.command_line import COMMAND, down_from, numbers_by_suite
from helpers.faults import text_of_error, text_of_log

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the tests reserve ports as only Linux allows"),
]

SUITES = 200
PASSWORD = "hun@t er:2/%"

NGINX = """
daemon off; pid pid; error_log stderr; worker_processes 1;
events {{ }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    log_format pid $pid; access_log pids pid;
    gzip on; gzip_types application/json; gzip_proxied any;
    limit_req_zone $binary_remote_addr zone=clients:1m rate=10r/s;
    server {{ listen 127.0.0.1:{port}; {settings} }}
}}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
listen buddy
    bind 127.0.0.1:{port}
    log stdout format raw daemon
    log-format %pid
    {settings}
"""

SQUID = """
http_port 127.0.0.1:{port}
pid_filename {folder}/pid
access_log none
cache_log stdio:/dev/stderr
coredump_dir {folder}
max_filedescriptors 1024
pinger_enable off
cache deny all
auth_param basic program {folder}/helper
auth_param basic children 1 startup=1
acl users proxy_auth REQUIRED
http_access {settings}
"""

# squid escapes spaces and percent signs.
HELPER = """#!/bin/sh
while read -r user password; do
    [ "$user" = me ] && [ "$password" = 'hun@t%20er:2/%25' ] && echo OK || echo ERR
done
"""


@define(eq=False)
class Proxy:
    """A proxy that can be restarted.

    Attributes:
        name: nginx, haproxy or squid.
        command: The program and its arguments.
        folder: Its folder.
        port: Its port.
        processes: All its processes so far, each with a process group of its own.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    port: int
    processes: list[subprocess.Popen[str]] = field(factory=list)

    @property
    def url(self) -> URL:
        """The URL of the proxy."""
        return URL(f"http://127.0.0.1:{self.port}")

    def configure(self, config: str) -> None:
        """Write its files. As root, give the folder to another user, because squid refuses to run as root."""
        (self.folder / "config").write_text(config)
        helper = self.folder / "helper"
        helper.write_text(HELPER)
        helper.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody")

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a process."""
        user: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*self.command, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                text=True,
                **user,
            )
        self.processes.append(process)
        return process

    async def start(self) -> None:
        """Start the proxy, and wait until it listens."""
        process = self.spawn()
        async with asyncio.timeout(10):
            while process.poll() is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return await writer.wait_closed()
                await asyncio.sleep(0.01)
        raise AssertionError((self.folder / "log").read_text())

    def reload(self) -> None:
        """Let a new process take over. The old one ends after its last request."""
        if self.name == "nginx":
            self.processes[-1].send_signal(signal.SIGHUP)  # as `nginx -s reload` does
        else:
            self.spawn("-sf", str(self.processes[-1].pid))

    def kill(self) -> None:
        """Kill all its processes."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port. Only a server that sets SO_REUSEADDR, as all proxies do, can use it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@asynccontextmanager
async def running(name: str, settings: str) -> AsyncIterator[Proxy]:
    """Run nginx, haproxy or squid with these settings."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"no {name}: it is neither on the PATH nor in /usr/sbin")
    config, *arguments = {
        "nginx": (NGINX, "-p", ".", "-e", "stderr", "-c", "config"),
        "haproxy": (HAPROXY, "-db", "-f", "config"),
        "squid": (SQUID, "-N", "-f", "config"),
    }[name]
    with tempfile.TemporaryDirectory() as folder, reserved_port() as port:  # pytest's folders are private
        proxy = Proxy(name, (program, *arguments), Path(folder), port)
        proxy.configure(config.format(port=port, folder=folder, settings=settings))
        try:
            await proxy.start()
            yield proxy
        finally:
            proxy.kill()


def reverse_proxy(name: str, fake: FakeBuddy) -> str:
    """Return the settings of a reverse proxy for Buddy."""
    if name == "nginx":
        return f"location / {{ proxy_pass {fake.base_url}; }}"
    return f"server buddy {fake.base_url.authority}"


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    fake.latency = 0.02
    for number in range(SUITES):
        fake.add_suite("acme", "shop", f"s{number:03}").populate(250 if number % 20 == 0 else 5)
    return fake


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def harvest(fake: FakeBuddy, base_url: URL, *, suites: int = SUITES, **options: Any) -> Stats:
    """Harvest suites, and assert that they are complete."""
    chosen = list(fake.suites.values())[:suites]
    expected = {suite.key: [one["id"] for one in suite.sessions] for suite in chosen}
    received: dict[tuple[str, ...], list[str]] = {key: [] for key in expected}
    async with (
        asyncio.timeout(60),
        BuddyClient(fake.token, base_url=base_url, **options) as buddy,
        buddy.harvest(list(expected)) as sessions,
    ):
        async for key, session in sessions:
            received[key].append(session.id)
    assert received == expected
    return sessions.stats


def event_at_request(fake: FakeBuddy, number: int) -> asyncio.Event:
    """Return an event that is set when the request with this number arrives."""
    event, counter = asyncio.Event(), itertools.count(1)

    def on_request(_: RecordedRequest) -> None:
        if next(counter) == number:
            event.set()

    fake.on_request = on_request
    return event


async def restart(proxy: Proxy, event: asyncio.Event, *, seconds: float) -> None:
    """Wait for the event, kill the proxy, and start it again later."""
    await event.wait()
    proxy.kill()
    await asyncio.sleep(seconds)
    await proxy.start()


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_proxy_that_is_reloaded_again_and_again(fake: FakeBuddy, name: str) -> None:
    async with running(name, reverse_proxy(name, fake)) as proxy:

        async def reload() -> None:
            while True:
                await asyncio.sleep(0.1)
                proxy.reload()

        reloading = asyncio.create_task(reload())
        stats = await harvest(fake, proxy.url)
        reloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reloading
        assert stats.verified
        log = proxy.folder / ("pids" if name == "nginx" else "log")
        assert len({line for line in log.read_text().splitlines() if line.isdigit()}) > 2


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_short_outage(fake: FakeBuddy, name: str) -> None:
    """With the starting time of the proxy, the outage takes a little less than the 3.5 s of four attempts."""
    async with running(name, reverse_proxy(name, fake)) as proxy, asyncio.TaskGroup() as tasks:
        tasks.create_task(restart(proxy, event_at_request(fake, 60), seconds=2.7))
        stats = await harvest(fake, proxy.url)
    assert stats.retries >= 8


@pytest.mark.parametrize(
    ("status", "rejection", "warning"),
    [
        pytest.param(429, "return 429;", "too many requests (429): the next request is sent in 0.5 s", id="429"),
        pytest.param(
            503,
            "add_header Retry-After 1 always; return 503;",
            "the server is unavailable (503): the next request is sent in 1.0 s",
            id="503",
        ),
    ],
)
async def test_limit_of_nginx(
    fake: FakeBuddy, status: int, rejection: str, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that exceeds the limit is repeated, however often, without an attempt being counted."""
    settings = f"""
        location / {{
            limit_req zone=clients burst=10 nodelay; limit_req_status {status}; error_page {status} @rejected;
            proxy_pass {fake.base_url};
        }}
        location @rejected {{ {rejection} }}
    """
    fake.latency = 0
    async with running("nginx", settings) as proxy:
        stats = await harvest(fake, proxy.url, suites=16, max_attempts=1)
    assert stats.requests > len(fake.requests) == 18
    assert {record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING} == {warning}


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
async def test_proxy_without_a_server(fake: FakeBuddy, name: str) -> None:
    with reserved_port() as port:
        settings = f"location / {{ proxy_pass http://127.0.0.1:{port}; }}" if name == "nginx" else "# no server"
        async with running(name, settings) as proxy:
            with pytest.raises(ServerError) as raised:
                await harvest(fake, proxy.url, max_attempts=1)
    assert raised.value.status == (502 if name == "nginx" else 503)
    assert raised.value.not_tried


async def test_nginx_knows_no_such_page(fake: FakeBuddy) -> None:
    """Suites that nginx itself does not find do not stop the others."""
    settings = f"location / {{ proxy_pass {fake.base_url}; }} location ~ /s..7/ {{ root folder; }}"
    async with running("nginx", settings) as proxy:
        with pytest.raises(HarvestError) as raised:
            await harvest(fake, proxy.url)
    assert {key.suite_id[-1] for key in raised.value.failures} == {"7"}
    assert len(fake.requests) == SUITES  # 20 suites have three pages
    for error in raised.value.exceptions:
        assert isinstance(error, NotFoundError)
        assert str(error).startswith("not found (404), but the response is not Buddy's")


@pytest.mark.parametrize(
    ("trust_env", "no_proxy", "is_used"),
    [
        pytest.param(True, "example.com", True, id="used"),
        pytest.param(True, "localhost,127.0.0.1", False, id="excluded"),
        pytest.param(False, "", False, id="off"),
    ],
)
async def test_squid_of_the_environment(
    fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch, *, trust_env: bool, no_proxy: str, is_used: bool
) -> None:
    async with running("squid", "allow all") as proxy:
        monkeypatch.setenv("HTTP_PROXY", str(proxy.url))
        monkeypatch.setenv("NO_PROXY", no_proxy)
        await harvest(fake, fake.base_url, suites=40, trust_env=trust_env)
    assert ["squid" in request.headers.get("Via", "") for request in fake.requests] == [is_used] * 44


async def test_command_line_while_squid_is_restarted(fake: FakeBuddy, tmp_path: Path) -> None:
    (tmp_path / "suites").write_text("\n".join("/".join(key) for key in fake.suites))
    async with running("squid", "allow all") as proxy, asyncio.TaskGroup() as tasks:
        tasks.create_task(restart(proxy, event_at_request(fake, 60), seconds=0.3))
        variables = {"BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url), "HTTP_PROXY": str(proxy.url)}
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "harvest", "--from", tmp_path / "suites"),
            env=os.environ | variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert numbers_by_suite(out.decode()) == {
        "/".join(key): down_from(len(suite.sessions)) for key, suite in fake.suites.items()
    }
    assert b"; retry 1 of 3 in" in err
    assert all("squid" in request.headers["Via"] for request in fake.requests)


async def test_password_of_squid(
    fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running("squid", "allow users") as proxy:
        monkeypatch.setenv("HTTP_PROXY", str(proxy.url.with_user("me").with_password(PASSWORD)))
        await harvest(fake, fake.base_url, suites=20, trust_env=True)
        fake.requests.clear()
        monkeypatch.setenv("HTTP_PROXY", str(proxy.url.with_user("me").with_password("hunter2")))
        with pytest.raises(HarvestError) as raised:
            await harvest(fake, fake.base_url, suites=20, trust_env=True)
    for error in raised.value.exceptions:
        assert isinstance(error, StatusError)
        assert str(error).startswith("the request failed (407), but the response is not Buddy's: probably a proxy's")
    assert fake.requests == []
    assert "hun" not in text_of_error(raised.value) + text_of_log(caplog.records)


async def test_https_through_squid(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    server_context, context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    authority.configure_trust(context)
    async with FakeBuddy(ssl_context=server_context) as fake, running("squid", "allow users") as proxy:
        fake.add_suite("acme", "shop", "s000").populate(250)
        monkeypatch.setenv("HTTPS_PROXY", str(proxy.url.with_user("me").with_password(PASSWORD)))
        await harvest(fake, fake.base_url, trust_env=True, ssl=context)
        monkeypatch.setenv("HTTPS_PROXY", str(proxy.url.with_user("me").with_password("hunter2")))
        with pytest.raises(HarvestError) as raised:
            await harvest(fake, fake.base_url, trust_env=True, ssl=context)
    (error,) = raised.value.exceptions
    assert isinstance(error, TransportError)
    assert str(error).startswith(f"the proxy {proxy.url} responded with 407 Proxy Authentication Required")
    assert not error.retryable
    assert len(fake.requests) == 3
