"""`streamapp migrate`: topics, tables, indices."""

from __future__ import annotations

from typing import Any

import asyncpg

from streamapp import topics
from streamapp.settings import get_settings
from streamapp.sinks.indices import connect, ensure
from streamapp.sinks.migrations import migrate


async def migrate_all() -> tuple[bool, Any, str]:
    """Create what is missing. Bad when an index has another definition than ours."""
    settings = get_settings()
    made = await topics.ensure(settings)
    connection = await asyncpg.connect(settings.postgres_url)
    try:
        applied = await migrate(connection)
    finally:
        await connection.close()
    client = connect(settings.elasticsearch_url)
    try:
        indices = await ensure(client, settings.index_prefix)
    finally:
        await client.close()
    body = {"topics": made, "migrations": applied, "indices": {index.alias: index.state for index in indices}}
    lines = [
        f"topics       {len(made)} created" if made else "topics       all there",
        f"tables       {', '.join(applied)} applied" if applied else "tables       up to date",
        *(f"index        {i.alias} {i.state}" + (f", run: {i.remedy}" if i.remedy else "") for i in indices),
    ]
    return all(index.state != "differs" for index in indices), body, "\n".join(lines)
