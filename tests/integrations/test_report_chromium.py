"""The page of `report` in a real browser: headless Chromium, with the 300 suites of a team."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import served, sync_database
from helpers.team import sync_team

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="Chromium and its chromedriver are not on the PATH (Debian: chromium-driver)"
    ),
]

DESKTOP, TABLET, PHONE, SMALL_PHONE = (1280, 800), (800, 600), (390, 844), (320, 640)
A4 = (794, 1123)
OPTIONS = (
    *("headless=new", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync"),
)
UNFOLD = """
document.querySelectorAll("details").forEach(it => it.open = true);
return [document.scrollingElement.scrollWidth, innerWidth];
"""
CONTRASTS = """
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const luminance = colour => {
  const [r, g, b] = numbers(colour).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = element => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if ((numbers(colour)[3] ?? 1) !== 0) return colour;
  }
};
const ratio = (colour, element) => {
  const [ink, back] = [luminance(colour), luminance(paper(element))];
  return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
};
const low = [];
const add = (kind, element, colour, limit) => {
  if (ratio(colour, element) < limit) low.push([kind, element.outerHTML.slice(0, 120), ratio(colour, element)]);
};
for (const element of document.querySelectorAll("body *")) {
  const style = getComputedStyle(element);
  const isText = [...element.childNodes].some(it => it.nodeType === 3 && it.textContent.trim());
  if (isText && element.tagName !== "SCRIPT") add("text", element, style.color, 4.5);
  if (element.tagName === "path" && !element.matches(".o")) add("mark", element, style.stroke, 3);
}
return low;
"""
ROWS = (
    'return [...document.querySelectorAll(".project .row")].filter(it => it.checkVisibility()).map(it => it.innerText)'
)
SMALL_TARGETS = """
document.querySelectorAll("details").forEach(it => it.open = true);
return [...document.querySelectorAll("summary, a.c" + (innerWidth < 500 ? ", .key a" : ""))]
  .filter(it => it.checkVisibility() && it.getBoundingClientRect().height < 24).map(it => it.outerHTML);
"""
CAUSES = 'return [...document.querySelectorAll(".cause")].filter(it => it.checkVisibility()).length'
CUT = 'return [...document.querySelectorAll(".msg")].filter(it => it.scrollHeight > it.clientHeight).length'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("team")
    asyncio.run(sync_team(folder / "sessions.db"))
    return write_page(folder, "--max-age", "14d")


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on which every text of the server is long and has no space."""
    folder = tmp_path_factory.mktemp("long")
    names = {"name": "n" * 150, "classname": "c" * 200, "type": "T" * 200}
    with served(FakeBuddy()) as fake:
        for number in range(40):
            suite = fake.add_suite("w" * 40, "p" * 39 + str(number % 9), "s" * 59 + str(number), name="S" * 200)
            for hours in (50, 40, 5):
                iso = f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
                is_red = hours == 5 or number % 2
                case = {**names, "status": "FAILED", "message": f"{number % 4}{'m' * 500}"}
                fields: dict[str, Any] = {"created_by": {"name": "a" * 200}, "error_message": "e" * 500}
                cases = [case] if number % 3 else []
                suite.create("main", "ERROR" if is_red else "SUCCESSFUL", cases=cases, finish_date=iso, **fields)
        sync_database(fake, folder / "sessions.db", cases="failed")
    return write_page(folder)


@pytest.fixture(scope="module")
def folded_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of 40 suites with a cause each, half of which are new."""
    folder = tmp_path_factory.mktemp("folded")
    with served(FakeBuddy()) as fake:
        for number in range(40):
            suite = fake.add_suite("acme", "shop", f"s{number}")
            case = {"name": "pays", "status": "FAILED", "message": f"{chr(97 + number % 26) * (1 + number)} is lost"}
            for hours, cases in ((60, []), (5 if number % 2 else 50, [case])):
                iso = f"{datetime.now(UTC) - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
                suite.create("main", "ERROR" if cases else "SUCCESSFUL", cases=cases, finish_date=iso)
        sync_database(fake, folder / "sessions.db", cases="failed")
    return write_page(folder)


def write_page(folder: Path, *options: str) -> str:
    """Write the report of a database; return its URL."""
    path = folder / "report.html"
    assert run(["report", "--db", str(folder / "sessions.db"), "-o", str(path), *options]) == 0
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in (*OPTIONS, f"user-data-dir={tmp_path_factory.mktemp('user')}"):
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


@pytest.mark.parametrize("size", [DESKTOP, TABLET, PHONE, SMALL_PHONE], ids=["desktop", "tablet", "phone", "small"])
def test_nothing_is_wider_than_the_window(browser: Any, page: str, long_page: str, size: tuple[int, int]) -> None:
    for each in (page, long_page):
        show(browser, each, size)
        width, window = browser.execute_script(UNFOLD)
        assert window == size[0]
        assert width <= window


def test_filter_shows_the_suites_with_all_words(browser: Any, page: str) -> None:
    show(browser, page, PHONE)
    assert len(browser.execute_script(ROWS)) == 42, "on a phone, those that are not red are folded"
    field = browser.find_element("id", "q")
    field.send_keys("shipping red")
    assert [row.split("\n")[0] for row in browser.execute_script(ROWS)] == ["Integration tests", "Migrations"]
    assert browser.find_element("css selector", "output").text == "2 of 300"
    field.clear()
    field.send_keys("recovered acc")
    assert browser.execute_script(ROWS) == []
    field.clear()
    field.send_keys("wójcik search")
    assert [row.split("\n")[0] for row in browser.execute_script(ROWS)] == ["Integration tests"], "her commit broke it"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_small_targets_are_easy_to_hit(browser: Any, page: str, size: tuple[int, int]) -> None:
    """What folds, and the letters of causes, are as high as WCAG's minimum; on a phone, the key, too."""
    show(browser, page, size)
    assert browser.execute_script(SMALL_TARGETS) == []


def test_print_shows_all_causes(browser: Any, folded_page: str) -> None:
    """With their whole messages."""
    show(browser, folded_page, A4)
    assert browser.execute_script(CAUSES) == 20, "8 new ones, and 12 of the others"
    assert browser.execute_script(CUT) > 0
    show(browser, folded_page, A4, medium="print")
    assert (browser.execute_script(CAUSES), browser.execute_script(CUT)) == (40, 0)


def test_print_folds_suites_that_are_not_red(browser: Any, page: str) -> None:
    show(browser, page, A4, medium="print")
    assert len(browser.execute_script(ROWS)) == 42


def test_without_script_everything_is_readable(browser: Any, page: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page, DESKTOP)
        assert not browser.find_element("id", "q").is_displayed()
        assert len(browser.execute_script(ROWS)) == 300
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize(
    ("dark", "medium", "paper"),
    [
        (False, "screen", "rgb(255, 255, 255)"),
        (True, "screen", "rgb(20, 23, 28)"),
        (True, "print", "rgb(255, 255, 255)"),
    ],
)
def test_contrast_of_every_text_and_mark(browser: Any, page: str, *, dark: bool, medium: str, paper: str) -> None:
    """Only a dark screen gets a dark page."""
    show(browser, page, DESKTOP, dark=dark, medium=medium)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == paper
    assert browser.execute_script(CONTRASTS) == []


def test_page_opens_in_two_seconds(browser: Any, page: str) -> None:
    """It loads no other file, and logs nothing: the policy allows its script."""
    show(browser, page, DESKTOP)
    milliseconds = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < milliseconds < 2000
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [it["params"]["request"]["url"] for it in events if it["method"] == "Network.requestWillBeSent"]
    assert requested == [page]
    assert browser.get_log("browser") == []
