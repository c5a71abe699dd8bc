"""What developers do every day: they push, open pull requests, break tests and repair them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from histories.jobs import Job, make_tests
from histories.world import World

Kind = Callable[[World], None]
"""Lets a project live for some days."""


class Kinds(dict[str, Kind]):
    """Kinds by their names."""

    def add(self, function: Kind) -> Kind:
        self[function.__name__.replace("_", " ")] = function
        return function


def develop(
    world: World,
    pushes: int = 14,
    *,
    breaks: float = 0.1,
    pull_requests: float = 0.5,
    before: Callable[[int], object] = lambda index: None,
) -> None:
    """Let some days pass, with pushes to main and pull requests. `before` is called with the index of each push."""
    for index in range(pushes):
        world.wait(world.rng.choice([0.2, 0.5, 2, 6, 16]))
        before(index)
        if world.chance(pull_requests):
            if world.chance(0.3):
                branch = f"feature/{world.number()}"
                world.play(world.pull_request([new_failure(world)], branch=branch))
                world.wait(world.rng.choice([0.2, 1, 3]))
                world.play(world.pull_request(branch=branch))
            else:
                world.play(world.pull_request())
        if world.base and world.chance(0.6):
            world.play(world.push(fixes=world.base))
        else:
            world.play(world.push([new_failure(world)] if index and world.chance(breaks) else []))


def new_failure(world: World) -> str:
    """Return a test that nobody has broken before; sometimes, it fails in one of the jobs only."""
    jobs = world.make_jobs()
    test = new_test(world, jobs[0])
    places = [index for index, job in enumerate(jobs) if test in job.tests]
    if world.chance(0.4):
        world.broken_jobs[test] = frozenset([world.rng.choice(places)])
    return test


def new_test(world: World, job: Job) -> str:
    test = world.rng.choice([test for test in job.tests if test not in world.used])
    world.used.add(test)
    return test


def matrix(count: int = 3, size: int = 100) -> list[Sequence[str]]:
    return [make_tests(size)] * count
