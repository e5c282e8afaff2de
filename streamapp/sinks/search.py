"""Find media by words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch

from streamapp.sinks.indices import INDICES
from streamapp.sinks.readmodels import MEDIA_SEARCH

# A caption says most about the image itself, then its tags and scenes, then what surrounds it.
FIELDS = ("ai_caption^3", "ai_tags.text^2", "ai_scenes.text^2", "post_all_tags.text", "post_title")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A media that was found. Fields without a value are empty."""

    media_id: int
    post_id: int
    score: float
    media_url: str
    caption: str
    tags: tuple[str, ...]
    is_safe: bool


async def search(
    client: AsyncElasticsearch, text: str, *, prefix: str = "", limit: int = 20, safe_only: bool = True
) -> list[Hit]:
    """Media that match any word of `text`, the best first. What is not known to be safe needs safe_only=False.

    Raises elasticsearch.ApiError or elasticsearch.TransportError.
    """
    found = await client.search(
        index=INDICES[MEDIA_SEARCH].alias(prefix),
        query=query(text, safe_only=safe_only),
        size=limit,
        sort=["_score", {"media_id": "desc"}],
        source_includes=["media_id", "post_id", "media_url", "ai_caption", "ai_tags", "is_safe"],
    )
    return [_hit(hit) for hit in found["hits"]["hits"]]


def query(text: str, *, safe_only: bool) -> dict[str, Any]:
    """Each word counts where it fits best (cross_fields), so that a media with all words comes first."""
    words = {"multi_match": {"query": text, "fields": FIELDS, "type": "cross_fields", "operator": "or"}}
    return {"bool": {"must": words, "filter": [{"term": {"is_safe": True}}] if safe_only else []}}


def _hit(hit: dict[str, Any]) -> Hit:
    source = hit["_source"]
    return Hit(
        media_id=source["media_id"],
        post_id=source["post_id"],
        score=hit["_score"],
        media_url=source["media_url"],
        caption=source.get("ai_caption", ""),
        tags=tuple(source.get("ai_tags", ())),
        is_safe=source.get("is_safe", False),
    )
