"""What holds for every request: the token where one is set, and errors as JSON."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web

from streamapp.app import app

logger = logging.getLogger(__name__)
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


def respond(body: Any, *, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.Response(body=orjson.dumps(body) + b"\n", status=status, content_type="application/json")


@web.middleware
async def errors(request: web.Request, handler: Respond) -> web.StreamResponse:
    """Every failure is {"error": ...} with its status."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        return respond({"error": exc.text or exc.reason}, status=exc.status)
    except Exception as exc:
        logger.exception("request %s failed", request.path)
        return respond({"error": f"{type(exc).__name__}: {exc}"}, status=500)


@web.middleware
async def token(request: web.Request, handler: Respond) -> web.StreamResponse:
    """With WEB_TOKEN set, everything but the health checks needs it."""
    wanted = app.settings.web_token
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if wanted and not request.path.startswith("/health/") and not hmac.compare_digest(given.encode(), wanted.encode()):
        raise web.HTTPUnauthorized(text="needs the header Authorization: Bearer <STREAMAPP_WEB_TOKEN>")
    return await handler(request)
