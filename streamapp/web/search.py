"""GET /search?q=&like=&face=&user=&limit=&unsafe=: what `streamapp search` finds."""

from __future__ import annotations

import dataclasses

from aiohttp import web
from elasticsearch import ApiError, TransportError

from streamapp.app import app
from streamapp.engines.texts import embedder
from streamapp.sinks.parts import database_id
from streamapp.sinks.search import MOST, NotSearchable, Query, Unusable, find
from streamapp.web.middleware import respond

search = web.RouteTableDef()

KNOWN = ("q", "like", "face", "user", "limit", "unsafe")


@search.get("/search")
async def found(request: web.Request) -> web.Response:
    """200 with the answer, also when there are no hits; 400 for what cannot be asked; 404 where what it starts from is
    not known; 503 without the search server."""
    query = _query(request)
    resources = app.resources
    if not resources.loaded:
        return respond({"error": "the engine is loading"}, status=503)
    try:
        answer = await find(
            resources.elasticsearch,
            query,
            prefix=app.settings.index_prefix,
            embed=embedder(resources.engine.vision, resources.texts),
            same_person=app.settings.face_suggested,
        )
    except Unusable as error:
        return respond({"error": str(error)}, status=400)
    except NotSearchable as error:
        return respond({"error": str(error)}, status=404)
    except TimeoutError:
        return respond({"error": "the engine is too busy to read the words"}, status=503)
    except (ApiError, TransportError) as error:
        return respond({"error": f"Elasticsearch: {error}"}, status=503)
    return respond(dataclasses.asdict(answer))


def _query(request: web.Request) -> Query:
    given = request.query
    if unknown := set(given) - set(KNOWN):
        raise web.HTTPBadRequest(text=f"no parameter {', '.join(sorted(unknown))}; there are {', '.join(KNOWN)}")
    if not {"q", "like", "face"} & set(given):
        raise web.HTTPBadRequest(text="needs q, like or face")
    limit = _number("limit", given.get("limit", "20"))
    if not 1 <= limit <= MOST:
        raise web.HTTPBadRequest(text=f"limit is a number from 1 to {MOST}")
    return Query(
        text=given.get("q"),
        like=_number("like", given["like"]) if "like" in given else None,
        face=_number("face", given["face"]) if "face" in given else None,
        user=given.get("user"),
        safe_only=given.get("unsafe", "").lower() not in ("1", "true"),
        limit=limit,
    )


def _number(name: str, text: str) -> int:
    if (number := database_id(text)) is None:
        raise web.HTTPBadRequest(text=f"{name} is a number, not {text[:40]!r}")
    return number
