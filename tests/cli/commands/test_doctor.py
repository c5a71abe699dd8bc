"""The command `doctor`: what it finds at wrong servers and at healthy ones, and its report."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from buddy_sessions.cli.doctor.checks import CHECKS
from buddy_sessions.cli.doctor.probe import MAX_REQUESTS
from helpers.accounts import SUITE, Account, Served, header, served
from helpers.command_line import Call, Result, rows, use_terminal
from helpers.healthy_servers import HEALTHY_SERVERS
from helpers.wrong_servers import WRONG_SERVERS

NOTES = {
    "a suite without sessions": {"suites"},
    "a new account without suites": {"suites"},
    "the token may not list projects": {"token"},
    "the token can also write": {"token"},
}
"""What is worth a note at healthy servers."""


def each_of(accounts: Iterable[Account], *, quick: Iterable[Account]) -> pytest.MarkDecorator:
    """Run a test with each account, of which a quick run takes some only."""
    names = {account.name for account in quick}
    parameters = [
        pytest.param(account, id=account.name, marks=() if account.name in names else pytest.mark.slow)
        for account in accounts
    ]
    return pytest.mark.parametrize("account", parameters)


def examine(server: Served, call: Call, monkeypatch: pytest.MonkeyPatch, target: str | None = SUITE) -> Result:
    """Run the command against a server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return call("doctor", *filter(None, [target]), "--format", "jsonl")


def levels(result: Result) -> dict[str, str]:
    return {row["check"]: row["level"] for row in rows(result.out)}


def complaints(result: Result) -> set[str]:
    return {name for name, level in levels(result).items() if level in {"note", "problem"}}


FIRST_OF_EACH_CHECK = {account.check: account for account in reversed(WRONG_SERVERS) if account.check != "latency"}


@each_of(WRONG_SERVERS, quick=FIRST_OF_EACH_CHECK.values())
def test_wrong_server_is_found(account: Account, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the check that is meant for it, which says what to do."""
    with served(account) as server:
        result = examine(server, call, monkeypatch, account.target)
        assert len(server.fake.requests) <= MAX_REQUESTS
    assert complaints(result) & {account.check, *account.also}, result.out
    assert result.code == ("problem" in levels(result).values())
    assert all(row["meaning"] and row["advice"] for row in rows(result.out) if row["check"] in complaints(result))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "403 with the scopes of the token and of the endpoint",
            "the token may not read the suites (403): the token has WORKSPACE, TOKEN_INFO; this needs UNIT_TEST_READ",
        ),
        ("page 2 begins five rows too late", "page 2 of 50 begins 5 sessions too late"),
        ("per_page is silently reduced to 30", '"paging","level":"ok"'),
        ("more than a short page of cases are listed, and fewer counted", " test cases are listed, tests_count is "),
        ("nothing listens on the port", '"clock","level":"unchecked","found":"no response"'),
        ("duration is a text", "session.duration must be a number, not a string ("),
        ("the token can also write", "accepted, the token has further rights: UNIT_TEST_MANAGE"),
        ("a suite without sessions", "let its tests upload their results, and try again"),
        ("the certificate is of an unknown authority", "for the certificate of your company, set SSL_CERT_FILE to a"),
    ],
)
def test_finding_names_the_cause(name: str, said: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    account = next(account for account in (*WRONG_SERVERS, *HEALTHY_SERVERS) if account.name == name)
    with served(account) as server:
        result = examine(server, call, monkeypatch, account.target)
    assert said in result.out


@each_of(HEALTHY_SERVERS, quick=HEALTHY_SERVERS[1::4])
def test_healthy_server_is_no_problem(account: Account, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(account) as server:
        result = examine(server, call, monkeypatch, account.target)
        assert len(server.fake.requests) <= (MAX_REQUESTS if account.target else 1)
        assert {request.method for request in server.fake.requests} == {"GET"}
    assert complaints(result) == NOTES.get(account.name, set()), result.out
    assert (result.code, [*levels(result)]) == (0, [*CHECKS])


def test_table_says_what_to_do(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(
        "no quota", changes=tuple(header(f"X-Rate-Limit-{name}", None) for name in ("Remaining", "Reset"))
    )
    with served(account) as server:
        examine(server, call, monkeypatch, account.target)
        terminal = use_terminal(monkeypatch, "stdout")
        call("doctor", SUITE)
    out = terminal.getvalue()
    assert "note  rate-limit  X-Rate-Limit-Remaining or -Reset is missing, or not a number" in out
    assert "the rate limit is not respected until a 429; send the file" in out
    assert max(map(len, out.splitlines())) <= 80
