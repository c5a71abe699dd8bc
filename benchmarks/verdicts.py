"""How often a status and a gate say what a developer expects, in histories of CI of which the truth is known.

Run it after a change to the rules: `PYTHONPATH=tests python benchmarks/verdicts.py`, with `--seeds 20` for more of each
kind, `--kind NAME` for one of them, `--explain` for each wrong answer. Exit code 1 if a promise is broken: at most 3 %
of all answers are wrong if the gate knows how the tests ended, at most 8 % if not, and nothing green must be red.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

from buddy_sessions import MAIN, NoVerdictError
from buddy_sessions._decoding.converter import case_from_dict, session_from_dict
from helpers import rules
from helpers.list_source import SUITE, ask_about
from histories.kinds import HEALTHY, RED, make_story
from histories.world import Answer, Expected, Gate, Story

STATUS = "status"
PROMISED = {True: 3.0, False: 8.0}
"""By whether the outcome is known: the most answers in percent that may be wrong."""


class Engine(Protocol):
    """What is measured: True for red, or for a change that may be merged; None without a verdict."""

    def status(self, rows: list[rules.Row], *, now: datetime) -> bool | None:
        """Return whether the main branch is red."""

    def gate(
        self, rows: list[rules.Row], cases: rules.Cases, gate: Gate, *, outcome: str | None, now: datetime
    ) -> bool | None:
        """Return whether what the gate names may be merged."""


class Package:
    """The package, over lists."""

    def status(self, rows: list[rules.Row], *, now: datetime) -> bool | None:
        """Return whether the main branch is red."""
        ask = ask_about(list(map(session_from_dict, rows)), lambda _: [], as_of=now)
        (status,) = asyncio.run(ask.status([SUITE]))
        return status.is_failing

    def gate(
        self, rows: list[rules.Row], cases: rules.Cases, gate: Gate, *, outcome: str | None, now: datetime
    ) -> bool | None:
        """Return whether what the gate names may be merged."""
        if outcome not in {"success", "failure", None}:
            return None  # the command ends at once
        ask = ask_about(
            list(map(session_from_dict, rows)), lambda session: list(map(case_from_dict, cases(session))), as_of=now
        )
        baseline = MAIN if gate.baseline == rules.MAIN else gate.baseline
        try:
            judgement = asyncio.run(
                ask.judge(SUITE, gate.name, baseline=baseline, after=gate.after, outcome=cast(Any, outcome))
            )
        except NoVerdictError:
            return None
        return judgement.passes


@dataclass(frozen=True)
class Answered:
    """An answer, and what a developer expects."""

    question: str
    answer: Answer
    expected: Expected
    limit: str
    where: str

    @property
    def is_gate(self) -> bool:
        """Whether it is the answer of a gate."""
        return self.question != STATUS

    @property
    def is_wrong(self) -> bool:
        """Whether it is wrong, and that could be known."""
        return self.verdict not in {"right", "limit"}

    @property
    def verdict(self) -> str:
        """How the answer is wrong; "right" if it is not, and "limit" if it is, but nobody could know."""
        if self.answer in self.expected:
            return "right"
        if self.limit:
            return "limit"
        return {"red": "wrong red", "green": "wrong green", "none": "no verdict"}[self.answer]


def ask(engine: Engine, story: Story, *, knows_outcome: bool) -> Iterator[Answered]:
    """Yield the answers at each moment of a story of which the truth is known."""
    for number, moment in enumerate(story.moments):
        where = f"{story.kind}, seed {story.seed}, moment {number}"
        if len(moment.expected_main) < 3:
            is_failing = engine.status(moment.rows, now=moment.now)
            answer: Answer = "none" if is_failing is None else "red" if is_failing else "green"
            yield Answered(STATUS, answer, moment.expected_main, moment.limit, where)
        for gate in moment.gates:
            outcome = gate.outcome if knows_outcome else None
            passes = engine.gate(moment.rows, story.cases, gate, outcome=outcome, now=moment.now)
            answer = "none" if passes is None else "green" if passes else "red"
            yield Answered(f"gate of {gate.kind} {gate.name}", answer, gate.expected, gate.limit, where)


COLUMNS = ("answers", "wrong red", "wrong green", "no verdict", "limit")


def measure(engine: Engine, kinds: Iterable[str], seeds: int, *, knows_outcome: bool, explains: bool) -> Counter[str]:
    """Print a line for each kind; return the sums."""
    total: Counter[str] = Counter()
    for name in kinds:
        counts: Counter[str] = Counter()
        for seed in range(seeds):
            for answered in ask(engine, make_story(name, seed), knows_outcome=knows_outcome):
                counts["answers"] += 1
                counts[answered.verdict] += 1
                asked = "gates" if answered.is_gate else "status"
                counts[f"all {asked}"] += 1
                counts[f"{answered.verdict} {asked}"] += 1
                if explains and answered.is_wrong:
                    expected = " or ".join(sorted(answered.expected))
                    print(f"  {answered.where}: {answered.question} is {answered.answer}, expected {expected}")
        print(f"{name:48}" + "".join(f"{counts[column]:13,}" for column in COLUMNS))
        total += counts
    return total


def main(engine: Engine) -> int:
    """Measure all kinds; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kind", help="part of the name of a kind")
    parser.add_argument("--explain", action="store_true", help="print each wrong answer")
    options = parser.parse_args()
    is_kept = True
    for knows_outcome in (True, False):
        sums: Counter[str] = Counter()
        for title, kinds in (("healthy", HEALTHY), ("red", RED)):
            chosen = [name for name in kinds if (options.kind or "") in name]
            if not chosen:
                continue
            heading = f"{title}, {'with' if knows_outcome else 'without'} the outcome"
            print(f"\n{heading:48}" + "".join(f"{column:>13}" for column in COLUMNS))
            total = measure(engine, chosen, options.seeds, knows_outcome=knows_outcome, explains=options.explain)
            is_kept &= not (title == "red" and knows_outcome and total["wrong green"])
            sums += total
        wrong = sums["wrong red"] + sums["wrong green"] + sums["no verdict"]
        share = 100 * wrong / sums["answers"] if sums else 0.0
        print(
            f"\n{wrong:,} of {sums['answers']:,} answers are wrong: {share:.2f} % (promised: {PROMISED[knows_outcome]})"
        )
        for asked in ("gates", "status"):
            counts = ", ".join(f"{sums[f'{kind} {asked}']:,} {kind}" for kind in COLUMNS[1:4])
            print(f"{sums[f'all {asked}']:,} answers of {asked}: {counts}")
        is_kept &= share <= PROMISED[knows_outcome]
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main(Package()))
