"""A notebook: a real kernel, whose event loop runs while its cells do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy

LIBRARY = Path(__file__).parents[2] / "buddy_sessions" / "README.md"
CELLS = """
client = BuddyClient.from_env()
---
print([session.relative_id async for session in client.sessions("acme/storefront/MNbyVedg", max_sessions=2)])
---
[status] = await client.status(["acme/storefront/MNbyVedg"])
print(status.is_failing)
await client.close()
"""
"""What a notebook does besides the first example of the guide: a client for several cells."""


async def test_cells_await_without_asyncio_run(fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("BUDDY_TOKEN", fake.token)
    monkeypatch.setenv("BUDDY_API_URL", str(fake.base_url))
    suite = fake.add_suite("acme", "storefront", "MNbyVedg", name="Unit tests").populate(3)
    suite.create(cases=[{"name": "pays", "status": "FAILED"}])
    (example, *_) = re.findall(r"```python\n(.*?)```", LIBRARY.read_text("utf-8"), re.DOTALL)
    assert "asyncio.run(main())" in example
    cells = [example.replace("asyncio.run(main())", "await main()"), *CELLS.split("---\n")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    await nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").async_execute()
    printed = ["".join(output.get("text", "") for output in cell["outputs"]) for cell in notebook["cells"]]
    assert printed == ["acme/storefront/MNbyVedg Unit tests\n", "", "[4, 3]\n", "True\n"]
