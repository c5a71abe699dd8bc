"""The page of `report` in a real browser: headless Chromium."""

from __future__ import annotations

import json
import os
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

DESKTOP, PHONE, SMALL = (1280, 900), (390, 844), (320, 640)
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
  ["h1", ".note", "a", "summary", "caption", "span.good", "span.bad", "span.other", "small", "dt", "svg text",
   ".row summary", ".message"].map(selector => {
    const element = document.querySelector(selector), style = getComputedStyle(element);
    const ink = luminance(selector === "svg text" ? style.fill : style.color), back = luminance(paper(element));
    return [selector, (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05)];
  }));
"""

BROKEN_NUMBERS = """
const unit = " %|ms|(m|h|d)[0-9]{2}(s|m|h)|s| [A-Z][a-z]{2} [0-9]{4}| of [0-9,]+"
  + "| (more|failed|skipped|with errors|(test|suite|session)s?)";
const withUnit = new RegExp(`[<>+\u2212#]?[0-9][0-9.,:]*(e\\\\+[0-9]+)?(${unit})?`, "g");
const ours = "header p, .note, caption, dl, .n, .nowrap, time, td small, summary";
const broken = [];
let found = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode());) {
  const parent = node.parentElement;
  if (!parent.closest(ours) || parent.closest("h2, h3, .message") || !parent.checkVisibility()) continue;
  for (const match of node.data.matchAll(withUnit)) {
    const range = document.createRange();
    range.setStart(node, match.index);
    range.setEnd(node, match.index + match[0].length);
    const lines = new Set([...range.getClientRects()].map(it => Math.round(it.top)));
    found += 1;
    if (lines.size > 1) broken.push(match[0]);
  }
}
return [found, broken];
"""

FOCUSED = """
const element = document.activeElement, style = getComputedStyle(element);
return [element.outerHTML, element.tagName, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    database = tmp_path_factory.mktemp("report") / "sessions.db"
    create_demo_database(database, cases="failed")
    path = database.with_name("report.html")
    assert run(["report", "--db", str(database), "-o", str(path)]) == 0
    return path.as_uri()


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on which every text of the server is long and has no space."""
    folder = tmp_path_factory.mktemp("long")
    with served(FakeBuddy()) as fake:
        for name in ("s" * 60, "t" * 60):
            suite = fake.add_suite("w" * 40, "p" * 40, name)
            for number in range(24):
                suite.create(
                    branch="b" * 300 if number % 2 else "c" * 300,
                    status="ERROR" if number < 20 else "N" * 100,
                    finish_date="2026-03-01T10:00:00Z",
                    create_date=f"2026-03-{number + 1:02}T10:00:00Z",
                    duration=1e300 if number == 23 else 9e8 if number > 12 else 4e8,
                    tests_count=2**62 if number > 20 else 9 * 10**8 if number > 12 else 4 * 10**8,
                    failed_count=2**62,
                    error_message="e" * 500,
                    created_by={"name": "a" * 200},
                )
        sync_database(fake, folder / "sessions.db")
    path = folder / "report.html"
    assert run(["report", "--db", str(folder / "sessions.db"), "-o", str(path)]) == 0
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


def test_page_loads_no_other_file_and_logs_nothing(browser: Any, page: str) -> None:
    show(browser, page, DESKTOP)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [it["params"]["request"]["url"] for it in events if it["method"] == "Network.requestWillBeSent"]
    assert requested == [page]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE, SMALL], ids=["desktop", "phone", "small"])
@pytest.mark.parametrize("which", ["page", "long_page", "page_with_cases"])
def test_page_fits_the_width_of_the_window(
    which: str, size: tuple[int, int], browser: Any, request: pytest.FixtureRequest
) -> None:
    show(browser, request.getfixturevalue(which), size)
    browser.execute_script(UNFOLD)
    width, window = browser.execute_script("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert window == size[0]
    assert width <= window


@pytest.mark.parametrize("size", [PHONE, SMALL], ids=["phone", "small"])
@pytest.mark.parametrize("which", ["page", "long_page", "page_with_cases"])
def test_no_number_is_broken_across_lines(
    which: str, size: tuple[int, int], browser: Any, request: pytest.FixtureRequest
) -> None:
    show(browser, request.getfixturevalue(which), size)
    browser.execute_script(UNFOLD)
    found, broken = browser.execute_script(BROKEN_NUMBERS)
    assert found > 90
    assert broken == []


def test_message_of_a_failure_has_two_lines_at_most(browser: Any, page_with_cases: str) -> None:
    show(browser, page_with_cases, SMALL)
    lines = browser.execute_script("""
        return [...document.querySelectorAll(".message")].map(
          it => Math.round(it.clientHeight / parseFloat(getComputedStyle(it).lineHeight)));
    """)
    assert {*lines} == {2}


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


def test_link_in_the_overview_leads_to_its_section(browser: Any, page: str) -> None:
    show(browser, page, PHONE)
    browser.execute_script("document.querySelector('tbody a').focus()")
    webdriver.ActionChains(browser).send_keys("\ue007").perform()  # Enter
    top = "return document.querySelector(':target').getBoundingClientRect().top"
    assert abs(browser.execute_script(top)) < 1
    assert browser.execute_script("return document.querySelector(':target').matches('section.suite')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast_of_every_text(browser: Any, page: str, *, dark: bool) -> None:
    show(browser, page, DESKTOP, dark=dark)
    browser.execute_script(UNFOLD)
    contrasts = browser.execute_script(CONTRASTS)
    assert {selector: it for selector, it in contrasts.items() if it < 4.5} == {}


def test_dark_mode_is_dark(browser: Any, page: str) -> None:
    grounds = []
    for dark in (False, True):
        show(browser, page, DESKTOP, dark=dark)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]


def test_accessibility_tree_names_charts_tables_and_headings(browser: Any, page: str) -> None:
    """It contains the suites that are not laid out, too."""
    browser.execute_cdp_cmd("Accessibility.enable", {})
    show(browser, page, DESKTOP)
    browser.execute_script("document.querySelectorAll('details').forEach(it => it.open = true)")
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        if not node["ignored"]
    ]
    browser.execute_cdp_cmd("Accessibility.disable", {})
    charts = [name for role, name in nodes if role == "image"]
    assert len(charts) >= 8
    assert all(name.startswith(("Pass rate per ", "Median duration per ")) for name in charts)
    assert all(name for role, name in nodes if role in {"table", "heading", "link", "columnheader", "rowheader"})
    assert ("main", "") in nodes
    assert ("heading", "All suites") in nodes


def test_suites_off_the_screen_are_not_laid_out(browser: Any, large_page: str) -> None:
    show(browser, large_page, DESKTOP)
    unfolded, skipped = browser.execute_script("""
        const suites = [...document.querySelectorAll(".suite .facts")];
        return [suites.length, suites.filter(it => !it.checkVisibility({contentVisibilityAuto: true})).length];
    """)
    assert unfolded > 10
    assert skipped > unfolded - 5
    assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 0
    milliseconds = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < milliseconds < 2000


def test_suite_that_is_not_failing_can_be_unfolded(browser: Any, page: str) -> None:
    show(browser, page, PHONE)
    is_shown = "return document.querySelector('.row .facts').checkVisibility()"
    browser.execute_script("document.querySelector('summary').focus()")
    keyboard = webdriver.ActionChains(browser)
    keyboard.send_keys("\ue007").perform()  # Enter
    assert browser.execute_script(is_shown) is False
    keyboard.send_keys("\ue004").send_keys("\ue007").perform()  # Tab, Enter
    assert browser.execute_script(is_shown) is True


def test_printed_page_is_light_and_folded(browser: Any, page: str) -> None:
    show(browser, page, DESKTOP, dark=True)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.execute_script("return document.querySelector('.suite .facts').checkVisibility()") is True
    assert browser.execute_script("return document.querySelector('.suite .numbers').checkVisibility()") is False
    assert browser.execute_script("return document.querySelector('.row .facts').checkVisibility()") is False
