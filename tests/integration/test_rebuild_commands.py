"""`streamapp rebuild` as people and programs run it: what was done is told, whatever was not."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from documents_support import Dead, own_indices, put
from elasticsearch import AsyncElasticsearch

from streamapp.cli import rebuild as commands
from streamapp.rebuild import successor as successors
from streamapp.rebuild.successor import Successor
from streamapp.settings import Settings
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME

USERS, KNOWN = BY_NAME["user_search"], BY_NAME["known_faces_index"]


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(url)
    await pool.execute(f"TRUNCATE {USERS.table}, {KNOWN.table}")
    await pool.execute("TRUNCATE es_outbox, es_targets")
    yield pool
    await pool.close()


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client, "user_search", "known_faces_index") as prefix:
        yield prefix


@pytest.fixture
def environment(servers: Any, url: str, prefix: str) -> dict[str, str]:
    return {
        "STREAMAPP_ENV_FILE": os.devnull,
        "STREAMAPP_POSTGRES_URL": url,
        "STREAMAPP_ELASTICSEARCH_URL": servers.elasticsearch_url,
        "STREAMAPP_INDEX_PREFIX": prefix,
    }


@pytest.fixture
def here(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process use the same settings."""
    given = {name.removeprefix("STREAMAPP_").lower(): value for name, value in environment.items()}
    del given["env_file"]
    settings = Settings(_env_file=None, **given)  # type: ignore[arg-type]  # texts, as from the environment
    monkeypatch.setattr(commands, "get_settings", lambda: settings)


async def streamapp(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamapp.cli", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=os.environ | environment, capture_output=True, text=True, check=False
    )


async def test_a_refused_document_is_told_to_programs_and_people(
    environment: dict[str, str], pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    await put(pool, USERS, 10)
    await put(pool, USERS, 11)
    await pool.execute(f"UPDATE {USERS.table} SET joined_at = '20000-01-01' WHERE user_id = 11")
    run = await streamapp(environment, "rebuild", "user_search", "--json")
    assert run.returncode == 1, run.stderr
    (done,) = json.loads(run.stdout)
    assert done["name"] == USERS.concrete(prefix, 2)
    assert (done["agreement"]["rows"], done["agreement"]["documents"]) == (2, 1)
    assert "document_parsing_exception" in done["agreement"]["refused"]["11"]
    worker = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
    while await worker.step():
        pass
    run = await streamapp(environment, "rebuild", "user_search")
    assert run.returncode == 1
    assert f"searches go to {USERS.concrete(prefix, 3)} now" in run.stdout
    assert "refused by the index: 11: 400 document_parsing_exception" in run.stdout


@pytest.mark.usefixtures("here")
async def test_one_that_cannot_be_done_now_stops_no_other(
    pool: Pool, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(successors, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(commands, "_named", lambda _: ["user_search", "known_faces_index"])
    await put(pool, USERS, 10)
    async with pool.acquire() as writer, writer.transaction():
        await writer.execute(f"UPDATE {USERS.table} SET username = 'long'")
        good, body, text = await commands.rebuild_named("all", drop_old=False)
    assert not good
    busy, done = body
    assert busy["index"] == "user_search"
    assert "somebody has been writing read_model_user_search" in busy["error"]
    assert done["name"] == KNOWN.concrete(prefix, 2)
    assert text.startswith("user_search: Busy: somebody has been writing")
    assert "\nknown_faces_index: 0 documents of 0 rows agree" in text


@pytest.mark.usefixtures("here")
async def test_what_was_begun_is_given_up(pool: Pool, client: AsyncElasticsearch, prefix: str) -> None:
    assert await commands.abandon("user_search") == (True, {"abandoned": []}, "nothing was begun")
    name, _ = await Successor(pool, client, USERS, prefix=prefix).begin()
    good, body, text = await commands.abandon("user_search")
    assert (good, body, text) == (True, {"abandoned": [name]}, f"{name} deleted")
