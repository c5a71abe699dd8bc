"""A Slack bot that says when suites turn red and green, and names the tests. Set BUDDY_TOKEN and SLACK_BOT_TOKEN.

The token of the Slack app needs the scope `chat:write`, and the app must be invited to the channel. A message that
Slack does not accept is posted again until it does. At its first start, it posts the suites that are red. Later ones
continue where the last one stopped: the state is in a file. A suite that cannot be read is in the log, and tried again.
"""

import asyncio
import logging
import os
import sys
from html import escape

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from buddy_sessions import BuddyClient, BuddyError, SessionStore, StatusChange

SUITES = ["acme/storefront/MNbyVedg"]
CHANNEL = "C0123456789"
FILE = "slack_bot.db"
INTERVAL = 60  # seconds
RETRY = 30  # seconds until a message is posted again
MAX_LENGTH = 4000  # characters of a message: Slack splits longer ones
SLACK_API = "https://slack.com/api/"

log = logging.getLogger("slack_bot")


def describe(change: StatusChange) -> str:
    commit, session = change.commit, change.commit.session
    status = "red" if commit.is_failing else "green"
    lines = [f"{change.suite} is {status} on {commit.branch}:", session.html_url or session.id]
    lines += [f"• {' '.join(str(case.key).split())}" for case in change.newly_failing]
    text = escape("\n".join(lines), quote=False)  # the three characters that Slack interprets: & < >
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 2].rpartition("\n")[0] + "\n…"


async def post(slack: AsyncWebClient, text: str) -> None:
    while True:
        try:
            await slack.chat_postMessage(channel=CHANNEL, text=text, mrkdwn=False, unfurl_links=False)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            log.warning("cannot post, trying again in %s s: %s", RETRY, error)
            await asyncio.sleep(RETRY)
        else:
            return


async def main() -> None:
    slack = AsyncWebClient(os.environ.get("SLACK_BOT_TOKEN", ""), base_url=SLACK_API)
    await slack.auth_test()  # find out now whether the token is valid
    async with (
        BuddyClient.from_env() as buddy,
        SessionStore(FILE) as store,
        store.watch_status(buddy, SUITES, interval=INTERVAL, on_failure="retry") as changes,
    ):
        async for change in changes:
            if change.commit.is_failing or change.kind == "RECOVERED":
                await post(slack, describe(change))


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
