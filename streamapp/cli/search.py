"""`streamapp search`: images by words."""

from __future__ import annotations

import dataclasses
from typing import Any

from streamapp.settings import get_settings
from streamapp.sinks.indices import connect
from streamapp.sinks.search import search


async def search_media(text: str, *, limit: int, safe_only: bool) -> tuple[bool, Any, str]:
    """The hits. Bad when there are none."""
    settings = get_settings()
    client = connect(settings.elasticsearch_url)
    try:
        hits = await search(client, text, prefix=settings.index_prefix, limit=limit, safe_only=safe_only)
    finally:
        await client.close()
    lines = [f"{hit.score:6.2f}  media {hit.media_id}  post {hit.post_id}  {hit.caption}" for hit in hits]
    return bool(hits), [dataclasses.asdict(hit) for hit in hits], "\n".join(lines) or f"nothing found for {text!r}"
