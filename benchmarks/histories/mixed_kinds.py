"""Kinds of histories in which several things come together by chance, as in most projects."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from histories.days import Kinds, develop, matrix, new_failure, new_test
from histories.jobs import Job, make_tests, parallel, sequential, shards, uploaded_at_end
from histories.world import ANY, Run, World

KINDS = Kinds()


def any_layout(world: World) -> Callable[[], list[Job]]:
    """Return a function that makes the jobs of each run of a project."""
    count = world.rng.randint(2, 5)
    different = [make_tests(world.rng.choice([60, 100, 150]), package) for package in ("web", "api", "app")]
    layouts: list[Callable[[], list[Job]]] = [
        lambda: parallel([make_tests(100)], world.rng),
        lambda: parallel(matrix(count), world.rng),
        lambda: parallel(different, world.rng),
        lambda: parallel(shards(make_tests(200), count), world.rng),
        lambda: sequential(matrix(count), pause=world.rng.choice([0.1, 1, 10])),
        lambda: sequential(different),
        lambda: uploaded_at_end(matrix(count)),
        lambda: [Job(part, start=world.rng.uniform(0, 30), minutes=world.rng.uniform(3, 30)) for part in matrix(count)],
    ]
    return world.rng.choice(layouts)


def disturb(world: World, share: float) -> None:
    """Let a share of the runs, in which no test fails, end otherwise; clocks are wrong by some seconds."""

    def change(run: Run) -> None:
        for job in run.jobs:
            job.shift = timedelta(seconds=world.rng.uniform(-5, 5))
        if any(job.failing for job in run.jobs) or not world.chance(share):
            return
        job = world.rng.choice(run.jobs)
        job.ending = world.rng.choice(["cancelled", "killed", "crashed", "silent"])
        if job.ending == "crashed":
            job.fields = {"error_message": f"exit code {world.number()}"}
        if job.ending == "cancelled":
            for each in run.jobs:
                each.ending = "cancelled"
        if job.ending == "silent":
            job.unloaded = frozenset(job.tests[: len(job.tests) // world.rng.choice([2, 5])])
            run.main_after = ANY  # all its sessions have passed
            run.during = ANY

    world.quirk = change


def rerun_by_accident(world: World) -> None:
    """Let a test fail by accident in one or all jobs, and run these again at once, or all on the next morning."""
    run = world.push() if world.chance(0.5) else world.pull_request()
    chosen = run.jobs if world.chance(0.3) else [world.rng.choice(run.jobs)]
    for job in chosen:
        job.failing |= {new_test(world, job)}
        job.ending = "normal"
    run.expected = frozenset()
    world.play(run)
    is_next_day = world.chance(0.3)
    world.wait(15 if is_next_day else 0.05)
    jobs = [Job(job.tests, start=world.rng.random()) for job in run.jobs if is_next_day or job in chosen]
    again = world.again(run, "re-run", jobs=jobs, url=run.url)
    again.names_commit, again.during = run.names_commit, ANY
    world.play(again)


@KINDS.add
def any_project(world: World) -> None:
    live(world, 0)


@KINDS.add
def any_project_with_runs_that_do_not_end_well(world: World) -> None:
    live(world, 0.1)


def live(world: World, share: float) -> None:
    world.provider = world.rng.choice(["github", "github", "circleci", "gitlab"])
    world.make_jobs = any_layout(world)
    has_nights, has_reruns, has_merges = (world.chance(0.5) for _ in range(3))
    quiet = world.quirk
    develop(world, 3, breaks=0)

    def live_between(index: int) -> None:
        disturb(world, 0)
        if has_reruns and not world.base and world.chance(0.25):
            rerun_by_accident(world)
        if has_nights and world.last_push and world.chance(0.25):
            world.wait(world.rng.uniform(3, 12))
            world.play(world.again(world.last_push))
        if has_merges and world.chance(0.3):
            branch = f"feature/{world.number()}"
            breaks = frozenset([new_failure(world)] if world.chance(0.3) else [])
            run = world.run("push", branch, ("BRANCH", branch), world.base | breaks)
            world.play(run)
            if not breaks:
                world.play(world.push(sha=run.sha))
        disturb(world, share)

    develop(world, 16, breaks=0.15, before=live_between)
    world.quirk = quiet
    world.wait(26)
    world.look()
