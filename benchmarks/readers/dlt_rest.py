"""dlt's REST client. It is synchronous, so several suites at once need threads."""

from __future__ import annotations

import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from readers import HEADERS, Suite, sessions_path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

# Any: checking the types would need dlt and its many dependencies.
rest_client: Any = importlib.import_module("dlt.sources.helpers.rest_client")
paginators: Any = importlib.import_module("dlt.sources.helpers.rest_client.paginators")


async def read(base_url: str, suites: list[Suite], concurrency: int, per_page: int) -> int:
    """Read all sessions of all suites; return their number. Blocks."""
    remaining = iter(suites)

    def work() -> int:
        # This paginator stops at an empty page; it has no option for short pages.
        paginator = paginators.PageNumberPaginator(base_page=1, page_param="page", total_path=None)
        client = rest_client.RESTClient(base_url, headers=HEADERS, paginator=paginator, data_selector="sessions")
        count = 0
        for suite in remaining:
            for page in client.paginate(sessions_path(suite), params={"per_page": per_page}):
                for _ in page:
                    count += 1
        return count

    with ThreadPoolExecutor(workers := min(concurrency, len(suites))) as pool:
        return sum(job.result() for job in [pool.submit(work) for _ in range(workers)])
