"""Believable sessions: who ran what and when, and how it went. All of it follows from a seed; no HTTP.

What is modelled is what makes such a list worth reading: failures that come in streaks, branches that live
for a week, durations that follow the number of tests, nights and weekends with hardly a run.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import attrs

Session = dict[str, Any]
"""A session as the API sends it."""

_PEOPLE = (
    *("Ada Novak", "Bruno Silva", "Chioma Okafor", "Dariusz Wójcik", "Elif Kaya", "Femi Adeyemi"),
    *("Grażyna Lis", "Hiro Sato", "Inês Costa", "Jonas Berg", "Kavya Rao", "Léa Martin"),
)
_VERBS = ("add", "cache", "drop", "export", "migrate", "rename", "retry", "speed-up", "split", "validate")
_NOUNS = (
    "audit-log",
    "billing",
    "checkout",
    "dark-mode",
    "exports",
    "invites",
    "login",
    "search",
    "webhooks",
)
_PROVIDERS = ("BUDDY", "GITHUB_ACTION", "CIRCLE_CI", "NONE")
_LONG_LIVED = ("develop", "release/2.x", "release/3.x")
_ERRORS = (
    "The test runner ran out of memory",
    "A test file could not be loaded",
    "The database did not start",
)

_BUSY_GAP = 1500.0  # seconds between two runs in office hours, on average
_DAY = 86_400
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
"""Project, suite ID, identifier, name and number of sessions of each suite of a demo."""


def timestamp(moment: int) -> str:
    """Return Unix seconds as the API writes a time: `2025-10-21T06:42:16Z`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_id(rng: random.Random) -> str:
    """Return eight letters and digits, as IDs of sessions and suites look (`YDnagwGk`)."""
    return "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=8))


def execution_id(rng: random.Random, moment: int) -> str:
    """Return 24 hexadecimal digits that begin with the time, as the documented examples do."""
    return f"{moment:08x}{rng.getrandbits(64):016x}"


def members(rng: random.Random, *, workspace: str, api_url: str, app_url: str) -> list[dict[str, Any]]:
    """Return the five people who work on a suite, each in the documented shape of `created_by`."""
    return [
        _member(number, workspace=workspace, api_url=api_url, app_url=app_url)
        for number in sorted(rng.sample(range(len(_PEOPLE)), 5))
    ]


def _member(number: int, *, workspace: str, api_url: str, app_url: str) -> dict[str, Any]:
    # The same number is the same person in every suite of a workspace; the first of all owns it.
    space, member_id = quote(workspace, safe=""), number + 1
    email = f"member{member_id}@company.example"
    image = hashlib.sha256(email.encode()).hexdigest()[:32]
    return {
        "url": f"{api_url}/workspaces/{space}/members/{member_id}",
        "html_url": f"{app_url}/{space}/-/profile/{member_id}",
        "id": member_id,
        "name": _PEOPLE[number],
        "avatar_url": f"{app_url}/image-server/user/0/0/0/0/0/0/{member_id}/{image}/w/32/32/AVATAR.png",
        "email": email,
        "admin": number % 4 == 0,
        "workspace_owner": number == 0,
    }


def moments(count: int, rng: random.Random, *, until: int, after: int | None = None) -> list[int]:
    """Return `count` ascending times that end shortly before `until`, most of them in office hours (UTC).

    Args:
        count: How many.
        rng: Where chance comes from.
        until: Unix seconds that none is later than.
        after: Unix seconds that none is earlier than; where there is little room, they are packed closer.
    """
    found: list[int] = []
    moment = until
    for _ in range(count):
        moment -= 1 + int(rng.expovariate(_activity(moment) / _BUSY_GAP))
        found.append(moment)
    found.reverse()
    if found and after is not None and found[0] < after:
        first, scale = found[0], (until - after) / (until - found[0])
        found = [after + int((moment - first) * scale) for moment in found]
    return found


def _activity(moment: int) -> float:
    weekday, hour = (moment // _DAY + 3) % 7, moment % _DAY // 3600  # 1 January 1970 was a Thursday
    if weekday in _WEEKEND:
        return 0.05
    return 1.0 if hour in _OFFICE_HOURS else 0.15


@attrs.define
class History:
    """The life of one suite. It goes on where it stopped, so a suite can be filled in several steps."""

    rng: random.Random
    members: Sequence[dict[str, Any]]
    repository: str
    provider: str = attrs.field(init=False)
    tests: float = attrs.field(init=False)
    seconds_per_test: float = attrs.field(init=False)
    failing: int = attrs.field(init=False, default=0)
    release: int = attrs.field(init=False, default=0)
    pull: int = attrs.field(init=False)
    features: list[tuple[str, str]] = attrs.field(init=False, factory=list[tuple[str, str]])

    def __attrs_post_init__(self) -> None:
        self.provider = self.rng.choices(_PROVIDERS, (70, 20, 7, 3))[0]
        self.pull = self.rng.randint(20, 900)
        self.tests = self.rng.uniform(40, 600)
        self.seconds_per_test = self.rng.uniform(0.02, 0.4)

    def sessions(self, count: int, *, until: int, after: int | None) -> Iterator[tuple[int, Session]]:
        """Yield `count` sessions, oldest first, each as its time of creation (Unix seconds) and its fields.

        None finishes after `until`. Only the last may be `IN_PROGRESS`: if it had no time to finish.
        """
        for place, moment in enumerate(moments(count, self.rng, until=until, after=after), 1):
            fields = self._outcome()
            finish = moment + fields["duration"]
            if place == count and finish > until:
                fields = {"status": "IN_PROGRESS", "duration": 0, **self.counts("IN_PROGRESS")}
            else:
                fields["finish_date"] = timestamp(min(finish, until))
                fields["duration"] = min(finish, until) - moment
            fields["ref_type"], fields["ref_name"] = self._ref()
            yield moment, {"created_by": self.rng.choice(self.members), **self._run(), **fields}

    def counts(self, status: str) -> Session:
        """Return the counts that a session with such a status would have now: 0 while it runs."""
        tests = 0 if status == "IN_PROGRESS" else int(self.tests)
        skipped = tests if status == "SKIPPED" else 0
        failed = 1 if status == "ERROR" else 0
        return {"tests_count": tests, "failed_count": failed, "skipped_count": skipped, "error_count": 0}

    def _outcome(self) -> Session:
        rng = self.rng
        self.tests = max(10.0, self.tests + rng.gauss(0.15, 0.8))  # suites grow, with a clean-up now and then
        self.failing = self._streak()
        tests = int(self.tests)
        skipped = min(tests, int(rng.expovariate(0.7)))
        seconds = round(tests * self.seconds_per_test * rng.lognormvariate(0, 0.15))
        counts = {"tests_count": tests, "failed_count": 0, "skipped_count": skipped, "error_count": 0}
        outcome: Session = {"status": "SUCCESSFUL", "duration": seconds, **counts}
        if self._chance(0.02):
            return outcome | {"status": "SKIPPED", "duration": 1, "skipped_count": tests}
        if self.failing:
            outcome |= {"status": "ERROR", "failed_count": min(self.failing, tests - skipped)}
            if self._chance(0.15):
                outcome |= {"failed_count": 0, "error_count": 1, "error_message": rng.choice(_ERRORS)}
        return outcome

    def _streak(self) -> int:
        # A Markov chain: what is broken stays broken until somebody repairs it, three runs or so later.
        if not self.failing:
            return 1 + int(self.rng.expovariate(0.4)) if self._chance(0.05) else 0
        return 0 if self._chance(0.3) else max(1, self.failing + self.rng.choice((-1, 0, 0, 1)))

    def _ref(self) -> tuple[str, str]:
        rng = self.rng
        kind = rng.choices(("main", "long-lived", "tag", "feature", "pull"), (50, 10, 3, 24, 13))[0]
        if kind == "main":
            return "BRANCH", "main"
        if kind == "long-lived":
            return "BRANCH", rng.choice(_LONG_LIVED)
        if kind == "tag":
            self.release += 1
            return "TAG", f"v2.{self.release}.0"
        if not self.features or self._chance(0.25):
            self.pull += rng.randint(1, 4)
            prefix = rng.choice(("feature", "feature", "feature", "fix"))
            branch = f"{prefix}/{rng.choice(_VERBS)}-{rng.choice(_NOUNS)}"
            self.features.append((f"pull/{self.pull}", branch))
            del self.features[:-5]  # merged
        pull, branch = rng.choice(self.features)
        return ("PULL_REQUEST", pull) if kind == "pull" else ("BRANCH", branch)

    def _run(self) -> Session:
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
