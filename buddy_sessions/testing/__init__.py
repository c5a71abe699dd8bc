"""A fake Buddy for tests and demos: a real HTTP server that behaves like the API, with faults on demand.

```python
async with FakeBuddy() as fake:
    suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(250)
    ...  # read it from fake.base_url with fake.token, with any client
```

It shares no code with the client: each defines the wire format itself, so that a mistake in either fails a test.
"""

from .faults import Fault
from .server import FakeBuddy
from .suite import FakeSuite
from .wire import RecordedRequest

__all__ = ["FakeBuddy", "FakeSuite", "Fault", "RecordedRequest"]
