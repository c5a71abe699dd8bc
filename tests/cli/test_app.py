"""Help, and the program as other processes see it."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from buddy_sessions import __version__
from buddy_sessions.__main__ import main
from buddy_sessions.cli.app import app
from buddy_sessions.cli.errors import ExitCode
from helpers.command_line import Call, closed_pipe

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "buddy_sessions" / "cli" / "README.md"

COMMANDS = [name for name in app if not name.startswith("-")]


def test_guide_begins_with_the_groups_of_help(call: Call) -> None:
    begin = GUIDE.read_text(encoding="utf-8").partition("\n## ")[0].partition("| --- |")[2]
    rows = {title: names for _, title, names, _ in (line.split("|") for line in begin.splitlines()[1:])}
    panels = re.findall(r"^╭─ (.+?) ─+╮\n((?:│.*\n)+)", call("--help").out, re.MULTILINE)
    listed = {title: re.findall(r"^│ ([a-z]+) ", lines, re.MULTILINE) for title, lines in panels}
    assert listed == {title.strip(): re.findall(r"`(\w+)`", names) for title, names in rows.items()} | {"Options": []}


def test_guide_and_help_list_all_exit_codes(call: Call) -> None:
    section = GUIDE.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == [*ExitCode]
    listed = " ".join(re.split(r"[│\s]+", call("--help").out)).partition("Exit codes: ")[2].partition("╭")[0]
    assert [int(code) for code in re.findall(r"\b(\d+) [a-z]", listed)] == [*ExitCode]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples(command: str, call: Call) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: buddy-sessions {command}")
    assert "ARGS" not in out
    assert f"buddy-sessions {command}" in out.partition(" \u2022 ")[2]
    assert max(map(len, out.splitlines())) <= 80
    assert not re.findall(r"--\S+ (?:STR|INT|CHOICE|FLOAT|PATH|TIMEDELTA|DATETIME)\b", out)


def test_help_is_as_wide_as_columns_says(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, too."""
    monkeypatch.setenv("COLUMNS", "120")
    assert max(map(len, call("gate", "--help").out.splitlines())) > 100


def test_page_of_the_site_has_the_help_of_every_command() -> None:
    page = runpy.run_path(str(ROOT / ".github" / "site" / "help.py"))["help_page"]()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE)[: len(COMMANDS)] == COMMANDS


def test_version(call: Call) -> None:
    assert call("--version") == call("-V") == (0, f"buddy-sessions {__version__}\n", "")


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
    message = f"error: {name} is not installed: run pip install '.[cli]' in the clone of buddy_sessions\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_closed_pipe_is_not_flushed_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "argv", ["buddy-sessions", "--version"])
        stream.write("something left")
        assert main() == 0
        stream.flush()
