"""A Discord bot that says when suites turn red and green, and names the tests. Set BUDDY_TOKEN and DISCORD_TOKEN.

A message that Discord does not accept is posted again until it does. At its first start, it posts the suites that are
red. Later ones continue where the last one stopped: the state is in a file. A suite that cannot be read is in the log,
and tried again.
"""

import asyncio
import logging
import os
import sys

import aiohttp
import discord

from buddy_sessions import BuddyClient, BuddyError, SessionStore, StatusChange

SUITES = ["acme/storefront/MNbyVedg"]
CHANNEL = 1234567890
FILE = "discord_bot.db"
INTERVAL = 60  # seconds
RETRY = 30  # seconds until a message is posted again
MAX_LENGTH = 2000  # characters of a message: the limit of Discord

log = logging.getLogger("discord_bot")


def escape(text: str) -> str:
    line = " ".join(text.split())
    return discord.utils.escape_mentions(discord.utils.escape_markdown(line, ignore_links=False))


def describe(change: StatusChange) -> str:
    commit, session = change.commit, change.commit.session
    status = "red" if commit.is_failing else "green"
    lines = [escape(f"{change.suite} is {status} on {commit.branch}:"), session.html_url or session.id]
    text = "\n".join([*lines, *(f"- {escape(str(case.key))}" for case in change.newly_failing)])
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 2].rpartition("\n")[0] + "\n…"


async def post(channel: discord.abc.Messageable, text: str) -> None:
    while True:
        try:
            await channel.send(text, suppress_embeds=True)
        except (discord.DiscordException, aiohttp.ClientError, TimeoutError) as error:
            log.warning("cannot post, trying again in %s s: %s", RETRY, error)
            await asyncio.sleep(RETRY)
        else:
            return


async def watch(channel: discord.TextChannel) -> None:
    async with (
        BuddyClient.from_env() as buddy,
        SessionStore(FILE) as store,
        store.watch_status(buddy, SUITES, interval=INTERVAL, on_failure="retry") as changes,
    ):
        async for change in changes:
            if change.commit.is_failing or change.kind == "RECOVERED":
                await post(channel, describe(change))


async def main() -> str:
    """Run the bot until an error stops it, and return the message for stderr."""
    message = "The bot stops"
    bot = discord.Client(intents=discord.Intents(guilds=True), allowed_mentions=discord.AllowedMentions.none())
    async with bot:
        try:
            async with asyncio.TaskGroup() as tasks:
                await bot.login(os.environ.get("DISCORD_TOKEN", ""))
                channel = await bot.fetch_channel(CHANNEL)
                if not isinstance(channel, discord.TextChannel):
                    return f"The bot stops: {CHANNEL} is no text channel"
                tasks.create_task(watch(channel))
                await bot.connect()
        except* BuddyError as errors:
            message = f"The bot stops, because of Buddy: {errors.exceptions[0]}"
        except* (discord.DiscordException, aiohttp.ClientError, TimeoutError) as errors:
            message = f"The bot stops, because of Discord: {errors.exceptions[0]}"
    return message


if __name__ == "__main__":
    discord.utils.setup_logging()
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
