"""A span for every request, retries included. The token appears in no span, unless request headers are captured."""

import asyncio

import aiohttp
from opentelemetry import trace
from opentelemetry.instrumentation.aiohttp_client import create_trace_config

from buddy_sessions import BuddyClient


async def main() -> None:
    traced = aiohttp.ClientSession(trace_configs=[create_trace_config()])
    async with traced as http_session, BuddyClient.from_env(http_session=http_session) as buddy:
        with trace.get_tracer("my-bot").start_as_current_span("read"):  # the parent of the requests' spans
            print(len(await buddy.sessions("acme/storefront/MNbyVedg").collect()), "sessions")


asyncio.run(main())
