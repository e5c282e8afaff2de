"""The Elasticsearch indices: one definition each, kept as `<name>-v<generation>` behind the alias `<name>`.

A rebuild makes the next generation, written through the alias `<name>-next` until it takes the place of the last one.
Only what the bare server has: its built-in analyzers, no scripts, no lifecycle policies.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from elasticsearch import AsyncElasticsearch, BadRequestError, OrjsonSerializer

Field: TypeAlias = dict[str, Any]
Target: TypeAlias = Literal["live", "next"]
LIVE: Target = "live"  # the index that is searched
NEXT: Target = "next"  # the one that is built to take its place

_LONG: Field = {"type": "long"}
_INTEGER: Field = {"type": "integer"}
_FLOAT: Field = {"type": "float"}
_DATE: Field = {"type": "date"}
_BOOLEAN: Field = {"type": "boolean"}
_KEYWORD: Field = {"type": "keyword"}
_STORED: Field = {"type": "keyword", "index": False, "doc_values": False}  # shown, never searched
_SHOWN: Field = {"type": "text", "index": False}  # the same for longer text
_TEXT: Field = {"type": "text", "analyzer": "words"}
_TITLE: Field = {**_TEXT, "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
# A query of two words finds single-word tags through .text. Lucene takes no term over 32766 bytes.
_TAGS: Field = {"type": "keyword", "ignore_above": 8191, "fields": {"text": _TEXT}}


def _vector(dims: int) -> Field:
    # The quantisation is pinned: the server's default has changed between its versions.
    return {
        "type": "dense_vector",
        "dims": dims,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": "int8_hnsw", "m": 16, "ef_construction": 100},
    }


_IMAGE = _vector(512)
_FACE = _vector(1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index and the read model it follows; document ids are the values of `key`."""

    name: str
    table: str
    key: str
    fields: dict[str, Field]

    def alias(self, prefix: str, target: Target = LIVE) -> str:
        """What a target is written through, and what is searched."""
        return f"{prefix}{self.name}" if target == LIVE else f"{prefix}{self.name}-next"

    def concrete(self, prefix: str, generation: int = 1) -> str:
        return f"{self.alias(prefix)}-v{generation}"

    def generation(self, prefix: str, name: str) -> int | None:
        """The number of a generation from its name; None for the name of something else."""
        match = re.fullmatch(rf"{re.escape(self.alias(prefix))}-v(\d+)", name)
        return int(match[1]) if match else None

    def settings(self) -> dict[str, Any]:
        return {
            "number_of_shards": 1,
            "auto_expand_replicas": "0-1",
            "gc_deletes": "24h",  # so long a late bulk can not bring a deleted document back
            "refresh_interval": REFRESH,  # said, because an index that nobody searches would otherwise not refresh
            "analysis": {"analyzer": {"words": {"type": "standard", "stopwords": "_english_"}}},
        }

    def mappings(self) -> dict[str, Any]:
        return {"dynamic": "strict", "_meta": {"definition": self.fingerprint()}, "properties": self.fields}

    def fingerprint(self) -> str:
        """Changes whenever the definition does."""
        return hashlib.sha256(json.dumps([self.settings(), self.fields], sort_keys=True).encode()).hexdigest()


REFRESH = "1s"

INDICES = {
    index.table: index
    for index in (
        Index(
            name="media_search",
            table="read_model_media_search",
            key="media_id",
            fields={
                "media_id": _LONG,
                "post_id": _LONG,
                "post_title": _TITLE,
                "post_all_tags": _TAGS,
                "media_url": _STORED,
                "ai_caption": _TEXT,
                "ai_tags": _TAGS,
                "ai_scenes": _TAGS,
                "image_embedding": _IMAGE,
                "is_safe": _BOOLEAN,
                "detected_users": {
                    "type": "nested",
                    "dynamic": "strict",
                    "properties": {"user_id": _LONG, "username": _KEYWORD},
                },
                "uploader_id": _LONG,
                "uploader_username": _KEYWORD,
                "uploader_department": _KEYWORD,
                "reaction_count": _INTEGER,
                "comment_count": _INTEGER,
                "created_at": _DATE,
                "updated_at": _DATE,
            },
        ),
        Index(
            name="post_search",
            table="read_model_post_search",
            key="post_id",
            fields={
                "post_id": _LONG,
                "author_id": _LONG,
                "author_username": _KEYWORD,
                "author_department": _KEYWORD,
                "title": _TITLE,
                "body": _TEXT,
                "all_ai_tags": _TAGS,
                "all_ai_scenes": _TAGS,
                "all_detected_user_ids": _LONG,
                "inferred_event_type": _KEYWORD,
                "inferred_tags": _TAGS,
                "categories": _TAGS,
                "total_reactions": _INTEGER,
                "total_comments": _INTEGER,
                "created_at": _DATE,
                "updated_at": _DATE,
            },
        ),
        Index(
            name="user_search",
            table="read_model_user_search",
            key="user_id",
            fields={
                "user_id": _LONG,
                "username": _KEYWORD,
                "full_name": _TITLE,
                "department": _KEYWORD,
                "bio": _TEXT,
                "total_posts": _INTEGER,
                "total_followers": _INTEGER,
                "face_enrolled": _BOOLEAN,
                "joined_at": _DATE,
                "updated_at": _DATE,
            },
        ),
        Index(
            name="face_search",
            table="read_model_face_search",
            key="id",
            fields={
                "id": _LONG,
                "face_id": _KEYWORD,
                "media_id": _LONG,
                "post_id": _LONG,
                "face_embedding": _FACE,
                "bbox": _INTEGER,
                "identified_user_id": _LONG,
                "identified_username": _KEYWORD,
                "match_confidence": _FLOAT,
                "uploader_id": _LONG,
                "post_title": _TITLE,
                "media_url": _STORED,
                "created_at": _DATE,
            },
        ),
        Index(
            name="recommendations_knn",
            table="read_model_recommendations_knn",
            key="media_id",
            fields={
                "media_id": _LONG,
                "image_embedding": _IMAGE,
                "media_url": _STORED,
                "caption": _SHOWN,
                "is_safe": _BOOLEAN,
                "created_at": _DATE,
            },
        ),
        Index(
            name="feed_personalized",
            table="read_model_feed_personalized",
            key="id",
            fields={
                "id": _LONG,
                "feed_item_id": _KEYWORD,
                "target_user_id": _LONG,
                "media_id": _LONG,
                "media_url": _STORED,
                "caption": _SHOWN,
                "uploader_id": _LONG,
                "uploader_username": _KEYWORD,
                "combined_score": _FLOAT,
                "created_at": _DATE,
                "expires_at": _DATE,
            },
        ),
        Index(
            name="known_faces_index",
            table="read_model_known_faces",
            key="user_id",
            fields={
                "user_id": _LONG,
                "username": _KEYWORD,
                "department": _KEYWORD,
                "profile_pic_url": _STORED,
                "face_embedding": _FACE,
                "enrolled_at": _DATE,
                "is_active": _BOOLEAN,
            },
        ),
    )
}
BY_NAME = {index.name: index for index in INDICES.values()}


@dataclass(frozen=True, slots=True)
class Checked:
    """An alias and how it was found: made now, there as defined, there with another definition, not there, or
    occupied: there is an index of its name."""

    index: Index
    alias: str
    state: Literal["created", "present", "differs", "missing", "occupied"]

    @property
    def remedy(self) -> str | None:
        """What puts it right, None where nothing is wrong."""
        remedies = {
            "differs": f"run: streamapp rebuild {self.index.name}",
            "missing": "run: streamapp migrate",
            "occupied": "it must be an alias: delete it or set STREAMAPP_INDEX_PREFIX, then run: streamapp migrate",
        }
        return remedies.get(self.state)


def connect(url: str) -> AsyncElasticsearch:
    """A client that leaves retries to us: we know what may be sent again, and say so while we wait."""
    return AsyncElasticsearch(
        url,
        max_retries=0,
        retry_on_timeout=False,
        request_timeout=60,
        serializer=OrjsonSerializer(),  # vectors are thousands of digits: the client's own takes ten times as long
    )


async def create(client: AsyncElasticsearch, index: Index, name: str, *, alias: str | None = None) -> bool:
    """Create an index by its definition; False when there is one of this name."""
    aliases: dict[str, Any] = {} if alias is None else {alias: {}}
    try:
        await client.indices.create(index=name, aliases=aliases, settings=index.settings(), mappings=index.mappings())
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
        return False
    return True


async def resolve(client: AsyncElasticsearch, aliases: Collection[str]) -> dict[str, str]:
    """The index that each alias stands for now, without those that stand for none.

    Raises elasticsearch.ApiError or elasticsearch.TransportError.
    """
    found = await client.indices.get_alias(index=",".join(aliases), ignore_unavailable=True)
    return {alias: name for name, entry in found.items() for alias in entry["aliases"] if alias in aliases}


async def check(client: AsyncElasticsearch, prefix: str = "") -> list[Checked]:
    """How the indices are, compared with their definitions.

    Raises elasticsearch.ApiError or elasticsearch.TransportError.
    """
    return [await _check(client, index, prefix) for index in INDICES.values()]


async def _check(client: AsyncElasticsearch, index: Index, prefix: str) -> Checked:
    alias = index.alias(prefix)
    if not await client.indices.exists_alias(name=alias):
        return Checked(index, alias, "occupied" if await client.indices.exists(index=alias) else "missing")
    found = await client.indices.get_mapping(index=alias)
    same = all(entry["mappings"].get("_meta", {}).get("definition") == index.fingerprint() for entry in found.values())
    return Checked(index, alias, "present" if same else "differs")
