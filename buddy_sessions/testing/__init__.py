"""A fake Buddy for tests and demos: a real HTTP server with the API's behaviour, and faults on demand.

```python
async with FakeBuddy() as fake:
    suite = fake.add_suite("acme", "shop", "MNbyVedg").populate(250)
    ...  # read it from fake.base_url with fake.token, by any client
```

Nothing here is shared with the client: the wire format is written down twice, so that a mistake has to be
made twice to go unseen.
"""

from .faults import Fault
from .server import FakeBuddy
from .suite import FakeSuite
from .wire import RecordedRequest

__all__ = ["FakeBuddy", "FakeSuite", "Fault", "RecordedRequest"]
