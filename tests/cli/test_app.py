"""Exit codes, help, and the program as other processes see it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import __version__
from buddy_sessions.__main__ import main
from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.command_line import (
    COMMAND,
    Call,
    closed_pipe,
    down_from,
    interrupt,
    numbers,
    rows,
    run_process,
    use_terminal,
)

SUITE = "acme/storefront/MNbyVedg"
A, B = "acme/shop/a", "acme/shop/b"


class TestHelp:
    @pytest.mark.parametrize("command", [[], ["list"], ["list", "--help"]])
    def test_help_is_also_a_command(self, command: list[str], call: Call) -> None:
        assert call("help", *command) == call(*command, "--help")

    @pytest.mark.parametrize(
        "command",
        [
            *("list", "suites", "failures", "flaky", "slowest", "compare"),
            *("harvest", "sync", "export", "report", "watch", "serve", "demo"),
        ],
    )
    def test_each_command_has_help_with_examples(self, command: str, call: Call) -> None:
        code, out, err = call(command, "--help")
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: buddy-sessions {command} ")
        assert f" \u2022 buddy-sessions {command}" in out
        assert max(map(len, out.splitlines())) <= 80
        assert command in call("--help").out
        if "Connection" in out:
            assert re.findall(r"─ (\w+) ─", out)[-1] == "Connection"
            assert out.index("Connection") > out.index("Parameters")

    @pytest.mark.parametrize("command", ["compare", "export", "failures", "flaky", "report", "watch"])
    def test_help_sets_no_background(self, command: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """Inline code would be shown on black, also on a light terminal."""
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        out = call(command, "--help").out
        assert "\x1b[" in out
        assert ";40m" not in out

    @pytest.mark.parametrize("option", ["--version", "-V"])
    def test_version(self, option: str, call: Call) -> None:
        assert call(option) == (0, f"buddy-sessions {__version__}\n", "")


class TestMessages:
    def test_width_of_the_terminal_is_unknown(self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
        fake.add_suite(*SUITE.split("/")).populate(3)
        out, err = (use_terminal(monkeypatch, name, dumb=False) for name in ("stdout", "stderr"))
        monkeypatch.setenv("COLUMNS", "0")
        assert run(["list", SUITE]) == 0
        assert SUITE in out.getvalue()
        assert len(out.getvalue().splitlines()) == 1 + 1 + 3  # the title, the header, the sessions
        assert "3 sessions, 1 request" in err.getvalue()


class TestCompletion:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        return tmp_path

    @pytest.mark.parametrize(("shell", "start"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", "")])
    def test_no_start_up_file_is_edited(self, shell: str, start: str, home: Path, call: Call) -> None:
        code, out, err = call("--install-completion", "--shell", shell)
        (script,) = [path for path in home.rglob("*") if path.is_file()]
        assert (code, out.splitlines()[0], err) == (0, f"Wrote {script}", "")
        assert "branch" in script.read_text()
        assert (f"add this line to ~/{start}:" in out) is bool(start)

    @pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
    def test_printed_line_completes_options(self, call: Call) -> None:
        line = call("--install-completion", "--shell", "bash").out.splitlines()[-1]
        commands = f"""
            {line}
            COMP_WORDS=(buddy-sessions list KEY --br) COMP_CWORD=3
            _buddy_sessions
            echo "${{COMPREPLY[@]}}"
        """
        assert subprocess.check_output(["bash", "-c", commands], text=True, timeout=30) == "--branch\n"


class TestMain:
    @pytest.mark.parametrize("name", ["cyclopts", "msgspec", "rich"])
    def test_missing_extra_is_2(
        self, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class NotInstalled(MetaPathFinder):
            def find_spec(self, fullname: str, *_: object) -> None:
                if fullname == name:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        for module in [*sys.modules]:
            if module.partition(".")[0] == name or module.startswith("buddy_sessions.cli"):
                monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
        assert main() == 2
        assert capsys.readouterr().err == f"error: {name} is not installed; run: pip install 'buddy_sessions[cli]'\n"

    def test_closed_pipe_is_not_flushed_at_exit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with closed_pipe() as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            monkeypatch.setattr(sys, "argv", ["buddy-sessions", "--version"])
            stream.write("something left")
            assert main() == 0
            stream.flush()

    @pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=["default", "ignored"])
    def test_sigterm_is_an_interrupt(
        self, handler: Any, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake.add_suite(*SUITE.split("/")).populate(150)
        fake.on_request = lambda request: interrupt(signal.SIGTERM) if request.page == 2 else None
        fake.inject(Fault.stall(0), Fault.hang(), Fault.hang())
        monkeypatch.setattr(sys, "argv", ["buddy-sessions", "harvest", SUITE])
        signal.signal(signal.SIGINT, handler)
        assert main() == 130
        assert capsys.readouterr().err.startswith("interrupted: 0 suites, 100 sessions, ")


class TestProcess:
    """Commands in processes of their own, with real pipes, terminals and signals."""

    @pytest.fixture
    def environment(self) -> Iterator[dict[str, str]]:
        """Serve 250 sessions from another process; return the environment of its clients."""
        with subprocess.Popen(
            [*COMMAND, "serve", "--sessions", "250"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            try:
                assert server.stdout is not None
                export, *settings = server.stdout.readline().split()
                assert export == "export"
                yield {**os.environ, **dict(setting.split("=", 1) for setting in settings)}
            finally:
                server.send_signal(signal.SIGINT)
            assert server.wait(10) == 130

    def test_list_reads_from_serve(self, environment: dict[str, str]) -> None:
        code, out, err = run_process(environment, "list", SUITE)
        assert (code, err) == (0, "")
        assert numbers(out) == down_from(250)
        main_only = run_process(environment, "list", SUITE, "--branch", "main").out
        assert len(numbers(main_only)) == [row["ref_name"] for row in rows(out)].count("main") > 0

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_full_disk_is_an_error(self, environment: dict[str, str]) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, "list", SUITE],
                env=environment,
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=30,
                check=False,
            )
        assert done.returncode == 7
        assert done.stderr.startswith(b"error: ")
        assert done.stderr.count(b"\n") == 1

    def test_terminal_gets_a_table(self, environment: dict[str, str]) -> None:
        pty = pytest.importorskip("pty")
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*COMMAND, "list", SUITE, "--limit", "3"], env=environment, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            shown = b""
            while chunk := read_terminal(ours):
                shown += chunk
            os.close(ours)
            assert process.wait(30) == 0
        assert f"\x1b[1m{SUITE}\x1b[0m" in shown.decode()
        assert "3 sessions, 1 request" in shown.decode()


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux reports that the other side is closed
        return b""
