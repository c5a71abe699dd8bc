"""Kinds of histories in which a commit is tested by several workflows or stages, or names and statuses mislead."""

from __future__ import annotations

from histories.days import Kinds, develop, new_failure, new_test
from histories.jobs import Job, make_tests, parallel
from histories.world import ANY, GREEN, NOT_RED, RED, Run, World

KINDS = Kinds()


def other_run(world: World, run: Run, workflow: str, jobs: list[Job], **fields: object) -> Run:
    """Plan a run of another workflow on the same commit, which no gate judges."""
    return world.again(run, workflow, jobs=jobs, workflow=workflow, expected=frozenset(), **fields)


@KINDS.add
def nightly_run_of_other_tests(world: World) -> None:
    develop(world, 3, breaks=0)
    for _ in range(8):
        world.play(world.push([new_failure(world)] if world.chance(0.4) and not world.base else []))
        world.wait(9)
        if world.last_push:
            world.play(other_run(world, world.last_push, "nightly", [Job(make_tests(300, "nightly"))]))
        world.wait(3)
        world.play(world.push(fixes=world.base) if world.chance(0.5) else world.pull_request())


@KINDS.add
def bisecting_on_main(world: World) -> None:
    """Commits that were never tested are tested on main, after the newest one: nothing says that they are older."""
    develop(world, 4, breaks=0)
    for _ in range(4):
        world.play(world.push([new_failure(world)]))
        for _ in range(2):
            run = world.run("bisect", world.main, ("BRANCH", world.main), frozenset(), is_main=True)
            run.expected, run.main_after, run.during = frozenset(), RED, RED
            run.main_limit = "an untested commit of main that is bisected looks like a new one"
            world.play(run)
        world.play(world.push(fixes=world.base))
        world.play(world.pull_request())


@KINDS.add
def stages_that_stop_at_the_first_failure(world: World) -> None:
    """The browser tests run after the unit tests, if these have passed."""
    world.make_jobs = lambda: [Job(make_tests(100)), Job(make_tests(30, "browser"), start=8)]

    def stop(run: Run) -> None:
        if run.jobs[0].failing:
            run.jobs[1].ending = "lost"

    world.quirk = stop
    develop(world, 16, breaks=0.25)


@KINDS.add
def git_flow_with_a_weekly_main(world: World) -> None:
    """More than 100 sessions of develop and its pull requests between two releases."""
    world.play(world.push())
    for index in range(2):
        for _ in range(3):
            runs = [world.run("push", "develop", ("BRANCH", "develop"), frozenset()) for _ in range(35)]
            for run in runs:
                run.expected, run.baseline = frozenset(), "develop"
            world.play(*runs)
            world.wait(40)
            world.look()
        world.play(world.push([new_failure(world)] if index == 0 else [], fixes=world.base))


@KINDS.add
def three_workflows_of_which_one_is_run_again(world: World) -> None:
    """On Linux, macOS and Windows, with almost the same tests."""
    sizes = (100, 98, 95)
    world.make_jobs = lambda: [Job(make_tests(size), start=index) for index, size in enumerate(sizes)]

    def rerun(index: int) -> None:
        if index < 2 or world.base or world.chance(0.5):
            return
        run = world.push() if world.chance(0.5) else world.pull_request()
        job = run.jobs[world.rng.randrange(3)]
        job.failing |= {new_test(world, job)}
        run.expected = frozenset()
        world.play(run)
        world.wait(0.3)
        again = world.again(run, "re-run", jobs=[Job(job.tests)], url=run.url)
        again.names_commit, again.during = run.names_commit, ANY
        world.play(again)

    develop(world, before=rerun)


@KINDS.add
def smoke_tests_after_deployment(world: World) -> None:
    """Each commit of main is deployed, then five tests run; a flaky failure is run again before."""
    for index in range(12):
        run = world.push([new_failure(world)] if index > 2 and not world.base and world.chance(0.15) else [])
        if index > 2 and not world.base and world.chance(0.3):
            run.jobs[0].failing |= {new_test(world, run.jobs[0])}
            run.expected = frozenset()
            world.play(run)
            again = world.again(run, "re-run", jobs=[Job(run.jobs[0].tests)], url=run.url)
            again.during = ANY
            world.play(again)
        else:
            world.play(run)
        if not world.base:
            world.wait(world.rng.choice([0.2, 2]))
            world.play(other_run(world, run, "smoke", [Job(make_tests(5, "smoke"))], during=ANY))
        world.play(world.pull_request([new_failure(world)] if world.chance(0.2) else []))
        if world.base:
            world.play(world.push(fixes=world.base))


@KINDS.add
def muted_tests(world: World) -> None:
    """The runner excuses failures of some tests: the session has passed, and counts them."""

    def mute(run: Run) -> None:
        job = run.jobs[0]
        if world.chance(0.4) and not job.failing:
            job.retried, job.fields = frozenset(job.tests[:1]), {"status": "SUCCESSFUL"}
            run.main_after = run.expected = GREEN

    world.quirk = mute
    develop(world)


@KINDS.add
def random_ids_in_names(world: World) -> None:
    """A parametrised test has another name in each run, and fails on main for long."""
    first = make_tests(100)[0]

    def rename(run: Run) -> None:
        if run.expected is None:
            run.expected = run.expected_verdict
        name = f"{first} [{world.rng.getrandbits(64):016x}a]"
        for job in run.jobs:
            job.tests = [name if test == first else test for test in job.tests]
            job.failing = frozenset(name if test == first else test for test in job.failing)

    world.used.add(first)
    world.quirk = rename
    develop(world, 3, breaks=0)
    world.play(world.push([first]))
    for _ in range(8):
        world.wait(world.rng.choice([0.3, 2, 9]))
        world.play(world.pull_request([new_failure(world)] if world.chance(0.3) else []))
        world.play(world.push())


@KINDS.add
def flaky_job_without_a_new_commit(world: World) -> None:
    """Pull requests stay open, and main is tested again each night: nothing changes."""
    world.make_jobs = lambda: parallel([make_tests(100)], world.rng)
    develop(world, 4, breaks=0)
    for _ in range(6):
        world.wait(12)
        if world.last_push is not None:
            world.play(world.again(world.last_push, during=NOT_RED))
