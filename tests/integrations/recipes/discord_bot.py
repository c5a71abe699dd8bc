"""A Discord bot that names the failing tests of a session that fails. Set BUDDY_TOKEN and DISCORD_TOKEN.

It stops with a message and exit code 1 if a token is rejected, or a message cannot be posted. Let systemd or Docker
restart it: the database knows what was posted, so no red session is lost. Keep the file on a disk that lasts.
"""

import asyncio
import logging
import os
import sys

import aiohttp
import discord

from buddy_sessions import BuddyClient, BuddyError, SessionStore

SUITES = ["acme/storefront/MNbyVedg"]
BRANCH = "main"
CHANNEL = 1234567890
INTERVAL = 60  # seconds
MAX_LENGTH = 2000  # characters of a message: the limit of Discord

log = logging.getLogger("discord_bot")


def escape(text):
    line = " ".join(text.split())
    return discord.utils.escape_mentions(discord.utils.escape_markdown(line, ignore_links=False))


async def describe(buddy, suite, session):
    lines = [escape(f"{suite} is red on {BRANCH}:"), session.html_url or f"session {session.relative_id}"]
    try:
        lines += [f"- {escape(str(case.key))}" for case in await buddy.failures(suite, session)]
    except BuddyError as error:
        log.warning("cannot read the failing tests: %s", error)
    text = "\n".join(lines)
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 2].rpartition("\n")[0] + "\n…"


async def watch(channel):
    async with (
        BuddyClient.from_env() as buddy,
        SessionStore("discord_bot.db") as store,
        store.watch(buddy, SUITES, interval=INTERVAL, branch=BRANCH) as changes,
    ):
        async for change in changes:
            was_red = change.previous is not None and change.previous.status == "ERROR"
            if change.session.status == "ERROR" and not was_red:
                await channel.send(await describe(buddy, change.suite, change.session), suppress_embeds=True)


async def main():
    """Run the bot until an error stops it, and return the message for stderr."""
    message = "The bot stops"
    bot = discord.Client(intents=discord.Intents(guilds=True), allowed_mentions=discord.AllowedMentions.none())
    async with bot:
        try:
            async with asyncio.TaskGroup() as tasks:
                await bot.login(os.environ.get("DISCORD_TOKEN", ""))
                tasks.create_task(watch(await bot.fetch_channel(CHANNEL)))
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
