"""A team with 300 suites in 20 projects: 42 are red for 10 causes, 8 of them since yesterday.

Run it to look at their report: `PYTHONPATH=tests python tests/helpers/team.py FILE.db`.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from buddy_sessions import BuddyClient, SessionStore, SuiteKey
from buddy_sessions.testing import FakeBuddy, FakeSuite
from buddy_sessions.testing.random_history import Runner

PROJECTS = (
    "accounts admin-panel analytics billing catalog data-pipeline design-system gateway identity inventory mobile-api "
    "notifications payments pricing recommendations reporting search shipping storefront web-frontend"
)
JEST = {"admin-panel", "design-system", "storefront", "web-frontend"}
JEST_SUITES = (
    "Unit tests, Components, Hooks, Visual snapshots, E2E chromium, E2E firefox, E2E webkit, Accessibility, i18n, "
    "Checkout flow, Login flow, Cart flow, Node 22, Node 24, Storybook"
)
PYTEST_SUITES = (
    "Unit tests, Integration tests, API tests, Contract tests, Workers, Migrations, Smoke tests, Python 3.12, "
    "Python 3.13, Slow tests, Security, CLI, Docs examples, Property tests, E2E"
)
RUNNERS: tuple[Runner, Runner] = ("pytest", "jest")
PEOPLE = ("Ann Kowalska", "Marek Wójcik", "Priya Raman", "Lucía Fernández", "Jonas Weber", "Chen Wei", "Olu Adeyemi")


class Red(NamedTuple):
    """A cause of red suites: since how many hours they are red, by whom, and how many tests fail in each."""

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
REDS = {
    f"{project}/{name}": red
    for red, projects in CAUSES.items()
    for project, names in projects.items()
    for name in names.split(", ")
}
RECOVERED = {"storefront/Unit tests": 5, "search/Unit tests": 6, "identity/E2E": 11, "analytics/Unit tests": 17}
"""Since how many hours they are green."""
STALE = {"data-pipeline/Docs examples": 23, "analytics/Migrations": 16, "accounts/Migrations": 60}  # days
FLAKY = {"storefront/E2E firefox", "web-frontend/E2E webkit", "search/E2E", "payments/E2E", "shipping/E2E"}
FLAKE = Red("TimeoutError", "no element '#pay' within {} ms", 0, None, 1)


def add_team(fake: FakeBuddy, now: datetime) -> None:
    """Add the suites to a fake server, each with the sessions of 16 commits or more."""
    for project in PROJECTS.split():
        for name in (JEST_SUITES if project in JEST else PYTEST_SUITES).split(", "):
            place, runner = f"{project}/{name}", RUNNERS[project in JEST]
            suite = fake.add_suite("acme", project, sha1(place.encode()).hexdigest()[:8], name=name, runner=runner)
            rng, red = Random(place), REDS.get(place)
            newest = STALE.get(place, 0) * 24 + 0.4
            began = red.hours if red is not None else RECOVERED.get(place, newest)
            ages = {newest + 9 * number for number in range(16)} | {began + 9 * number for number in range(3)}
            tests = rng.choice([24, 60, 140, 380, 900])
            for index, hours in enumerate(sorted(ages, reverse=True)):
                cause = red if red is not None and hours <= began else None
                if (place in RECOVERED and hours > began) or (place in FLAKY and index % 3 == 1):
                    cause = FLAKE
                author = red.author if red is not None and hours == began else rng.choice(PEOPLE)
                _add_session(suite, place, now - timedelta(hours=hours), cause, author, tests)


def _add_session(
    suite: FakeSuite, place: str, time: datetime, cause: Red | None, author: str | None, tests: int
) -> None:
    project = suite.key[1]
    revision, iso = sha1(f"{project} {time:%Y-%m-%d %H:%M}".encode()).hexdigest(), f"{time:%Y-%m-%dT%H:%M:%SZ}"
    fields: dict[str, Any] = {"created_by": {"id": 1, "name": author}}
    if project in JEST:
        url = f"https://github.com/acme/{project}/actions/runs/{int(revision[:8], 16)}"
        fields = {"created_by": None, "ci_provider": "GITHUB_ACTION", "ci_run_url": url}
    suite.create(
        "main",
        "SUCCESSFUL" if cause is None else "ERROR",
        cases=[*_cases(cause, place), *({"name": f"passes {number}"} for number in range(3))],
        error_message=cause.message if cause is not None and not cause.tests else None,
        **{"revision": revision, "create_date": iso, "finish_date": iso, "tests_count": tests, **fields},
    )


def _cases(cause: Red | None, place: str) -> list[dict[str, Any]]:
    """Return the failing tests of a cause."""
    if cause is None:
        return []
    project, name = place.split("/")
    file = f"src/{project}.test.tsx" if project in JEST else f"tests/test_{project.replace('-', '_')}.py"
    message = cause.message.format(len(place) ** 2)
    fields = {"test_group_name": file, "classname": file, "status": "FAILED", "type": cause.type, "message": message}
    return [{"name": f"{name} > {len(message)} > case {number}", **fields} for number in range(cause.tests)]


async def sync_team(path: Path) -> None:
    """Save the suites and their failing tests to a database."""
    fake = FakeBuddy()
    add_team(fake, datetime.now(UTC))
    async with (
        fake,
        BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=32) as buddy,
        SessionStore(path) as store,
    ):
        await store.sync(buddy, [SuiteKey(*key) for key in fake.suites], cases="failed").run()


if __name__ == "__main__":
    asyncio.run(sync_team(Path(sys.argv[1])))
