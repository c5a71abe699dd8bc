"""Lines of progress in the log of a job."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from buddy_sessions.cli.render.console import Output
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.command_line import COMMAND

A = "acme/shop/a"


@pytest.mark.virtual_time
@pytest.mark.parametrize("quiet", [False, True])
async def test_log_gets_a_line_each_30_seconds(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with Output(stderr=True, quiet=quiet).progress() as show:
        await asyncio.sleep(29.1)
        for number in range(100):
            show(f"{number} of 100")
            await asyncio.sleep(0.5)
    expected = ["1 of 100 \u00b7 30s", "61 of 100 \u00b7 1m"]
    assert capsys.readouterr() == ("", "" if quiet else "".join(f"{line}\n" for line in expected))


@pytest.mark.slow
def test_commands_that_take_long_say_so(fake: FakeBuddy, tmp_path: Path) -> None:
    fake.add_suite(*A.split("/")).create("main")
    fake.inject(Fault.hang(), times=99)
    commands = {
        "harvest": (f"harvest {A}", "0 of 1 suite, 0 sessions, 0 requests \u00b7 30s"),
        "sync": (
            f"sync {A} --db {tmp_path / 'x.db'}",
            "0 of 1 suite, 0 new or changed sessions, 0 requests \u00b7 30s",
        ),
        "status": (f"status {A}", "reading 1 suite \u00b7 30s"),
        "list": (f"list {A}", "reading \u00b7 30s"),
        "gate": (f"gate {A} --revision f00df00", "waiting \u00b7 30s"),
        "wait": (f"wait {A} --branch main", f"waiting up to 30m for main of {A} \u00b7 30s"),
    }
    processes = {
        name: subprocess.Popen([*COMMAND, *words.split()], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for name, (words, _) in commands.items()
    }
    shown: dict[str, str] = {}
    for name, process in processes.items():
        assert process.stderr is not None
        with process, process.stderr:
            lines = [process.stderr.readline().decode() for _ in range(2 if name in {"gate", "wait"} else 1)]
            shown[name] = lines[-1]
            process.terminate()
    assert all(expected in shown[name] for name, (_, expected) in commands.items()), shown
