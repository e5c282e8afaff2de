"""A rebuild beside those who write all the time, and beside another one: it ends, and shows nothing of yesterday."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from documents_support import Dead, assert_equal_to_rows, change, get, own_indices, put, put_many, running, waiting
from elasticsearch import AsyncElasticsearch
from sinks_support import until

from streamapp.rebuild import successor as successors
from streamapp.rebuild.agreement import Comparison
from streamapp.rebuild.documents import rebuild
from streamapp.rebuild.successor import Busy, Successor
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME

USERS = BY_NAME["user_search"]


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(url, max_size=12)
    await pool.execute(f"TRUNCATE {USERS.table}")
    await pool.execute("TRUNCATE es_outbox, es_targets")
    yield pool
    await pool.close()


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client, "user_search") as prefix:
        yield prefix


@pytest.fixture
def worker(pool: Pool, client: AsyncElasticsearch, prefix: str) -> Indexer:
    """The indexer of a worker."""
    return Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.1)


@asynccontextmanager
async def steadily(step: Callable[[int], Awaitable[object]], *, pause: float) -> AsyncIterator[None]:
    """Do something for the first, second, ... time all the while."""

    async def go_on() -> None:
        for n in itertools.count(1):
            await step(n)
            await asyncio.sleep(pause)

    task = asyncio.create_task(go_on())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def aliases(client: AsyncElasticsearch, prefix: str) -> dict[str, set[str]]:
    """The generations there are, with the aliases of each."""
    found = await client.indices.get_alias(index=f"{USERS.alias(prefix)}-v*")
    return {name.removeprefix(prefix): set(told["aliases"]) for name, told in found.items()}


async def finished(pool: Pool) -> None:
    """Wait until all is indexed."""

    async def empty() -> bool:
        return await waiting(pool) == 0

    await until(empty)


async def test_it_ends_under_steady_writes(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer
) -> None:
    """So many that some row of a page is always on its way; one of them is never at rest; new ones come all the
    time."""
    await put_many(pool, USERS, 1, 200)
    await put(pool, USERS, 1007)

    async def many(n: int) -> None:
        await pool.execute(f"UPDATE {USERS.table} SET total_followers = $1 WHERE user_id % 20 = $1 % 20", n)

    async def one_and_new_ones(n: int) -> None:
        await change(pool, USERS, n, 1007)
        await pool.execute(
            f"INSERT INTO {USERS.table} (user_id, username, email, account_status, joined_at) "
            "VALUES ($1, $1::bigint::text, '', 'ACTIVE', now())",
            2000 + n,
        )

    async with running(worker):
        async with steadily(many, pause=0.0), steadily(one_and_new_ones, pause=0.0):
            await asyncio.sleep(0.5)
            async with asyncio.timeout(60):
                done = await rebuild(pool, client, USERS, prefix=prefix, patience=5)
        await finished(pool)
    assert done.agreement is not None
    assert done.agreement.rows == done.agreement.documents >= 200
    assert await aliases(client, prefix) == {"user_search-v1": set(), "user_search-v2": {USERS.alias(prefix)}}
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_a_row_that_is_never_at_rest_is_followed_or_told(
    pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    """Who does not write it must not be taken for who does."""
    await put(pool, USERS, 7)
    target = Successor(pool, client, USERS, prefix=prefix)
    await target.begin()
    while await target.seed():
        pass
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.05)
    while await indexer.step():
        pass
    await change(pool, USERS, -1, 7)
    async with steadily(lambda n: change(pool, USERS, n, 7), pause=0.0):
        with pytest.raises(Exception, match=r"differs from the rows 7$"):
            await Comparison(target, patience=0.5).all()  # nobody indexes
        async with running(indexer):
            agreement = await Comparison(target, patience=4).all()
    assert (agreement.rows, agreement.documents) == (1, 1)


async def test_nothing_of_yesterday_is_shown(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer
) -> None:
    """What the searched index has said, the one that takes its place says too, at once."""
    await put_many(pool, USERS, 1, 20)
    said = dict[str, int]()
    back: list[tuple[str, int, int]] = []

    async def look(_: int) -> None:
        found = await client.mget(index=USERS.alias(prefix), ids=[str(n) for n in range(1, 21)])
        for each in found["docs"]:
            if each.get("found"):
                count = each["_source"].get("total_followers", 0)
                if count < said.get(each["_id"], 0):
                    back.append((each["_id"], said[each["_id"]], count))
                said[each["_id"]] = count

    async def like(n: int) -> None:
        await change(pool, USERS, 10**6 + n, 1 + n % 20)

    async with running(worker), steadily(like, pause=0.01), steadily(look, pause=0.0):
        for _ in range(4):
            await rebuild(pool, client, USERS, prefix=prefix)
    assert len(said) == 20
    assert back == []


async def test_the_queue_is_empty_when_it_takes_its_place(
    pool: Pool, client: AsyncElasticsearch, prefix: str, worker: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(pool, USERS, 1)
    target = Successor(pool, client, USERS, prefix=prefix)
    name, _ = await target.begin()
    while await target.seed():
        pass
    monkeypatch.setattr(successors, "HELD", 0.1)
    assert not await target.swap(name)  # nobody indexes
    assert await aliases(client, prefix) == {
        "user_search-v1": {USERS.alias(prefix)},
        "user_search-v2": {USERS.alias(prefix, "next")},
    }
    await change(pool, USERS, 5, 1)  # and writers go on
    while await worker.step():
        pass
    assert await target.swap(name)
    assert await aliases(client, prefix) == {"user_search-v1": set(), "user_search-v2": {USERS.alias(prefix)}}
    assert await pool.fetchval("SELECT count(*) FROM es_targets") == 0


async def test_begun_without_its_alias_it_goes_on(pool: Pool, client: AsyncElasticsearch, prefix: str) -> None:
    await put(pool, USERS, 1)
    target = Successor(pool, client, USERS, prefix=prefix)
    name, _ = await target.begin()
    await client.indices.delete_alias(index=name, name=target.next)
    async with asyncio.timeout(20):
        done = await rebuild(pool, client, USERS, prefix=prefix)
    assert (done.name, done.resumed) == (name, True)
    await assert_equal_to_rows(pool, client, prefix, USERS)


END_LOCKS = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid() "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


async def test_without_its_lock_it_does_not_take_the_place(pool: Pool, client: AsyncElasticsearch, prefix: str) -> None:
    await put(pool, USERS, 1)
    target = Successor(pool, client, USERS, prefix=prefix)
    async with target.alone():
        name, _ = await target.begin()
        assert await pool.fetchval(END_LOCKS)
        with pytest.raises(Busy, match=r"the lock .* was lost"):
            await target.swap(name)
    assert (await aliases(client, prefix))["user_search-v1"] == {USERS.alias(prefix)}
    assert (await rebuild(pool, client, USERS, prefix=prefix)).resumed
    found = await get(client, prefix, USERS, 1)
    assert found is not None


async def test_a_lock_that_ends_after_all_is_done_is_no_failure(
    pool: Pool, client: AsyncElasticsearch, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(pool, USERS, 1)
    drop_old = Successor.drop_old

    async def lost(self: Successor) -> list[str]:
        assert await pool.fetchval(END_LOCKS)
        return await drop_old(self)

    monkeypatch.setattr(Successor, "drop_old", lost)
    done = await rebuild(pool, client, USERS, prefix=prefix, drop_old=True)
    assert done.dropped == [USERS.concrete(prefix, 1)]


async def test_what_another_process_has_ended_is_not_gone_on_with(
    pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    target = Successor(pool, client, USERS, prefix=prefix)
    name, _ = await target.begin()
    assert await Successor(pool, client, USERS, prefix=prefix).abandon() == [name]
    with pytest.raises(Busy, match="no longer being rebuilt"):
        await target.seed()
    with pytest.raises(Busy, match="no longer being rebuilt"):
        await target.release(name)
