"""GET and DELETE /users/{id}/faces: what is known of somebody's face, and that it be forgotten."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from aiohttp import web

from streamapp import tables
from streamapp.app import app
from streamapp.errors import Unavailable
from streamapp.faces.forget import report
from streamapp.faces.forgetting import Forgetting
from streamapp.sinks.parts import database_id
from streamapp.sinks.people import said
from streamapp.web.cluster import ask, is_local, unreachable
from streamapp.web.middleware import respond

faces = web.RouteTableDef()

LONGEST_WAIT = 60.0  # seconds


@faces.get("/users/{user_id}/faces")
async def known(request: web.Request) -> web.Response:
    """200 with what is known; with ?check=1 also with what would be `left`; with ?of=state the media whose state says
    that the user is on them. 503 without the database, or without all of the state."""
    user_id = _user(request)
    try:
        if request.query.get("of") == "state":
            media = await _here(user_id) if is_local(request) else await _everywhere(user_id)
            return respond({"media": media})
        forgetting = _forgetting()
        found = await forgetting.known(user_id)
        if request.query.get("check", "").lower() in ("1", "true"):
            found["left"] = [dataclasses.asdict(each) for each in await forgetting.left(user_id)]
    except Unavailable as error:
        return respond({"error": str(error)}, status=503)
    return respond(found)


@faces.delete("/users/{user_id}/faces")
async def forget(request: web.Request) -> web.Response:
    """200 when nothing is left; 202 when something is left after ?wait= seconds (10): running it again, or GET with
    ?check=1, tells what. 403 where no token is set: whoever reaches the port could do it."""
    if not app.settings.web_token:
        raise web.HTTPForbidden(text="set STREAMAPP_WEB_TOKEN to forget over HTTP, or run: streamapp forget user ID")
    user_id, wait = _user(request), _wait(request.query.get("wait", "10"))
    try:
        forgetting = _forgetting()
        removed = await forgetting.forget(user_id)
        nothing, body, _ = report(user_id, removed, await forgetting.wait(user_id, wait))
    except Unavailable as error:
        return respond({"error": str(error)}, status=503)
    return respond(body, status=200 if nothing else 202)


def _forgetting() -> Forgetting:
    resources = app.resources
    if not resources.loaded:
        raise Unavailable("the engine is loading")
    return Forgetting(
        resources.pool,
        resources.elasticsearch,
        models=resources.read_models,
        state=_everywhere,
        prefix=app.settings.index_prefix,
    )


async def _everywhere(user_id: int) -> Sequence[tuple[str, str]]:
    """Of all workers. Raises Unavailable."""
    media = await _here(user_id)
    answers = await ask(f"/users/{user_id}/faces", {"of": "state"})
    if missing := unreachable(answers):
        raise Unavailable(f"workers that have a part of the state do not answer: {missing}")
    return [*media, *((post, one) for _, status, body in answers if status == 200 for post, one in body["media"])]


async def _here(user_id: int) -> list[tuple[str, str]]:
    """Of this worker. Raises Unavailable."""
    assignment = app.consumer_generation_id
    rows = await tables.media.saying(said(user_id))
    if missing := unreachable([]):
        raise Unavailable(f"this worker has not all of its state: {missing}")
    if app.consumer_generation_id != assignment:
        raise Unavailable("parts of the state have just moved between workers")
    return [(row.post_id, row.media_id) for row in rows]


def _user(request: web.Request) -> int:
    text = request.match_info["user_id"]
    if (number := database_id(text)) is None:
        raise web.HTTPBadRequest(text=f"the id of a user is a number, not {text[:40]!r}")
    return number


def _wait(text: str) -> float:
    if not text.isdecimal() or int(text) > LONGEST_WAIT:
        raise web.HTTPBadRequest(text=f"wait is a number of seconds up to {LONGEST_WAIT:.0f}, not {text[:40]!r}")
    return float(text)
