"""Read what is new in all suites of a workspace every few minutes, and handle it. Set BUDDY_TOKEN.

    python harvester.py >> sessions.jsonl

Each new and each changed session is handled, some twice if it is killed meanwhile. It goes on after an outage, and ends
with an error that does not pass, such as a rejected token: a service manager should restart it only after a while.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path

from buddy_sessions import BuddyClient, BuddyError, RateLimitError, Session, SessionStore, SuiteKey, to_dict

SUITES = "acme"  # or a project, "acme/storefront", or a list of suites
PAUSE = 600  # seconds between two rounds
DATABASE = Path("harvester.db")
POSITION = Path("harvester.position")  # of the last change that was handled

log = logging.getLogger("harvester")


async def handle(suite: SuiteKey, session: Session) -> None:
    print(json.dumps({"suite": str(suite), **to_dict(session)}), flush=True)


def load_position() -> int:
    return int(POSITION.read_text()) if POSITION.exists() else 0


def save_position(position: int) -> None:
    new = POSITION.with_suffix(".new")
    new.write_text(str(position))
    new.replace(POSITION)  # so that a kill leaves the old one or the new one


async def harvest(buddy: BuddyClient, store: SessionStore) -> None:
    sync = store.sync(buddy, SUITES, on_failure="collect")
    await sync.run()
    for suite, error in sync.failures.items():  # the others were read; it is tried again in the next round
        log.warning("cannot read %s: %s", suite, error)
    async for change in store.changes(after=load_position()):
        if change.session is not None and change.missing_since is None:
            await handle(change.suite, change.session)
        save_position(change.position)


async def main() -> None:
    async with BuddyClient.from_env() as buddy, SessionStore(DATABASE) as store:
        while True:
            pause = float(PAUSE)
            try:
                await harvest(buddy, store)
            except BuddyError as error:
                if not error.retryable:
                    raise
                if isinstance(error, RateLimitError):
                    pause = max(pause, error.retry_after or 0)
                log.warning("%s; the next round begins in %.0f s", error, pause)
            await asyncio.sleep(pause)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    try:
        asyncio.run(main())
    except BuddyError as error:
        sys.exit(f"The harvester ends: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
