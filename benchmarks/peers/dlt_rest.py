"""dlt's REST client: not asynchronous, so that several suites at once take threads."""

from __future__ import annotations

import importlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from peers import HEADERS, Suite, path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

# Any on purpose: to have the types checked would take an installation of dlt, with all that it brings.
rest_client: Any = importlib.import_module("dlt.sources.helpers.rest_client")
paginators: Any = importlib.import_module("dlt.sources.helpers.rest_client.paginators")


def decode(body: bytes) -> list[dict[str, Any]]:
    """Return the sessions of a page, as the client parses it."""
    sessions: list[dict[str, Any]] = json.loads(body)["sessions"]
    return sessions


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all pages of all suites, and return how many sessions they hold. Blocks."""
    left = iter(suites)

    def work() -> int:
        # Its paginator goes on until an empty page comes: nothing tells it of a page that is short.
        paginator = paginators.PageNumberPaginator(base_page=1, page_param="page", total_path=None)
        client = rest_client.RESTClient(base_url, headers=HEADERS, paginator=paginator, data_selector="sessions")
        count = 0
        for suite in left:
            for page in client.paginate(path(suite), params={"per_page": per_page}):
                for _ in page:
                    count += 1
        return count

    with ThreadPoolExecutor(workers := min(concurrency, len(suites))) as pool:
        return sum(job.result() for job in [pool.submit(work) for _ in range(workers)])
