"""`streamapp migrate`: topics, tables, indices."""

from __future__ import annotations

from typing import Any

import asyncpg
from aiokafka.errors import KafkaError
from elasticsearch import ApiError, TransportError

from streamapp import topics
from streamapp.settings import Settings, get_settings
from streamapp.sinks.database import TROUBLE
from streamapp.sinks.indices import connect
from streamapp.sinks.migrations import MigrationError, migrate
from streamapp.sinks.provision import ensure
from streamapp.topics import TopicMismatch

PARTS = ("topics", "migrations", "indices")
# Not TimeoutError apart: it is an OSError.
STOPPED = (TopicMismatch, MigrationError, *TROUBLE, ApiError, TransportError, KafkaError)


async def migrate_all() -> tuple[bool, Any, str]:
    """Create what is missing. Bad when a server is away, or something there is not what it must be."""
    body: dict[str, Any] = {}
    lines: list[str] = []
    try:
        good = await _migrate(get_settings(), body, lines)
    except STOPPED as error:
        good, name, text = False, type(error).__name__, str(error)
        body["error"] = text if text.startswith(name) else f"{name}: {text}"
        part = next(part for part in PARTS if part not in body)
        lines += [f"{part:12} {body['error']}", "What was done is kept: run it again when that is put right."]
    return good, body, "\n".join(lines)


async def _migrate(settings: Settings, body: dict[str, Any], lines: list[str]) -> bool:
    """Say in body and lines what was done. Raises what is in STOPPED."""
    made = body["topics"] = await topics.ensure(settings)
    lines.append(f"topics       {len(made)} created" if made else "topics       all there")
    connection = await asyncpg.connect(settings.postgres_url)
    client = connect(settings.elasticsearch_url)
    try:
        applied = body["migrations"] = await migrate(connection)
        lines.append(f"tables       {', '.join(applied)} applied" if applied else "tables       up to date")
        indices = await ensure(connection, client, settings.index_prefix)
    finally:
        await client.close()
        await connection.close()
    body["indices"] = {index.alias: index.state for index in indices}
    lines += [f"index        {i.alias} {i.state}" + (f", {i.remedy}" if i.remedy else "") for i in indices]
    return all(index.remedy is None for index in indices)
