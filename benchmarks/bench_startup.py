"""Compares `import buddy_sessions` with importing its four packages. Each import is a new process.

The modules are compiled beforehand, as they are after the first start of a program.

Writes `results.json` next to this file; not with `--quick`, which measures fewer pairs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import report

PAIRS = 5 if report.QUICK else 15
LIMIT = 1.4

OURS = "buddy_sessions"
GIVEN = "aiohttp, attrs, cattrs, yarl"


def import_seconds(modules: str) -> float:
    """Return how many seconds a new interpreter takes to import `modules`."""
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return float(subprocess.check_output([sys.executable, "-c", code], env=environment))


def main() -> None:
    """Measure in turn, and print the medians of the ratios."""
    machine = report.machine()
    for modules in (OURS, GIVEN):  # compiles the modules, and fills the file cache
        import_seconds(modules)
    pairs = [(import_seconds(OURS), import_seconds(GIVEN)) for _ in range(PAIRS)]
    print(f"\nStart-up: medians of {PAIRS} pairs of new processes")
    for modules, times in zip((OURS, GIVEN), zip(*pairs, strict=True), strict=True):
        print(f"  import {modules:<30} {statistics.median(times) * 1000:7.1f} ms")
    ratio = statistics.median(ours / given for ours, given in pairs)
    checks = [
        report.check_limit(
            "import time over that of the given packages", ratio, "at most", LIMIT, noise=report.TIME_NOISE
        )
    ]
    report.save("startup", {"machine": machine, "limits": checks})


if __name__ == "__main__":
    main()
