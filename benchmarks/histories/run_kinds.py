"""Kinds of healthy histories that differ in what CI runs upload, how they end, and are run again."""

from __future__ import annotations

from datetime import timedelta

from histories.days import Kinds, develop, matrix, new_failure, new_test
from histories.jobs import Job, make_tests, parallel, sequential, shards, uploaded_at_end
from histories.world import ANY, GREEN, NOT_RED, Run, World

KINDS = Kinds()


@KINDS.add
def one_job(world: World) -> None:
    develop(world)


@KINDS.add
def matrix_in_parallel(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(), world.rng)
    develop(world)


@KINDS.add
def matrix_that_starts_one_after_the_other(world: World) -> None:
    world.make_jobs = lambda: sequential(matrix())
    develop(world)


@KINDS.add
def matrix_that_waits_for_runners(world: World) -> None:
    world.make_jobs = lambda: [Job(part, start=world.rng.uniform(0, 40)) for part in matrix()]
    develop(world)


@KINDS.add
def matrix_uploaded_at_the_end(world: World) -> None:
    world.make_jobs = lambda: uploaded_at_end(matrix())
    develop(world)


@KINDS.add
def matrix_that_grows(world: World) -> None:
    count = 3
    world.make_jobs = lambda: parallel(matrix(count), world.rng)

    def grow(index: int) -> None:
        nonlocal count
        count = 5 if index >= 7 else 3

    develop(world, before=grow)


@KINDS.add
def matrix_that_grows_one_after_the_other(world: World) -> None:
    count, is_known = 2, True
    world.make_jobs = lambda: sequential(matrix(count))

    def grow(index: int) -> None:
        nonlocal count, is_known
        is_known = index != 7
        count = 4 if index >= 7 else 2

    def limit(run: Run) -> None:
        if not is_known:
            run.limit = run.main_limit = "a job beside the red one looks like its re-run until the next push"

    world.quirk = limit
    develop(world, breaks=0.2, before=grow)


@KINDS.add
def browser_tests_hours_after_the_others(world: World) -> None:
    world.make_jobs = lambda: [Job(make_tests(100)), Job(make_tests(30, "browser"), start=150)]
    develop(world, breaks=0.2)


@KINDS.add
def shards_in_parallel(world: World) -> None:
    world.make_jobs = lambda: parallel(shards(make_tests(200), 4), world.rng)
    develop(world)


@KINDS.add
def shards_4_to_6(world: World) -> None:
    change_shards(world, 4, 6)


@KINDS.add
def shards_6_to_4(world: World) -> None:
    change_shards(world, 6, 4)


def change_shards(world: World, old: int, new: int) -> None:
    count = old
    world.make_jobs = lambda: parallel(shards(make_tests(240), count), world.rng)

    def change(index: int) -> None:
        nonlocal count
        count = new if index >= 7 else old

    develop(world, before=change)


@KINDS.add
def clocks_that_differ_between_jobs(world: World) -> None:
    def shift(run: Run) -> None:
        for job in run.jobs:
            job.shift = timedelta(seconds=world.rng.uniform(-90, 90))

    world.make_jobs = lambda: parallel(matrix(), world.rng)
    world.quirk = shift
    develop(world)


# Runs that are run again, or do not end


@KINDS.add
def rerun_of_the_failed_job(world: World) -> None:
    develop_with_reruns(world, is_whole=False, hours=0.1)


@KINDS.add
def rerun_of_all_jobs(world: World) -> None:
    develop_with_reruns(world, is_whole=True, hours=0.3)


@KINDS.add
def rerun_on_the_next_day(world: World) -> None:
    develop_with_reruns(world, is_whole=True, hours=20)


@KINDS.add
def rerun_of_one_job_on_the_next_day(world: World) -> None:
    develop_with_reruns(world, is_whole=False, hours=20)


@KINDS.add
def rerun_after_a_bail(world: World) -> None:
    """The red session ends at the first failure, so its re-run has more tests."""
    develop(world, 3)
    for _ in range(5):
        world.play(world.push(fixes=world.base))
        run = world.push()
        job = run.jobs[0]
        test = new_test(world, job)
        job.tests, job.failing = job.tests[: 1 + job.tests.index(test)], frozenset({test})
        run.expected = frozenset()
        world.play(run)
        world.wait(0.2)
        again = world.again(run, "re-run", jobs=[Job(make_tests(100))], url=run.url)
        again.during, again.main_limit = ANY, "a re-run after a bail has another number of tests, and is not seen"
        world.play(again)
        world.wait(3)


def develop_with_reruns(world: World, *, is_whole: bool, hours: float) -> None:
    """A test fails in one of three jobs by accident, and these or all are run again."""
    world.make_jobs = lambda: parallel(matrix(), world.rng)

    def rerun(index: int) -> None:
        if index < 3 or world.base or world.chance(0.6):
            return
        run = world.push() if world.chance(0.5) else world.pull_request()
        job = world.rng.choice(run.jobs)
        job.failing |= {new_test(world, job)}
        run.expected = frozenset()  # somebody runs it again, whatever the gate says
        world.play(run)
        world.wait(hours)
        jobs = [Job(each.tests, start=world.rng.random()) for each in run.jobs if is_whole or each is job]
        again = world.again(run, "re-run", jobs=jobs, url=run.url)
        again.names_commit, again.during = run.names_commit, ANY
        if not is_whole and hours > 1:
            again.main_limit = "one job of three that is run again the next day leaves main red"
        world.play(again)

    develop(world, before=rerun)


@KINDS.add
def flaky_test(world: World) -> None:
    def fail_sometimes(run: Run) -> None:
        if world.chance(0.12):
            job = world.rng.choice(run.jobs)
            job.failing |= {job.tests[0]}
            run.main_after = ANY  # the session is red, the code is not
            run.expected = run.expected_verdict if run.expected_verdict != {"red"} else GREEN

    world.quirk = fail_sometimes
    develop(world)


@KINDS.add
def flaky_tests_that_pass_when_tried_again(world: World) -> None:
    def retry(run: Run) -> None:
        if world.chance(0.3):
            job = world.rng.choice(run.jobs)
            job.retried = frozenset(world.rng.sample(list(job.tests), 2)) - job.failing
            if run.is_main and not job.failing:
                run.main_after = run.during = ANY  # the session is red, the run is not

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    world.quirk = retry
    develop(world)


@KINDS.add
def red_without_a_failing_test_though_exit_0(world: World) -> None:
    def lose(run: Run) -> None:
        job = run.jobs[0]
        if world.chance(0.5) and not job.failing:
            job.unloaded = frozenset(job.tests[:2])
            job.fields = {"status": "ERROR"}
            run.main_after = ANY

    world.quirk = lose
    develop(world)


@KINDS.add
def cancelled_runs(world: World) -> None:
    def cancel(run: Run) -> None:
        if world.chance(0.2) and not any(job.failing for job in run.jobs):
            for job in run.jobs:
                job.ending = "cancelled"

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    world.quirk = cancel
    develop(world)


@KINDS.add
def killed_runs(world: World) -> None:
    def kill(run: Run) -> None:
        if world.chance(0.15) and not any(job.failing for job in run.jobs):
            world.rng.choice(run.jobs).ending = "killed"

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    world.quirk = kill
    develop(world)


@KINDS.add
def skipped_sessions(world: World) -> None:
    def skip(run: Run) -> None:
        if world.chance(0.3) and not any(job.failing for job in run.jobs):
            job = world.rng.choice(run.jobs)
            job.ending = "skipped"
            run.main_after = ANY if job is run.jobs[0] else None

    world.make_jobs = lambda: parallel([make_tests(100), make_tests(5, "lint")], world.rng)
    world.quirk = skip
    develop(world)


@KINDS.add
def pushes_that_overlap(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    for _ in range(8):
        world.wait(world.rng.choice([0.5, 3]))
        first, request = world.push(), world.pull_request()
        second = world.push([new_failure(world)] if world.chance(0.2) else [])
        request.start, second.start = 1, world.rng.uniform(1.5, 5)
        world.play(first, second, request)
        if world.base:
            world.play(world.push(fixes=world.base))


# Fields that are missing


def without(world: World, *fields: str, value: object = None) -> None:
    def remove(run: Run) -> None:
        for job in run.jobs:
            job.fields = dict.fromkeys(fields, value)

    world.quirk = remove


@KINDS.add
def url_of_undefined_variables(world: World) -> None:
    def undefine(run: Run) -> None:
        run.url, run.names_commit = "undefined/undefined/actions/runs/undefined", True

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    world.quirk = undefine
    develop(world)


@KINDS.add
def without_revision(world: World) -> None:
    def remove(run: Run) -> None:
        run.names_commit = False
        for job in run.jobs:
            job.fields = {"revision": None}

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    world.quirk = remove
    develop(world)


@KINDS.add
def without_dates(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    without(world, "create_date", "finish_date")
    develop(world)


@KINDS.add
def without_finish_date(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    without(world, "finish_date")
    develop(world)


@KINDS.add
def null_counts(world: World) -> None:
    without(world, "tests_count", "failed_count", "skipped_count", "error_count")
    develop(world)


@KINDS.add
def unknown_statuses(world: World) -> None:
    def rename(run: Run) -> None:
        if world.chance(0.4):
            run.jobs[-1].fields = {"status": "PARTIALLY_DONE"}
            if not run.jobs[-1].failing:
                run.main_after = ANY  # green, or what it was before
                run.expected = NOT_RED if run.expected_verdict == GREEN else None

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    world.quirk = rename
    develop(world)
