"""A Discord bot that posts the changes of a suite. It stops with a clear message if the token is rejected."""

import asyncio
import os

import discord

from buddy_sessions import BuddyClient, BuddyError

SUITES = ["acme/storefront/MNbyVedg"]
CHANNEL = 1234567890


class Bot(discord.Client):
    async def setup_hook(self):
        self.watching = asyncio.create_task(self.watch(SUITES))

    async def watch(self, suites, interval=60):
        try:
            async with BuddyClient.from_env() as buddy, buddy.watch(suites, interval=interval) as changes:
                async for change in changes:
                    await self.post(f"{change.suite}: {change.kind.lower()} {change.session.html_url}")
        except BuddyError as error:  # the token was rejected, or a suite was not found
            print(f"The bot stops: {error}")
            await super().close()

    async def post(self, text):
        await self.wait_until_ready()
        await self.get_channel(CHANNEL).send(text)

    async def close(self):
        self.watching.cancel()
        await asyncio.gather(self.watching, return_exceptions=True)
        await super().close()


if __name__ == "__main__":
    Bot(intents=discord.Intents.default()).run(os.environ["DISCORD_TOKEN"])
