"""All kinds of histories of CI, and the stories that follow from a kind and a seed.

In healthy ones, nothing is wrong but what developers do wrong every day: now and then, a pull request or a push breaks
a test. In red ones, something is broken in a way that is easily missed.
"""

from __future__ import annotations

import random

from histories import mixed_kinds, project_kinds, red_kinds, run_kinds, stage_kinds
from histories.days import Kind
from histories.world import Story, World

HEALTHY: dict[str, Kind] = run_kinds.KINDS | project_kinds.KINDS | mixed_kinds.KINDS | stage_kinds.KINDS
RED: dict[str, Kind] = red_kinds.KINDS


def make_story(name: str, seed: int) -> Story:
    """Let a project of a kind live. The same seed gives the same story."""
    world = World(random.Random(f"{name}/{seed}"))
    (HEALTHY | RED)[name](world)
    return Story(name, seed, world.moments, world.cases)
