"""GET /posts/{id}: the whole story of a post, from whichever worker has it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiohttp import web

from streamapp import tables
from streamapp.app import app
from streamapp.posts.aggregate import place
from streamapp.posts.state import Media, media_key
from streamapp.posts.story import story
from streamapp.web.cluster import ask, is_local, unreachable
from streamapp.web.health import not_ready
from streamapp.web.middleware import respond

posts = web.RouteTableDef()


@posts.get("/posts/{post_id}")
async def post(request: web.Request) -> web.Response:
    """200 with the story, 404, or 503 where a worker that may have it is out of reach."""
    post_id = request.match_info["post_id"]
    found = local(post_id)
    answers = []
    if found is None and not is_local(request):
        answers = await ask(f"/posts/{quote(post_id, safe='')}", {})
        found = next((body for _, status, body in answers if status == 200), None)
    if found is not None:
        if not is_local(request):
            found["awaiting"] = await app.resources.awaiting(post_id)
            found["hints"] = await app.resources.hints_of(post_id, [media["mediaId"] for media in found["media"]])
        return respond(found)
    if missing := unreachable(answers):
        return respond({"error": "workers that may have the post cannot answer", "workers": missing}, status=503)
    raise web.HTTPNotFound(text=f"no post {post_id}")


def local(post_id: str) -> dict[str, Any] | None:
    """The story, when this worker has the post."""
    row = None if not_ready() else tables.posts.get(post_id)
    if row is None:
        return None
    media: list[Media] = []
    for media_id in row.media:
        if (found := tables.media.get(media_key(post_id, media_id))) is not None:
            media.append(found)
    media.sort(key=place)
    return {**story(row, media, tables.open_posts.get(post_id)), "worker": app.settings.web_address}
