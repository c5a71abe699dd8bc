"""Random sessions and tests that look like real uploads, reproducible from a seed. No HTTP.

Every 25 sessions, a bug breaks a few tests for some sessions in a row. One test of each suite is flaky. Tests of pytest
run in Buddy, and are imported as JUnit XML. Those of Jest and Playwright run on GitHub: the reporters upload them.
"""

import random
import string
from collections.abc import Iterator
from itertools import product
from typing import Literal, TypeAlias

from .wire import JsonObject, format_time

Runner: TypeAlias = Literal["pytest", "jest", "playwright"]

DEMO_SUITES: tuple[tuple[str, str, str, str, int, Runner], ...] = (
    ("storefront", "MNbyVedg", "unit", "Unit tests", 400, "pytest"),
    ("storefront", "65OmRb8v", "api", "API tests", 220, "pytest"),
    ("storefront", "kQ3xWz7P", "e2e", "End-to-end (Playwright)", 90, "playwright"),
    ("payments", "Rr8dLm2a", "unit", "Unit tests", 310, "jest"),
    ("payments", "b9TfYc4N", "contract", "Contract tests", 140, "jest"),
    ("payments", "Xw5sHj6K", "nightly", "Nightly regression", 30, "pytest"),
)
"""Project, suite ID, identifier, name, number of sessions and runner of each demo suite."""

_LETTERS = string.ascii_letters + string.digits
_PEOPLE = ("Ada Novak", "Bruno Silva", "Chioma Okafor", "Dariusz Wójcik", "Elif Kaya", "Grażyna Lis", "Léa Martin")
_TOPICS = ("audit-log", "billing", "checkout", "dark-mode", "exports", "invites", "login", "search", "webhooks")
_ERRORS = ("The test runner ran out of memory", "A test file could not be loaded", "The database did not start")

_AREAS = ("account", "api", "auth", "billing", "cart", "catalog", "checkout", "email", "invoice", "orders", "search")
_SUBJECTS = ("address", "cache", "filters", "history", "limits", "permissions", "prices", "retries", "total", "views")
_FILES = tuple(product(_AREAS, _SUBJECTS))
_BEHAVIOURS = (
    *("adds_discount", "applies_tax", "exports_rows", "finds_customer", "hides_drafts", "keeps_order"),
    *("merges_accounts", "rejects_empty_name", "rounds_half_up", "saves_changes", "sends_receipt", "shows_total"),
)
_CONDITIONS = ("", "_after_timeout", "_for_guest", "_in_other_currency", "_on_leap_day", "_twice", "_with_coupon")
_NAMES = tuple(behaviour + condition for condition, behaviour in product(_CONDITIONS, _BEHAVIOURS))

_INTERVAL = 3600  # seconds between two sessions, on average
_SESSIONS_PER_BUG = 25
_TESTS_PER_FILE = 8
_SECONDS_PER_TEST = 0.15  # on average
_FLAKY_TEST = 0  # its index
_FLAKY_FAILS = 0.3  # the probability, in every second session


def random_members(url: str, html_url: str) -> list[JsonObject]:
    """Return the members of the workspace with these URLs in the API's JSON of `created_by`. The first one owns it."""
    return [
        {
            "url": f"{url}/members/{number}",
            "html_url": f"{html_url}/-/profile/{number}",
            "id": number,
            "name": name,
            "avatar_url": f"https://app.buddy.works/image-server/user/0/0/0/0/0/0/{number}/d643744fbe5ebf29/w/32/32/AVATAR.png",
            "email": f"member{number}@company.example",
            "admin": number == 1,
            "workspace_owner": number == 1,
        }
        for number, name in enumerate(_PEOPLE, 1)
    ]


def random_session(
    rng: random.Random, created: int, member: JsonObject, *, runner: Runner, repository: str
) -> JsonObject:
    """Return the fields of a session created at this time, in Unix seconds, that do not depend on its outcome."""
    create_date = format_time(created)
    fields: JsonObject = {
        "id": "".join(rng.choices(_LETTERS, k=8)),
        "create_date": create_date,
        "start_date": create_date,
        "revision": f"{rng.getrandbits(160):040x}",
        "duration": 0,
    }
    first, second = rng.getrandbits(64), rng.getrandbits(64)
    if runner != "pytest":  # a reporter on GitHub knows no author
        url = f"https://github.com/{repository}/actions/runs/{first % 10**11}"
        return {**fields, "created_by": None, "ci_provider": "GITHUB_ACTION", "ci_run_url": url}
    return {
        **fields,
        "created_by": member,
        "ci_provider": "BUDDY",
        "execution_id": f"{created:08x}{first:016x}",  # like the documented examples
        "action_execution_id": f"{created:08x}{second:016x}",
    }


def random_counts(seed: str, number: int, status: str) -> JsonObject:
    """Return the counts of a session with this number and status: all 0 while it is in progress."""
    size = 40 + _random(seed, "size").randrange(400) + number // _SESSIONS_PER_BUG  # suites grow
    tests = 0 if status == "IN_PROGRESS" else size
    skipped = tests if status == "SKIPPED" else 0
    return {"tests_count": tests, "failed_count": int(status == "ERROR"), "skipped_count": skipped, "error_count": 0}


def random_sessions(
    seed: str, members: list[JsonObject], numbers: range, *, runner: Runner, after: int, until: int
) -> Iterator[tuple[int, JsonObject]]:
    """Yield sessions that are created and finished between two times: the creation time and some fields of each.

    Times are Unix seconds; `numbers` are their `relative_id`s, in ascending order.
    """
    interval = min(_INTERVAL, (until - after) / max(1, len(numbers)))
    for index, number in enumerate(numbers):
        rng = _random(seed, f"session {number}")
        created = int(until - (len(numbers) - index - rng.random()) * interval)
        outcome = _random_outcome(seed, number, rng)
        duration = min(until - created, round(outcome["tests_count"] * _SECONDS_PER_TEST * rng.uniform(0.8, 1.3)))
        fields = {"duration": duration, "finish_date": format_time(created + duration), **outcome}
        member = rng.choice(members)
        author = {"created_by": member} if runner == "pytest" else {}
        yield created, {**author, **_random_ref(number, rng, runner), **fields}


def random_tests(seed: str, count: int, runner: Runner) -> Iterator[tuple[JsonObject, float]]:
    """Yield the first tests of a suite: the names of each, and its usual duration in seconds."""
    rng = _random(seed, "tests")
    files, names = rng.sample(_FILES, len(_FILES)), rng.sample(_NAMES, len(_NAMES))
    for index in range(count):
        file = index // _TESTS_PER_FILE % len(files)
        area, subject = files[file]
        place = index % _TESTS_PER_FILE + index // (_TESTS_PER_FILE * len(files)) * _TESTS_PER_FILE  # in the file
        suffix = f"_{place // len(names) + 1}" if place >= len(names) else ""
        name = names[(place + file * _TESTS_PER_FILE) % len(names)] + suffix
        seconds = _SECONDS_PER_TEST * rng.lognormvariate(-0.7, 1.2)  # most are fast; 1.02 on average
        yield _test_names(runner, area, subject, name), seconds


def _test_names(runner: Runner, area: str, subject: str, name: str) -> JsonObject:
    """Return the group, class and name of a test, as they are uploaded."""
    if runner == "pytest":
        classname = f"tests.{area}.test_{subject}.{area.capitalize()}Test"
        return {"name": name, "test_group_name": "pytest", "classname": classname}
    title = f"{area.capitalize()} > {name.replace('_', ' ')}"
    if runner == "jest":
        path = f"tests/{area}/{subject}.test.js"
    else:
        path, title = f"e2e/{area}/{subject}.spec.ts", f"chromium > {area}/{subject}.spec.ts > {title}"
    return {"name": title, "test_group_name": path, "classname": path}


def random_statuses(seed: str, number: int, *, tests: int, failed: int, errors: int, skipped: int) -> list[str]:
    """Return the status of each test of a session. Between two bugs, the same tests fail in each session."""
    order = [index for index in range(tests) if index != _FLAKY_TEST]
    _random(seed, random_cause(number)).shuffle(order)
    if tests:
        order.insert(0 if number % 2 else len(order), _FLAKY_TEST)  # it never fails in two sessions in a row
    statuses = ["PASSED"] * tests
    for index in order[:failed]:
        statuses[index] = "FAILED"
    for index in order[failed : failed + errors]:
        statuses[index] = "ERROR"
    for index in sorted(order[failed + errors :], reverse=True)[:skipped]:
        statuses[index] = "SKIPPED"
    return statuses


def random_cause(number: int) -> str:
    """Return a name for the bug that breaks tests in a session with this number."""
    return f"bug {number // _SESSIONS_PER_BUG}"


def _random(seed: str, name: str) -> random.Random:
    return random.Random(f"{seed}/{name}")  # noqa: S311 - nothing secret


def _random_outcome(seed: str, number: int, rng: random.Random) -> JsonObject:
    """Return the status and the counts of a session."""
    if rng.random() < 0.02:
        return {"status": "SKIPPED", **random_counts(seed, number, "SKIPPED")}
    bug = _random(seed, f"regression {number // _SESSIONS_PER_BUG}")
    first, length, broken = bug.randrange(_SESSIONS_PER_BUG), bug.randint(2, 5), bug.randint(2, 6)
    if first <= number % _SESSIONS_PER_BUG < first + length:
        failed = broken
    else:
        failed = int(number % 2 == 1 and rng.random() < _FLAKY_FAILS)
    outcome = {"status": "ERROR" if failed else "SUCCESSFUL", **random_counts(seed, number, "SUCCESSFUL")}
    if failed and rng.random() < 0.1:
        return {**outcome, "error_count": 1, "error_message": rng.choice(_ERRORS)}
    return {**outcome, "failed_count": failed, "skipped_count": rng.randrange(4)}


def _random_ref(number: int, rng: random.Random, runner: Runner) -> JsonObject:
    """Return the branch, tag or pull request of a session."""
    topic = max(1, number // 6 - rng.randrange(3))  # a few feature branches at a time
    feature = f"feature/{_TOPICS[topic % len(_TOPICS)]}-{topic}"
    refs = {
        ("BRANCH", "main"): 50,
        ("BRANCH", "develop"): 10,
        ("BRANCH", feature): 25,
        ("PULL_REQUEST", f"pull/{200 + topic}") if runner == "pytest" else ("BRANCH", f"{200 + topic}/merge"): 12,
        ("TAG", f"v2.{number}.0"): 3,
    }
    ref_type, ref_name = rng.choices(list(refs), list(refs.values()))[0]
    return {"ref_type": ref_type, "ref_name": ref_name}
