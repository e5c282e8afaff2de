"""`streamapp search`: images by words, by likeness, by who is on them."""

from __future__ import annotations

import dataclasses
from typing import Any

from elasticsearch import ApiError, TransportError

from streamapp.engines.registry import load_vision
from streamapp.engines.texts import embedder
from streamapp.engines.weights import ModelsError
from streamapp.settings import get_settings
from streamapp.sinks.indices import connect
from streamapp.sinks.search import Answer, Hit, NotSearchable, Query, find


async def search_media(query: Query) -> tuple[bool, Any, str]:
    """The hits. Bad when there are none."""
    settings = get_settings()
    try:
        embed = embedder(load_vision(settings)) if query.text is not None else None
    except ModelsError as error:
        return False, {"error": str(error)}, str(error)
    client = connect(settings.elasticsearch_url)
    try:
        answer = await find(
            client, query, prefix=settings.index_prefix, embed=embed, same_person=settings.face_suggested
        )
    except (NotSearchable, ApiError, TransportError) as error:
        return False, {"error": str(error)}, str(error)
    finally:
        await client.close()
    return bool(answer.hits), dataclasses.asdict(answer), _text(answer)


def _text(answer: Answer) -> str:
    lines = [
        f"{hit.score:8.4f}  media {hit.media_id}  post {hit.post_id}  {hit.caption}{_mark(hit)}" for hit in answer.hits
    ]
    return "\n".join([*(lines or ["nothing found"]), *([f"({answer.note})"] if answer.note else [])])


def _mark(hit: Hit) -> str:
    return "" if hit.is_safe else "  NOT SAFE"
