"""The exit codes of the command line, as its guide lists them: each of a real process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from buddy_sessions.cli.errors import ExitCode
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.command_line import COMMAND, Call

A = "acme/shop/a"
GUIDE = Path(__file__).parents[2] / "buddy_sessions" / "cli" / "README.md"

CASES = [
    (0, f"list {A}"),
    (0, f"failures {A}"),  # red, but without --exit-code
    (1, f"failures {A} --exit-code"),
    (2, "list"),
    (3, f"harvest {A} acme/shop/none"),
    (4, f"list {A} --token-is-wrong"),
    (5, f"flaky {A} --branch none"),
    (5, f"wait {A} --revision 0000000 --timeout 1s"),
    (6, f"wait {A} --revision feedbee --timeout 1s"),
    (7, "list acme/shop/none"),
    (130, f"list {A} --interrupted"),
]


@pytest.mark.parametrize(("code", "words"), CASES, ids=[f"{code} {words}" for code, words in CASES])
def test_exit_code(code: int, words: str, fake: FakeBuddy) -> None:
    suite = fake.add_suite("acme", "shop", "a")
    suite.create(cases=[{"name": "breaks", "status": "FAILED"}], revision="deadbeef")
    suite.create("fix", revision="feedbeef")
    arguments = words.split()
    event = arguments.pop() if arguments[-1] in {"--token-is-wrong", "--interrupted"} else ""
    environment = {**os.environ, **({"BUDDY_TOKEN": "wrong"} if event == "--token-is-wrong" else {})}
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if event == "--interrupted":
            fake.inject(Fault.hang(), times=9)
            fake.on_request = lambda _: process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, b"Traceback" in err) == (code, False)


def test_guide_and_help_list_all_exit_codes(call: Call) -> None:
    section = GUIDE.read_text(encoding="utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == [*ExitCode]
    listed = " ".join(re.split(r"[│\s]+", call("--help").out)).partition("Exit codes: ")[2]
    assert [int(code) for code in re.findall(r"\b(\d+) [a-z]", listed)] == [*ExitCode]
    assert {code for code, _ in CASES} == {*ExitCode}
