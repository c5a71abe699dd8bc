"""Makes the pictures of the README in `.github/pictures`, light and dark: a gate on a terminal, and the report.

Run it with `nox -s pictures`, which needs Chromium with its chromedriver. The terminal shows the suites of
`buddy-sessions serve`; the report those of `tests/helpers/team.py`.
"""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tty
from contextlib import suppress
from pathlib import Path

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from selenium import webdriver

from buddy_sessions.testing import FakeBuddy
from helpers.team import sync_team

PICTURES = Path(__file__).parents[1] / "pictures"
COMMANDS = [["gate", "acme/storefront/65OmRb8v", "217"]]
COLUMNS = 100
WINDOW = {"width": 1200, "height": 600, "deviceScaleFactor": 1, "mobile": False}
THEMES = {  # background, text, then black, red, green, yellow, blue, magenta, cyan, white
    "light": ("ffffff", "1f2328", "24292f cf222e 1a7f37 9a6700 0969da 8250df 1b7c83 6e7781"),
    "dark": ("0d1117", "e6edf3", "484f58 ff7b72 3fb950 d29922 58a6ff bc8cff 39c5cf 8b949e"),
}
# Without the font that Rich loads from another host, which browsers refuse inside a picture.
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
SVG = re.sub(r"(?s) *@font-face {{.*?}}\n", "", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", FONTS)


def run(*arguments: str) -> str:
    """Run a command on a terminal, and return what it prints there, with its colours."""
    controller, terminal = pty.openpty()
    tty.setraw(terminal)  # a line ends with \n
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "buddy_sessions", *arguments]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL, env=environment):  # noqa: S603 - this package
        os.close(terminal)
        printed = b""
        with suppress(OSError):  # the command has ended
            while chunk := os.read(controller, 65536):
                printed += chunk
    os.close(controller)
    return printed.decode()


def draw_terminal(printed: list[tuple[list[str], str]], theme: str) -> str:
    """Return a picture of commands and what they have printed."""
    background, text, colours = THEMES[theme]
    rgb = [tuple(bytes.fromhex(each)) for each in (background, text, *colours.split())]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="standard")
    for arguments, output in printed:
        console.print(Text.assemble(("$ ", "bold green"), shlex.join(["buddy-sessions", *arguments])))
        console.print(Text.from_ansi(output.rstrip()))
    return console.export_svg(title="", theme=TerminalTheme(*rgb[:2], rgb[2:]), code_format=SVG, unique_id=theme)


def photograph(page: Path, theme: str) -> bytes:
    """Return a picture of the first screen of a page."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for option in ("headless=new", "no-sandbox", "hide-scrollbars"):
        options.add_argument(f"--{option}")
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as browser:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", WINDOW)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(page.as_uri())
        return browser.get_screenshot_as_png()


async def main() -> None:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    async with FakeBuddy() as fake:
        fake.add_demo_suites()
        os.environ |= {"BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
        printed = [(arguments, await asyncio.to_thread(run, *arguments)) for arguments in COMMANDS]
    with tempfile.TemporaryDirectory() as folder:
        database, page = Path(folder, "sessions.db"), Path(folder, "report.html")
        await sync_team(database)
        await asyncio.to_thread(run, "report", "--db", str(database), "--max-age", "14d", "-o", str(page))
        for theme in THEMES:
            picture = PICTURES / f"gate-{theme}.svg"
            picture.write_text(draw_terminal(printed, theme), encoding="utf-8")
            (PICTURES / f"report-{theme}.png").write_bytes(photograph(page, theme))


asyncio.run(main())
