"""Print four gauges for Prometheus, from what `status` prints, for the textfile collector of its node exporter.

buddy-sessions status --db sessions.db --format jsonl | python prometheus_gauges.py > gauges.tmp
mv gauges.tmp /var/lib/node_exporter/buddy.prom

Alerts for a suite that has been red for a day, and for syncs that do not run:

buddy_suite_red == 1 and time() - buddy_suite_since_seconds > 86400
time() - max(buddy_suite_synced_seconds) > 7200
"""

import json
import sys
from datetime import datetime
from typing import Any

GAUGES = {
    "buddy_suite_red": "1 if the main branch is red, 0 if it is green; missing without a verdict",
    "buddy_suite_since_seconds": "when the first session with this verdict was created, in Unix seconds",
    "buddy_suite_synced_seconds": "when the last complete sync of the suite began, in Unix seconds",
    "buddy_suite_lost": "1 if the suite was not found or could not be read",
}
LABELS = ("workspace", "project", "suite_id", "name", "branch")


def seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


def values(suite: dict[str, Any]) -> tuple[float | None, ...]:
    """Return the values of the gauges for a row of `status`, in their order."""
    red = {"red": 1, "green": 0}.get(suite["status"])
    lost = int(bool(suite["missing_since"] or suite["error"]))
    return red, seconds(suite["since_date"]), seconds(suite["synced_at"]), lost


def label(name: str, text: str | None) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text or "")
    return f"{name}={json.dumps(printable, ensure_ascii=False)}"  # of these, JSON escapes what Prometheus does: \ and "


suites = [json.loads(line) for line in sys.stdin.buffer]
lines: list[str] = []
for number, (gauge, text) in enumerate(GAUGES.items()):
    lines += [f"# HELP {gauge} {text}", f"# TYPE {gauge} gauge"]
    for suite in suites:
        labels = ",".join(label(name, suite[name]) for name in LABELS)
        if (value := values(suite)[number]) is not None:
            lines.append(f"{gauge}{{{labels}}} {value}")
sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode())
