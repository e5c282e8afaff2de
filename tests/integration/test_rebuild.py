"""An index built anew beside the one that is searched: nothing is missed, nothing stops, whatever ends in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from documents_support import (
    Dead,
    assert_equal_to_rows,
    change,
    changed,
    get,
    own_indices,
    put,
    put_many,
    running,
    waiting,
)
from elasticsearch import AsyncElasticsearch
from sinks_support import until

from streamapp.rebuild import successor as successors
from streamapp.rebuild.agreement import Comparison, Disagreement
from streamapp.rebuild.documents import rebuild
from streamapp.rebuild.successor import Busy, Successor
from streamapp.sinks import indices
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, INDICES, NEXT, Index

every_index = pytest.mark.parametrize("index", INDICES.values(), ids=list(BY_NAME))
MEDIA, USERS = BY_NAME["media_search"], BY_NAME["user_search"]


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(url, max_size=10)
    await pool.execute(f"TRUNCATE {', '.join(INDICES)}, es_outbox, es_targets, es_hints")
    yield pool
    await pool.close()


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client, "media_search", "user_search") as prefix:
        yield prefix


@pytest.fixture
def dead() -> Dead:
    return Dead()


@pytest.fixture
def worker(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> Indexer:
    """The indexer of a worker."""
    return Indexer(pool, client, prefix=prefix, dead_letter=dead, poll=0.1)


async def drained(indexer: Indexer) -> None:
    while await indexer.step():
        pass
    assert await waiting(indexer.pool) == 0


async def names(client: AsyncElasticsearch, prefix: str, index: Index) -> dict[str, set[str]]:
    """The generations there are, with the aliases of each."""
    found = await client.indices.get_alias(index=f"{index.alias(prefix)}-v*")
    return {name.removeprefix(prefix): set(told["aliases"]) for name, told in found.items()}


@every_index
async def test_every_index_is_rebuilt_from_its_rows(index: Index, pool: Pool, client: AsyncElasticsearch) -> None:
    async with own_indices(client, index.name) as prefix:
        worker = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
        for pk in (10, 11, 12):
            await put(pool, index, pk)
        await drained(worker)
        alias = index.alias(prefix)
        await client.delete(index=alias, id="10")
        await client.update(index=alias, id="11", doc={next(iter(index.fields.keys() - {index.key})): None})
        await client.index(index=alias, id="99", document={index.key: 99})
        shown: list[tuple[str, int, int]] = []
        done = await rebuild(pool, client, index, prefix=prefix, progress=lambda *told: shown.append(told))
        assert (done.index, done.name, done.resumed) == (index.name, index.concrete(prefix, 2), False)
        assert done.agreement is not None
        assert (done.agreement.rows, done.agreement.documents, done.agreement.refused) == (3, 3, {})
        await assert_equal_to_rows(pool, client, prefix, index)
        assert await names(client, prefix, index) == {f"{index.name}-v1": set(), f"{index.name}-v2": {alias}}
        assert ("written", 3, 3) in shown
        assert ("compared", 3, 3) in shown
        assert await pool.fetchval("SELECT count(*) FROM es_targets") == 0
        assert await waiting(pool) == 0
        await change(pool, index, changed(index, 8))  # all goes on as before
        await drained(worker)
        await assert_equal_to_rows(pool, client, prefix, index)

        again = await rebuild(pool, client, index, prefix=prefix, drop_old=True)
        assert again.agreement is not None
        assert sorted(again.dropped) == [index.concrete(prefix, 1), index.concrete(prefix, 2)]
        assert await names(client, prefix, index) == {f"{index.name}-v3": {alias}}
        assert again.agreement.digest != done.agreement.digest  # a row has changed
        third = await rebuild(pool, client, index, prefix=prefix)
        assert third.agreement is not None
        assert third.agreement.digest == again.agreement.digest  # none has


async def test_live_changes_reach_both_and_searches_go_on(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer, dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(successors, "SEEDED_AT_ONCE", 300)
    await put_many(pool, USERS, 1, 1000)
    await drained(worker)
    await client.indices.refresh(index=USERS.alias(prefix))
    ended, answers = asyncio.Event(), list[int]()

    async def backend() -> None:
        """Rows up to 500 stay; those after them are changed, deleted and made anew, and others come."""
        n = 0
        while not ended.is_set():
            n += 1
            await change(pool, USERS, n, 1 + n % 500)
            await change(pool, USERS, n, 501 + n % 400)
            await pool.execute(f"DELETE FROM {USERS.table} WHERE user_id = $1", 501 + 7 * n % 500)
            await put(pool, USERS, 2000 + n)
            if n % 3 == 0:
                await pool.execute(f"DELETE FROM {USERS.table} WHERE user_id = $1", 2000 + n - 1)
            await asyncio.sleep(0.002)

    async def searching() -> None:
        while not ended.is_set():
            found = await client.count(index=USERS.alias(prefix), query={"range": {"user_id": {"lte": 500}}})
            answers.append(found["count"])
            await asyncio.sleep(0.01)

    async with running(worker):
        others = asyncio.gather(backend(), searching())
        try:
            await asyncio.sleep(0.3)
            done = await rebuild(pool, client, USERS, prefix=prefix)
            await asyncio.sleep(0.3)
        finally:
            ended.set()
            await others

        async def empty() -> bool:
            return await waiting(pool) == 0

        await until(empty)
    assert done.agreement is not None
    assert done.agreement.refused == {}
    assert len(answers) > 20
    assert set(answers) == {500}
    assert dead == []
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_what_was_being_written_when_it_began_is_not_missed(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer
) -> None:
    """The writer has entered its row for one target only, and commits after all rows were read."""
    await put(pool, USERS, 1)
    async with pool.acquire() as writer, writer.transaction():
        await writer.execute(f"UPDATE {USERS.table} SET username = 'late'")
        task = asyncio.create_task(rebuild(pool, client, USERS, prefix=prefix))
        await asyncio.sleep(0.5)
        assert not task.done()
    await task
    found = await get(client, prefix, USERS, 1)
    assert found is not None
    assert found["username"] == "late"


async def test_a_writer_that_does_not_end_is_named(
    pool: Pool, client: AsyncElasticsearch, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(successors, "LOCK_TIMEOUT", "100ms")
    await put(pool, USERS, 1)
    async with pool.acquire() as writer, writer.transaction():
        await writer.execute(f"UPDATE {USERS.table} SET username = 'long'")
        with pytest.raises(Busy, match="read_model_user_search"):
            await rebuild(pool, client, USERS, prefix=prefix)
    assert await names(client, prefix, USERS) == {"user_search-v1": {USERS.alias(prefix)}}  # and leaves nothing
    done = await rebuild(pool, client, USERS, prefix=prefix, drop_old=True)
    assert await names(client, prefix, USERS) == {done.name.removeprefix(prefix): {USERS.alias(prefix)}}


async def test_an_indexer_that_fails_ends_it(
    pool: Pool, client: AsyncElasticsearch, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(pool, USERS, 1)

    async def fail(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    with monkeypatch.context() as patched:
        patched.setattr(Indexer, "_read", fail)
        with pytest.raises(ZeroDivisionError):
            await rebuild(pool, client, USERS, prefix=prefix)
    done = await rebuild(pool, client, USERS, prefix=prefix)
    assert done.resumed
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_one_at_a_time(pool: Pool, client: AsyncElasticsearch, prefix: str) -> None:
    async with Successor(pool, client, USERS, prefix=prefix).alone():
        with pytest.raises(Busy, match="user_search is being rebuilt by another process"):
            await rebuild(pool, client, USERS, prefix=prefix)
        await rebuild(pool, client, MEDIA, prefix=prefix)  # another index is another matter
    await rebuild(pool, client, USERS, prefix=prefix)


class Ended(Exception):
    """As if the process had been killed here."""


@pytest.mark.parametrize("step", ["_no_writer", "seed", "waiting", "swap", "_unregister", "alias moved", "_point"])
async def test_ended_anywhere_it_goes_on(
    step: str, pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_many(pool, USERS, 1, 50)
    await drained(worker)
    monkeypatch.setattr(successors, "SEEDED_AT_ONCE", 20)
    calls = 0
    ends_at = {"_point": 3, "seed": 2}.get(step, 1)  # the third alias is taken away from what was built

    def ending(*_: Any, **__: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= ends_at:
            raise Ended
        return original(*_, **__)

    with monkeypatch.context() as patched:
        if step == "alias moved":  # but before the database knows
            point = Successor._point

            async def pointed(self: Successor, alias: str, name: str | None) -> None:
                await point(self, alias, name)
                if alias == self.alias:
                    raise Ended

            patched.setattr(Successor, "_point", pointed)
        else:
            original = getattr(Successor, step)
            patched.setattr(Successor, step, ending)
        with pytest.raises(Ended):
            await rebuild(pool, client, USERS, prefix=prefix)
    # Whatever it left: what is written meanwhile is searched, by a worker that knows of nothing.
    await change(pool, USERS, 77, 5)
    await put(pool, USERS, 60)
    await pool.execute(f"DELETE FROM {USERS.table} WHERE user_id = 6")
    while await worker.step():
        pass
    await assert_equal_to_rows(pool, client, prefix, USERS)

    begun = await pool.fetchval("SELECT count(*) FROM es_targets")
    done = await rebuild(pool, client, USERS, prefix=prefix, drop_old=True)
    assert done.resumed is bool(begun)
    assert await names(client, prefix, USERS) == {done.name.removeprefix(prefix): {USERS.alias(prefix)}}
    assert (await waiting(pool), await pool.fetchval("SELECT count(*) FROM es_targets")) == (0, 0)
    await assert_equal_to_rows(pool, client, prefix, USERS)
    assert worker.counts["later"] == 0


async def test_killed_in_the_middle_and_run_again(
    servers: Any, url: str, pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer
) -> None:
    await put_many(pool, MEDIA, 1, 3000)
    await drained(worker)
    await client.indices.refresh(index=MEDIA.alias(prefix))
    environment = os.environ | {
        "STREAMAPP_ENV_FILE": os.devnull,
        "STREAMAPP_POSTGRES_URL": url,
        "STREAMAPP_ELASTICSEARCH_URL": servers.elasticsearch_url,
        "STREAMAPP_INDEX_PREFIX": prefix,
    }
    command = [sys.executable, "-m", "streamapp.cli", "rebuild", "media_search", "--drop-old"]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    async def in_the_middle() -> bool:
        assert process.returncode is None, "it ended before it could be killed"
        row = await pool.fetchrow("SELECT count(*) FILTER (WHERE attempts = 0) AS left FROM es_outbox")
        assert row is not None
        return 0 < row["left"] < 2600 and bool(await pool.fetchval("SELECT seeded FROM es_targets"))

    await until(in_the_middle, seconds=60)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    left = await waiting(pool)
    assert left > 0
    assert await pool.fetchval("SELECT index_name FROM es_targets") == MEDIA.concrete(prefix, 2)
    assert (await client.count(index=MEDIA.alias(prefix)))["count"] == 3000  # searches know nothing of it
    assert await names(client, prefix, MEDIA) == {
        "media_search-v1": {MEDIA.alias(prefix)},
        "media_search-v2": {MEDIA.alias(prefix, NEXT)},
    }
    await change(pool, MEDIA, 77, 5)
    await pool.execute(f"DELETE FROM {MEDIA.table} WHERE media_id = 6")

    run = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "2,999 documents of 2,999 rows agree" in run.stdout
    assert "begun by an earlier run" in run.stdout
    assert "media_search 2,999/2,999 compared (100%)" in run.stderr
    assert await names(client, prefix, MEDIA) == {"media_search-v2": {MEDIA.alias(prefix)}}
    await drained(worker)
    await assert_equal_to_rows(pool, client, prefix, MEDIA)


async def test_the_live_index_comes_first(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> None:
    await put_many(pool, USERS, 1, 100)
    await drained(Indexer(pool, client, prefix=prefix, dead_letter=dead))
    target = Successor(pool, client, USERS, prefix=prefix)
    await target.begin()
    while await target.seed():
        pass
    await change(pool, USERS, 77, 50)
    small = Indexer(pool, client, prefix=prefix, dead_letter=dead, batch=1)
    assert await small.step() == 1
    found = await get(client, prefix, USERS, 50)
    assert found is not None
    assert found["total_followers"] == 77
    assert await get(client, prefix, USERS, 50, NEXT) is None
    assert await waiting(pool) == 100


async def test_what_the_new_index_refuses_is_told_and_stops_nothing(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer, dead: Dead
) -> None:
    await put(pool, USERS, 10)
    await put(pool, USERS, 11)
    await pool.execute(f"UPDATE {USERS.table} SET joined_at = '20000-01-01' WHERE user_id = 11")
    await drained(worker)
    assert [(table, pk) for table, pk, *_ in dead] == [(USERS.table, 11)]
    done = await rebuild(pool, client, USERS, prefix=prefix)
    assert done.agreement is not None
    assert (done.agreement.rows, done.agreement.documents) == (2, 1)
    assert "document_parsing_exception" in done.agreement.refused[11]
    await drained(worker)
    assert [(table, pk) for table, pk, *_ in dead] == [(USERS.table, 11)] * 2  # of the new index as of the old one


async def test_another_definition(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer, dead: Dead
) -> None:
    """After a new release: what the old index refuses waits, and nothing is lost."""
    name = USERS.concrete(prefix)
    await client.indices.delete(index=name)
    old = {field: kind for field, kind in USERS.fields.items() if field != "bio"}
    mappings = {"dynamic": "strict", "properties": old, "_meta": {"definition": "of last year"}}
    aliases: dict[str, Any] = {USERS.alias(prefix): {}}
    await client.indices.create(index=name, aliases=aliases, settings=USERS.settings(), mappings=mappings)
    await put(pool, USERS, 10)
    async with running(worker):
        await until(lambda: worker.counts["later"])
        assert await get(client, prefix, USERS) is None
        await rebuild(pool, client, USERS, prefix=prefix)

        async def empty() -> bool:
            return await waiting(pool) == 0

        await until(empty)
    assert dead == []
    assert {c.state for c in await indices.check(client, prefix) if c.index is USERS} == {"present"}
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_a_new_definition_in_the_middle_begins_again(pool: Pool, client: AsyncElasticsearch, prefix: str) -> None:
    await put(pool, USERS, 10)
    target = Successor(pool, client, USERS, prefix=prefix)
    assert await target.begin() == (USERS.concrete(prefix, 2), False)
    assert await target.begin() == (USERS.concrete(prefix, 2), True)
    await pool.execute("UPDATE es_targets SET definition = 'of an hour ago'")
    done = await rebuild(pool, client, USERS, prefix=prefix)
    assert (done.name, done.resumed) == (USERS.concrete(prefix, 2), False)
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_an_index_that_was_lost_in_the_middle_begins_again(
    pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    await put(pool, USERS, 10)
    name, _ = await Successor(pool, client, USERS, prefix=prefix).begin()
    await client.indices.delete(index=name)
    done = await rebuild(pool, client, USERS, prefix=prefix)
    assert not done.resumed
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_abandoned(pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer) -> None:
    await put(pool, USERS, 10)
    target = Successor(pool, client, USERS, prefix=prefix)
    name, _ = await target.begin()
    await target.seed()
    assert await target.abandon() == [name]
    assert await target.abandon() == []
    for unknown in (3, 4):  # of who was killed before the database knew
        await indices.create(client, USERS, USERS.concrete(prefix, unknown))
    assert await target.abandon() == [USERS.concrete(prefix, 3), USERS.concrete(prefix, 4)]
    assert await names(client, prefix, USERS) == {"user_search-v1": {USERS.alias(prefix)}}
    await drained(worker)
    assert worker.counts == {"done": 1}
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_what_differs_is_written_again_and_then_told(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer
) -> None:
    await put(pool, USERS, 10)
    await put(pool, USERS, 11)
    target = Successor(pool, client, USERS, prefix=prefix)
    await target.begin()
    while await target.seed():
        pass
    await drained(worker)
    await client.delete(index=target.next, id="10")
    await client.index(index=target.next, id="99", document={"user_id": 99})
    with pytest.raises(Disagreement, match=r"differs from the rows 10$"):
        await Comparison(target, patience=0.1).all()  # nobody indexes
    async with running(worker):
        agreement = await Comparison(target).all()
    assert (agreement.rows, agreement.documents) == (2, 2)
    assert await get(client, prefix, USERS, 99, NEXT) is None
    await client.index(index=target.next, id="a stranger", document={"user_id": 98})
    with pytest.raises(Disagreement, match="no row can have: a stranger"):
        await Comparison(target).all()


async def test_a_database_that_was_restored_is_told_and_helped(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer
) -> None:
    """Its sequence begins again where the index has seen more."""
    drawn = await pool.fetchval("SELECT nextval('es_version')")
    await pool.execute("SELECT setval('es_version', $1)", drawn + 1_000_000)
    await put(pool, USERS, 10)
    await drained(worker)
    await pool.execute("SELECT setval('es_version', $1)", drawn)
    await change(pool, USERS, 5)
    async with running(worker):

        async def told() -> bool:
            error = await pool.fetchval("SELECT last_error FROM es_outbox")
            return error is not None and "run: streamapp rebuild all" in error

        await until(told)
        await rebuild(pool, client, USERS, prefix=prefix)

        async def empty() -> bool:
            return await waiting(pool) == 0

        await until(empty)
    await assert_equal_to_rows(pool, client, prefix, USERS)
