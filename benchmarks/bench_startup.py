"""What `import buddy_sessions` costs beside the four packages that it stands on, each in a new process."""

from __future__ import annotations

import statistics
import subprocess
import sys

PAIRS = 15
PROMISE = 1.15

OURS = "buddy_sessions"
FLOOR = "aiohttp, attrs, cattrs, yarl"


def seconds(modules: str) -> float:
    """Return how long a new interpreter takes to import `modules`."""
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    return float(subprocess.check_output([sys.executable, "-c", code]))


def main() -> None:
    """Measure in turn, and print the median of the pairs' ratios."""
    for modules in (OURS, FLOOR):  # brings their files into the cache
        seconds(modules)
    pairs = [(seconds(OURS), seconds(FLOOR)) for _ in range(PAIRS)]
    ratio = statistics.median(ours / floor for ours, floor in pairs)
    print(f"\nStart-up: medians of {PAIRS} pairs of new processes")
    for modules, times in zip((OURS, FLOOR), zip(*pairs, strict=True), strict=True):
        print(f"  import {modules:<30} {statistics.median(times) * 1000:7.1f} ms")
    print(f"  ratio {ratio:.3f}, promised {PROMISE}: {'kept' if ratio <= PROMISE else 'NOT KEPT'}")


if __name__ == "__main__":
    main()
