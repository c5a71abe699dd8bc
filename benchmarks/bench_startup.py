"""Compares `import buddy_sessions` with importing its four packages, and the MCP server's start with importing the SDK.

Each is a new process. The start of the server ends with its first result.

The modules are compiled beforehand, as they are after the first start of a program.

Writes `results.json` next to this file; not with `--quick`, which measures fewer pairs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

import report
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import COMMAND, served

PAIRS = 5 if report.QUICK else 15
LIMIT = 1.4
MCP_LIMIT = 2.0

OURS = "buddy_sessions"
GIVEN = "aiohttp, attrs, cattrs, yarl"
SDK = "mcp.server"
SUITE = "acme/storefront/MNbyVedg"


def import_seconds(modules: str) -> float:
    """Return how many seconds a new interpreter takes to import `modules`."""
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    return float(subprocess.check_output([sys.executable, "-c", code], env=environment()))


def environment() -> dict[str, str]:
    """Return the environment of a process that may compile modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def first_result_seconds(fake: FakeBuddy) -> float:
    """Return how many seconds it takes from starting the MCP server to the result of a tool."""
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    call = {"name": "list_sessions", "arguments": {"suite": SUITE}}
    variables = environment() | {"BUDDY_TOKEN": fake.token, "BUDDY_API_URL": str(fake.base_url)}
    start = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, "mcp"], env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        for method, params in (("initialize", client), ("tools/call", call)):
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            process.stdin.write(f"{json.dumps(message)}\n")
            process.stdin.flush()
            result = json.loads(process.stdout.readline())["result"]
        seconds = time.perf_counter() - start
        assert not result["isError"]
        process.stdin.close()
    return seconds


def main() -> None:
    """Measure in turn, and print the medians of the ratios."""
    for modules in (OURS, GIVEN):  # compiles the modules, and fills the file cache
        import_seconds(modules)
    pairs = [(import_seconds(OURS), import_seconds(GIVEN)) for _ in range(PAIRS)]
    print(f"\nStart-up: medians of {PAIRS} pairs of new processes")
    for modules, times in zip((OURS, GIVEN), zip(*pairs, strict=True), strict=True):
        print(f"  import {modules:<30} {statistics.median(times) * 1000:7.1f} ms")
    ratio = statistics.median(ours / given for ours, given in pairs)
    checks = [report.check_limit("import time over that of the given packages", ratio, "at most", LIMIT)]
    with served(FakeBuddy()) as fake:
        fake.add_suite(*SUITE.split("/")).populate(200)
        first_result_seconds(fake)
        pairs = [(first_result_seconds(fake), import_seconds(SDK)) for _ in range(PAIRS)]
    print(f"  first result of `mcp` {statistics.median(result for result, _ in pairs) * 1000:18.1f} ms")
    print(f"  import {SDK:<30} {statistics.median(sdk for _, sdk in pairs) * 1000:7.1f} ms")
    ratio = statistics.median(result / sdk for result, sdk in pairs)
    checks.append(report.check_limit("first result of `mcp` over importing the SDK", ratio, "at most", MCP_LIMIT))
    report.save("startup", {"machine": report.machine(), "limits": checks})


if __name__ == "__main__":
    main()
