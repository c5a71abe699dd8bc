"""Runs the recipes as programs of their own, as a user does who has copied and edited them."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Result

RECIPES = Path(__file__).parents[1] / "integrations" / "recipes"
TIMEOUT = 280  # seconds: several programs may start at once


def copy_recipe(name: str, folder: Path, **constants: object) -> Path:
    """Copy a recipe to a folder, and set the constants at its top. Return the copy."""
    text = (RECIPES / f"{name}.py").read_text(encoding="utf-8")
    for constant, value in constants.items():
        text, count = re.subn(rf"(?m)^{constant} = .*", f"{constant} = {value!r}", text)
        assert count == 1
    copy = folder / f"{name}.py"
    copy.write_text(text, encoding="utf-8")
    return copy


@asynccontextmanager
async def running(
    fake: FakeBuddy, folder: Path, *command: str | Path, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Python in a folder, with a fake Buddy; kill it and its processes if it has not ended with the block."""
    buddy = {"BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **buddy, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        # A shell makes its background jobs ignore Ctrl-C, and so would the program if the tests run in one.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


async def finish(process: asyncio.subprocess.Process) -> Result:
    """Wait until a program ends, and return what it has written."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


async def run_program(fake: FakeBuddy, folder: Path, *command: str | Path, **environment: str) -> Result:
    """Run Python in a folder until it ends."""
    async with running(fake, folder, *command, **environment) as process:
        return await finish(process)


def run_until_killed(recipe: Path, cpu_seconds: float, environment: dict[str, str]) -> None:
    """Run a recipe in this process, in its folder. The process is killed after so many seconds of its own work."""
    os.chdir(recipe.parent)
    os.environ.update(environment)
    signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    runpy.run_path(str(recipe), run_name="__main__")
