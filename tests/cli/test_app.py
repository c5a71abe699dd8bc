"""Exit codes, help, and the program as other processes see it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

from buddy_sessions import __version__
from buddy_sessions.__main__ import main
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.command_line import (
    COMMAND,
    Call,
    closed_pipe,
    interrupt,
)

SUITE = "acme/storefront/MNbyVedg"
A = "acme/shop/a"


class TestHelp:
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
        assert out.startswith(f"Usage: buddy-sessions {command}")
        assert f" \u2022 buddy-sessions {command}" in out
        assert max(map(len, out.splitlines())) <= 80
        assert command in call("--help").out

    def test_version(self, call: Call) -> None:
        assert call("--version") == call("-V") == (0, f"buddy-sessions {__version__}\n", "")


class TestCompletion:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        return tmp_path

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_no_start_up_file_is_edited(self, shell: str, home: Path, call: Call) -> None:
        assert call("--install-completion", "--shell", shell).code == 0
        (script,) = [path for path in home.rglob("*") if path.is_file()]
        assert "branch" in script.read_text()

    @pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
    def test_script_completes_options(self, home: Path, call: Call) -> None:
        call("--install-completion", "--shell", "bash")
        (script,) = [path for path in home.rglob("*") if path.is_file()]
        commands = f"""
            source {script}
            COMP_WORDS=(buddy-sessions list KEY --br) COMP_CWORD=3
            _buddy_sessions
            echo "${{COMPREPLY[@]}}"
        """
        assert subprocess.check_output(["bash", "-c", commands], text=True, timeout=30) == "--branch\n"


class TestMain:
    @pytest.mark.parametrize("name", ["cyclopts", "rich"])
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

    def test_sigterm_interrupts_a_job_in_the_background(
        self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A shell lets it ignore SIGINT."""
        fake.add_suite(*SUITE.split("/")).populate(150)
        fake.on_request = lambda request: interrupt(signal.SIGTERM) if request.page == 2 else None
        fake.inject(Fault.stall(0), Fault.hang(), Fault.hang())
        monkeypatch.setattr(sys, "argv", ["buddy-sessions", "harvest", SUITE])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert main() == 130
        assert capsys.readouterr().err.startswith("interrupted: 0 suites, 100 sessions, ")


@pytest.mark.usefixtures("suites")
class TestProcess:
    """Commands in processes of their own, with a real disk and a real terminal."""

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_full_disk_is_an_error(self) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run([*COMMAND, "list", A], stdout=full, stderr=subprocess.PIPE, timeout=30, check=False)
        assert done.returncode == 7
        assert done.stderr.startswith(b"error: ")
        assert done.stderr.count(b"\n") == 1
