"""`streamapp inspect post`: what a worker answers on GET /posts/{id}, for people."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from streamapp.settings import get_settings


async def inspect_post(post_id: str) -> tuple[bool, Any, str]:
    """The story of a post. Bad when it is unknown, or not complete."""
    settings = get_settings()
    url = f"{settings.web_address}/posts/{quote(post_id, safe='')}"
    try:
        async with aiohttp.ClientSession(headers=settings.web_headers) as session, session.get(url) as response:
            body = orjson.loads(await response.read())
    except aiohttp.ClientConnectionError as exc:
        return False, {"error": str(exc)}, f"no worker answers at {settings.web_address}: {exc}"
    if "error" in body:
        return False, body, str(body["error"])
    return body["state"] == "complete", body, explain(body)


def explain(story: dict[str, Any]) -> str:
    """The story in lines."""
    lines = [f"post {story['postId']}: {story['state']}, revision {story['revision']}"]
    lines += [f"  {line}" for line in story["why"]]
    for media in story["media"]:
        answered = [s for s, told in media["services"].items() if told["state"] == "answered"]
        lines.append(f"  media {media['mediaId']}: {len(answered)} of {len(media['services'])} services answered")
        if faces := media.get("faces"):
            lines.append(f"  media {media['mediaId']}: {_people(faces, media['knownFaces'])}")
    awaiting = story.get("awaiting") or []
    if isinstance(awaiting, dict):
        lines.append(f"  rows: unknown, {awaiting['unknown']}")
    else:
        lines += [f"  row {r['table_name']}/{r['pk']} waits for {r['awaited']} since {r['since']}" for r in awaiting]
    hints = story.get("hints") or []
    if isinstance(hints, dict):
        lines.append(f"  hints: unknown, {hints['unknown']}")
    else:
        lines += [f"  {_hint(told)}" for told in hints]
    return "\n".join(lines)


def _people(faces: list[dict[str, Any]], known: int | None) -> str:
    counted = f"{len(faces)} face{'s' * (len(faces) > 1)}"
    if known is None:
        return f"{counted}, not compared with the known faces yet"
    named = [
        f"{face['username']} ({face['userId']}) {face['status'].lower()} {face['confidence']:.2f}"
        for face in faces
        if face["userId"] is not None
    ]
    rest = len(faces) - len(named)
    return f"{counted}: {', '.join([*named, *[f'{rest} unknown'] * bool(rest)])}"


def _hint(told: dict[str, Any]) -> str:
    rows = f"the media of post {told['pk']}" if told["bulk"] else f"row {told['table_name']}/{told['pk']}"
    what = "told of, but not there" if told["wanted"] else "told deleted, but there"
    if not told["reported"]:
        what = f"told {'of' if told['wanted'] else 'deleted'}, looked at again soon"
    return f"{rows}: {what}, since {told['since']}"
