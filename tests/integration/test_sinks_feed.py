"""Feeds on a real PostgreSQL: who is shown what, in which order, and until when (docs/feed.md)."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from sinks_support import backend_post, insights, media_changed, post_changed, view

from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import Outcome, ReadModels
from streamapp.sinks.readmodels import FEED, MEDIA_SEARCH, POST_SEARCH

ZERO = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    return ReadModels(pool, feed_users=3)


async def user(pool: Pool, user_id: int, status: str = "ACTIVE") -> None:
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES ($1, 'u' || $1::bigint, $1::bigint::text, '', 'USER', $2)",
        user_id,
        status,
    )


async def post(
    pool: Pool,
    post_id: int = 1,
    *,
    by: int = 7,
    hours: float = 1,
    visibility: str = "PUBLIC",
    status: str = "PUBLISHED",
) -> None:
    """A post of some hours ago with the media post_id * 10."""
    await backend_post(pool, post_id, [post_id * 10])
    age = dt.timedelta(hours=hours)
    await pool.execute(
        "UPDATE posts SET created_at = now() - $2::interval, user_id = $3, visibility = $4, status = $5 "
        "WHERE post_id = $1",
        post_id,
        age,
        by,
        visibility,
        status,
    )
    await pool.execute("UPDATE post_media SET created_at = now() - $2::interval WHERE post_id = $1", post_id, age)


async def items(pool: Pool) -> list[str]:
    return [row[0] for row in await pool.fetch(f"SELECT feed_item_id FROM {FEED} ORDER BY target_user_id, media_id")]


async def waiting(pool: Pool) -> int:
    """Items that wait to be indexed; emptied by being looked at."""
    status = await pool.execute(f"DELETE FROM es_outbox WHERE table_name = '{FEED}'")
    return int(status.split()[1])


def media(media_id: str = "10", *tags: str, safe: bool = True) -> Any:
    return view(media_id, insights(safe=safe, tags=tags))


async def test_a_public_post_is_for_its_author_and_the_last_active_users(pool: Pool, models: ReadModels) -> None:
    for user_id, status in ((1, "ACTIVE"), (20, "ACTIVE"), (21, "SUSPENDED"), (22, "ACTIVE"), (23, "ACTIVE")):
        await user(pool, user_id, status)
    await post(pool)
    await models.write([media_changed(media())])
    assert await items(pool) == ["7:10", "20:10", "22:10", "23:10"]
    row = await pool.fetchrow(f"SELECT * FROM {FEED} WHERE target_user_id = 20")
    assert row is not None
    expected = {
        "media_id": 10,
        "media_url": "http://images.test/10.jpg",
        "caption": "caption 1",
        "uploader_id": 7,
        "uploader_username": "ann",
        "expires_at": row["created_at"] + dt.timedelta(days=7),
    }
    assert dict(row) | expected == dict(row)


@pytest.mark.parametrize(
    "kind",
    [{"visibility": "PRIVATE"}, {"visibility": "FOLLOWERS"}, {"status": "DRAFT"}, {"status": "ARCHIVED"}],
    ids=str,
)
async def test_any_other_post_is_for_its_author_only(kind: dict[str, str], pool: Pool, models: ReadModels) -> None:
    await user(pool, 20)
    await post(pool, **kind)  # type: ignore[arg-type]
    await models.write([media_changed(media())])
    assert await items(pool) == ["7:10"]


async def test_only_safe_and_young_media_is_shown(pool: Pool, models: ReadModels) -> None:
    for post_id, hours in ((1, 1), (2, 1), (3, 7 * 24 - 1), (4, 7 * 24 + 1)):
        await post(pool, post_id, hours=hours)
    batch = [media("10"), media("20", safe=False), media("30"), media("40")]
    await models.write([media_changed(one, post_id=str(n)) for n, one in enumerate(batch, 1)])
    assert await items(pool) == ["7:10", "7:30"]
    await models.write([media_changed(view("20", insights()[1:]), post_id="2", revision=2)])  # not moderated
    assert await items(pool) == ["7:10", "7:30"]


def score(created: dt.datetime, *, affinity: float = 0, n: int = 0) -> float:
    return (created - ZERO) / dt.timedelta(days=1) + affinity + 0.25 * math.floor(math.log2(1 + n))


async def scored(pool: Pool) -> dict[str, tuple[float, dt.datetime]]:
    return {
        row[0]: (row[1], row[2])
        for row in await pool.fetch(f"SELECT feed_item_id, combined_score, created_at FROM {FEED}")
    }


async def test_the_score(pool: Pool, models: ReadModels) -> None:
    await user(pool, 20)
    # 20 posted beach and sea before, car after; what 7 posts in the same post is nothing they did before.
    await post(pool, 5, by=20, hours=30)
    await post(pool, 6, by=20, hours=1)
    await post(pool, 1, hours=2)
    await models.write(
        [
            post_changed(post_id="5", tags=["beach", "sea"]),
            post_changed(post_id="6", tags=["car"]),
            post_changed(post_id="1", tags=["beach", "sand", "car", "dog"]),
            media_changed(media("10", "beach", "sand", "car", "dog")),
        ]
    )
    found = await scored(pool)
    created = found["20:10"][1]
    assert found["20:10"][0] == pytest.approx(score(created, affinity=1 / 4), abs=1e-4)
    assert found["7:10"][0] == pytest.approx(score(created), abs=1e-4)


@pytest.mark.parametrize(
    ("counts", "n"),
    [
        ({"reaction_count": 1}, 1),
        ({"reaction_count": 2}, 2),
        ({"reaction_count": 3}, 3),
        ({"reaction_count": 2**29 - 1}, 2**29 - 1),
        ({"reaction_count": 2**29 - 2}, 2**29 - 2),
        ({"comment_count": 4, "save_count": 5, "view_count": 59}, 4 * 2 + 5 * 3 + 2),
        ({"reaction_count": -5}, 0),
        ({"reaction_count": None, "comment_count": 1}, 2),
        ({"reaction_count": 2**31 - 1, "comment_count": 2**31 - 1, "save_count": 2**31 - 1}, 6 * (2**31 - 1)),
        ({"view_count": 2**63 - 1, "comment_count": 1_500_000_000}, (2**63 - 1) // 20 + 3_000_000_000),
    ],
    ids=str,
)
async def test_engagement(counts: dict[str, Any], n: int, pool: Pool, models: ReadModels) -> None:
    await post(pool)
    await models.write([media_changed(media())])
    await waiting(pool)
    for column, value in counts.items():
        await pool.execute(f"UPDATE {MEDIA_SEARCH} SET {column} = $1", value)
    changed = await models.tend()
    ((found, created),) = (await scored(pool)).values()
    assert found == pytest.approx(score(created, n=n), abs=1e-4)
    assert await waiting(pool) == changed == int(n > 0)
    assert await models.tend() == 0


async def test_a_like_of_a_liked_media_moves_nothing(pool: Pool, models: ReadModels) -> None:
    await post(pool)
    await models.write([media_changed(media())])
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET reaction_count = 100")
    assert await models.tend() == 1
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET reaction_count = 101")
    assert await models.tend() == 0


async def test_affinity_follows_what_is_known_of_the_readers_posts(pool: Pool, models: ReadModels) -> None:
    await user(pool, 20)
    await post(pool, 5, by=20, hours=30)
    await post(pool, 1)
    await models.write([media_changed(media("10", "beach"))])
    before = await scored(pool)
    await waiting(pool)
    await models.write([post_changed(post_id="5", tags=["beach"])])
    assert await models.tend() == 1
    after = await scored(pool)
    assert after["20:10"][0] == pytest.approx(before["20:10"][0] + 1)
    assert after["7:10"] == before["7:10"]
    assert await waiting(pool) == 1
    await pool.execute(f"DELETE FROM {POST_SEARCH}")
    assert await models.tend() == 1
    assert await scored(pool) == before


async def test_a_post_made_private_leaves_other_feeds_and_a_new_user_gets_items(pool: Pool, models: ReadModels) -> None:
    await post(pool)
    await models.write([media_changed(media())])
    await user(pool, 20)
    assert await models.tend() == 2  # with the row of the user
    assert await items(pool) == ["7:10", "20:10"]
    await pool.execute("UPDATE posts SET visibility = 'PRIVATE'")
    assert await models.tend() == 2  # with the row of the media
    assert await items(pool) == ["7:10"]
    await pool.execute("DELETE FROM posts")
    assert await models.tend() >= 1
    assert await items(pool) == []


@pytest.mark.parametrize("time", ["'infinity'", "'20000-01-01'", "'290000-01-01'"])
async def test_a_time_that_python_has_not_stops_no_sweep(time: str, pool: Pool, models: ReadModels) -> None:
    for post_id in (1, 2, 3):
        await post(pool, post_id)
    await pool.execute(f"UPDATE post_media SET created_at = {time} WHERE media_id = 20")
    changes = [media_changed(media(str(n * 10)), post_id=str(n)) for n in (1, 2, 3)]
    assert (await models.write(changes)).refused == []
    await pool.execute(f"DELETE FROM {FEED}")
    for size in (1, 1, 1, 1):  # the cursor passes it
        async with pool.acquire() as connection, connection.transaction():
            await models.sweep.feed.sweep(connection, size)
    assert {"7:10", "7:30"} <= set(await items(pool))
    finite = await pool.fetchval(f"SELECT bool_and(abs(combined_score) < 'infinity') FROM {FEED}")
    assert finite


async def test_a_media_whose_items_cannot_be_hurts_no_other(pool: Pool, models: ReadModels, caplog: Any) -> None:
    for post_id in range(1, 6):
        await post(pool, post_id)
    changes = [media_changed(media(str(n * 10)), post_id=str(n)) for n in range(1, 6)]
    await models.write(changes)
    await pool.execute(f"DELETE FROM {FEED}")
    await pool.execute(f"ALTER TABLE {FEED} ADD CONSTRAINT odd CHECK (media_id <> 30)")
    try:
        await models.tend()
        await models.tend()
    finally:
        await pool.execute(f"ALTER TABLE {FEED} DROP CONSTRAINT odd")
    assert await items(pool) == ["7:10", "7:20", "7:40", "7:50"]
    assert models.sweep.careful.refused == 2
    assert [r.message for r in caplog.records if "odd" in r.message] == [
        "feed items of media 30 is left as it is: " + caplog.records[-1].message.partition(": ")[2]
    ]
    await models.tend()
    assert "7:30" in await items(pool)


async def test_the_bound_may_be_none(pool: Pool) -> None:
    await user(pool, 20)
    await post(pool)
    await ReadModels(pool, feed_users=0).write([media_changed(media())])
    assert await items(pool) == ["7:10"]


async def test_a_new_revision_rewrites_no_item(pool: Pool, models: ReadModels) -> None:
    await user(pool, 20)
    await post(pool)
    await models.write([media_changed(media(), revision=2)])
    before = [dict(row) for row in await pool.fetch(f"SELECT *, xmin FROM {FEED}")]
    await models.write([media_changed(media(), revision=3)])
    assert [dict(row) for row in await pool.fetch(f"SELECT *, xmin FROM {FEED}")] == before


async def test_what_is_over_goes_some_at_a_time(pool: Pool, models: ReadModels) -> None:
    await pool.execute(
        f"INSERT INTO {FEED} (feed_item_id, target_user_id, media_id, uploader_id, created_at, expires_at) "
        "SELECT 'old' || n, 1, n, 1, now(), now() - n * interval '1 second' FROM generate_series(1, 5) n "
        "UNION ALL SELECT 'new', 1, 9, 1, now(), now() + interval '1 hour' "
        "UNION ALL SELECT 'ever', 1, 9, 1, now(), NULL"
    )
    assert await models.sweep.feed.expire(pool, 3) == 3
    assert sorted(await items(pool)) == ["ever", "new", "old1", "old2"]
    assert await models.sweep.feed.expire(pool, 3) == 2
    assert await models.sweep.feed.expire(pool, 3) == 0
    assert sorted(await items(pool)) == ["ever", "new"]


async def test_the_sweep_comes_to_every_media_and_begins_again(pool: Pool, models: ReadModels) -> None:
    for post_id in range(1, 6):
        await post(pool, post_id)
    changes = [media_changed(media(str(n * 10)), post_id=str(n)) for n in range(1, 6)]
    assert (await models.write(changes)).refused == Outcome().refused
    for _ in range(2):
        await pool.execute(f"DELETE FROM {FEED}")
        made = []
        for _ in range(3):
            async with pool.acquire() as connection, connection.transaction():
                made.append(await models.sweep.feed.sweep(connection, 2))
        assert made == [2, 2, 1]
        assert len(await items(pool)) == 5


async def test_feeds_of_others_tables_are_left_alone(pool: Pool) -> None:
    await post(pool)
    models = ReadModels(pool, tables=[MEDIA_SEARCH])
    await models.write([media_changed(media())])
    await pool.execute(
        f"INSERT INTO {FEED} (feed_item_id, target_user_id, media_id, uploader_id, created_at, expires_at) "
        "VALUES ('theirs', 1, 10, 1, now(), now())"
    )
    assert await models.tend() == 0
    assert await items(pool) == ["theirs"]
