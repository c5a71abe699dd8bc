"""A watch that looks at a suite as soon as Buddy calls, when a session has ended. Set BUDDY_TOKEN and WEBHOOK_SECRET.

If Buddy's own notifications of failed sessions, flaky and slow tests are enough, use them. Otherwise, create a pipeline
in Buddy with the trigger "Unit Tests: Session ended", which can be limited to suites, branches and statuses, and give
it this action:

    - action: "Tell the watch"
      type: "HTTP"
      method: "POST"
      notification_url: "https://watch.example.com/refresh/acme/storefront/MNbyVedg"
      login: "buddy"
      password: "$WEBHOOK_SECRET"
"""

import asyncio
import hmac
import logging
import os
import sys

from aiohttp import encode_basic_auth, web

from buddy_sessions import BuddyClient, BuddyError, Change, ConfigError, SuiteKey, Watch

SUITES = ["acme/storefront/MNbyVedg"]
HOST = "127.0.0.1"  # behind a proxy that speaks https
PORT = 8080
INTERVAL = 600  # seconds: finds what a lost call would have told

log = logging.getLogger("webhook_refresh")

WATCH = web.AppKey("watch", Watch)
CREDENTIALS = web.AppKey("credentials", bytes)


async def refresh(request: web.Request) -> web.Response:
    given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
    if not hmac.compare_digest(given, request.app[CREDENTIALS]):  # takes as long for each wrong secret
        raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Basic"})
    try:
        await request.app[WATCH].refresh(SuiteKey(**request.match_info))
    except ConfigError:
        raise web.HTTPNotFound(text="this suite is not watched") from None
    return web.Response(status=202)


async def handle(change: Change) -> None:
    print(change.suite, change.kind, change.session.status, change.session.html_url, flush=True)


async def main(secret: str) -> None:
    async with BuddyClient.from_env() as buddy, buddy.watch(SUITES, interval=INTERVAL) as changes:
        app = web.Application()
        app[WATCH] = changes
        app[CREDENTIALS] = encode_basic_auth("buddy", secret).encode()
        app.router.add_post("/refresh/{workspace}/{project}/{suite_id}", refresh)
        runner = web.AppRunner(app)
        try:
            await runner.setup()
            await web.TCPSite(runner, HOST, PORT).start()
            log.info("listening on port %s", runner.addresses[0][1])
            async for change in changes:
                await handle(change)
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    secret = os.environ.get("WEBHOOK_SECRET") or sys.exit("set WEBHOOK_SECRET to a long random text")
    try:
        asyncio.run(main(secret))
    except BuddyError as error:
        sys.exit(f"The watch ends: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
