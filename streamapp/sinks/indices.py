"""The Elasticsearch indices: one definition each, kept as `<name>-v<version>` behind the alias `<name>`.

Only what the bare server has: its built-in analyzers, no scripts, no lifecycle policies.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from elasticsearch import AsyncElasticsearch, BadRequestError

from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH

Field: TypeAlias = dict[str, Any]

_LONG: Field = {"type": "long"}
_INTEGER: Field = {"type": "integer"}
_DATE: Field = {"type": "date"}
_BOOLEAN: Field = {"type": "boolean"}
_KEYWORD: Field = {"type": "keyword"}
_STORED: Field = {"type": "keyword", "index": False, "doc_values": False}  # shown, never searched
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index and the read model it follows; document ids are the values of `key`."""

    name: str
    table: str
    key: str
    fields: dict[str, Field]
    version: int = 1

    def alias(self, prefix: str) -> str:
        return f"{prefix}{self.name}"

    def concrete(self, prefix: str) -> str:
        return f"{prefix}{self.name}-v{self.version}"

    def settings(self) -> dict[str, Any]:
        return {
            "number_of_shards": 1,
            "auto_expand_replicas": "0-1",
            "gc_deletes": "24h",  # so long a late bulk can not bring a deleted document back
            "refresh_interval": "1s",  # said, because an index that nobody searches would otherwise not refresh
            "analysis": {"analyzer": {"words": {"type": "standard", "stopwords": "_english_"}}},
        }

    def mappings(self) -> dict[str, Any]:
        return {"dynamic": "strict", "_meta": {"definition": self.fingerprint()}, "properties": self.fields}

    def fingerprint(self) -> str:
        """Changes whenever the definition does."""
        return hashlib.sha256(json.dumps([self.settings(), self.fields], sort_keys=True).encode()).hexdigest()


INDICES = {
    index.table: index
    for index in (
        Index(
            name="media_search",
            table=MEDIA_SEARCH,
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
                "image_embedding": _vector(512),
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
            table=POST_SEARCH,
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
    )
}


@dataclass(frozen=True, slots=True)
class Checked:
    """An alias and how it was found: made now, there as defined, or there with another definition."""

    alias: str
    state: Literal["created", "present", "differs"]


def connect(url: str) -> AsyncElasticsearch:
    """A client that leaves retries to us: we know what may be sent again, and say so while we wait."""
    return AsyncElasticsearch(url, max_retries=0, retry_on_timeout=False, request_timeout=60)


async def ensure(client: AsyncElasticsearch, prefix: str = "") -> list[Checked]:
    """Create the indices and aliases that are missing; any number of times, by any number of processes.

    Raises elasticsearch.ApiError or elasticsearch.TransportError.
    """
    return [await _ensure(client, index, prefix) for index in INDICES.values()]


async def _ensure(client: AsyncElasticsearch, index: Index, prefix: str) -> Checked:
    alias, created = index.alias(prefix), False
    if not await client.indices.exists_alias(name=alias):
        try:
            await client.indices.create(
                index=index.concrete(prefix),
                aliases={alias: {}},
                settings=index.settings(),
                mappings=index.mappings(),
            )
            created = True
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise
            await client.indices.put_alias(index=index.concrete(prefix), name=alias)
    if created:
        return Checked(alias, "created")
    found = await client.indices.get_mapping(index=alias)
    same = all(entry["mappings"].get("_meta", {}).get("definition") == index.fingerprint() for entry in found.values())
    return Checked(alias, "present" if same else "differs")
