"""A team with 300 suites in 20 projects: 42 are red for 10 causes, 8 of them since yesterday.

Run it to look at their report: `PYTHONPATH=tests python tests/helpers/team.py FILE.db`.
"""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any, NamedTuple

from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite
from buddy_sessions.testing.random_history import Runner

JEST = ("admin-panel", "design-system", "storefront", "web-frontend")
PYTEST = (
    *("accounts", "analytics", "billing", "catalog", "data-pipeline", "gateway", "identity", "inventory"),
    *("mobile-api", "notifications", "payments", "pricing", "recommendations", "reporting", "search", "shipping"),
)
JEST_SUITES = (
    *("Unit tests", "Components", "Hooks", "Visual snapshots", "E2E chromium", "E2E firefox", "E2E webkit"),
    *("Accessibility", "i18n", "Checkout flow", "Login flow", "Cart flow", "Node 22", "Node 24", "Storybook"),
)
PYTEST_SUITES = (
    *("Unit tests", "Integration tests", "API tests", "Contract tests", "Workers", "Migrations", "Smoke tests"),
    *("Python 3.12", "Python 3.13", "Slow tests", "Security", "CLI", "Docs examples", "Property tests", "E2E"),
)
PEOPLE = ("Ann Kowalska", "Marek Wójcik", "Priya Raman", "Lucía Fernández", "Jonas Weber", "Chen Wei", "Olu Adeyemi")
RUNNERS: tuple[Runner, Runner] = ("pytest", "jest")
CLASSES = ("CartTest", "OrderTest", "UserTest", "StockTest", "MailTest", "PriceTest", "JobTest")
TESTS = ("adds tax", "rejects an empty cart", "sums items", "keeps the currency", "expires", "sorts by date", "retries")


class Red(NamedTuple):
    """A red suite: which cause it has, since how many hours, and how many tests fail."""

    type: str | None
    message: str
    hours: float
    author: str | None
    tests: int


CAUSES = {
    Red("TypeError", "unsupported operand type(s) for +: 'NoneType' and 'int'", 3.1, "Ann Kowalska", 3): {
        "payments": "Unit tests, Integration tests, API tests",
        "billing": "Unit tests, Workers",
    },
    Red("ConnectionRefusedError", "[Errno 111] Connection refused: localhost:5432", 9.3, "Marek Wójcik", 5): {
        "search": "Integration tests"
    },
    Red("TypeError", "Cannot read properties of undefined (reading 'currency')", 14.2, None, 7): {
        "web-frontend": "Checkout flow"
    },
    Red(
        None,
        "exit code 137: the container was stopped, because it used more than 4 GB of memory",
        20.4,
        "Priya Raman",
        0,
    ): {"data-pipeline": "Slow tests"},
    Red("OperationalError", "database is locked ({} ms)", 75, "Olu Adeyemi", 2): {
        "inventory": "Unit tests, Integration tests, Workers, Migrations",
        "catalog": "Integration tests, Workers, Slow tests",
        "reporting": "Integration tests, Workers",
        "shipping": "Integration tests, Migrations",
        "pricing": "Workers, E2E",
    },
    Red("ModuleNotFoundError", "No module named 'shop.legacy'", 150, "dependabot[bot]", 4): {
        "accounts": "Unit tests, Python 3.12, Python 3.13",
        "identity": "Unit tests, API tests, CLI",
        "catalog": "Unit tests, CLI, Docs examples",
    },
    Red("AssertionError", "expected status 200, got 502: upstream connect error", 50, "Priya Raman", 2): {
        "mobile-api": "E2E, Smoke tests, Contract tests",
        "gateway": "E2E, Smoke tests, API tests",
    },
    Red("RangeError", "page {} is out of range", 100, None, 4): {
        "storefront": "Visual snapshots, E2E webkit, Storybook",
        "admin-panel": "E2E firefox",
    },
    Red("AssertionError", "assert {} == 12", 560, "Jonas Weber", 1): {
        "recommendations": "Property tests",
        "pricing": "Property tests",
    },
}
"""Which suites of which projects are red for a cause."""
RECOVERED = {"storefront/Unit tests": 5, "search/Unit tests": 6, "identity/E2E": 11, "analytics/Unit tests": 17}
"""Since how many hours they are green."""
STALE = {"data-pipeline/Docs examples": 23, "analytics/Migrations": 16, "accounts/Migrations": 60}  # days
FLAKY = {"storefront/E2E firefox", "web-frontend/E2E webkit", "search/E2E", "payments/E2E", "shipping/E2E"}
REDS = {
    f"{project}/{name}": red
    for red, projects in CAUSES.items()
    for project, names in projects.items()
    for name in names.split(", ")
}
FLAKE = Red("TimeoutError", "no element '#pay' within {} ms", 0, None, 1)
COMMITS = 24


def add_team(fake: FakeBuddy, now: datetime) -> None:
    """Add the suites to a fake server."""
    for project in sorted((*JEST, *PYTEST)):
        for name in JEST_SUITES if project in JEST else PYTEST_SUITES:
            place, runner = f"{project}/{name}", RUNNERS[project in JEST]
            suite = fake.add_suite("acme", project, sha1(place.encode()).hexdigest()[:8], name=name, runner=runner)
            _add_history(suite, place, now)


def _add_history(suite: FakeSuite, place: str, now: datetime) -> None:
    """Add the sessions of 24 commits: a red suite began to fail with one of the last ones."""
    rng, red, recovered = random.Random(place), REDS.get(place), RECOVERED.get(place)
    newest = STALE.get(place, 0) * 24 or (0.9 if recovered is None else recovered * 0.5)
    began = red.hours if red is not None else recovered or newest + 90
    steps = rng.randrange(2, 9)  # commits since it began
    ages = [began * (1 + 0.3 * (COMMITS - steps - index) ** 1.2) for index in range(COMMITS - steps)]
    ages += [newest + (began - newest) * (1 - index / steps) for index in range(steps + 1)]
    tests = rng.choice([24, 60, 140, 380, 900])
    for index, hours in enumerate(ages):
        failing: list[Red] = []
        if red is not None and hours <= began:
            failing.append(red)
        if recovered is not None and began < hours < began + 80:
            failing.append(FLAKE)
        if place in FLAKY and index % 3 == 1:
            failing.append(FLAKE)
        author = red.author if red is not None and hours == began else rng.choice(PEOPLE)
        _add_session(suite, place, now - timedelta(hours=hours), failing, author, tests)


def _add_session(
    suite: FakeSuite, place: str, time: datetime, causes: list[Red], author: str | None, count: int
) -> None:
    project = suite.key[1]
    revision = sha1(f"{project} {time:%Y-%m-%d %H:%M}".encode()).hexdigest()
    cases = [case for cause in causes for case in _cases(cause, place)]
    fields: dict[str, Any] = (
        {"created_by": {"id": 1 + PEOPLE.index(author), "name": author}} if author in PEOPLE else {}
    )
    if project in JEST:
        url = f"https://github.com/acme/{project}/actions/runs/{int(revision[:8], 16)}"
        fields = {"created_by": None, "ci_provider": "GITHUB_ACTION", "ci_run_url": url}
    elif author is not None and author not in PEOPLE:
        fields = {"created_by": {"id": 99, "name": author}}
    if place in FLAKY and FLAKE not in causes:
        cases += [{**case, "status": "PASSED"} for case in _cases(FLAKE, place)]
    crashed = [cause.message for cause in causes if not cause.tests]
    iso = f"{time:%Y-%m-%dT%H:%M:%SZ}"
    suite.create(
        "main",
        cases=[*cases, *({"name": f"passes {number}"} for number in range(3))],
        status="ERROR" if causes else "SUCCESSFUL",
        error_message=crashed[0] if crashed else None,
        **{"revision": revision, "create_date": iso, "finish_date": iso, "tests_count": count, **fields},
    )


def _cases(cause: Red, place: str) -> list[dict[str, Any]]:
    project, name = place.split("/")
    number = int(sha1(place.encode()).hexdigest()[:3], 16)
    file = f"src/{project}.test.tsx" if project in JEST else f"tests/test_{project.replace('-', '_')}.py"
    message = cause.message.format(number)
    return [
        {
            "name": f"{name} > {TESTS[(len(cause.message) + index) % len(TESTS)]}",
            "test_group_name": file,
            "classname": file if project in JEST else CLASSES[len(cause.message) % len(CLASSES)],
            "status": "FAILED",
            "type": cause.type,
            "message": message,
        }
        for index in range(cause.tests)
    ]


async def sync_team(path: Path, *, cases: Any = "failed") -> None:
    """Save the suites to a database."""
    fake = FakeBuddy()
    add_team(fake, datetime.now(UTC))
    async with (
        fake,
        BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=32) as buddy,
        SessionStore(path) as store,
    ):
        await store.sync(buddy, [SuiteKey(*key) for key in fake.suites], cases=cases).run()


if __name__ == "__main__":
    asyncio.run(sync_team(Path(sys.argv[1]), cases=sys.argv[2] if len(sys.argv) > 2 else "failed"))
