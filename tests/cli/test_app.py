"""Exit codes, help, and the program as other processes see it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

from buddy_sessions import __version__
from buddy_sessions.__main__ import main
from buddy_sessions.cli.app import app
from buddy_sessions.cli.errors import ExitCode
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, closed_pipe, interrupt_at_request

A = "acme/shop/a"
ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "buddy_sessions" / "cli" / "README.md"
HELP = GUIDE.with_name("HELP.md")

COMMANDS = re.findall(r"^\| \[`(\w+)`\]\(HELP\.md#\1\)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
"""Those that the guide lists."""
CASES = [
    (0, f"list {A}"),
    (0, f"failures {A}"),  # red, but without --exit-code
    (1, f"failures {A} --exit-code"),
    (2, "list"),
    (3, f"harvest {A} acme/shop/none"),
    (4, f"list {A} --token-is-wrong"),
    (5, f"flaky {A} --branch none"),
    (5, f"wait {A} --revision 0000000 --timeout 0.1s"),
    (6, f"wait {A} --revision feedbee --timeout 0.1s"),
    (7, "list acme/shop/none"),
    (130, f"list {A} --interrupted"),
]


@pytest.mark.parametrize(("code", "words"), CASES, ids=[f"{code} {words}" for code, words in CASES])
def test_exit_code(code: int, words: str, fake: FakeBuddy, call: Call) -> None:
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(cases=[{"name": "breaks", "status": "FAILED"}], revision="deadbeef")
    suite.create("fix", revision="feedbeef")
    arguments = words.split()
    event = arguments.pop() if arguments[-1] in {"--token-is-wrong", "--interrupted"} else ""
    if event == "--token-is-wrong":
        fake.token = "another"
    elif event == "--interrupted":
        interrupt_at_request(fake, 1)
    assert call(*arguments).code == code


def test_guide_lists_all_commands_in_order() -> None:
    assert [name for name in app if not name.startswith("-")] == COMMANDS


def test_guide_and_help_list_all_exit_codes(call: Call) -> None:
    section = GUIDE.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == [*ExitCode]
    listed = " ".join(re.split(r"[│\s]+", call("--help").out)).partition("Exit codes: ")[2].partition("Commands")[0]
    assert [int(code) for code in re.findall(r"\b(\d+) [a-z]", listed)] == [*ExitCode]
    assert {code for code, _ in CASES} == {*ExitCode}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples(command: str, call: Call) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: buddy-sessions {command}")
    assert f"buddy-sessions {command}" in out.partition(" \u2022 ")[2]
    assert max(map(len, out.splitlines())) <= 80


def test_page_of_help_is_what_the_commands_print(tmp_path: Path) -> None:
    """`nox -s help` writes it."""
    expected, _, last_line = HELP.read_text(encoding="utf-8").rpartition("<!-- ")
    used, installed = re.findall(r"cyclopts ([\d.]*\d)", last_line)[0], metadata.version("cyclopts")
    if Version(installed) < Version(used):
        pytest.skip(f"cyclopts {installed} is older than {used}, which wrote the page, and may write it differently")
    page = tmp_path / "HELP.md"
    subprocess.run([sys.executable, ROOT / ".github" / "site" / "help.py", page], check=True)
    assert page.read_text(encoding="utf-8").rpartition("<!-- ")[0] == expected, "run: nox -s help"


def test_version(call: Call) -> None:
    assert call("--version") == call("-V") == (0, f"buddy-sessions {__version__}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_no_start_up_file_runs(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert call("--install-completion", "--shell", shell).code == 0
    (script,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "branch" in script.read_text()
    if shell == "bash" and shutil.which("bash"):
        commands = f"""
            source {script}
            COMP_WORDS=(buddy-sessions list KEY --br) COMP_CWORD=3
            _buddy_sessions
            echo "${{COMPREPLY[@]}}"
        """
        assert subprocess.check_output(["bash", "-c", commands], text=True, timeout=120) == "--branch\n"


NOT_INSTALLED = """
import sys

class NotInstalled:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, NotInstalled())
from buddy_sessions.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("name", ["cyclopts", "rich"])
def test_missing_extra_is_2(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", NOT_INSTALLED, name], capture_output=True, text=True, check=False)
    message = f"error: {name} is not installed; run: pip install 'buddy_sessions[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_closed_pipe_is_not_flushed_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "argv", ["buddy-sessions", "--version"])
        stream.write("something left")
        assert main() == 0
        stream.flush()
