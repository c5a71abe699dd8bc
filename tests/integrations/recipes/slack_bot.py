"""A Slack bot that names the failing tests of a session that fails. Set BUDDY_TOKEN and SLACK_BOT_TOKEN.

The token of the Slack app needs the scope `chat:write`, and the app must be invited to the channel. The bot stops with
a message and exit code 1 if a token is rejected, or a message cannot be posted. Let systemd or Docker restart it: the
database knows what was posted, so no red session is lost. Keep the file on a disk that lasts.
"""

import asyncio
import logging
import os
import sys
from html import escape

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

from buddy_sessions import BuddyClient, BuddyError, SessionStore

SUITES = ["acme/storefront/MNbyVedg"]
BRANCH = "main"
CHANNEL = "C0123456789"
INTERVAL = 60  # seconds
MAX_LENGTH = 4000  # characters of a message: Slack splits longer ones
SLACK_API = "https://slack.com/api/"

log = logging.getLogger("slack_bot")


async def describe(buddy, suite, session):
    lines = [f"{suite} is red on {BRANCH}:", session.html_url or f"session {session.relative_id}"]
    try:
        lines += [f"• {' '.join(str(case.key).split())}" for case in await buddy.failures(suite, session)]
    except BuddyError as error:
        log.warning("cannot read the failing tests: %s", error)
    text = escape("\n".join(lines), quote=False)  # the three characters that Slack interprets: & < >
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 2].rpartition("\n")[0] + "\n…"


async def main():
    retries = [AsyncConnectionErrorRetryHandler, AsyncRateLimitErrorRetryHandler, AsyncServerErrorRetryHandler]
    retry_handlers = [handler(max_retry_count=5) for handler in retries]
    slack = AsyncWebClient(os.environ.get("SLACK_BOT_TOKEN", ""), base_url=SLACK_API, retry_handlers=retry_handlers)
    await slack.auth_test()  # find out now whether the token is valid
    async with (
        BuddyClient.from_env() as buddy,
        SessionStore("slack_bot.db") as store,
        store.watch(buddy, SUITES, interval=INTERVAL, branch=BRANCH) as changes,
    ):
        async for change in changes:
            was_red = change.previous is not None and change.previous.status == "ERROR"
            if change.session.status == "ERROR" and not was_red:
                text = await describe(buddy, change.suite, change.session)
                await slack.chat_postMessage(channel=CHANNEL, text=text, mrkdwn=False, unfurl_links=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    try:
        asyncio.run(main())
    except BuddyError as error:
        sys.exit(f"The bot stops, because of Buddy: {error}")
    except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
        sys.exit(f"The bot stops, because of Slack: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
