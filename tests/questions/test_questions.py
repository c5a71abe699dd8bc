"""A client and a database answer the same questions in the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from buddy_sessions import BuddyClient, ConfigError, NoVerdictError, Session, SessionStatus, SessionStore, TestStatus
from buddy_sessions.questions.questions import Questions
from buddy_sessions.testing import FakeBuddy, FakeSuite

SUITE = "acme/shop/a"
RUN = "https://ci.example/17"
OTHER = Session(
    id="7",
    relative_id=7,
    status=SessionStatus.SUCCESSFUL,
    url="https://api.buddy.works/workspaces/acme/projects/shop/unit-tests/suites/b/sessions/7",
)
"""A session of another suite."""

Ask = Callable[[Questions], Awaitable[Any]]


@pytest.fixture(autouse=True)
def suite(fake: FakeBuddy) -> FakeSuite:
    """A suite with twelve CI runs of main, in which `pays` fails since #9, and `sells` is flaky; then one of a fix."""
    suite = fake.add_suite("acme", "shop", "a")
    for number in range(1, 13):
        cases = [case("pays", number < 9), case("sells", number % 4 != 1), case("adds", True)]
        suite.create("main", cases=cases, revision=f"{number:08x}" + "0" * 32)
    suite.create("fix", cases=[case("pays", False), case("sells", False), case("adds", False)], ci_run_url=RUN)
    return suite


@pytest.fixture
async def both(buddy: BuddyClient, tmp_path: Path) -> AsyncIterator[tuple[BuddyClient, SessionStore]]:
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [SUITE], cases="all").run()
        yield buddy, store


def case(name: str, is_passed: bool) -> dict[str, str]:
    return {"name": name, "status": "PASSED" if is_passed else "FAILED", "message": f"{name} failed"}


QUESTIONS: dict[str, Ask] = {  # each name begins with that of the method
    "status": lambda it: it.status([SUITE]),
    "latest": lambda it: it.latest(SUITE),
    "judge": lambda it: it.judge(SUITE),
    "judge a CI run": lambda it: it.judge(SUITE, RUN, details=True),
    "judge with a retry": lambda it: it.judge(SUITE, RUN, outcome="success"),
    "judge without a baseline": lambda it: it.judge(SUITE, "latest", baseline=None, branch="fix"),
    "history": lambda it: it.history(SUITE, "pays"),
    "history of a test that passes": lambda it: it.history(SUITE, "adds"),
    "recent_tests": lambda it: it.recent_tests(SUITE, last=3),
    "tests": lambda it: it.tests(SUITE, RUN, details=True),
    "tests with a status": lambda it: it.tests(SUITE, status=TestStatus.FAILED, details=1),
    "flaky": lambda it: it.flaky(SUITE, flips=2),
    "slowest": lambda it: it.slowest(SUITE, last=3),
    "compare": lambda it: it.compare(SUITE),
    "compare two commits": lambda it: it.compare(SUITE, "00000003", "#12"),
    "failures": lambda it: it.failures(SUITE, 13, details=True),
}


def test_every_question_is_asked() -> None:
    methods = {name for name in vars(Questions) if not name.startswith("_")}
    assert methods == {name.split()[0] for name in QUESTIONS}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
async def test_both_give_the_same_answer(ask: Ask, both: tuple[BuddyClient, SessionStore], fake: FakeBuddy) -> None:
    buddy, store = both
    from_api = await ask(buddy)
    fake.requests.clear()
    assert plain(await ask(store)) == plain(from_api)
    assert not fake.requests


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda it: it.judge(SUITE, "feedbee"), NoVerdictError),
        (lambda it: it.tests(SUITE, "feedbee"), NoVerdictError),
        (lambda it: it.judge(SUITE, branch="nope"), NoVerdictError),
        (lambda it: it.judge(SUITE, min_tests=2), ConfigError),
        (lambda it: it.judge(SUITE, outcome="cancelled"), ConfigError),
        (lambda it: it.judge(SUITE, 13, branch="fix"), ConfigError),
        (lambda it: it.judge(SUITE, baseline="*"), ConfigError),
        (lambda it: it.judge(SUITE, "0000000"), ConfigError),
        (lambda it: it.judge(SUITE, "https://app.buddy.works/acme/shop/unit-tests/b/7"), ConfigError),
        (lambda it: it.history(SUITE, "no such test"), NoVerdictError),
        (lambda it: it.history(SUITE, "s"), ConfigError),
        (lambda it: it.flaky(SUITE, last=0), ConfigError),
        (lambda it: it.compare(SUITE, branch="nope"), NoVerdictError),
        (lambda it: it.judge(SUITE, OTHER), ConfigError),
        (lambda it: it.judge(SUITE, ""), ConfigError),
        (lambda it: it.judge(SUITE, "a/b"), ConfigError),
        (lambda it: it.judge(SUITE, quarantine="quarantine.toml"), ConfigError),
        (lambda it: it.judge(SUITE, branch=""), ConfigError),
        (lambda it: it.latest(SUITE, branch=None), ConfigError),
        (lambda it: it.status([SUITE], branch="*"), ConfigError),
        (lambda it: it.history(SUITE, 5), ConfigError),
        (lambda it: it.failures(SUITE, 9999), NoVerdictError),
    ],
)
async def test_errors_are_the_same(ask: Ask, error: type[Exception], both: tuple[BuddyClient, SessionStore]) -> None:
    texts: list[str] = []
    for source in both:
        with pytest.raises(error) as caught:
            await ask(source)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


async def test_database_of_failing_cases(buddy: BuddyClient, suite: FakeSuite, tmp_path: Path) -> None:
    """It answers what needs no passed test, and says which sync the other questions need."""
    async with SessionStore(tmp_path / "sessions.db") as store:
        await store.sync(buddy, [SUITE]).run()
        for outcome in (None, "success"):
            judgement = await store.judge(SUITE, RUN, outcome=outcome)
            assert (judgement.is_failing, judgement.passes) == (True, None)
        (reason,) = judgement.reasons
        assert str(reason) == ('the failing test cases of #13 of acme/shop/a were not saved: sync with cases="failed"')
        await store.sync(buddy, [SUITE], cases="failed").run()
        judgement = await store.judge(SUITE, RUN, outcome="success")
        assert judgement.passes is False
        assert "retries are not known: only failing tests were saved" in map(str, judgement.remarks)
        with pytest.raises(ConfigError, match=r'were not saved: sync with cases="all"$'):
            await store.slowest(SUITE)
        number = suite.create("main", "IN_PROGRESS")["relative_id"]
        await store.sync(buddy, [SUITE], cases="all").run()
        with pytest.raises(ConfigError, match=r"were not saved: it has not finished$"):
            await store.compare(SUITE, 12, number)


def plain(value: Any) -> Any:
    """Return an answer as plain data, without what only one of the sources keeps of test cases."""
    data = [
        attrs.asdict(each) if attrs.has(type(each)) else each
        for each in (value if isinstance(value, list) else [value])
    ]

    def clean(item: Any) -> Any:
        if isinstance(item, dict):
            left_out = {"data", "failure", "url", "html_url", "name" if "suite" in item else "", "synced_at"}
            return {name: clean(each) for name, each in item.items() if name not in left_out}
        return [clean(each) for each in item] if isinstance(item, list | tuple) else item

    return clean(data)
