"""What came out of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chaos import entries
from chaos.entries import Entries, Slot
from chaos.kafka import Kafka
from demo.backend import Backend
from streamapp.contracts.streams import ENRICHED, IMAGES
from streamapp.sinks.documents import encode
from streamapp.sinks.indices import INDICES
from streamapp.sinks.readmodels import FACE_SEARCH, FEED, READ_MODELS

# Not the same in two runs: revisions count duplicates, times are those of the run, and with them scores; ids of faces
# are made of the request's entry id, and others come from sequences.
IGNORED = ("revision", "created_at", "updated_at", "indexed_at", "expires_at", "combined_score", "face_id", "id")
# What tells such rows from each other: an expression, and the same of a document.
KEYS = {FACE_SEARCH: ("media_id", "bbox"), DETECTED_FACES: ("media_id", "bbox"), FEED: ("feed_item_id",)}
MOST = 10_000  # documents a search gives

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run's results without what two runs differ in, see IGNORED here and in entries."""

    wanted: set[Slot] = field(default_factory=set)
    answers: dict[Slot, dict[str, str]] = field(default_factory=dict)
    final: dict[str, dict[str, str]] = field(default_factory=dict)  # the last payload by post
    doubled: list[str] = field(default_factory=list)
    rows: dict[tuple[str, int], Record] = field(default_factory=dict)  # by table and primary key
    documents: dict[tuple[str, int], Record] = field(default_factory=dict)  # by table of the row
    dead_letters: set[str] = field(default_factory=set)


async def streams(backend: Backend) -> dict[str, Entries]:
    """The result streams, whole."""
    return {stream: await _entries(backend, stream) for stream in entries.STREAMS}


async def read(backend: Backend, environment: Mapping[str, str], results: Mapping[str, Entries]) -> Outcome:
    """All of it, in a quiet system; `results` are its streams."""
    clocks = entries.newest(await _entries(backend, IMAGES))
    return Outcome(
        wanted=entries.wanted(clocks),
        answers=entries.answers(results, clocks),
        final=entries.final(results[ENRICHED]),
        doubled=entries.doubled(results),
        rows=await _rows(backend),
        documents=await _documents(backend),
        dead_letters=await Kafka(environment["STREAMAPP_KAFKA_URL"]).dead_letters(),
    )


async def _entries(backend: Backend, stream: str) -> Entries:
    found: Entries = await backend.redis.xrange(stream)  # type: ignore[assignment]  # decoded
    return found


async def _rows(backend: Backend) -> dict[tuple[str, int], Record]:
    rows: dict[tuple[str, int], Record] = {}
    for model in READ_MODELS.values():
        select = f"SELECT {model.key} AS pk, to_jsonb(t) - $1::text[] AS row FROM {model.table} t"
        for found in await backend.postgres.fetch(select, IGNORED):
            rows[model.table, found["pk"]] = json.loads(found["row"])
    return rows


async def _documents(backend: Backend) -> dict[tuple[str, int], Record]:
    documents: dict[tuple[str, int], Record] = {}
    for index in INDICES.values():
        await backend.elasticsearch.indices.refresh(index=index.alias(""))
        found = await backend.elasticsearch.search(index=index.alias(""), size=MOST, source_excludes=list(IGNORED))
        for hit in found["hits"]["hits"]:
            documents[index.table, int(hit["_id"])] = json.loads(encode(hit["_source"]))
    return documents
