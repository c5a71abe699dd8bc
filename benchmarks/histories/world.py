"""A project with its CI, of which the truth is known: its runs upload sessions, which Buddy lists at each moment.

`histories.kinds` has the kinds of histories. All that is random follows from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from helpers.rules import MAIN, Row
from histories.jobs import Job, make_tests, parallel

Answer = Literal["green", "red", "none"]
Expected = frozenset[Answer]

GREEN: Expected = frozenset({"green"})
RED: Expected = frozenset({"red"})
NOT_GREEN: Expected = frozenset({"red", "none"})
NOT_RED: Expected = frozenset({"green", "none"})
ANY: Expected = frozenset({"green", "red", "none"})
"""No answer is wrong: a developer does not know either."""


@dataclass(frozen=True)
class Gate:
    """What a gate is asked when the tests of a run have ended, and what a developer expects it to say."""

    name: str
    """A commit or the URL of a CI run."""
    kind: str
    """Of which event the run is: "push", "pull request", "schedule" …"""
    outcome: str
    expected: Expected
    baseline: str = MAIN
    after: datetime | None = None
    limit: str = ""
    """Why this cannot be known, if that is documented."""


@dataclass(frozen=True)
class Moment:
    """The sessions of a suite at one time, newest first, and what a developer knows of its main branch then."""

    now: datetime
    rows: list[Row]
    expected_main: Expected
    gates: Sequence[Gate] = ()
    limit: str = ""


@dataclass(frozen=True)
class Story:
    """What happened in one project."""

    kind: str
    seed: int
    moments: Sequence[Moment]
    cases_by_session: dict[str, list[Row]]

    def cases(self, session: str) -> Sequence[Row]:
        return self.cases_by_session[session]


@dataclass
class Run:
    """A CI run of one commit."""

    sha: str
    branch: str
    ref: tuple[str, str]
    jobs: list[Job]
    kind: str = "push"
    url: str | None = None
    workflow: str = "tests"
    start: float = 0
    is_main: bool = False
    known: frozenset[str] = frozenset()
    """The tests that fail on the branch with which the run is compared."""
    expected: Expected | None = None
    """What a gate should say, if that does not follow from the jobs. `frozenset()`: there is no gate."""
    baseline: str = MAIN
    main_after: Expected | None = None
    """What main is after this run, if that does not follow from the jobs."""
    limit: str = ""
    main_limit: str = ""
    names_commit: bool = False
    after: datetime | None = None
    during: Expected | None = None
    """What main is until this run ends, if that is not what it was before."""

    @property
    def outcome(self) -> str:
        outcomes = {job.outcome for job in self.jobs}
        return next((outcome for outcome in ("failure", "cancelled") if outcome in outcomes), "success")

    @property
    def expected_verdict(self) -> Expected:
        if self.expected is not None:
            return self.expected
        if any(job.failing - self.known or job.ending in {"crashed", "silent"} for job in self.jobs):
            return RED
        if any(job.ending in {"cancelled", "killed"} for job in self.jobs):
            return NOT_GREEN
        has_session = any(job.ending not in {"skipped", "lost"} and job.tests for job in self.jobs)
        return GREEN if has_session else NOT_RED


class World:
    """One project. Methods that return a `Run` only plan it; `play` lets it happen."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = datetime(2026, 3, 2, 8, tzinfo=UTC)
        self.provider: Literal["github", "circleci", "gitlab", "gitlab detached", "buddy"] = "github"
        self.main = "main"
        self.base: frozenset[str] = frozenset()  # tests that fail on main
        self.broken_jobs: dict[str, frozenset[int]] = {}  # of a test that fails in some jobs only
        self.make_jobs: Callable[[], list[Job]] = lambda: parallel([make_tests(100)])
        self.quirk: Callable[[Run], None] = lambda run: None  # changes each run that is planned
        self.has_main = True  # otherwise no session says that it is of the main branch
        self.used: set[str] = set()  # the tests that a push or a pull request has broken so far
        self.last_push: Run | None = None
        self._jobs: list[Job] = []  # that have a session
        self.cases: dict[str, list[Row]] = {}
        self.moments: list[Moment] = []
        self._count = 0
        self._verdicts: dict[str, dict[str, Expected | None]] = {}  # of each commit of main and its workflows
        self._main_limit = ""

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self) -> int:
        self._count += 1
        return self._count

    def sha(self) -> str:
        return f"{self.rng.getrandbits(160):040x}"

    def wait(self, hours: float) -> None:
        self.now += timedelta(hours=hours)

    def run(self, kind: str, branch: str, ref: tuple[str, str], failing: frozenset[str], **fields: Any) -> Run:
        """Plan a run in which some tests fail, in each job that has them."""
        sha = fields.pop("sha", None) or self.sha()
        jobs = fields.pop("jobs", None) or self.make_jobs()
        number = self.number()
        url = f"https://github.com/acme/shop/actions/runs/{1000 + number}" if self.provider == "github" else None
        url, known = fields.pop("url", url), fields.pop("known", self.base)
        if self.provider == "gitlab detached":
            ref = ("BRANCH", "HEAD")
        planned = Run(sha, branch, ref, jobs, kind, url, known=known, **fields)
        planned.names_commit = url is None or self.chance(0.25)
        for index, job in enumerate(jobs):
            places = {test: self.broken_jobs.get(test) for test in failing}
            here = {test for test, jobs_of in places.items() if jobs_of is None or index in jobs_of}
            job.failing |= here & set(job.tests)
        self.quirk(planned)
        return planned

    def push(self, breaks: Iterable[str] = (), fixes: Iterable[str] = (), **fields: Any) -> Run:
        """Plan a run of a new commit of main, that breaks or fixes tests."""
        failing = (self.base | frozenset(breaks)) - frozenset(fixes)
        planned = self.run("push", self.main, ("BRANCH", self.main), failing, is_main=True, **fields)
        self.base, self.last_push = failing, planned
        return planned

    def again(self, run: Run, kind: str = "schedule", **fields: Any) -> Run:
        """Plan another run of a commit, which is compared with the same commits as the first one.

        The gate of a re-run knows when this attempt began.
        """
        if kind == "re-run":
            fields.setdefault("after", self.now)
        same = {"sha": run.sha, "is_main": run.is_main, "known": run.known}
        return self.run(kind, run.branch, run.ref, self.base, **same, **fields)

    def reset_main(self, run: Run) -> None:
        """Make an older commit the newest one of main."""
        self._verdicts[run.sha] = self._verdicts.pop(run.sha)

    def rename_main(self, name: str) -> None:
        self.main = name
        self._verdicts.clear()

    def pull_request(self, breaks: Iterable[str] = (), **fields: Any) -> Run:
        """Plan a run of a pull request that breaks tests."""
        number = self.number()
        branch = fields.pop("branch", None) or f"feature/{number}"
        ref = {"github": ("BRANCH", f"{number}/merge"), "circleci": ("PULL_REQUEST", branch)}
        failing = self.base | frozenset(breaks)
        return self.run("pull request", branch, ref.get(self.provider, ("BRANCH", branch)), failing, **fields)

    def play(self, *runs: Run) -> None:
        """Let runs happen at the same time, and record moments: when a run has ended, and some before."""
        begin = self.now
        events: list[tuple[float, int, Run, Job]] = []
        for run in runs:
            for job in run.jobs:
                events += [(run.start + job.start, 0, run, job), (run.start + job.start + job.minutes, 1, run, job)]
        left = {id(run): len(run.jobs) for run in runs}
        for minutes, is_end, run, job in sorted(events, key=lambda event: event[:2]):
            self.now = max(self.now, begin + timedelta(minutes=minutes))
            if run.is_main:
                self._verdicts.setdefault(run.sha, {}).setdefault(run.workflow, None)
            if not is_end:
                self._open(run, job)
            else:
                cases = job.close(self.now)
                if job.row is not None:
                    self.cases[job.row["id"]] = cases
                left[id(run)] -= 1
                if run.is_main and job.is_red and run.main_after is None:
                    self._verdicts[run.sha][run.workflow] = RED
            if is_end and not left[id(run)]:
                self._end(run, [each for each in runs if each.sha == run.sha], left)
            elif run.is_main and self.chance(0.3):
                self.look(run)

    def look(self, running: Run | None = None, *gates: Gate) -> None:
        """Record a moment, at which a run of main may be running."""
        rows = [job.row.copy() for job in reversed(self._jobs) if job.row is not None]
        during, limit = (running.during, running.main_limit) if running else (None, "")
        expected = during or self.state_of_main()
        self.moments.append(Moment(self.now, rows, expected, gates, limit or self._main_limit))

    def state_of_main(self) -> Expected:
        """Return the state of the newest commit of main of which one is known."""
        if not self.has_main:
            return frozenset({"none"})
        for verdicts in reversed(self._verdicts.values()):
            known = [verdict for verdict in verdicts.values() if verdict is not None]
            if RED in known:
                return RED
            if known and len(known) == len(verdicts):
                return frozenset.union(*known)
        return ANY

    def _end(self, run: Run, of_commit: Sequence[Run], left: dict[int, int]) -> None:
        if run.is_main:
            self._verdicts[run.sha][run.workflow] = self._main_after(run)
            self._main_limit = run.main_limit
        judged = of_commit if run.names_commit else [run]
        verdicts = [each.expected_verdict for each in judged]
        if not all(verdicts) or any(left[id(each)] for each in judged):
            self.look()
            return
        expected = next((each for each in (RED, NOT_GREEN) if each in verdicts), verdicts[-1])
        outcomes = {each.outcome for each in judged}
        outcome = next((each for each in ("failure", "cancelled") if each in outcomes), "success")
        name = run.sha if run.names_commit or run.url is None else run.url
        self.look(None, Gate(name, run.kind, outcome, expected, run.baseline, run.after, run.limit))

    def _main_after(self, run: Run) -> Expected | None:
        if run.main_after is not None:
            return run.main_after
        if any(job.is_red for job in run.jobs):
            return RED
        is_whole = all(job.ending in {"normal", "skipped"} for job in run.jobs)
        has_tests = any(job.ending == "normal" and job.tests for job in run.jobs)
        return GREEN if is_whole and has_tests else self._verdicts[run.sha][run.workflow]

    def _open(self, run: Run, job: Job) -> None:
        if job.ending == "lost":
            return
        number = len(self._jobs) + 1
        providers = {"github": "GITHUB_ACTION", "circleci": "CIRCLE_CI", "buddy": "BUDDY"}
        url = f"https://circleci.com/gh/acme/shop/{number}" if self.provider == "circleci" else run.url
        row: Row = {
            "id": f"s{number}",
            "relative_id": number,
            "ci_provider": providers.get(self.provider, "NONE"),
            "ci_run_url": url,
            "revision": run.sha,
            "ref_type": run.ref[0],
            "ref_name": run.ref[1],
            "execution_id": f"execution-{run.sha[:9]}-{run.workflow}" if self.provider == "buddy" else None,
        }
        job.open(row, self.now)
        self._jobs.append(job)
        self.cases[row["id"]] = []
