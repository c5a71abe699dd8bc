"""What all tests share."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import stamina
from hypothesis import HealthCheck, settings

from bench import Bench
from buddy_sessions.testing import FakeBuddy

settings.register_profile("default", deadline=None, report_multiple_bugs=False)
settings.register_profile(
    "long", deadline=None, max_examples=12_000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what the machine that it runs on is set up for."""
    for name in [name for name in os.environ if name.startswith("BUDDY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Retries come at once, as many as the code under test asks for."""
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture
async def fake() -> AsyncIterator[FakeBuddy]:
    async with FakeBuddy() as server:
        yield server


@pytest.fixture
def bench(
    no_waiting: None, record_property: Callable[[str, object], None], caplog: pytest.LogCaptureFixture
) -> Iterator[Bench]:
    with caplog.at_level(logging.DEBUG):
        yield Bench(record_property, caplog)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties += [("row", marker.args[0]) for marker in item.iter_markers("fault")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Where the cases of faults are what was run, print what was seen of each."""
    if config.getoption("markexpr") != "fault":
        return
    reports = [one for some in terminalreporter.stats.values() for one in some if getattr(one, "when", "") == "call"]
    lines: list[tuple[int, str, str]] = []
    for report in reports:
        seen = dict(report.user_properties)
        test, _, parameters = report.nodeid.rpartition("::")[2].partition("[")
        name = parameters.rstrip("]") if parameters[:1].isdigit() else test
        outcome = seen.get("outcome", report.outcome) if report.passed else "FAILED"
        outcome = re.sub(r"\s+", " ", re.sub(r"https?://\S+[^\s:]", "URL", outcome))
        text = f"{seen.get('hits', '-'):>5} {seen.get('seconds', report.duration):7.2f}  {outcome[:110]}"
        lines += [(value, name, text) for key, value in report.user_properties if key == "row"]
    terminalreporter.section("row, case, hits, seconds, outcome")
    for row, name, text in sorted(lines):
        terminalreporter.write_line(f"{row:2}  {name[:60]:60} {text}")
    missing = [str(row) for row in range(1, 31) if row not in {line[0] for line in lines}]
    terminalreporter.write_line(f"{len(lines)} cases; rows without a case: {', '.join(missing) or 'none'}")
