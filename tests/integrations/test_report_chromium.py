"""The page of `report` in a real browser: headless Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import create_demo_database, served, sync_database
from helpers.large_database import create_large_database

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="Chromium and its chromedriver are not on the PATH (Debian: chromium-driver)"
    ),
]

DESKTOP, PHONE = (1280, 900), (390, 844)
UNFOLD = """
document.querySelectorAll("details").forEach(it => it.open = true);
const visible = document.createElement("style");
visible.textContent = "* { content-visibility: visible !important }";  // otherwise, what does not fit is cut off
document.head.append(visible);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    database = tmp_path_factory.mktemp("report") / "sessions.db"
    create_demo_database(database, cases="failed")
    path = database.with_name("report.html")
    assert run(["report", "--db", str(database), "-o", str(path)]) == 0
    return path.as_uri()


@pytest.fixture(scope="module")
def page_with_cases(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with failing, flaky and slow tests, some of whose texts are long and have no space."""
    folder = tmp_path_factory.mktemp("cases")
    with served(FakeBuddy()) as fake:
        suite = fake.add_suite("acme", "shop", "MNbyVedg")
        for number in range(1, 12):
            status = {"status": "FAILED", "message": "m" * 300} if number % 2 else {"status": "PASSED"}
            cases = [
                {"name": "n" * 150 if index else "short_name", "classname": "c" * index, "time": 4000 * index, **status}
                for index in range(30)
            ]
            date = f"2026-03-{number:02}T10:00:00Z"
            suite.create(cases=cases, create_date=date, finish_date=date)
        sync_database(fake, folder / "sessions.db", cases="all")
    path = folder / "report.html"
    assert run(["report", "--db", str(folder / "sessions.db"), "-o", str(path)]) == 0
    return path.as_uri()


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    database = tmp_path_factory.mktemp("large") / "sessions.db"
    create_large_database(database, suites=200, sessions=15)
    path = database.with_name("report.html")
    assert run(["report", "--db", str(database), "-o", str(path)]) == 0
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in ("headless=new", "disable-gpu", "no-first-run", f"user-data-dir={tmp_path_factory.mktemp('user')}"):
        options.add_argument(f"--{argument}")
    if hasattr(os, "geteuid") and not os.geteuid():
        options.add_argument("--no-sandbox")  # Chromium has no sandbox for root
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser: Any, page: str, size: tuple[int, int], *, dark: bool = False) -> None:
    """Load the page again, with empty logs."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page)


def test_large_page_opens_in_two_seconds_and_loads_nothing_else(browser: Any, large_page: str) -> None:
    show(browser, large_page, DESKTOP)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [it["params"]["request"]["url"] for it in events if it["method"] == "Network.requestWillBeSent"]
    assert requested == [large_page]
    assert browser.get_log("browser") == []
    milliseconds = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < milliseconds < 2000


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("which", ["page", "page_with_cases"])
def test_page_fits_the_width_of_the_window(
    which: str, size: tuple[int, int], dark: bool, browser: Any, request: pytest.FixtureRequest
) -> None:
    show(browser, request.getfixturevalue(which), size, dark=dark)
    browser.execute_script(UNFOLD)
    width, window = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert window == size[0]
    assert width <= window
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) < 60) == dark
