"""Asking the other workers: each row lives in one of them, and any of them can be asked for it.

Hashing a key to its worker is not relied on (faust-streaming/faust#514); every worker is asked for what it has itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from streamapp.app import app
from streamapp.web.health import not_ready

PATIENCE = aiohttp.ClientTimeout(total=3.0)


def is_local(request: web.Request) -> bool:
    """Whether another worker asks for this worker's own part only."""
    return "local" in request.query


def others() -> list[str]:
    """URLs of the other workers, from the assignment of tables."""
    mine = app.settings.web_address
    return sorted(url for url in map(str, app.router.tables_metadata()) if url.rstrip("/") != mine)


async def ask(path: str, query: dict[str, str]) -> list[tuple[str, int, Any]]:
    """What each other worker answers: (url, status, body). A worker out of reach answers 503 with the reason."""
    async with aiohttp.ClientSession(timeout=PATIENCE, headers=app.settings.web_headers) as session:
        return await asyncio.gather(*(_ask(session, url, path, {**query, "local": "1"}) for url in others()))


async def _ask(session: aiohttp.ClientSession, url: str, path: str, query: dict[str, str]) -> tuple[str, int, Any]:
    try:
        async with session.get(url.rstrip("/") + path, params=query) as response:
            return url, response.status, orjson.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as exc:
        return url, 503, {"error": f"{type(exc).__name__}: {exc}"}


def unreachable(answers: list[tuple[str, int, Any]]) -> dict[str, str]:
    """Workers that could not answer, this one included, with the reason: what they hold is unknown."""
    found = {url: str(body.get("error", body)) for url, status, body in answers if status not in (200, 404)}
    if reasons := not_ready():
        found[app.settings.web_address] = "; ".join(reasons)
    return found
