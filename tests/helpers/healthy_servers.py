"""Servers of which nothing is wrong, so that `doctor` must not complain."""

from __future__ import annotations

from collections.abc import Iterator

from buddy_sessions import to_dict
from buddy_sessions.testing import FakeBuddy, FakeSuite
from buddy_sessions.testing.wire import RecordedRequest
from helpers.accounts import KEY, PROJECT, Account, JsonObject, add_suite, sessions
from helpers.recordings import sessions_of, uploads_of
from helpers.wrong_servers import date_header, settings


def _adds_and_finishes(fake: FakeBuddy, _request: RecordedRequest) -> None:
    suite = fake.suites[KEY]
    running = next((row for row in suite.sessions if row["status"] == "IN_PROGRESS"), None)
    if running is not None:
        suite.finish(running)
    suite.create("main")
    suite.create("topic", "SUCCESSFUL", duration=0)


def _with_retention(fake: FakeBuddy) -> None:
    suite = add_suite(fake, 400)
    for row in suite.sessions[-150:]:
        suite.delete(row)


def _recorded(fake: FakeBuddy) -> None:
    """Add the sessions of the recordings that have one session, oldest first, with the cases that were uploaded."""
    suite = fake.add_suite(*KEY)
    names = "ci-github-push ci-github-pull-request mocha-full vitest-full jest-green playwright-full jest-full"
    found = [(to_dict(session), uploads_of(name)) for name in names.split() for session in sessions_of(name)]
    kept = "create_date", "finish_date", "duration", "ci_provider", "ci_run_url", "revision"
    for row, cases in sorted(found, key=lambda each: str(each[0]["create_date"])):
        fields = {name: row[name] for name in kept} | {"start_date": row["create_date"], "created_by": None}
        suite.create(row["ref_name"] or "main", row["status"], cases=cases, execution_id=None, **fields)


def _pull_requests(fake: FakeBuddy) -> None:
    suite = fake.add_suite(*KEY, runner="jest")
    for number in range(1, 41):
        suite.finish(suite.create(f"{number}/merge"), "ERROR" if number % 9 == 0 else None)


def _running(fake: FakeBuddy) -> None:
    suite = fake.add_suite(*KEY)
    for _ in range(3):
        suite.create("main")


def _green(fake: FakeBuddy) -> None:
    suite = fake.add_suite(*KEY)
    for _ in range(3):
        suite.create("main", "SUCCESSFUL", cases=[{"name": "adds"}, {"name": "pays"}])


def _all_suites_of_a_demo(fake: FakeBuddy) -> None:
    fake.add_demo_suites()
    fake.add_project("acme", "docs")


def _no_nulls(row: JsonObject) -> None:
    """Leave out what examples leave out: fields that are null."""
    for name in [name for name, value in row.items() if value is None]:
        del row[name]


def _sizes(*counts: int) -> Iterator[Account]:
    for sessions_count in counts:

        def prepare(fake: FakeBuddy, number: int = sessions_count) -> FakeSuite:
            return fake.add_suite(*KEY).populate(number)

        yield Account(f"number of sessions: {sessions_count}", prepare=prepare)


HEALTHY_SERVERS = (
    *_sizes(1, 2, 19, 20, 21, 100, 101, 450),
    Account("a suite without sessions", prepare=lambda fake: fake.add_suite(*KEY)),
    Account("a new account without suites", target="acme", prepare=lambda fake: fake.add_project(*KEY[:2])),
    Account("running sessions only", prepare=_running),
    Account("green sessions only", prepare=_green),
    Account("pull requests only", prepare=_pull_requests),
    Account("sessions are created and finish meanwhile", before=_adds_and_finishes),
    Account("old sessions have been deleted", prepare=_with_retention),
    Account("recordings of Buddy's reporters", prepare=_recorded),
    Account("Jest uploads", prepare=lambda fake: add_suite(fake, runner="jest")),
    Account("a project", target=PROJECT),
    Account("a workspace with six suites and an empty project", target="acme", prepare=_all_suites_of_a_demo),
    Account("no argument", target=None),
    Account("the token may not list projects", prepare=settings(scopes=("UNIT_TEST_INFO",))),
    Account("the token has the older scopes", prepare=settings(scopes=("UNIT_TEST_INFO", "WORKSPACE"))),
    Account(
        "the token can also write", prepare=settings(scopes=("UNIT_TEST_READ", "PROJECT_READ", "UNIT_TEST_MANAGE"))
    ),
    Account("null fields are left out", changes=(sessions(_no_nulls),)),
    Account("the server's clock is two seconds behind", changes=(date_header(-2),)),
)
