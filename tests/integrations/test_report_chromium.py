"""The page of `report` in a real browser: headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import served, sync_database

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="Chromium and its chromedriver are not on the PATH (Debian: chromium-driver)"
    ),
]

DESKTOP, PHONE = (1280, 900), (320, 640)
UNFOLD = """
document.querySelectorAll("details").forEach(it => it.open = true);
const visible = document.createElement("style");
visible.textContent = "* { content-visibility: visible !important }";  // otherwise, what does not fit is cut off
document.head.append(visible);
"""

CONTRASTS = """
const luminance = colour => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = element => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
};
return Object.fromEntries(
  ["h1", ".soft", "a", "a.bad", "summary", "caption", ".good", ".bad", ".mark.new", ".mark.flaky", "small", ".message",
   ".causes small"].map(selector => {
    const element = document.querySelector(selector);
    const ink = luminance(getComputedStyle(element).color), back = luminance(paper(element));
    return [selector, (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05)];
  }));
"""

FOCUSED = """
const element = document.activeElement, style = getComputedStyle(element);
return [element.outerHTML, element.tagName, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with suites that are newly red, still red, recovered and green, and with flaky tests."""
    with served(FakeBuddy()) as fake:
        for number in range(12):
            suite = fake.add_suite("acme", "shop", f"suite{number}", name=f"Suite {number}")
            add_history(suite, number)
        return write_page(tmp_path_factory.mktemp("report"), fake)


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on which every text of the server is long and has no space."""
    names = {"name": "n" * 150, "classname": "c" * 200, "type": "T" * 200}
    with served(FakeBuddy()) as fake:
        for name in ("s" * 60, "t" * 60):
            suite = fake.add_suite("w" * 40, "p" * 40, name)
            for number in range(24):
                suite.create(
                    "b" * 300 if number % 2 else "c" * 300,
                    cases=[{**names, "status": "FAILED", "message": "m" * 500}],
                    status="ERROR",
                    finish_date="2026-03-01T10:00:00Z",
                    duration=1e300 if number > 20 else 9e8,
                    error_message="e" * 500,
                    created_by={"name": "a" * 200},
                    revision="r" * 40,
                )
        return write_page(tmp_path_factory.mktemp("long"), fake)


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    with served(FakeBuddy()) as fake:
        for number in range(300):
            add_history(fake.add_suite("acme", "shop", f"suite{number}"), number, sessions=5)
        return write_page(tmp_path_factory.mktemp("large"), fake)


def add_history(suite: FakeSuite, number: int, *, sessions: int = 30) -> None:
    """Add a session every eight hours: of three suites, one is newly red, one still red, and one has recovered."""
    red = {0: range(1), 1: range(sessions // 2), 2: range(1, 3)}[number % 3]
    for index in reversed(range(sessions)):
        names = [f"test_{test}_of_the_suite" for test in range(8)] if index in red else []
        names += ["test_flaky"] if index in {0, 2} and number % 3 == 0 else []
        failures = [{"name": name, "status": "FAILED", "message": f"order {name} is lost"} for name in names]
        time = f"{datetime.now(UTC) - timedelta(hours=1 + 8 * index):%Y-%m-%dT%H:%M:%SZ}"
        suite.create("main", cases=[{"name": "test_passes"}, *failures], create_date=time, finish_date=time)
    suite.create("feature", status="ERROR")


def write_page(folder: Path, fake: FakeBuddy) -> str:
    """Write the report of all suites of a fake server; return its URL."""
    sync_database(fake, folder / "sessions.db", cases="failed")
    path = folder / "report.html"
    assert run(["report", "--db", str(folder / "sessions.db"), "-o", str(path)]) == 0
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


def show(browser: Any, page: str, size: tuple[int, int], *, dark: bool = False, medium: str = "screen") -> None:
    """Load the page again, with empty logs."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": [scheme]})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_fits_the_width_of_the_window(browser: Any, long_page: str, size: tuple[int, int]) -> None:
    show(browser, long_page, size)
    browser.execute_script(UNFOLD)
    width, window = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert window == size[0]
    assert width <= window


def test_tab_key_reaches_every_link_visibly(browser: Any, page: str) -> None:
    show(browser, page, DESKTOP)
    browser.execute_script("document.querySelectorAll('details').forEach(it => it.open = true)")
    expected = browser.execute_script("return [...document.querySelectorAll('a, summary')].map(it => it.outerHTML)")
    assert len(expected) > 80
    reached: list[str] = []
    keyboard = webdriver.ActionChains(browser)
    for _ in expected:
        keyboard.send_keys("\ue004").perform()  # Tab
        html, tag, outlined = browser.execute_script(FOCUSED)
        assert outlined, html
        assert tag in {"A", "SUMMARY"}
        reached.append(html)
    assert reached == expected


@pytest.mark.parametrize(
    ("dark", "medium", "paper"),
    [
        (False, "screen", "rgb(255, 255, 255)"),
        (True, "screen", "rgb(20, 23, 28)"),
        (True, "print", "rgb(255, 255, 255)"),
    ],
)
def test_contrast_of_every_text(browser: Any, page: str, *, dark: bool, medium: str, paper: str) -> None:
    """Only a dark screen gets a dark page."""
    show(browser, page, DESKTOP, dark=dark, medium=medium)
    browser.execute_script(UNFOLD)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == paper
    contrasts = browser.execute_script(CONTRASTS)
    assert {selector: it for selector, it in contrasts.items() if it < 4.5} == {}


def test_large_page_opens_in_two_seconds(browser: Any, large_page: str) -> None:
    """It loads no other file, and logs nothing."""
    show(browser, large_page, DESKTOP)
    milliseconds = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < milliseconds < 2000
    assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 0
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [it["params"]["request"]["url"] for it in events if it["method"] == "Network.requestWillBeSent"]
    assert requested == [large_page]
    assert browser.get_log("browser") == []
