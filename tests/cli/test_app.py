"""Exit codes, help, and the program as other processes see it."""

from __future__ import annotations

import inspect
import json
import os
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


class TestExitCodes:
    @pytest.mark.usefixtures("fake")
    def test_unknown_suite_is_1(self, call: Call) -> None:
        code, out, err = call("list", SUITE)
        assert (code, out) == (1, "")
        assert "Suite not found" in err
        assert len(err.splitlines()) == 1

    def test_messages_of_the_server_are_escaped(self, fake: FakeBuddy, call: Call) -> None:
        fake.inject(Fault.status(404, body=json.dumps({"errors": [{"message": "a\x1b[2J\nb"}]}).encode()))
        assert call("list", SUITE).err.startswith("error: a\\x1b[2J b (404)")

    @pytest.mark.usefixtures("fake")
    def test_missing_token_is_2(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BUDDY_TOKEN")
        code, out, err = call("list", SUITE)
        assert (code, out) == (2, "")
        assert err.startswith("error: no token: set BUDDY_TOKEN")

    def test_wrong_token_is_4(self, fake: FakeBuddy, call: Call) -> None:
        fake.token = "another"
        code, _, err = call("suites", "acme/shop")
        assert code == 4
        assert "(401)" in err

    def test_missing_scope_is_4(self, fake: FakeBuddy, call: Call) -> None:
        fake.scopes = ()
        code, _, err = call("suites", "acme/shop")
        assert code == 4
        assert "UNIT_TEST_INFO" in err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["list"], "KEY"),
            (["list", SUITE, "--bogus"], "--bogus"),
            (["bogus"], "bogus"),
            (["list", SUITE, "--limit", "0"], "--limit"),
            (["list", SUITE, "--limit", "many"], "--limit"),
            (["list", SUITE, "--limit", "3", "--all"], "--limit"),
            (["list", SUITE, "--after", "-1"], "--after"),
            (["list", SUITE, "--since", "yesterday"], "--since: 'yesterday' is not a time: write 24h, 7d or 2w"),
            (["list", SUITE, "--json", "--format", "csv"], "--format csv and --json exclude each other"),
            (["suites", "acme/shop", "--json", "--format", "table"], "--json"),
            (["failures", SUITE, "--json", "--format", "junit"], "--json"),
            (["flaky", SUITE, "--json", "--format", "csv"], "--json"),
            (["slowest", SUITE, "--json", "--format", "csv"], "--json"),
            (["compare", SUITE, "1", "2", "--json", "--format", "csv"], "--json"),
            (["watch", SUITE, "--json", "--format", "csv"], "--json"),
            (["list", SUITE, "--per-page", "0"], "--per-page"),
            (["list", SUITE, "--format", "xml"], "--format"),
            (["list", SUITE, "--cursor", "somewhere"], "118@40"),
            (["serve", "--port", "65536"], "--port"),
        ],
    )
    def test_wrong_usage_is_2(
        self, arguments: list[str], message: str, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BUDDY_TOKEN", "any")
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert message in err
        assert len(err.splitlines()) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["list", SUITE, "--status", "x"], "Unknown option: --status"),
            (["list"], 'Command "list" parameter KEY requires an argument'),
            (["bogus"], "harvest, sync, ..."),
        ],
    )
    def test_reference_to_the_help_is_part_of_the_sentence(
        self, arguments: list[str], message: str, call: Call
    ) -> None:
        assert call(*arguments).err.endswith(f"{message} (see --help)\n")


class TestHelp:
    @pytest.mark.parametrize("command", [[], ["list"], ["list", "--help"]])
    def test_help_is_also_a_command(self, command: list[str], call: Call) -> None:
        assert call("help", *command) == call(*command, "--help")

    @pytest.mark.parametrize("command", ["list", "failures", "harvest", "export"])
    def test_apostrophe_before_a_formula_is_explained(self, command: str, call: Call) -> None:
        text = " ".join(call(command, "--help").out.replace("│", " ").split())
        assert "In csv, an apostrophe is put before text that looks like a formula." in text

    def test_origin_of_a_cursor_is_explained(self, call: Call) -> None:
        text = " ".join(call("list", "--help").out.replace("│", " ").split())
        assert "An interrupted list prints it; in Python, it is str(sessions.cursor)." in text

    def test_only_json_lines_begin_with_the_key(self, call: Call) -> None:
        text = " ".join(call("harvest", "--help").out.split())
        assert "Each row begins with the workspace, the project and the ID of the suite; in jsonl, with its key" in text

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

    @pytest.mark.parametrize("command", ["compare", "export", "failures", "flaky", "report", "watch"])
    def test_help_sets_no_background(self, command: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """Inline code would be shown on black, also on a light terminal."""
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        out = call(command, "--help").out
        assert "\x1b[" in out
        assert ";40m" not in out

    def test_text_is_wrapped_at_the_width_of_the_terminal(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        out = call("watch", "--help").out
        assert "A suite that fails later is reported once, and retried at longer intervals. It does not stop" in out
        assert "With -w and -p, SUITE_ID is enough, or no key for the project." in out

    def test_help_lists_the_exit_codes(self, call: Call) -> None:
        assert "4 not authorised" in " ".join(call("--help").out.split())

    @pytest.mark.parametrize("option", ["--version", "-V"])
    def test_version(self, option: str, call: Call) -> None:
        assert call(option) == (0, f"buddy-sessions {__version__}\n", "")


class TestMessages:
    @pytest.mark.usefixtures("fake")
    def test_message_is_wrapped_between_words_on_a_terminal(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """A URL is never divided, so that it can be copied."""
        message = call("list", SUITE).err
        terminal = use_terminal(monkeypatch, "stderr")
        assert run(["list", SUITE, "--quiet"]) == 1
        lines = terminal.getvalue().splitlines()
        url = message.split()[-1]
        assert (message.count("\n"), len(url) > 80) == (1, True)
        assert " ".join(map(str.strip, lines)) == message.strip()
        assert [line.strip() for line in lines if len(line.rstrip()) > 80] == [url]

    def test_width_of_the_terminal_is_unknown(self, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
        fake.add_suite(*SUITE.split("/")).populate(3)
        out, err = (use_terminal(monkeypatch, name, dumb=False) for name in ("stdout", "stderr"))
        monkeypatch.setenv("COLUMNS", "0")
        assert run(["list", SUITE]) == 0
        assert SUITE in out.getvalue()
        assert len(out.getvalue().splitlines()) == 1 + 1 + 3  # the title, the header, the sessions
        assert "3 sessions, 1 request" in err.getvalue()


class TestCompletion:
    @pytest.mark.parametrize(
        "shell", ["bash", pytest.param("zsh", marks=pytest.mark.slow), pytest.param("fish", marks=pytest.mark.slow)]
    )
    def test_script_is_installed(self, shell: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))  # of the file that loads the script at the start of the shell
        script = tmp_path / "completions" / "script"
        code, out, err = call("--install-completion", "--shell", shell, "--output", str(script))
        assert (code, str(script) in out, err) == (0, True, "")
        assert "--branch" in script.read_text()
        assert "--install-completion" in call("--help").out

    @pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
    def test_bash_completes_options(self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        script = tmp_path / "script"
        assert call("--install-completion", "--shell", "bash", "--output", str(script)).code == 0
        commands = """
            source "$1"
            COMP_WORDS=(buddy-sessions list KEY --br) COMP_CWORD=3
            _buddy_sessions
            echo "${COMPREPLY[@]}"
        """
        shown = subprocess.check_output(["bash", "-c", commands, "bash", str(script)], text=True, timeout=30)
        assert shown == "--branch\n"


@pytest.mark.usefixtures("suites")
class TestJson:
    @pytest.mark.parametrize(
        ("arguments", "count"),
        [
            (["list", A, "--limit", "2"], 2),
            (["suites", "acme/shop"], 2),
            (["harvest", B], 3),
            (["failures", B], None),
            (["flaky", B], None),
            (["slowest", B, "--limit", "1"], 1),
            (["compare", B, "1", "2"], None),
        ],
    )
    def test_json_lines_are_printed_on_a_terminal(
        self, arguments: list[str], count: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = use_terminal(monkeypatch, "stdout", dumb=False)
        assert run([*arguments, "--json"]) == 0
        keys = [row["key"] for row in rows(terminal.getvalue())]
        assert set(keys) <= {A, B}
        if count is not None:
            assert len(keys) == count


@pytest.mark.usefixtures("suites")
class TestQuiet:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["list", A, "--limit", "2"],
            ["suites", "acme/shop"],
            ["failures", B],
            ["slowest", B, "--limit", "1"],
            ["harvest", "acme/shop"],
            ["harvest", "acme/shop", "--out", "out.jsonl"],
            ["sync", "acme/shop", "--db", "out.db"],
        ],
    )
    def test_only_data_is_printed(self, arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        shown, messages = (use_terminal(monkeypatch, name, dumb=False) for name in ("stdout", "stderr"))
        assert run([*arguments, "-q"]) == 0
        assert (bool(shown.getvalue()), messages.getvalue()) == ("--out" not in arguments, "")

    def test_errors_are_printed(self, call: Call, tmp_path: Path) -> None:
        path = tmp_path / "out.jsonl"
        code, _, err = call("harvest", B, "acme/shop/none", "--out", str(path), "--quiet")
        assert (code, len(err.splitlines())) == (3, 1)
        assert err.startswith("failed: acme/shop/none: Suite not found (404)")
        path.write_text("old")
        note, _ = call("harvest", B, "acme/shop/none", "--out", str(path), "-q").err.splitlines()
        assert note.startswith(f"{path} is unchanged: ")
        assert call("list", "acme/shop/none", "-q").err.startswith("error: Suite not found (404)")


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

    def test_other_missing_module_is_raised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in [module for module in sys.modules if module.startswith("buddy_sessions.cli")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, "cyclopts.types", None)
        with pytest.raises(ModuleNotFoundError):
            main()

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

    def test_module_runs_main(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["buddy_sessions", "--version"])
        # Like `runpy`, which rejects a module that is already imported.
        file = Path(inspect.getfile(main))
        with pytest.raises(SystemExit, match="0"):
            exec(compile(file.read_text(), file, "exec"), {"__name__": "__main__", "__package__": "buddy_sessions"})
        assert capsys.readouterr().out == f"buddy-sessions {__version__}\n"


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

    def test_reader_that_leaves_is_not_an_error(self, environment: dict[str, str]) -> None:
        with subprocess.Popen(
            [*COMMAND, "list", SUITE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert b"rror" not in process.stderr.read()
            assert process.wait(30) == 0

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
        assert done.returncode == 1
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
