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
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    FEED,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    RECOMMENDATIONS,
)

# Not the same in two runs: revisions count duplicates, times are those of the run, and with them scores; ids of faces
# are made of the request's entry id, and others come from sequences.
IGNORED = ("revision", "created_at", "updated_at", "indexed_at", "expires_at", "combined_score", "face_id", "id")
# The tables, and what tells their rows from each other, and their documents. The rows of users are not among them: they
# count posts, and the undisturbed run has had all of them.
KEYS = {
    POST_SEARCH: ("post_id",),
    MEDIA_SEARCH: ("media_id",),
    MEDIA_INSIGHTS: ("media_id",),
    RECOMMENDATIONS: ("media_id",),
    DETECTED_FACES: ("media_id", "bbox"),
    FACE_SEARCH: ("media_id", "bbox"),
    FEED: ("feed_item_id",),
}
MOST = 10_000  # documents a search gives

Record: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, ...]  # table, and the values of KEYS


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run's results without what two runs differ in, see IGNORED here and in entries."""

    wanted: set[Slot] = field(default_factory=set)
    answers: dict[Slot, dict[str, str]] = field(default_factory=dict)
    final: dict[str, dict[str, str]] = field(default_factory=dict)  # the last payload by post
    doubled: list[str] = field(default_factory=list)
    rows: dict[Key, Record] = field(default_factory=dict)
    documents: dict[Key, Record] = field(default_factory=dict)  # by the key of the row
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


async def _rows(backend: Backend) -> dict[Key, Record]:
    rows: dict[Key, Record] = {}
    for table in KEYS:
        found = await backend.postgres.fetch(f"SELECT to_jsonb(t) AS row FROM {table} t")
        rows |= dict(_keyed(table, json.loads(each["row"])) for each in found)
    return rows


async def _documents(backend: Backend) -> dict[Key, Record]:
    documents: dict[Key, Record] = {}
    for index in (INDICES[table] for table in KEYS if table in INDICES):
        await backend.elasticsearch.indices.refresh(index=index.alias(""))
        found = await backend.elasticsearch.search(index=index.alias(""), size=MOST)
        documents |= dict(_keyed(index.table, json.loads(encode(hit["_source"]))) for hit in found["hits"]["hits"])
    return documents


def _keyed(table: str, record: Record) -> tuple[Key, Record]:
    key = table, *(str(record[name]) for name in KEYS[table])
    return key, {name: value for name, value in record.items() if name not in IGNORED}
