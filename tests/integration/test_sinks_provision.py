"""Indices that are missing: they are made anew, and every row comes into them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from documents_support import Dead, assert_equal_to_rows, change, own_indices, put, put_many, running, waiting
from elasticsearch import ApiError, AsyncElasticsearch
from sinks_support import until

from streamapp.cli.migrate import migrate_all
from streamapp.settings import get_settings
from streamapp.sinks import indices, provision
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, INDICES, Checked, Index
from streamapp.sinks.provision import ensure, generations
from streamapp.sinks.search import Query, find

MEDIA, USERS = BY_NAME["media_search"], BY_NAME["user_search"]


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(url, max_size=6)
    await pool.execute(f"TRUNCATE {', '.join(INDICES)}")
    await pool.execute("TRUNCATE es_outbox")
    yield pool
    await pool.close()


@pytest.fixture
async def connection(url: str) -> AsyncIterator[provision.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client) as prefix:
        yield prefix


@pytest.fixture
def indexer(pool: Pool, client: AsyncElasticsearch, prefix: str) -> Indexer:
    return Indexer(pool, client, prefix=prefix, dead_letter=Dead())


async def drained(indexer: Indexer) -> None:
    while await indexer.step():
        pass
    assert await waiting(indexer.pool) == 0


async def one(found: Any, index: Index) -> Checked:
    checked: Checked = next(each for each in await found if each.index is index)
    return checked


async def test_a_lost_index_is_made_anew_and_an_older_one_stays_out_of_sight(
    pool: Pool, connection: provision.Connection, client: AsyncElasticsearch, prefix: str, indexer: Indexer
) -> None:
    for media_id in (7, 8, 9):
        await put(pool, MEDIA, media_id, is_safe=True, ai_tags=["beach"])
    await drained(indexer)
    first, second = MEDIA.concrete(prefix), MEDIA.concrete(prefix, 2)
    await indices.create(client, MEDIA, second)
    actions = [{"remove": {"index": first, "alias": MEDIA.alias(prefix)}}]
    await client.indices.update_aliases(actions=[*actions, {"add": {"index": second, "alias": MEDIA.alias(prefix)}}])
    await pool.execute(f"UPDATE {MEDIA.table} SET is_safe = false WHERE media_id = 7")
    await pool.execute(f"DELETE FROM {MEDIA.table} WHERE media_id = 8")
    await drained(indexer)
    await client.indices.delete(index=second)

    missing = await one(indices.check(client, prefix), MEDIA)
    assert (missing.state, missing.remedy) == ("missing", "run: streamapp migrate")
    assert (await one(ensure(connection, client, prefix), MEDIA)).state == "created"
    await drained(indexer)
    await assert_equal_to_rows(pool, client, prefix, MEDIA)
    assert [hit.media_id for hit in (await find(client, Query(text="beach"), prefix=prefix)).hits] == [9]
    assert await indices.resolve(client, [MEDIA.alias(prefix)]) == {MEDIA.alias(prefix): second}
    assert await generations(client, MEDIA, prefix) == {1: first, 2: second}


async def test_when_all_generations_are_lost_every_row_comes_again(
    pool: Pool,
    connection: provision.Connection,
    client: AsyncElasticsearch,
    prefix: str,
    indexer: Indexer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provision, "ENTERED_AT_ONCE", 7)
    await put_many(pool, USERS, 1, 30)
    await put(pool, MEDIA)
    await drained(indexer)
    for index in INDICES.values():
        await client.indices.delete(index=index.concrete(prefix))
    assert {found.state for found in await ensure(connection, client, prefix)} == {"created"}
    await drained(indexer)
    await assert_equal_to_rows(pool, client, prefix)
    assert {found.state for found in await ensure(connection, client, prefix)} == {"present"}
    assert await waiting(pool) == 0


async def test_who_dies_before_the_index_is_made_leaves_no_empty_one(
    pool: Pool,
    connection: provision.Connection,
    client: AsyncElasticsearch,
    prefix: str,
    indexer: Indexer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await put_many(pool, USERS, 1, 3)
    await drained(indexer)
    await client.indices.delete(index=USERS.concrete(prefix))

    async def die(*_: Any, **__: Any) -> bool:
        raise ConnectionError

    with monkeypatch.context() as context:
        context.setattr(provision, "create", die)
        with pytest.raises(ConnectionError):
            await ensure(connection, client, prefix)
    assert (await waiting(pool), (await one(indices.check(client, prefix), USERS)).state) == (3, "missing")
    await ensure(connection, client, prefix)
    await drained(indexer)
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_any_number_at_once_make_one(url: str, pool: Pool, client: AsyncElasticsearch, prefix: str) -> None:
    await put(pool, USERS)
    await client.indices.delete(index=USERS.concrete(prefix))
    connections = [await asyncpg.connect(url) for _ in range(3)]
    made = await asyncio.gather(*(one(ensure(each, client, prefix), USERS) for each in connections))
    assert sorted(each.state for each in made) == ["created", "present", "present"]
    assert await generations(client, USERS, prefix) == {1: USERS.concrete(prefix)}
    for each in connections:
        await each.close()


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_a_writer_is_waited_for_and_never_gives_way(
    ends: str, pool: Pool, connection: provision.Connection, client: AsyncElasticsearch, prefix: str, indexer: Indexer
) -> None:
    await put_many(pool, USERS, 1, 5)
    await drained(indexer)
    await client.indices.delete(index=USERS.concrete(prefix))
    async with pool.acquire() as backend:
        writing = backend.transaction()
        await writing.start()
        await change(pool, USERS, 1, 4)
        await backend.execute(f"UPDATE {USERS.table} SET bio = 'held' WHERE user_id = 5")
        made = asyncio.create_task(ensure(connection, client, prefix))
        await asyncio.sleep(1.5)  # longer than the database waits before it looks for a deadlock
        assert not made.done()
        await backend.execute(f"UPDATE {USERS.table} SET bio = 'held' WHERE user_id < 5")  # what was entered is free
        await (writing.commit() if ends == "commit" else writing.rollback())
    await made
    await drained(indexer)
    await assert_equal_to_rows(pool, client, prefix, USERS)


@pytest.mark.parametrize("who", ["a writer", "a rebuild"])
async def test_it_is_told_who_keeps_it_waiting(
    who: str,
    pool: Pool,
    connection: provision.Connection,
    client: AsyncElasticsearch,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provision, "PATIENCE", 0.1)
    await put(pool, USERS)
    await client.indices.delete(index=USERS.concrete(prefix))
    async with pool.acquire() as other, other.transaction():
        if who == "a writer":
            await other.execute(f"UPDATE {USERS.table} SET bio = 'held'")
        else:
            await other.execute("SELECT pg_advisory_xact_lock(hashtext($1 || ' is rebuilt'))", USERS.table)
        with pytest.raises(TimeoutError, match="somebody has been writing read_model_user_search, or building"):
            await ensure(connection, client, prefix)
    assert (await one(ensure(connection, client, prefix), USERS)).state == "created"


async def test_an_index_in_the_place_of_an_alias_is_left_alone_and_named(
    connection: provision.Connection, client: AsyncElasticsearch, prefix: str, indexer: Indexer, pool: Pool
) -> None:
    for index in (MEDIA, USERS):
        await client.indices.delete(index=index.concrete(prefix))
    await client.indices.create(index=MEDIA.alias(prefix))
    states = {found.index.name: found for found in await ensure(connection, client, prefix)}
    assert (states["media_search"].state, states["user_search"].state) == ("occupied", "created")
    assert "delete it or set STREAMAPP_INDEX_PREFIX" in (states["media_search"].remedy or "")
    await put(pool, MEDIA)
    await indexer.step()
    assert indexer.last_error == f"there is no index {MEDIA.alias(prefix)}"
    assert (await client.count(index=MEDIA.alias(prefix)))["count"] == 0
    await client.indices.delete(index=MEDIA.alias(prefix))
    assert (await one(ensure(connection, client, prefix), MEDIA)).state == "created"


async def test_a_deletion_makes_no_index(pool: Pool, client: AsyncElasticsearch, prefix: str, indexer: Indexer) -> None:
    await put(pool, USERS)
    await drained(indexer)
    await client.indices.delete(index=USERS.concrete(prefix))
    await pool.execute(f"DELETE FROM {USERS.table}")
    async with running(indexer):
        await until(lambda: indexer.counts["later"] >= 2)
    for name in (USERS.alias(prefix), USERS.concrete(prefix)):
        assert not await client.indices.exists(index=name)


@pytest.fixture
def settings(servers: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """For commands, of which each test may change some."""

    def set_(**others: str) -> None:
        given = {
            "STREAMAPP_KAFKA_URL": servers.kafka_url,
            "STREAMAPP_POSTGRES_URL": url,
            "STREAMAPP_ELASTICSEARCH_URL": servers.elasticsearch_url,
        }
        for name, value in (given | others).items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    yield set_
    get_settings.cache_clear()


NOBODY = {
    "topics": {"STREAMAPP_KAFKA_URL": "kafka://127.0.0.1:9"},
    "migrations": {"STREAMAPP_POSTGRES_URL": "postgresql://app@127.0.0.1:9/none"},
    "indices": {"STREAMAPP_ELASTICSEARCH_URL": "http://127.0.0.1:9"},
}


@pytest.mark.parametrize("part", NOBODY)
async def test_migrate_says_which_server_is_away(part: str, settings: Any, prefix: str) -> None:
    settings(STREAMAPP_INDEX_PREFIX=prefix, **NOBODY[part])
    good, body, text = await migrate_all()
    assert not good
    assert list(body) == [*list(NOBODY)[: list(NOBODY).index(part)], "error"]
    assert f"{part:12} {body['error']}" in text.splitlines()
    assert "run it again" in text


async def test_migrate_says_what_is_to_be_done(settings: Any, client: AsyncElasticsearch, prefix: str) -> None:
    settings(STREAMAPP_INDEX_PREFIX=prefix)
    await client.indices.delete(index=MEDIA.concrete(prefix))
    await client.indices.create(index=MEDIA.alias(prefix))
    good, body, text = await migrate_all()
    assert not good
    assert body["indices"][MEDIA.alias(prefix)] == "occupied"
    assert f"index        {MEDIA.alias(prefix)} occupied, it must be an alias: delete it" in text
    await client.indices.delete(index=MEDIA.alias(prefix))
    good, body, text = await migrate_all()
    assert (good, body["indices"][MEDIA.alias(prefix)]) == (True, "created")


async def test_resolve_knows_aliases_and_nothing_else(client: AsyncElasticsearch, prefix: str) -> None:
    await client.indices.create(index=f"{prefix}bare")
    names = [USERS.alias(prefix), USERS.alias(prefix, "next"), f"{prefix}bare", USERS.concrete(prefix)]
    assert await indices.resolve(client, names) == {USERS.alias(prefix): USERS.concrete(prefix)}
    assert await indices.resolve(client, names[1:2]) == {}
    with pytest.raises(ApiError):
        await client.indices.get(index=names[1])
