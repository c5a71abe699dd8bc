"""An aiohttp application with one client for its whole life."""

from collections.abc import AsyncIterator

from aiohttp import web

from buddy_sessions import BuddyClient, BuddyError, NotFoundError, SuiteKey, to_dict

BUDDY = web.AppKey("buddy", BuddyClient)


async def buddy_client(app: web.Application) -> AsyncIterator[None]:
    async with BuddyClient.from_env(max_wait=2, timeout=10) as app[BUDDY]:
        yield


async def latest(request: web.Request) -> web.Response:
    paginator = request.app[BUDDY].sessions(SuiteKey(**request.match_info), max_sessions=10)
    try:
        return web.json_response([to_dict(session) async for session in paginator])
    except NotFoundError:
        raise web.HTTPNotFound(text="there is no such suite") from None
    except BuddyError as error:
        raise web.HTTPServiceUnavailable(text=str(error), headers={"Retry-After": "5"}) from None


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(buddy_client)
    app.router.add_get("/{workspace}/{project}/{suite_id}", latest)
    return app


if __name__ == "__main__":
    web.run_app(make_app())
