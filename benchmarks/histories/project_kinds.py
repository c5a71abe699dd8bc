"""Kinds of healthy histories that differ in what is tested, and on which branches."""

from __future__ import annotations

from collections.abc import Callable

from histories.days import Kinds, develop, matrix, new_failure
from histories.jobs import Job, make_tests, parallel
from histories.world import NOT_GREEN, Run, World

KINDS = Kinds()


@KINDS.add
def path_filters(world: World) -> None:
    def filter_paths(run: Run) -> None:
        if world.chance(0.25) and not run.known:
            for job in run.jobs:
                job.tests = job.tests[:8]
                job.failing &= set(job.tests)

    world.quirk = filter_paths
    develop(world)


@KINDS.add
def nightly_runs_of_the_unchanged_commit(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop_with_nights(world, world.make_jobs)


@KINDS.add
def nightly_runs_with_a_larger_matrix(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop_with_nights(world, lambda: parallel(matrix(4), world.rng))


def develop_with_nights(world: World, make_jobs: Callable[[], list[Job]]) -> None:
    last = world.push()
    world.play(last)

    def sleep(index: int) -> None:
        for _ in range(world.rng.choice([0, 0, 1, 3])):
            world.wait(24 - world.now.hour + 2)
            if world.last_push:
                world.play(world.again(world.last_push, jobs=make_jobs()))

    develop(world, before=sleep)


@KINDS.add
def several_workflows_in_one_suite(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop_with_browser_tests(world, 1)


def develop_with_browser_tests(world: World, share: float) -> None:
    """Let some days pass, with a second workflow in a share of the runs."""
    for index in range(14):
        world.wait(world.rng.choice([0.3, 2, 8]))
        fixes, breaks = (world.base, []) if world.base else ([], [new_failure(world)] if world.chance(0.15) else [])
        unit = world.pull_request() if index % 2 else world.push(breaks, fixes)
        browser = world.run(unit.kind, unit.branch, unit.ref, frozenset(), sha=unit.sha, is_main=unit.is_main)
        browser.jobs, browser.workflow = [Job(make_tests(30, "browser"), start=2, minutes=15)], "browser"
        world.play(*[unit, browser] if world.chance(share) else [unit])


@KINDS.add
def workflow_that_runs_sometimes(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop_with_browser_tests(world, 0.5)


@KINDS.add
def packages_of_a_monorepo(world: World) -> None:
    packages = [make_tests(60, "web"), make_tests(50, "api"), make_tests(55, "app")]

    def choose(run: Run) -> None:
        needed = [job for job in run.jobs if job.failing or run.known & set(job.tests)]
        run.jobs[:] = [job for job in run.jobs if job in needed or world.chance(0.6)] or run.jobs[:1]

    world.make_jobs = lambda: parallel(packages, world.rng)
    world.quirk = choose
    develop(world, 20)


@KINDS.add
def growing_suite(world: World) -> None:
    change_size(world, lambda index: 100 + 6 * index)


@KINDS.add
def shrinking_suite(world: World) -> None:
    change_size(world, lambda index: 200 - 2 * index)


@KINDS.add
def suite_that_loses_a_folder(world: World) -> None:
    change_size(world, lambda index: 100 if index < 7 else 80)


def change_size(world: World, size_at: Callable[[int], int]) -> None:
    size = size_at(0)
    world.make_jobs = lambda: parallel([make_tests(size)], world.rng)

    def change(index: int) -> None:
        nonlocal size
        size = size_at(index)

    develop(world, before=change)


@KINDS.add
def bail_at_the_first_failure(world: World) -> None:
    def bail(run: Run) -> None:
        for job in run.jobs:
            if job.failing:
                position = min(job.tests.index(test) for test in job.failing)
                job.tests = job.tests[: position + 1]
                job.failing &= set(job.tests)

    world.quirk = bail
    develop(world)


# Branches


@KINDS.add
def merge_queue(world: World) -> None:
    def queue(index: int) -> None:
        number = world.number()
        branch = f"gh-readonly-queue/main/pr-{number}-{world.sha()}"
        breaks = frozenset([new_failure(world)] if world.chance(0.2) else [])
        world.play(world.run("merge queue", branch, ("BRANCH", branch), world.base | breaks))

    develop(world, before=queue)


@KINDS.add
def fast_forward_merges(world: World) -> None:
    """The commit of a branch becomes that of main."""
    world.provider = world.rng.choice(["github", "gitlab", "circleci"])
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    for _ in range(16):
        world.wait(world.rng.choice([0.3, 2, 8]))
        breaks = frozenset([new_failure(world)] if world.chance(0.3) else [])
        branch = f"feature/{world.number()}"
        run = world.run("push", branch, ("BRANCH", branch), world.base | breaks)
        world.play(run)
        world.wait(world.rng.choice([0.1, 0.5, 5]))
        if not breaks:
            world.play(world.push(sha=run.sha))


@KINDS.add
def main_reset_to_an_older_commit(world: World) -> None:
    develop(world, 5, breaks=0)
    last = world.push()
    world.play(last)
    world.play(world.push([new_failure(world)]))
    world.base = frozenset()
    world.reset_main(last)
    reset = world.again(last, "push")
    reset.main_limit = "the status is that of the newer commit until the next push"
    world.play(reset)
    develop(world, 4)


@KINDS.add
def tags(world: World) -> None:
    def tag(index: int) -> None:
        if index % 3 == 2 and (last := world.last_push):
            ref = ("TAG", f"v1.{index}.0")
            world.play(world.run("tag", ref[1], ref, world.base, sha=last.sha, known=last.known))

    develop(world, before=tag)


@KINDS.add
def branch_renamed_from_master_to_main(world: World) -> None:
    world.main = "master"
    develop(world, 8)
    world.rename_main("main")
    world.play(world.push(fixes=world.base))
    develop(world, 10)


@KINDS.add
def circleci(world: World) -> None:
    world.provider = "circleci"
    world.make_jobs = lambda: parallel([make_tests(100), make_tests(40, "browser"), make_tests(60, "api")], world.rng)
    develop(world)


@KINDS.add
def gitlab_with_the_name_of_the_branch(world: World) -> None:
    world.provider = "gitlab"
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop(world)


@KINDS.add
def gitlab_with_a_detached_head(world: World) -> None:
    world.provider = "gitlab detached"
    world.has_main = False

    def warn(run: Run) -> None:
        if any(job.failing & run.known for job in run.jobs):
            run.limit = "a detached checkout has no branch"

    world.quirk = warn
    develop(world)


@KINDS.add
def buddy_pipelines(world: World) -> None:
    world.provider = "buddy"
    develop(world)


@KINDS.add
def push_and_pull_request_of_one_commit(world: World) -> None:
    world.make_jobs = lambda: parallel(matrix(2), world.rng)

    def both(index: int) -> None:
        breaks = frozenset([new_failure(world)] if world.chance(0.25) else [])
        branch, number = f"feature/{world.number()}", world.number()
        push = world.run("push", branch, ("BRANCH", branch), world.base | breaks)
        request = world.run("pull request", branch, ("BRANCH", f"{number}/merge"), world.base | breaks, sha=push.sha)
        request.start = 0.5
        world.play(push, request)

    develop(world, pull_requests=0.2, before=both)


@KINDS.add
def many_branches_of_renovate(world: World) -> None:
    def update(index: int) -> None:
        for _ in range(9):
            branch = f"renovate/package-{world.number()}"
            run = world.run("push", branch, ("BRANCH", branch), world.base)
            run.expected = frozenset()
            world.play(run)

    develop(world, before=update)


@KINDS.add
def long_lived_develop_branch(world: World) -> None:
    """Pull requests go to develop, which is merged into main now and then."""
    world.play(world.push())

    def to_develop(run: Run) -> None:
        if not run.is_main:
            run.baseline = "develop"

    world.quirk = to_develop
    for index in range(16):
        world.wait(world.rng.choice([0.3, 3, 14]))
        world.play(world.run("push", "develop", ("BRANCH", "develop"), world.base))
        world.play(world.pull_request([new_failure(world)] if world.chance(0.2) else []))
        if index % 5 == 4:
            world.play(world.push())


@KINDS.add
def new_suite(world: World) -> None:
    for _ in range(3):
        world.play(world.pull_request([new_failure(world)] if world.chance(0.3) else []))
        world.wait(2)
    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    develop(world, 4)


# What main is


@KINDS.add
def known_failure_on_main_for_long(world: World) -> None:
    develop(world, 3, breaks=0)
    world.play(world.push([new_failure(world)]))
    for _ in range(14):
        world.wait(world.rng.choice([0.3, 2, 9]))
        world.play(world.pull_request([new_failure(world)] if world.chance(0.2) else []))
        world.play(world.push())


@KINDS.add
def fixed_and_broken_again(world: World) -> None:
    develop(world, 3, breaks=0)
    test = new_failure(world)
    for index in range(3):
        run = world.push([test])
        if index:
            run.limit = "a test that breaks again within ten commits of its repair is excused as earlier"
        world.play(run)
        world.wait(1)
        world.play(world.pull_request())
        world.play(world.push(fixes=[test]))
        world.wait(5)
        world.play(world.push())


@KINDS.add
def outage_of_main(world: World) -> None:
    develop(world, 5)
    world.play(world.push(fixes=world.base))
    names = world.make_jobs()[0].tests
    run = world.push()
    run.jobs[0].failing |= set(names[: 6 * len(names) // 10])
    run.expected = NOT_GREEN
    world.play(run)
    world.wait(2)
    world.play(world.pull_request([new_failure(world)]), world.pull_request())
    world.play(world.push())
    develop(world, 4)


@KINDS.add
def lost_upload(world: World) -> None:
    def lose(run: Run) -> None:
        if world.chance(0.15) and not any(job.failing for job in run.jobs):
            world.rng.choice(run.jobs).ending = "lost"

    world.make_jobs = lambda: parallel(matrix(2), world.rng)
    world.quirk = lose
    develop(world)
