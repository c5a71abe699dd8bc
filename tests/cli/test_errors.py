"""What commands print, and their exit codes, when something is not found, not allowed or not reachable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, interrupt_at_request, sync_database, use_terminal

A, B = "acme/shop/a", "acme/shop/b"
SINGLE = (["list"], ["wait"], ["failures"], ["flaky"], ["slowest"], ["compare"])
OPTIONS = {"compare": ["1", "2"], "wait": ["--branch", "main"]}
ALL = (*SINGLE, ["harvest"], ["watch"])


def arguments_of(command: list[str], key: str) -> list[str]:
    return [*command, key, *OPTIONS.get(command[0], [])]


@pytest.mark.usefixtures("suites")
@pytest.mark.parametrize("command", ALL, ids=" ".join)
class TestEachCommand:
    def test_unknown_suite_is_7(self, command: list[str], call: Call) -> None:
        code, out, err = call(*arguments_of(command, "acme/shop/none"))
        assert (code, out) == (7, "")
        assert "Suite not found (404): check the workspace, the project and the IDs" in err
        assert "; GET " not in err
        if command != ["harvest"]:
            assert err.endswith("\nto see the suites of the project, run buddy-sessions suites acme/shop\n")

    @pytest.mark.parametrize(
        ("attribute", "value", "message"), [("token", "another", "(401)"), ("scopes", (), "UNIT_TEST_INFO")]
    )
    def test_missing_permission_is_4(
        self, command: list[str], attribute: str, value: object, message: str, call: Call, fake: FakeBuddy
    ) -> None:
        setattr(fake, attribute, value)
        code, out, err = call(*arguments_of(command, A))
        assert (code, out, message in err) == (4, "", True)

    def test_missing_token_is_2(self, command: list[str], call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BUDDY_TOKEN")
        code, out, err = call(*arguments_of(command, A))
        assert (code, out, err.startswith("error: no token: set BUDDY_TOKEN")) == (2, "", True)

    def test_interrupt_is_130(self, command: list[str], call: Call, fake: FakeBuddy) -> None:
        interrupt_at_request(fake, 1)
        code, out, err = call(*arguments_of(command, A))
        assert (code, out, "Traceback" in err) == (130, "", False)

    def test_refused_connection_is_one_short_line(
        self, command: list[str], call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if command in (["watch"], ["wait"]):  # these wait until they can connect
            return
        monkeypatch.setenv("BUDDY_API_URL", "http://127.0.0.1:1")
        code, out, err = call(*arguments_of(command, A), "--quiet", "--attempts", "2")
        text = "cannot connect to 127.0.0.1:1 (connection refused): check the base URL and the network\n"
        assert (code, out) == (7, "")
        assert re.fullmatch(f"(error|failed: {A}): {re.escape(text)}", err)


@pytest.mark.usefixtures("suites")
@pytest.mark.parametrize("command", SINGLE, ids=" ".join)
@pytest.mark.parametrize("source", ["api", "database"])
def test_project_instead_of_a_suite_names_its_suites(
    command: list[str], source: str, call: Call, fake: FakeBuddy, tmp_path: Path
) -> None:
    options = []
    if source == "database":
        if command in (["list"], ["wait"]):
            return
        sync_database(fake, tmp_path / "sessions.db")
        options = ["--db", str(tmp_path / "sessions.db")]
    code, out, err = call(*arguments_of(command, "acme/shop"), *options)
    assert (code, out) == (2, "")
    assert err == f"error: acme/shop is a project: name one of its suites\n{A} (Unit tests)\n{B} (Unit tests)\n"


def test_messages_of_the_server_are_escaped(fake: FakeBuddy, call: Call) -> None:
    fake.inject(Fault.status(404, body=json.dumps({"errors": [{"message": "a\x1b[2J\nb"}]}).encode()))
    assert call("suites", "acme/shop").err.startswith("error: a\\x1b[2J b (404)")


@pytest.mark.usefixtures("fake")
def test_message_is_wrapped_between_words_on_a_terminal(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL is never divided, so that it can be copied."""
    url = f"https://app.buddy.works/acme/shop/{'x' * 80}"
    message = call("list", url).err
    terminal = use_terminal(monkeypatch, "stderr")
    assert run(["list", url]) == 2
    lines = [line.strip() for line in terminal.getvalue().splitlines()]
    assert " ".join(lines) == message.strip()
    assert [len(line) > 80 for line in lines].count(True) == 1


class TestSession:
    @pytest.fixture(autouse=True)
    def suite(self, fake: FakeBuddy) -> FakeSuite:
        return fake.add_suite("acme", "shop", "a").populate(400)

    def test_url_of_a_session_lists_that_session(self, suite: FakeSuite, call: Call) -> None:
        url = suite.sessions[3]["html_url"]
        code, out, err = call("list", url)
        assert (code, json.loads(out)["relative_id"]) == (0, 397)
        assert err == f"for its failing tests, run buddy-sessions failures {url}\n"
