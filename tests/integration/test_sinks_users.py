"""Rows of users on a real PostgreSQL, and how users leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sinks_support import backend_post, database, fresh_pool, insights, media_changed, view, whole

from streamapp.errors import Unavailable
from streamapp.settings import READ_MODELS as TABLES
from streamapp.sinks import sweep
from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import Outcome, ReadModels
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    FEED,
    KNOWN_FACES,
    MEDIA_SEARCH,
    POST_SEARCH,
    USER_FACES,
    USER_SEARCH,
)

FACE = str([0.5] * 1024)


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    return ReadModels(pool)


@pytest.fixture
async def wide(servers: Any) -> AsyncIterator[Pool]:
    """A backend whose names are longer than ours."""
    async with database(servers.postgres_url) as url, fresh_pool(url) as pool:
        await pool.execute("ALTER TABLE users ALTER full_name TYPE VARCHAR(300), ALTER designation TYPE TEXT")
        yield pool


async def members(pool: Pool, count: int) -> None:
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "SELECT n, 'u' || n, 'u' || n, '', 'USER', 'ACTIVE' FROM generate_series(1, $1) n",
        count,
    )


async def user_row(pool: Pool, user_id: int = 7) -> dict[str, Any]:
    row = await pool.fetchrow(f"SELECT * FROM {USER_SEARCH} WHERE user_id = $1", user_id)
    assert row is not None
    return dict(row)


async def enrolled(pool: Pool, user_id: int = 7) -> None:
    """What enrolment will write."""
    await pool.execute(f"INSERT INTO {USER_FACES} (user_id, embedding) VALUES ($1, $2::text::vector)", user_id, FACE)
    await pool.execute(
        f"INSERT INTO {KNOWN_FACES} (user_id, username, face_embedding) VALUES ($1, 'n', $2::text::vector)",
        user_id,
        FACE,
    )


async def indexed(pool: Pool) -> set[tuple[str, int]]:
    """What waits to be indexed; emptied by being looked at."""
    return {(e["table_name"], e["pk"]) for e in await pool.fetch("DELETE FROM es_outbox RETURNING *")}


async def test_the_author_of_a_post_is_written(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await backend_post(pool, 2, [20])
    await backend_post(pool, 3, [30])
    await pool.execute("UPDATE users SET bio = 'hello', designation = 'lead'")
    await pool.execute("UPDATE posts SET status = 'DRAFT' WHERE post_id = 3")
    await models.write([media_changed(view())])
    row = await user_row(pool)
    joined = await pool.fetchval("SELECT created_at FROM users")
    expected = {
        "username": "ann",
        "email": "ann@example.test",
        "department": "sales",
        "designation": "lead",
        "bio": "hello",
        "total_posts": 2,
        "total_followers": 0,
        "total_following": 0,
        "face_enrolled": False,
        "joined_at": joined,
        "account_status": "ACTIVE",
    }
    assert row | expected == row


async def test_what_the_backend_counts_stays(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await models.write([media_changed(view())])
    await pool.execute(f"UPDATE {USER_SEARCH} SET total_followers = 4, total_following = 5, last_active = now()")
    before = await user_row(pool)
    await pool.execute("UPDATE users SET bio = 'new'")
    assert await models.write([media_changed(view())]) == Outcome(changed=1)
    assert await user_row(pool) == before | {"bio": "new", "updated_at": (await user_row(pool))["updated_at"]}


async def test_a_right_row_is_not_touched(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await models.write([media_changed(view())])
    await indexed(pool)
    before = await pool.fetchval(f"SELECT xmin FROM {USER_SEARCH}")
    assert await models.tend() == 0
    assert await models.write([media_changed(view())]) == Outcome()
    assert await pool.fetchval(f"SELECT xmin FROM {USER_SEARCH}") == before
    assert await indexed(pool) == set()


@pytest.mark.parametrize("table", [USER_FACES, KNOWN_FACES])
async def test_the_sweep_finds_what_changed_with_the_backend(table: str, pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await models.write([media_changed(view())])
    await enrolled(pool)
    other = {USER_FACES: KNOWN_FACES, KNOWN_FACES: USER_FACES}[table]
    await pool.execute(f"DELETE FROM {other}")
    await backend_post(pool, 2, [20])
    assert await models.tend() >= 1
    row = await user_row(pool)
    assert (row["face_enrolled"], row["total_posts"]) == (True, 2)
    await pool.execute(f"UPDATE {table} SET is_active = false")
    await models.tend()
    assert (await user_row(pool))["face_enrolled"] is False


async def test_names_may_change_hands(pool: Pool, models: ReadModels) -> None:
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES (8, 'bob', 'bob@example.test', '', 'USER', 'ACTIVE')"
    )
    await backend_post(pool)
    await backend_post(pool, 2, [20])
    await pool.execute("UPDATE posts SET user_id = 8 WHERE post_id = 2")
    changes = [media_changed(view()), media_changed(view("20"), post_id="2")]
    await models.write(changes)
    await pool.execute("UPDATE users SET username = 'tmp' WHERE user_id = 7")
    await pool.execute("UPDATE users SET username = 'ann' WHERE user_id = 8")
    await pool.execute("UPDATE users SET username = 'bob' WHERE user_id = 7")
    assert not (await models.write(changes[1:])).refused
    assert not (await models.write(changes[:1])).refused
    assert ((await user_row(pool, 7))["username"], (await user_row(pool, 8))["username"]) == ("bob", "ann")


async def two_users(pool: Pool, models: ReadModels) -> None:
    """User 7 with a post and a known face that is also on the image of user 8, each in the other's feed."""
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES (8, 'bob', 'bob@example.test', '', 'USER', 'ACTIVE')"
    )
    await backend_post(pool)
    await backend_post(pool, 2, [20])
    await pool.execute("UPDATE posts SET user_id = 8 WHERE post_id = 2")
    await pool.execute("UPDATE post_media SET created_at = now() - interval '1 hour'")
    faces = insights(faces=1)
    await models.write([*whole(view("10", faces), revision=3), *whole(view("20", faces), post_id="2", revision=3)])
    await enrolled(pool)
    await pool.execute(
        f"UPDATE {FACE_SEARCH} SET identified_user_id = 7, identified_username = 'ann', match_confidence = 0.9, "
        "identification_status = 'IDENTIFIED'"
    )
    await pool.execute(
        f"UPDATE {DETECTED_FACES} SET identified_user_id = 7, suggested_user_id = 8, confidence_score = 0.9, "
        "status = 'CONFIRMED'"
    )
    await indexed(pool)


@pytest.mark.parametrize(
    "deletion", ["DELETE FROM users WHERE user_id = 7", "UPDATE users SET account_status = 'DELETED' WHERE user_id = 7"]
)
async def test_a_deleted_user_leaves_every_table(deletion: str, pool: Pool, models: ReadModels) -> None:
    await two_users(pool, models)
    assert len(await pool.fetch(f"SELECT FROM {FEED}")) == 4
    await pool.execute(deletion)
    assert await models.delete_users([7, 8]) > 0
    for table, column, left in (
        (USER_SEARCH, "user_id", [8]),
        (POST_SEARCH, "author_id", [8]),
        (MEDIA_SEARCH, "uploader_id", [8]),
        (FACE_SEARCH, "uploader_id", [8]),
        (FEED, "feed_item_id", ["8:20"]),
        (KNOWN_FACES, "user_id", []),
        (USER_FACES, "user_id", []),
        (DETECTED_FACES, "media_id", [20]),
    ):
        assert [row[0] for row in await pool.fetch(f"SELECT {column} FROM {table} ORDER BY 1")] == left, table
    found = await pool.fetchrow(f"SELECT * FROM {FACE_SEARCH}")
    assert found is not None
    assert (found["identified_user_id"], found["identified_username"], found["match_confidence"]) == (None, None, None)
    assert found["identification_status"] == "UNKNOWN"
    found = await pool.fetchrow(f"SELECT * FROM {DETECTED_FACES}")
    assert found is not None
    assert (found["identified_user_id"], found["suggested_user_id"]) == (None, 8)
    assert {(USER_SEARCH, 7), (POST_SEARCH, 1), (MEDIA_SEARCH, 10), (KNOWN_FACES, 7)} <= await indexed(pool)
    # A replay brings nothing back.
    late = await models.write(whole(view("10", insights(faces=1)), revision=3))
    assert (late.changed, late.awaiting) == (0, 0)


async def test_a_user_who_is_there_keeps_everything(pool: Pool, models: ReadModels) -> None:
    await two_users(pool, models)
    assert await models.delete_users([7]) == 0
    assert (await user_row(pool))["username"] == "ann"


async def test_later_changes_of_a_deleted_users_post_are_no_rows(pool: Pool, models: ReadModels) -> None:
    await two_users(pool, models)
    await pool.execute("UPDATE users SET account_status = 'DELETED' WHERE user_id = 7")
    await models.delete_users([7])
    assert await models.write(whole(view("10"), revision=9)) == Outcome()


@pytest.mark.parametrize("deletion", ["DELETE FROM users", "UPDATE users SET account_status = 'DELETED'"])
async def test_a_user_must_be_gone_for_a_while(deletion: str, pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await models.write([media_changed(view())])
    await pool.execute(deletion)
    for _ in range(2):
        await models.tend()  # not for a minute yet
    assert await pool.fetchval(f"SELECT count(*) FROM {USER_SEARCH}") == 1
    await pool.execute("UPDATE backend_gone SET since = since - interval '1 minute'")
    assert await ReadModels(pool).tend() > 0  # another worker knows it too
    assert await pool.fetchval(f"SELECT count(*) FROM {USER_SEARCH}") == 0
    assert await pool.fetchval(f"SELECT count(*) FROM {MEDIA_SEARCH}") == 0
    assert await pool.fetchval("SELECT count(*) FROM backend_gone") == 0


async def test_a_user_who_came_back_was_not_gone(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool)
    await models.write([media_changed(view())])
    for status, known in (("DELETED", 1), ("ACTIVE", 0), ("DELETED", 1)):
        await pool.execute("UPDATE users SET account_status = $1", status)
        await models.tend()
        since = await pool.fetch("SELECT since > now() - interval '30 seconds' FROM backend_gone")
        assert [row[0] for row in since] == [True] * known
        await pool.execute("UPDATE backend_gone SET since = since - interval '50 seconds'")


async def test_the_sweep_goes_on_where_it_was(pool: Pool, models: ReadModels, monkeypatch: pytest.MonkeyPatch) -> None:
    await members(pool, 5)
    await models.tend()
    await pool.execute("UPDATE users SET bio = 'x'")
    models.sweep.page = 2
    monkeypatch.setattr(sweep, "PAGES", 1)
    assert [await models.tend() for _ in range(4)] == [2, 2, 1, 0]


async def test_whoever_is_a_user_can_be_found(pool: Pool, models: ReadModels) -> None:
    await members(pool, 3)
    await pool.execute("UPDATE users SET account_status = 'DELETED' WHERE user_id = 1")
    await pool.execute("UPDATE users SET account_status = 'SUSPENDED' WHERE user_id = 2")
    assert await models.tend() == 2
    rows = await pool.fetch(f"SELECT user_id, username, account_status, total_posts FROM {USER_SEARCH} ORDER BY 1")
    assert [tuple(row) for row in rows] == [(2, "u2", "SUSPENDED", 0), (3, "u3", "ACTIVE", 0)]
    await enrolled(pool, 3)
    await models.tend()
    assert (await user_row(pool, 3))["face_enrolled"] is True
    assert await ReadModels(pool, tables=set(TABLES) - {USER_SEARCH}).tend() == 0


async def test_a_user_whose_row_cannot_be_hurts_no_other(pool: Pool, models: ReadModels, caplog: Any) -> None:
    await members(pool, 9)
    await pool.execute(f"ALTER TABLE {USER_SEARCH} ADD CONSTRAINT odd CHECK (user_id <> 4)")
    try:
        for _ in range(3):
            await models.tend()
    finally:
        await pool.execute(f"ALTER TABLE {USER_SEARCH} DROP CONSTRAINT odd")
    assert [row[0] for row in await pool.fetch(f"SELECT user_id FROM {USER_SEARCH} ORDER BY 1")] == [
        *(1, 2, 3, 5, 6, 7, 8, 9)
    ]
    assert models.sweep.careful.refused == 3
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("the row of user 4 is left as it is: ")


async def test_what_is_wider_than_our_columns_is_cut(wide: Pool) -> None:
    models = ReadModels(wide)
    await members(wide, 1)
    await backend_post(wide)
    await wide.execute("UPDATE users SET full_name = repeat('x', 150), designation = repeat('y', 150)")
    assert (await models.write([media_changed(view())])).refused == []
    await wide.execute("UPDATE users SET full_name = repeat('z', 150)")
    for changed in (3, 0):  # two users and the media
        assert await models.tend() == changed
    assert (await user_row(wide))["full_name"] == "z" * 100
    assert await wide.fetchval(f"SELECT uploader_full_name FROM {MEDIA_SEARCH}") == "z" * 100
    assert models.sweep.careful.refused == 0


async def test_only_tables_that_are_ours_lose_users(pool: Pool, models: ReadModels) -> None:
    await two_users(pool, models)
    await pool.execute("UPDATE users SET account_status = 'DELETED' WHERE user_id = 7")
    await ReadModels(pool, tables=set(TABLES) - {KNOWN_FACES}).delete_users([7])
    assert await pool.fetchval(f"SELECT count(*) FROM {KNOWN_FACES}") == 1
    assert await pool.fetchval(f"SELECT count(*) FROM {USER_FACES}") == 0


async def test_trouble_is_told(pool: Pool, models: ReadModels) -> None:
    await pool.close()
    for call in (models.tend(), models.delete_users([7])):
        with pytest.raises(Unavailable, match="pool is closed"):
            await call
