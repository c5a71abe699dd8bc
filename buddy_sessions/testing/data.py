"""Realistic random sessions, reproducible from a seed. No HTTP.

Failures come in streaks, feature branches are short-lived, durations depend on the number of tests, and few sessions
are created at night and on weekends.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import attrs

Session = dict[str, Any]
"""A session in the API's JSON."""

_PEOPLE = (
    *("Ada Novak", "Bruno Silva", "Chioma Okafor", "Dariusz Wójcik", "Elif Kaya", "Femi Adeyemi"),
    *("Grażyna Lis", "Hiro Sato", "Inês Costa", "Jonas Berg", "Kavya Rao", "Léa Martin"),
)
_VERBS = ("add", "cache", "drop", "export", "migrate", "rename", "retry", "speed-up", "split", "validate")
_NOUNS = ("audit-log", "billing", "checkout", "dark-mode", "exports", "invites", "login", "search", "webhooks")
_PROVIDERS = ("BUDDY", "GITHUB_ACTION", "CIRCLE_CI", "NONE")
_LONG_LIVED_BRANCHES = ("develop", "release/2.x", "release/3.x")
_ERRORS = (
    "The test runner ran out of memory",
    "A test file could not be loaded",
    "The database did not start",
)

_OFFICE_HOURS_INTERVAL = 1500.0  # seconds between two sessions in office hours, on average
_DAY = 86_400  # seconds
_WEEKEND = range(5, 7)  # Monday is 0
_OFFICE_HOURS = range(8, 18)  # UTC

DEMO_SUITES: Sequence[tuple[str, str, str, str, int]] = (
    ("storefront", "MNbyVedg", "unit", "Unit tests", 400),
    ("storefront", "65OmRb8v", "api", "API tests", 220),
    ("storefront", "kQ3xWz7P", "e2e", "End-to-end (Playwright)", 90),
    ("payments", "Rr8dLm2a", "unit", "Unit tests", 310),
    ("payments", "b9TfYc4N", "contract", "Contract tests", 140),
    ("payments", "Xw5sHj6K", "nightly", "Nightly regression", 30),
)
"""Project, suite ID, identifier, name and number of sessions of each demo suite."""


def format_time(seconds: int) -> str:
    """Return Unix seconds in the API's format: `2025-10-21T06:42:16Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def path_segment(name: object) -> str:
    """Return a name or an ID percent-encoded as one segment of a URL's path."""
    segment = quote(str(name), safe="", errors="backslashreplace")
    # Clients resolve the segments "." and ".."; in an encoded form, some leave them alone.
    return segment.replace(".", "%2E") if segment in {".", ".."} else segment


def is_on_branch(session: Mapping[str, Any], branch: str) -> bool:
    """Return whether the API lists a session for a branch: one of the branch itself, not of a tag or pull request."""
    return bool(session["ref_type"] == "BRANCH" and session["ref_name"] == branch)


def new_id(rng: random.Random) -> str:
    """Return eight letters and digits, like the documented IDs of sessions and suites: `YDnagwGk`."""
    return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=8))


def new_execution_id(rng: random.Random, created: int) -> str:
    """Return 24 hexadecimal digits that begin with the time in Unix seconds, like the documented examples."""
    return f"{created:08x}{rng.getrandbits(64):016x}"


def new_suite_token(rng: random.Random) -> str:
    """Return a token of reporters, like the documented one: `bud_ut_us_a1b2c3…`."""
    return "bud_ut_us_" + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=30))


def choose_members(rng: random.Random, *, workspace: str, api_url: str, app_url: str) -> list[dict[str, Any]]:
    """Return the five members who work on a suite, each in the API's JSON of `created_by`."""
    return [
        _member(number, workspace=workspace, api_url=api_url, app_url=app_url)
        for number in sorted(rng.sample(range(len(_PEOPLE)), 5))
    ]


def _member(number: int, *, workspace: str, api_url: str, app_url: str) -> dict[str, Any]:
    """Return a member, who is the same in every suite of a workspace. Member 0 owns the workspace."""
    workspace_path, member_id = quote(workspace, safe=""), number + 1
    email = f"member{member_id}@company.example"
    image = hashlib.sha256(email.encode()).hexdigest()[:32]
    return {
        "url": f"{api_url}/workspaces/{workspace_path}/members/{member_id}",
        "html_url": f"{app_url}/{workspace_path}/-/profile/{member_id}",
        "id": member_id,
        "name": _PEOPLE[number],
        "avatar_url": f"{app_url}/image-server/user/0/0/0/0/0/0/{member_id}/{image}/w/32/32/AVATAR.png",
        "email": email,
        "admin": number % 4 == 0,
        "workspace_owner": number == 0,
    }


def creation_times(count: int, rng: random.Random, *, until: int, after: int | None = None) -> list[int]:
    """Return `count` ascending times that end shortly before `until`, most of them in office hours (UTC).

    Args:
        count: The number of times.
        rng: The source of randomness.
        until: No time is later, in Unix seconds.
        after: No time is earlier, in Unix seconds. In a short interval, the times are closer together.

    Returns:
        Unix seconds.
    """
    times: list[int] = []
    time = until
    for _ in range(count):
        time -= 1 + int(rng.expovariate(_activity(time) / _OFFICE_HOURS_INTERVAL))
        times.append(time)
    times.reverse()
    if times and after is not None and times[0] < after:
        first, scale = times[0], (until - after) / (until - times[0])
        times = [after + int((time - first) * scale) for time in times]
    return times


def _activity(time: int) -> float:
    """Return the frequency of sessions at a time in Unix seconds; 1.0 in office hours."""
    weekday, hour = (time // _DAY + 3) % 7, time % _DAY // 3600  # 1 January 1970 was a Thursday
    if weekday in _WEEKEND:
        return 0.05
    return 1.0 if hour in _OFFICE_HOURS else 0.15


@attrs.define
class History:
    """Generates the sessions of one suite. It keeps its state, so that further sessions continue the history."""

    rng: random.Random
    members: Sequence[dict[str, Any]]
    repository: str
    provider: str = attrs.field(init=False)
    tests: float = attrs.field(init=False)
    seconds_per_test: float = attrs.field(init=False)
    failing_tests: int = attrs.field(init=False, default=0)
    releases: int = attrs.field(init=False, default=0)
    last_pull_request: int = attrs.field(init=False)
    open_branches: list[tuple[str, str]] = attrs.field(init=False, factory=list[tuple[str, str]])
    """The open pull requests and their branches."""

    def __attrs_post_init__(self) -> None:
        self.provider = self.rng.choices(_PROVIDERS, (70, 20, 7, 3))[0]
        self.last_pull_request = self.rng.randint(20, 900)
        self.tests = self.rng.uniform(40, 600)
        self.seconds_per_test = self.rng.uniform(0.02, 0.4)

    def sessions(self, count: int, *, until: int, after: int | None) -> Iterator[tuple[int, Session]]:
        """Yield `count` sessions, oldest first, each as its creation time (Unix seconds) and its fields.

        No session finishes after `until`. The last one is `IN_PROGRESS` if it would finish later.
        """
        for number, created in enumerate(creation_times(count, self.rng, until=until, after=after), 1):
            fields = self._next_outcome()
            finished = created + fields["duration"]
            if number == count and finished > until:
                fields = {"status": "IN_PROGRESS", "duration": 0, **self.counts("IN_PROGRESS")}
            else:
                fields["finish_date"] = format_time(min(finished, until))
                fields["duration"] = min(finished, until) - created
            fields["ref_type"], fields["ref_name"] = self._next_ref()
            yield created, {"created_by": self.rng.choice(self.members), **self._next_ci_run(), **fields}

    def counts(self, status: str) -> Session:
        """Return the counts of a session with this status at this point of the history; 0 if it is `IN_PROGRESS`."""
        tests = 0 if status == "IN_PROGRESS" else int(self.tests)
        skipped = tests if status == "SKIPPED" else 0
        failed = 1 if status == "ERROR" else 0
        return {"tests_count": tests, "failed_count": failed, "skipped_count": skipped, "error_count": 0}

    def _next_outcome(self) -> Session:
        rng = self.rng
        self.tests = max(10.0, self.tests + rng.gauss(0.15, 0.8))  # suites grow slowly
        self.failing_tests = self._next_failing_tests()
        tests = int(self.tests)
        skipped = min(tests, int(rng.expovariate(0.7)))
        seconds = round(tests * self.seconds_per_test * rng.lognormvariate(0, 0.15))
        counts = {"tests_count": tests, "failed_count": 0, "skipped_count": skipped, "error_count": 0}
        outcome: Session = {"status": "SUCCESSFUL", "duration": seconds, **counts}
        if self._chance(0.02):
            return outcome | {"status": "SKIPPED", "duration": 1, "skipped_count": tests}
        if self.failing_tests:
            outcome |= {"status": "ERROR", "failed_count": min(self.failing_tests, tests - skipped)}
            if self._chance(0.15):
                outcome |= {"failed_count": 0, "error_count": 1, "error_message": rng.choice(_ERRORS)}
        return outcome

    def _next_failing_tests(self) -> int:
        # A Markov chain, so that failures come in streaks of about three sessions.
        if not self.failing_tests:
            return 1 + int(self.rng.expovariate(0.4)) if self._chance(0.05) else 0
        return 0 if self._chance(0.3) else max(1, self.failing_tests + self.rng.choice((-1, 0, 0, 1)))

    def _next_ref(self) -> tuple[str, str]:
        rng = self.rng
        kind = rng.choices(("main", "long-lived", "tag", "feature", "pull"), (50, 10, 3, 24, 13))[0]
        if kind == "main":
            return "BRANCH", "main"
        if kind == "long-lived":
            return "BRANCH", rng.choice(_LONG_LIVED_BRANCHES)
        if kind == "tag":
            self.releases += 1
            return "TAG", f"v2.{self.releases}.0"
        if not self.open_branches or self._chance(0.25):
            self.last_pull_request += rng.randint(1, 4)
            prefix = rng.choice(("feature", "feature", "feature", "fix"))
            branch = f"{prefix}/{rng.choice(_VERBS)}-{rng.choice(_NOUNS)}"
            self.open_branches.append((f"pull/{self.last_pull_request}", branch))
            del self.open_branches[:-5]  # merged
        pull_request, branch = rng.choice(self.open_branches)
        return ("PULL_REQUEST", pull_request) if kind == "pull" else ("BRANCH", branch)

    def _next_ci_run(self) -> Session:
        provider = self.provider if self._chance(0.9) else self.rng.choice(_PROVIDERS)
        number = self.rng.randint(10**9, 10**10)
        if provider == "GITHUB_ACTION":
            run = {"ci_run_url": f"https://github.com/{self.repository}/actions/runs/{number}"}
        elif provider == "CIRCLE_CI":
            run = {"ci_run_url": f"https://app.circleci.com/pipelines/github/{self.repository}/{number}"}
        else:
            run = {}
        return {"ci_provider": provider, **run}

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability
