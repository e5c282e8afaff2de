"""Rows on a real PostgreSQL: guarded, repaired, awaited, refused alone."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import orjson
import pytest
from msgspec.structs import replace
from sinks_support import (
    backend_post,
    database,
    insights,
    media_changed,
    post_changed,
    post_deleted,
    until,
    vector,
    view,
    whole,
)

from streamapp.errors import Unavailable
from streamapp.events import Change
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.postgres import Outcome, ReadModels
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH

TWO = (POST_SEARCH, MEDIA_SEARCH)


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    """The two tables that every guarantee is shown with; what the others add is in a file of its own."""
    return ReadModels(pool, tables=TWO)


async def rows(pool: Pool, *, times: bool = True) -> list[dict[str, Any]]:
    """All rows of both tables, comparable; without the times of writing on request."""
    found = []
    for table in (POST_SEARCH, MEDIA_SEARCH):
        found += [orjson.loads(row[0]) for row in await pool.fetch(f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1")]
    return found if times else [{k: v for k, v in row.items() if k[-3:] != "_at" or k == "created_at"} for row in found]


async def media_row(pool: Pool, media_id: int = 10) -> dict[str, Any]:
    row = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH} WHERE media_id = $1", media_id)
    assert row is not None
    return dict(row)


async def outbox(pool: Pool) -> set[tuple[str, int]]:
    """What waits to be indexed; emptied by being looked at."""
    return {(e["table_name"], e["pk"]) for e in await pool.fetch("DELETE FROM es_outbox RETURNING *")}


async def test_a_media_and_its_post_are_written(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    media = view("10", insights(faces=2))
    assert await models.write([media_changed(media)]) == Outcome(changed=1)
    assert await models.write([post_changed(media, revision=2, tags=["beach", "sea"])]) == Outcome(changed=1)
    row = await media_row(pool)
    expected = {
        "post_title": "summer",
        "post_all_tags": ["beach", "sea"],
        "post_all_scenes": ["outdoor"],
        "post_total_images": 1,
        "is_safe": True,
        "ai_status": "COMPLETED",
        "ai_caption": "caption 1",
        "detected_face_count": 2,
        "uploader_username": "ann",
        "reaction_count": 0,
        "revision": 1,
    }
    assert row | expected == row
    assert orjson.loads(row["ai_confidence_scores"]) == {"tag1": 0.5, "people": 0.5, "outdoor": 0.75}
    assert row["image_embedding"].to_numpy().tobytes() == vector(1)
    post = await pool.fetchrow(f"SELECT * FROM {POST_SEARCH}")
    assert post is not None
    assert (post["title"], post["inferred_event_type"], post["all_ai_tags"]) == (
        "summer",
        "beach_party",
        ["beach", "sea"],
    )
    assert post["created_at"].isoformat() == "2026-01-02T03:04:05.678000+00:00"
    assert await outbox(pool) == {(MEDIA_SEARCH, 10), (POST_SEARCH, 1)}


async def test_the_same_and_the_stale_change_nothing(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    old, new = view("10", insights(1)[:2]), view("10")
    batch: list[Change] = [media_changed(new, revision=3), post_changed(new, revision=4)]
    await models.write(batch)
    before = await rows(pool)
    await outbox(pool)
    stale: list[Change] = [media_changed(old, revision=2), post_changed(old, revision=3, tags=["x"])]
    for again in (batch, batch[::-1], stale, stale[:1], stale[1:]):
        assert await models.write(again) == Outcome()
    assert await rows(pool) == before
    assert await outbox(pool) == set()


async def test_a_new_revision_that_says_the_same_changes_no_document(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await models.write(whole(view(), revision=3))
    before = await media_row(pool)
    await outbox(pool)
    assert await models.write(whole(view(), revision=5)) == Outcome(changed=2)
    after = await media_row(pool)
    assert after == before | {"revision": 5}
    assert await outbox(pool) == set()
    assert await models.write(whole(view(), revision=4, tags=["late"])) == Outcome()


async def test_the_backends_columns_are_its_own_and_ours_are_repaired(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    changes = whole(view(), revision=3)
    await models.write(changes)
    await pool.execute(
        f"UPDATE {MEDIA_SEARCH} SET reaction_count = 5, view_count = 6, save_count = 7, ai_caption = '?'"
    )
    await pool.execute(f"UPDATE {POST_SEARCH} SET categories = '{{c}}', location_city = 'Rome', title = 'mine'")
    await outbox(pool)
    assert await models.write(changes) == Outcome(changed=2)
    row = await media_row(pool)
    assert (row["reaction_count"], row["view_count"], row["save_count"], row["ai_caption"]) == (5, 6, 7, "caption 1")
    post = await pool.fetchrow(f"SELECT categories, location_city, title FROM {POST_SEARCH}")
    assert post is not None
    assert tuple(post) == (["c"], "Rome", "summer")
    assert await outbox(pool) == {(MEDIA_SEARCH, 10), (POST_SEARCH, 1)}


async def test_a_row_the_backend_made_first_gets_our_columns(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await pool.execute(
        f"INSERT INTO {MEDIA_SEARCH} (media_id, post_id, media_url, uploader_id, uploader_username, created_at, "
        "reaction_count) VALUES (10, 1, 'u', 7, 'ann', now(), 9)"
    )
    await models.write([media_changed(view())])
    row = await media_row(pool)
    assert (row["ai_caption"], row["reaction_count"]) == ("caption 1", 9)


async def test_one_statement_per_table_however_many_rows(pool: Pool, models: ReadModels) -> None:
    used = []
    for first, posts in ((100, 2), (200, 40)):
        changes: list[Change] = []
        for post_id in range(first, first + posts):
            media = [view(str(post_id * 10 + n)) for n in range(3)]
            await backend_post(pool, post_id, [int(m.media_id) for m in media])
            changes += whole(*media, post_id=str(post_id))
        before = models.statements
        assert await models.write(changes) == Outcome(changed=4 * posts)
        used.append(models.statements - before)
    assert used == [8, 8]  # locks, posts, media, two upserts, what media and post say of each other, what was awaited


async def test_only_the_tables_that_are_ours(pool: Pool) -> None:
    await backend_post(pool)
    models = ReadModels(pool, tables=[MEDIA_SEARCH])
    assert await models.write([*whole(view()), post_deleted("2")]) == Outcome(changed=1)
    assert await pool.fetchval(f"SELECT count(*) FROM {POST_SEARCH}") == 0


async def test_what_media_say_of_their_post_follows_a_row_that_is_the_backends(pool: Pool) -> None:
    await backend_post(pool)
    await ReadModels(pool, tables=[POST_SEARCH]).write([post_changed(view(), tags=["sea"])])
    await pool.execute(f"UPDATE {POST_SEARCH} SET revision = 0")
    await ReadModels(pool, tables=[MEDIA_SEARCH]).write([media_changed(view())])
    assert (await media_row(pool))["post_all_tags"] == ["sea"]


async def test_a_media_that_left_its_post_stays_away_until_it_returns(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10, 11])
    await models.write(whole(view("10"), view("11"), revision=3))
    await outbox(pool)
    left = replace(media_changed(view("11"), revision=5), removed=True)
    assert await models.write([left]) == Outcome(changed=1)
    assert await outbox(pool) == {(MEDIA_SEARCH, 11)}
    assert await models.write([media_changed(view("11"), revision=4)]) == Outcome()  # a late writer
    assert await models.write([left]) == Outcome()
    assert [row["media_id"] for row in await pool.fetch(f"SELECT media_id FROM {MEDIA_SEARCH}")] == [10]
    assert await models.write([media_changed(view("11"), revision=6)]) == Outcome(changed=1)
    assert (await media_row(pool, 11))["post_all_tags"] == ["beach", "party"]


async def test_a_media_that_left_one_post_for_another_is_of_the_other(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10])
    await models.write([media_changed(view("10"), revision=40)])
    await models.write([replace(media_changed(view("10"), revision=41), removed=True)])
    await backend_post(pool, 2, [20])
    await pool.execute("UPDATE post_media SET post_id = 2 WHERE media_id = 10")
    assert await models.write([media_changed(view("10"), post_id="2", revision=3)]) == Outcome(changed=1)
    assert await models.write([replace(media_changed(view("10"), revision=50), removed=True)]) == Outcome()
    assert (await media_row(pool, 10))["post_id"] == 2


async def test_a_deleted_post_stays_deleted(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10, 11])
    await backend_post(pool, 2, [20])
    await models.write([*whole(view("10"), view("11"), revision=3), media_changed(view("20"), post_id="2")])
    await models.write([media_changed(view("12"), revision=4)])  # awaited
    await outbox(pool)
    assert await models.write([post_deleted(revision=5)]) == Outcome(changed=3)
    assert await outbox(pool) == {(POST_SEARCH, 1), (MEDIA_SEARCH, 10), (MEDIA_SEARCH, 11)}
    assert await models.awaiting("1") == []
    late: list[Change] = [media_changed(view("10"), revision=4), *whole(view("11"), revision=5)]
    for change in (*late, post_deleted(revision=2), *late):
        assert await models.write([change]) == Outcome()
    assert [row["media_id"] for row in await rows(pool)] == [20]
    # Only what came after the deletion may bring the post back.
    assert await models.write([media_changed(view("10"), revision=6)]) == Outcome(changed=1)


async def test_a_deletion_and_what_it_ends_in_one_batch(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10, 11])
    batch: list[Change] = [
        media_changed(view("10"), revision=2),
        post_deleted(revision=3),
        media_changed(view("11"), revision=4),
    ]
    await models.write(batch)
    assert [row["media_id"] for row in await rows(pool)] == [11]


async def test_a_late_writer_does_not_bring_a_post_back(pool: Pool, models: ReadModels) -> None:
    """A worker that has lost the partition is in the middle of its batch when the new owner deletes the post."""
    await backend_post(pool)
    late = ReadModels(pool, tables=TWO)
    await asyncio.gather(
        *(late.write(whole(view(), revision=n)) for n in range(2, 8)),
        *(models.write([post_deleted(revision=9)]) for _ in range(2)),
    )
    assert await rows(pool) == []


async def test_trouble_is_not_the_changes_fault(pool: Pool, url: str) -> None:
    await backend_post(pool)
    models = ReadModels(await open_pool(url, max_size=1), tables=TWO)
    async with pool.acquire() as other, other.transaction():
        await other.execute(f"LOCK TABLE {MEDIA_SEARCH}")
        writing = asyncio.create_task(models.write([media_changed(view())]))

        async def ended() -> Any:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pg_blocking_pids(pid) @> $1::int[]"
            return await pool.fetch(query, [other.get_server_pid()])

        await until(ended)
        with pytest.raises(Unavailable, match="clos"):
            await writing
    assert await models.write([media_changed(view())]) == Outcome(changed=1)  # on a new connection
    await models.pool.close()
    for call in (models.write([media_changed(view())]), models.retry_awaiting(), models.awaiting("1")):
        with pytest.raises(Unavailable, match="pool is closed"):
            await call


async def test_a_database_without_our_schema_is_waited_for(servers: Any) -> None:
    async with database(servers.postgres_url, migrated=False) as url:
        pool = await open_pool(url)
        with pytest.raises(Unavailable, match="pgvector is not installed"):
            await ReadModels(pool).write([media_changed(view())])
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE EXTENSION vector")
        await connection.close()
        with pytest.raises(Unavailable, match="UndefinedTableError"):
            await ReadModels(pool).write([media_changed(view())])
        await pool.close()


async def due(pool: Pool) -> None:
    await pool.execute("UPDATE awaiting SET next_attempt = now() WHERE refused IS NULL")
