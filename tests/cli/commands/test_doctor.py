"""The command `doctor`: what it finds at wrong servers and at healthy ones, and its report."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from pathlib import Path

import pytest
import trustme

from buddy_sessions.cli.doctor import account_checks, probe
from buddy_sessions.testing import FakeBuddy, Fault, replay
from helpers.accounts import SUITE, Account, Served, add_suite, header, served
from helpers.command_line import Call, Result, rows, run_process
from helpers.command_line import served as serve
from helpers.healthy_servers import HEALTHY_SERVERS
from helpers.wrong_servers import CHECKS, WRONG_SERVERS

NOT_FOUND = {
    "running sessions come last": "the order is checked on two pages, and the last page is not one of them",
    "slow_threshold is in seconds": "it costs a request, and nothing in this package reads the threshold",
}
"""Wrong servers that are not found, and why."""
NOTES = {
    "a suite without sessions": {"suites"},
    "a new account without suites": {"suites"},
    "the token may not list projects": {"token"},
}
"""What is worth a note at healthy servers."""
LATENCY = 0.03


def each_of(accounts: Iterable[Account], *, quick: Iterable[Account]) -> pytest.MarkDecorator:
    """Run a test with each account, of which a quick run takes some only."""
    names = {account.name for account in quick}
    parameters = [
        pytest.param(account, id=account.name, marks=() if account.name in names else pytest.mark.slow)
        for account in accounts
    ]
    return pytest.mark.parametrize("account", parameters)


def examine(server: Served, call: Call, monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    """Run the command against a server."""
    target = server.account.target
    arguments = ["doctor", *filter(None, [target]), "--format", "jsonl", *options]
    if server.needs_process:
        environment = {**os.environ, **server.environment}
        return run_process({name: each for name, each in environment.items() if each is not None}, *arguments)
    for name, value in server.environment.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    return call(*arguments)


def levels(result: Result) -> dict[str, str]:
    return {row["check"]: row["level"] for row in rows(result.out)}


def complaints(result: Result) -> set[str]:
    return {name for name, level in levels(result).items() if level in {"note", "problem"}}


FIRST_OF_EACH_CHECK = {account.check: account for account in reversed(WRONG_SERVERS)}.values()


@each_of(WRONG_SERVERS, quick=FIRST_OF_EACH_CHECK)
def test_wrong_server_is_found(account: Account, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the check that is meant for it. Its report leads to the same findings."""
    report = tmp_path / "report.json.gz"
    with served(account, tmp_path) as server:
        if account.check == "latency":
            server.fake.latency = LATENCY
            monkeypatch.setattr(account_checks, "SLOW", LATENCY / 2)
        options = ["--try-regions"] if account.region else []
        result = examine(server, call, monkeypatch, "--report", str(report), *options)
        assert len(server.fake.requests) <= probe.MAX_REQUESTS
    found = complaints(result) & {account.check, *account.also}
    assert bool(found) is (account.name not in NOT_FOUND), result.out
    assert result.code == ("problem" in levels(result).values())
    assert levels(call("doctor", "--replay", str(report), "--format", "jsonl")) == levels(result)


@each_of(HEALTHY_SERVERS, quick=HEALTHY_SERVERS[::4])
def test_healthy_server_is_no_problem(
    account: Account, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with served(account, tmp_path) as server:
        result = examine(server, call, monkeypatch)
        assert len(server.fake.requests) <= (probe.MAX_REQUESTS if account.target else 2)
        assert {request.method for request in server.fake.requests} == {"GET"}
    assert complaints(result) == NOTES.get(account.name, set()), result.out
    assert (result.code, [*levels(result)]) == (0, [*CHECKS])


def test_table_says_what_to_do(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    account = Account(
        "no quota", changes=tuple(header(f"X-Rate-Limit-{name}", None) for name in ("Remaining", "Reset"))
    )
    with served(account, tmp_path) as server:
        examine(server, call, monkeypatch)
        out = call("doctor", SUITE, "--format", "table").out
    assert "note  rate-limit  no X-Rate-Limit-Reset or -Remaining" in out
    assert "this package waits only after a 429" in out
    assert max(map(len, out.splitlines())) <= 80


def test_certificate_of_a_company(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, certificates = trustme.CA(), tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(certificates))
    fake = FakeBuddy(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert fake.ssl_context is not None
    authority.issue_cert("127.0.0.1").configure_cert(fake.ssl_context)
    add_suite(fake)
    with serve(fake):
        monkeypatch.setenv("BUDDY_TOKEN", fake.token)
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        arguments = ["doctor", SUITE, "--format", "jsonl"]
        unknown = call(*arguments)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
        trusted = run_process({**os.environ}, *arguments)
    connection = rows(unknown.out)[0]
    assert connection["advice"].startswith("for the certificate of your company, set SSL_CERT_FILE")
    assert levels(trusted)["connection"] == "ok"


def test_report_that_cannot_be_written(call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
    """It is an error before the first request."""
    result = call("doctor", SUITE, "--report", str(tmp_path / "missing" / "report"))
    assert (result.code, fake.requests) == (2, [])
    assert "not found: create it, or choose another path" in result.err


def test_failed_request_is_repeated_once(call: Call, fake: FakeBuddy) -> None:
    add_suite(fake)
    fake.inject(Fault.status(503))
    result = call("doctor", SUITE, "--format", "jsonl")
    assert (result.code, levels(result)["connection"]) == (0, "ok")


def test_report_of_a_real_account_is_a_test(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = tmp_path / "report.json.gz"
    with served(Account("healthy"), tmp_path) as server:
        before = examine(server, call, monkeypatch, "--report", str(report))
    fake = FakeBuddy()
    suite = replay(fake, report)
    assert suite is not None
    with serve(fake):
        monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
        result = call("doctor", str(suite), "--format", "jsonl")
        listed = call("list", str(suite), "--json")
    assert {**levels(result), "clock": "ok"} == levels(before)  # its days are shifted
    assert len(rows(listed.out)) == 200  # which doctor has read


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replay", "missing"], "cannot read 'missing': no such file or directory; check the path"),
        (["--replay", __file__], "is no report of doctor: create one with --report FILE"),
        (["--replay", __file__, SUITE], "--replay reads a report: leave out the suite and --report"),
        (["a//b"], "neither a suite nor a project: 'a//b'"),
        (["acme/.."], "project"),
    ],
)
def test_wrong_usage(call: Call, arguments: list[str], message: str) -> None:
    result = call("doctor", *arguments)
    assert result.code == 2
    assert message in result.err
