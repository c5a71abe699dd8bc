"""Kinds of histories of CI in which something is red that must not be missed."""

from __future__ import annotations

from histories.days import Kinds, develop, matrix, new_failure, new_test
from histories.jobs import Job, make_tests, parallel, sequential, shards
from histories.world import ANY, NOT_GREEN, RED, Run, World

KINDS = Kinds()


def fail_in(world: World, run: Run, *places: int) -> Run:
    """Let a test that has not failed before fail in some jobs of a run."""
    test = new_test(world, run.jobs[places[0]])
    for place in places:
        run.jobs[place].failing |= {test}
    return run


@KINDS.add
def regression_in_one_job_of_a_matrix(world: World) -> None:
    """The jobs beside it are green, and end before and after it."""
    world.make_jobs = lambda: parallel(matrix(4), world.rng)
    regress(world)


@KINDS.add
def regression_in_the_first_of_sequential_jobs(world: World) -> None:
    """Each green job after it looks like its re-run."""
    world.make_jobs = lambda: sequential(matrix())
    regress(world)


@KINDS.add
def regression_in_one_shard(world: World) -> None:
    world.make_jobs = lambda: parallel(shards(make_tests(200), 4), world.rng)
    regress(world)


@KINDS.add
def regression_in_one_job_of_circleci(world: World) -> None:
    world.provider = "circleci"
    world.make_jobs = lambda: parallel([make_tests(100), make_tests(40, "browser"), make_tests(60, "api")], world.rng)
    regress(world)


def regress(world: World) -> None:
    develop(world, 4, breaks=0)
    for _ in range(3):
        test = new_failure(world)
        world.play(world.pull_request([test]))
        world.play(world.push([test]))
        world.wait(world.rng.choice([0.3, 3]))
        other = new_failure(world)
        world.play(world.pull_request([other]))
        world.play(world.push([other]))
        world.wait(world.rng.choice([0.3, 30]))
        world.look()
        world.play(world.push(fixes=world.base))
        develop(world, 2, breaks=0)


@KINDS.add
def new_failure_beside_a_known_one(world: World) -> None:
    develop(world, 3, breaks=0)
    world.play(world.push([new_failure(world)]))
    for _ in range(6):
        world.wait(1)
        world.play(world.pull_request([new_failure(world)]))
        world.play(world.push())


@KINDS.add
def new_failure_while_main_is_out(world: World) -> None:
    """An outage of main excuses nothing."""
    develop(world, 4, breaks=0)
    names = world.make_jobs()[0].tests
    for _ in range(2):
        outage = world.push()
        outage.jobs[0].failing |= set(names[:70])
        outage.expected = NOT_GREEN
        world.play(outage)
    for _ in range(4):
        world.play(world.pull_request([new_failure(world)]))


@KINDS.add
def crash_without_a_failing_test(world: World) -> None:
    def crash(run: Run) -> None:
        if world.chance(0.3) and not any(job.failing for job in run.jobs):
            job = world.rng.choice(run.jobs)
            job.ending = "crashed"
            job.fields = {"error_message": f"out of memory at {world.number()}"}

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop(world, 3, breaks=0)
    world.quirk = crash
    develop(world, breaks=0)


@KINDS.add
def broken_configuration(world: World) -> None:
    """The tests fail before there is a session."""
    develop(world, 4, breaks=0)
    for _ in range(5):
        run = world.pull_request()
        run.jobs[0].ending = "lost"
        run.jobs[0].failing = frozenset(run.jobs[0].tests)
        world.play(run)
        world.play(world.push())


@KINDS.add
def file_that_cannot_be_loaded(world: World) -> None:
    """Nothing of the file is uploaded, and the session is closed as PASSED."""
    develop(world, 4, breaks=0)
    break_files(world)


@KINDS.add
def file_that_cannot_be_loaded_beside_a_known_failure(world: World) -> None:
    develop(world, 3, breaks=0)
    world.play(world.push([new_failure(world)]))
    world.play(world.push())
    break_files(world)


def break_files(world: World) -> None:
    for _ in range(6):
        world.wait(1)
        run = world.pull_request() if world.chance(0.6) else world.push()
        job = run.jobs[0]
        job.ending, job.unloaded = "silent", frozenset(job.tests[: world.rng.choice([5, 15, 40])])
        if run.is_main:
            run.main_after = ANY  # its only session has passed
        world.play(run)
        if run.is_main:
            world.play(world.push())


@KINDS.add
def tests_skipped_by_a_failing_hook(world: World) -> None:
    """`beforeAll` throws in Vitest: the tests are skipped, the session is green, the exit code is not 0."""
    develop(world, 4, breaks=0)
    for _ in range(5):
        run = world.pull_request()
        run.jobs[0].ending = "silent"
        run.jobs[0].fields = {"skipped_count": 3}
        world.play(run)


@KINDS.add
def results_that_were_dropped(world: World) -> None:
    """The uploads of a failing run were refused, and its session is closed as PASSED without a test."""
    develop(world, 4, breaks=0)
    for _ in range(5):
        run = world.pull_request() if world.chance(0.6) else world.push()
        run.jobs[0].ending, run.jobs[0].unloaded = "silent", frozenset(run.jobs[0].tests)
        run.main_after = world.state_of_main()
        world.play(run)


@KINDS.add
def lost_upload_of_the_failing_job(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(3), world.rng)
    develop(world, 4, breaks=0)
    for _ in range(5):
        run = fail_in(world, world.pull_request(), 1)
        run.jobs[1].ending = "lost"
        world.play(run)


@KINDS.add
def killed_job_of_a_matrix(world: World) -> None:
    """The other jobs are green. The gate must not be, neither at once nor after a day."""
    world.make_jobs = lambda: parallel(matrix(3), world.rng)
    develop(world, 4, breaks=0)
    test = new_failure(world)
    world.broken_jobs.pop(test, None)
    world.play(world.push([test]))
    for _ in range(3):
        run = world.push(fixes=world.base)
        run.jobs[1].ending = "killed"
        world.play(run)
        world.wait(30)
        world.look()


@KINDS.add
def jobs_cancelled_after_the_first_failure(world: World) -> None:
    def fail_fast(run: Run) -> None:
        if any(job.failing - run.known for job in run.jobs):
            for job in run.jobs[1:]:
                job.ending, job.failing, job.minutes = "cancelled", frozenset(), 3

    world.make_jobs = lambda: parallel(matrix(3), world.rng)
    develop(world, 4, breaks=0)
    for _ in range(4):
        test = new_failure(world)
        world.broken_jobs[test] = frozenset({0})
        world.quirk = fail_fast
        world.play(world.pull_request([test]))
        world.play(world.push([test]))
        world.quirk = lambda run: None
        world.wait(2)
        world.play(world.push(fixes=[test]))


@KINDS.add
def rerun_that_fails_again(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(3), world.rng)
    develop(world, 4, breaks=0)
    for _ in range(4):
        run = fail_in(world, world.push() if world.chance(0.5) else world.pull_request(), 1)
        world.play(run)
        for _ in range(2):
            world.wait(world.rng.choice([0.1, 0.5, 20]))
            jobs = [Job(run.jobs[1].tests, run.jobs[1].failing)]
            again = world.again(run, "re-run", jobs=jobs, url=run.url)
            again.names_commit = run.names_commit
            world.play(again)
        world.play(world.push())


@KINDS.add
def rerun_of_one_of_two_red_jobs(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(3), world.rng)
    develop(world, 4, breaks=0)
    for _ in range(4):
        run = fail_in(world, world.push() if world.chance(0.5) else world.pull_request(), 1, 2)
        world.play(run)
        world.wait(0.1)
        again = world.again(run, "re-run", jobs=[Job(run.jobs[1].tests)], url=run.url)
        again.names_commit, again.expected, again.main_after = run.names_commit, RED, RED
        again.jobs.append(Job(run.jobs[2].tests, run.jobs[2].failing, start=1))
        world.play(again)
        world.play(world.push())


@KINDS.add
def nightly_run_that_fails(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop(world, 4, breaks=0)
    for _ in range(4):
        last = world.push()
        world.play(last)
        world.wait(10)
        world.play(fail_in(world, world.again(last), world.rng.randrange(2)))
        world.wait(2)
        world.play(world.pull_request())
        world.play(world.push())


@KINDS.add
def one_red_workflow_of_two(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    for _ in range(12):
        world.wait(world.rng.choice([0.3, 2, 8]))
        unit = world.push() if world.chance(0.6) else world.pull_request()
        browser = world.run(unit.kind, unit.branch, unit.ref, frozenset(), sha=unit.sha, is_main=unit.is_main)
        browser.jobs, browser.workflow = [Job(make_tests(30, "browser"), start=2, minutes=15)], "browser"
        if world.chance(0.4):
            fail_in(world, world.rng.choice([unit, browser]), 0)
        world.play(unit, browser)
