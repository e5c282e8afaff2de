"""What the backend changes without a message, on a real PostgreSQL: it is found, and the rows follow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sinks_support import (
    backend_media,
    backend_post,
    insights,
    media_changed,
    post_changed,
    post_deleted,
    view,
    whole,
)

from streamapp.errors import Unavailable
from streamapp.settings import READ_MODELS as TABLES
from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    FEED,
    KNOWN_FACES,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    RECOMMENDATIONS,
    USER_FACES,
    USER_SEARCH,
)

FACE = str([0.5] * 1024)
OF_MEDIA = (MEDIA_SEARCH, FACE_SEARCH, RECOMMENDATIONS, FEED, MEDIA_INSIGHTS, DETECTED_FACES)


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    """Post 1 with media 10 and 11 and post 2 with media 20, an hour old, two faces on each media, all rows written."""
    for post_id, media_ids in ((1, (10, 11)), (2, (20,))):
        await backend_post(pool, post_id, media_ids)
    await pool.execute("UPDATE posts SET created_at = now() - interval '1 hour'")
    await pool.execute("UPDATE post_media SET created_at = now() - interval '1 hour'")
    models = ReadModels(pool)
    await models.write([*first(), *second()])
    await pool.execute("DELETE FROM es_outbox")
    return models


def first(revision: int = 3) -> list[Any]:
    return whole(*(view(n, insights(int(n), faces=2)) for n in ("10", "11")), revision=revision)


def second(revision: int = 3) -> list[Any]:
    return whole(view("20", insights(20, faces=2)), post_id="2", revision=revision)


async def media_of(pool: Pool) -> dict[str, set[int]]:
    """The media that have rows, by table."""
    return {table: {row[0] for row in await pool.fetch(f"SELECT media_id FROM {table}")} for table in OF_MEDIA}


async def tend_later(pool: Pool, models: ReadModels) -> None:
    """Notice what is gone, and look again a minute later."""
    await models.tend()
    await pool.execute("UPDATE backend_gone SET since = since - interval '1 minute'")
    await models.tend()


async def indexed(pool: Pool) -> set[tuple[str, int]]:
    """What waits to be indexed; emptied by being looked at."""
    return {(e["table_name"], e["pk"]) for e in await pool.fetch("DELETE FROM es_outbox RETURNING *")}


def all_have(*media_ids: int) -> dict[str, set[int]]:
    return {table: set(media_ids) for table in OF_MEDIA}


# What the backend no longer has


async def test_a_post_that_is_gone_for_a_minute_leaves_every_table(pool: Pool, models: ReadModels) -> None:
    await pool.execute("DELETE FROM posts WHERE post_id = 1")
    await models.tend()
    await models.tend()
    assert (await media_of(pool))[MEDIA_SEARCH] == {10, 11, 20}
    await indexed(pool)
    await tend_later(pool, models)
    assert await media_of(pool) == all_have(20)
    assert [row[0] for row in await pool.fetch(f"SELECT post_id FROM {POST_SEARCH}")] == [2]
    assert {(POST_SEARCH, 1), (MEDIA_SEARCH, 10), (MEDIA_SEARCH, 11)} <= await indexed(pool)
    assert await pool.fetchval("SELECT count(*) FROM backend_gone") == 0
    # Neither a replay nor another pass brings anything back, or does anything.
    assert (await models.write(first())).changed == 0
    assert await models.tend() == 0


async def test_a_media_that_is_gone_for_a_minute_leaves_every_table(pool: Pool, models: ReadModels) -> None:
    await pool.execute("DELETE FROM post_media WHERE media_id = 10")
    await models.tend()
    assert 10 in (await media_of(pool))[MEDIA_SEARCH]
    await tend_later(pool, models)
    assert await media_of(pool) == all_have(11, 20)
    assert (await models.write(first())).awaiting == 0
    assert await media_of(pool) == all_have(11, 20)


@pytest.mark.parametrize(("table", "key"), [("posts", "post_id = 1"), ("post_media", "media_id = 10")])
async def test_what_is_there_again_was_not_gone(table: str, key: str, pool: Pool, models: ReadModels) -> None:
    before = await media_of(pool)
    kept = [dict(row) for row in await pool.fetch(f"SELECT * FROM {table} WHERE {key}")]
    media = [dict(row) for row in await pool.fetch("SELECT * FROM post_media WHERE post_id = 1")]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")  # the AI tables stay
        await connection.execute(f"DELETE FROM {table} WHERE {key}")
    await models.tend()
    assert await pool.fetchval("SELECT count(*) FROM backend_gone") == 1
    for name, rows in ((table, kept), ("post_media", media)):
        for row in rows:
            places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
            await pool.execute(
                f"INSERT INTO {name} ({', '.join(row)}) VALUES ({places}) ON CONFLICT DO NOTHING", *row.values()
            )
    await tend_later(pool, models)
    assert await media_of(pool) == before
    assert await pool.fetchval("SELECT count(*) FROM backend_gone") == 0


async def test_what_comes_back_later_can_be_written_again(pool: Pool, models: ReadModels) -> None:
    await pool.execute("DELETE FROM posts WHERE post_id = 1")
    await pool.execute("DELETE FROM post_media WHERE media_id = 20")
    await tend_later(pool, models)
    assert await media_of(pool) == all_have()
    await backend_post(pool, 1, [10, 11])
    await backend_media(pool, 2, [20])
    await pool.execute("UPDATE post_media SET created_at = now() - interval '1 hour'")
    assert (await models.write([*first(), *second()])).refused == []
    assert await media_of(pool) == all_have(10, 11, 20)
    # What was told to be deleted stays so.
    await models.write([post_deleted(revision=4)])
    assert (await models.write(first(revision=4))).changed == 0


async def test_what_waited_for_it_goes_too(pool: Pool, models: ReadModels) -> None:
    await pool.execute("DELETE FROM posts WHERE post_id = 1")
    assert (await models.write(first(revision=9))).awaiting == 3
    await tend_later(pool, models)
    assert (await media_of(pool))[MEDIA_SEARCH] == {20}
    assert await pool.fetchval("SELECT count(*) FROM awaiting") == 0


async def test_a_post_that_was_never_there_is_awaited(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view("30"), post_id="3")])
    await tend_later(pool, models)
    assert await pool.fetchval("SELECT count(*) FROM awaiting") == 1


async def test_two_workers_at_once_do_no_harm(pool: Pool, models: ReadModels) -> None:
    await pool.execute("DELETE FROM posts WHERE post_id = 1")
    await pool.execute("UPDATE users SET bio = 'x'")
    workers = [models, *(ReadModels(pool) for _ in range(3))]
    for each in workers:
        each.sweep.gone_for = 0
    for _ in range(3):
        await asyncio.gather(*(each.tend() for each in workers))
    assert await media_of(pool) == all_have(20)


async def test_only_tables_that_are_ours_are_swept(pool: Pool, models: ReadModels) -> None:
    await pool.execute("DELETE FROM posts WHERE post_id = 1")
    theirs = {MEDIA_SEARCH, POST_SEARCH}
    ours = ReadModels(pool, tables=set(TABLES) - theirs)
    await tend_later(pool, ours)
    assert await media_of(pool) == all_have(20) | {MEDIA_SEARCH: {10, 11, 20}}
    await pool.execute(f"DELETE FROM {MEDIA_SEARCH} WHERE media_id = 20")
    await pool.execute("DELETE FROM posts")
    await tend_later(pool, ReadModels(pool, tables=[FEED]))
    assert (await media_of(pool))[FEED] == set()


async def test_pages(pool: Pool, models: ReadModels) -> None:
    for post_id in range(3, 10):
        await backend_post(pool, post_id, [post_id * 10])
        await models.write(whole(view(str(post_id * 10), insights(1)), post_id=str(post_id)))
    models.sweep.page = 2
    await pool.execute("DELETE FROM posts WHERE post_id IN (1, 2, 5, 9)")
    await tend_later(pool, models)
    assert (await media_of(pool))[MEDIA_SEARCH] == {30, 40, 60, 70, 80}


# What the backend has otherwise


async def test_rows_follow_the_backends(pool: Pool, models: ReadModels) -> None:
    await pool.execute("UPDATE users SET username = 'anna', full_name = 'Anna', department = 'hr', designation = 'cto'")
    await pool.execute("UPDATE posts SET visibility = 'PRIVATE', title = 'new', body = 'b', status = 'ARCHIVED'")
    await pool.execute("UPDATE post_media SET thumbnail_url = 't', width = 7 WHERE media_id = 10")
    await models.tend()
    media = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH} WHERE media_id = 10")
    post = await pool.fetchrow(f"SELECT * FROM {POST_SEARCH} WHERE post_id = 1")
    face = await pool.fetchrow(f"SELECT * FROM {FACE_SEARCH} WHERE media_id = 10")
    other = await pool.fetchrow(f"SELECT * FROM {RECOMMENDATIONS} WHERE media_id = 10")
    assert media is not None
    assert post is not None
    assert face is not None
    assert other is not None
    common = {"visibility": "PRIVATE"}
    assert dict(media) | common == dict(media)
    assert [media[f"uploader_{name}"] for name in ("username", "full_name", "department", "designation")] == [
        *("anna", "Anna", "hr", "cto")
    ]
    assert (media["post_title"], media["post_body"], media["post_status"]) == ("new", "b", "ARCHIVED")
    assert (media["thumbnail_url"], media["width"], media["revision"]) == ("t", 7, 3)
    assert dict(post) | common | {"title": "new", "author_username": "anna", "status": "ARCHIVED"} == dict(post)
    assert (face["post_title"], other["thumbnail_url"]) == ("new", "t")
    assert {(MEDIA_SEARCH, 10), (MEDIA_SEARCH, 20), (POST_SEARCH, 1)} <= await indexed(pool)
    assert await models.tend() == 0
    assert await indexed(pool) == set()


async def test_the_change_that_the_sink_would_write_finds_nothing_to_do(pool: Pool, models: ReadModels) -> None:
    await pool.execute("UPDATE users SET username = 'anna', department = NULL, profile_picture_url = 'p'")
    await pool.execute("UPDATE posts SET visibility = 'FOLLOWERS', title = NULL")
    await models.tend()
    await indexed(pool)
    assert (await models.write([*first(), *second()])).changed == 0
    assert await indexed(pool) == set()


async def test_a_post_made_private_leaves_other_feeds_at_once(pool: Pool, models: ReadModels) -> None:
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES (8, 'bob', 'b', '', 'USER', 'ACTIVE')"
    )
    await models.tend()
    await pool.execute("UPDATE posts SET visibility = 'PRIVATE' WHERE post_id = 1")
    await models.sweep._walk("posts", models.sweep._look_at_posts)
    found = await pool.fetch(f"SELECT media_id FROM {FEED} WHERE target_user_id = 8")
    assert [row[0] for row in found] == [20]


async def test_rows_of_others_are_theirs_to_keep_right(pool: Pool, models: ReadModels) -> None:
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET revision = 0 WHERE media_id = 10")
    await pool.execute("UPDATE posts SET title = 'new'")
    await ReadModels(pool, tables=set(TABLES) - {POST_SEARCH}).tend()
    titles = {row[0]: row[1] for row in await pool.fetch(f"SELECT media_id, post_title FROM {MEDIA_SEARCH}")}
    assert titles == {10: "summer", 11: "new", 20: "new"}
    assert {row[0] for row in await pool.fetch(f"SELECT title FROM {POST_SEARCH}")} == {"summer"}


async def test_a_row_that_cannot_follow_hurts_no_other(pool: Pool, models: ReadModels, caplog: Any) -> None:
    await pool.execute(f"ALTER TABLE {POST_SEARCH} ADD CONSTRAINT odd CHECK (post_id <> 1 OR title <> 'new')")
    await pool.execute("UPDATE posts SET title = 'new'")
    try:
        await models.tend()
    finally:
        await pool.execute(f"ALTER TABLE {POST_SEARCH} DROP CONSTRAINT odd")
    assert await pool.fetchval(f"SELECT title FROM {POST_SEARCH} WHERE post_id = 2") == "new"
    assert "rows of post 1 is left as it is: " in caplog.text


# Users


async def bob(pool: Pool) -> None:
    """Someone who has never posted, known by face, seen on media 10 with ann (7), and on the post that has it."""
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES (8, 'bob', 'b', '', 'USER', 'ACTIVE')"
    )
    await pool.execute(f"INSERT INTO {KNOWN_FACES} (user_id, username, face_embedding) VALUES (8, 'bob', '{FACE}')")
    await pool.execute(f"INSERT INTO {USER_FACES} (user_id, embedding) VALUES (8, '{FACE}')")
    await pool.execute(
        f"UPDATE {FACE_SEARCH} SET identified_user_id = 8, identified_username = 'bob', match_confidence = 0.9, "
        "identification_status = 'IDENTIFIED' WHERE media_id = 10"
    )
    await pool.execute(
        f"UPDATE {DETECTED_FACES} SET identified_user_id = 8, confidence_score = 0.9, status = 'CONFIRMED' "
        "WHERE media_id = 10"
    )
    await pool.execute(
        f"UPDATE {MEDIA_SEARCH} SET detected_user_ids = '{{7,8}}', detected_usernames = '{{ann,bob}}', "
        "identified_user_ids = '{8,7}', identified_usernames = '{bob,ann}', identified_confidences = '{0.8,0.7}', "
        "unidentified_face_count = 0 WHERE media_id = 10"
    )
    await pool.execute(
        f"UPDATE {POST_SEARCH} SET all_detected_user_ids = '{{8,7}}', all_detected_usernames = '{{bob,ann}}' "
        "WHERE post_id = 1"
    )


DELETIONS = ["DELETE FROM users WHERE user_id = 8", "UPDATE users SET account_status = 'DELETED' WHERE user_id = 8"]


@pytest.mark.parametrize("deletion", DELETIONS)
@pytest.mark.parametrize("tables", [set(TABLES), set(TABLES) - {USER_SEARCH}], ids=["all", "no users"])
async def test_a_user_who_never_posted_leaves_every_table(
    tables: set[str], deletion: str, pool: Pool, models: ReadModels
) -> None:
    await bob(pool)
    await pool.execute(deletion)
    await indexed(pool)
    await tend_later(pool, ReadModels(pool, tables=tables))
    for table in (KNOWN_FACES, USER_FACES):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    media = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH} WHERE media_id = 10")
    assert media is not None
    names = ["detected_user_ids", "detected_usernames", "identified_user_ids", "identified_usernames"]
    assert [media[name] for name in names] == [[7], ["ann"], [7], ["ann"]]
    assert (media["identified_confidences"], media["unidentified_face_count"]) == ([0.7], 1)
    post = await pool.fetchrow(f"SELECT * FROM {POST_SEARCH} WHERE post_id = 1")
    assert post is not None
    assert (post["all_detected_user_ids"], post["all_detected_usernames"]) == ([7], ["ann"])
    for row in await pool.fetch(f"SELECT * FROM {FACE_SEARCH} WHERE media_id = 10"):
        assert (row["identified_user_id"], row["identified_username"], row["match_confidence"]) == (None, None, None)
        assert row["identification_status"] == "UNKNOWN"
    for row in await pool.fetch(f"SELECT * FROM {DETECTED_FACES}"):
        assert (row["identified_user_id"], row["confidence_score"], row["status"]) == (None, None, "UNIDENTIFIED")
    assert {(MEDIA_SEARCH, 10), (POST_SEARCH, 1), (KNOWN_FACES, 8)} <= await indexed(pool)


async def test_a_user_who_is_only_named_in_an_array_leaves_it(pool: Pool, models: ReadModels) -> None:
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET detected_user_ids = '{{8}}' WHERE media_id = 20")
    await pool.execute(f"UPDATE {POST_SEARCH} SET all_detected_user_ids = '{{8,7,8}}' WHERE post_id = 2")
    await tend_later(pool, models)
    row = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH} WHERE media_id = 20")
    assert row is not None
    assert (row["detected_user_ids"], row["detected_usernames"], row["identified_user_ids"]) == ([], [], [])
    row = await pool.fetchrow(f"SELECT * FROM {POST_SEARCH} WHERE post_id = 2")
    assert row is not None
    assert (row["all_detected_user_ids"], row["all_detected_usernames"]) == ([7], [])


async def test_names_stay_beside_their_ids(pool: Pool, models: ReadModels) -> None:
    """Also where there are fewer, or more."""
    await pool.execute(
        f"UPDATE {MEDIA_SEARCH} SET detected_user_ids = '{{7,8,7}}', detected_usernames = '{{ann}}', "
        "identified_user_ids = '{8,7}', identified_usernames = '{bob,ann,more}' WHERE media_id = 20"
    )
    assert await models.delete_users([8]) > 0
    row = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH} WHERE media_id = 20")
    assert row is not None
    assert (row["detected_user_ids"], row["detected_usernames"]) == ([7, 7], ["ann"])
    assert row["identified_usernames"] == ["ann", "more"]
    assert [user for user in row["identified_user_ids"] if user is not None] == [7]


async def test_a_face_of_nobody_is_unidentified(pool: Pool, models: ReadModels) -> None:
    await pool.execute(f"UPDATE {DETECTED_FACES} SET confidence_score = 0.9, status = 'CONFIRMED' WHERE media_id = 10")
    await pool.execute(
        f"UPDATE {DETECTED_FACES} SET suggested_user_id = 7, confidence_score = 0.8, status = 'SUGGESTED' "
        "WHERE media_id = 20"
    )
    assert await models.tend() == 2
    found = await pool.fetch(f"SELECT DISTINCT media_id, status, confidence_score FROM {DETECTED_FACES} ORDER BY 1")
    assert [tuple(row) for row in found] == [
        (10, "UNIDENTIFIED", None),
        (11, "UNIDENTIFIED", None),
        (20, "SUGGESTED", 0.8),
    ]


async def test_a_user_who_is_active_again_can_be_written_again(pool: Pool, models: ReadModels) -> None:
    await pool.execute("UPDATE users SET account_status = 'DELETED'")
    await tend_later(pool, models)
    assert await media_of(pool) == all_have()
    assert (await models.write([*first(9), *second(9)])).changed == 0
    await pool.execute("UPDATE users SET account_status = 'ACTIVE'")
    assert (await models.write([*first(), *second()])).refused == []
    assert await media_of(pool) == all_have(10, 11, 20)
    assert await pool.fetchval(f"SELECT count(*) FROM {POST_SEARCH}") == 2


async def test_a_post_that_has_another_author_by_now_stays(pool: Pool, models: ReadModels) -> None:
    await bob(pool)
    await pool.execute("UPDATE posts SET user_id = 8 WHERE post_id = 2")
    await pool.execute("UPDATE users SET account_status = 'DELETED' WHERE user_id = 7")
    await models.delete_users([7])
    await models.tend()
    assert (await media_of(pool))[MEDIA_SEARCH] == {20}
    assert await pool.fetchval(f"SELECT uploader_username FROM {MEDIA_SEARCH}") == "bob"


# Steps


async def test_one_step_that_fails_stops_no_other(pool: Pool, models: ReadModels) -> None:
    await pool.execute("UPDATE users SET bio = 'x'")
    await pool.execute("DELETE FROM posts WHERE post_id = 1")
    await pool.execute("ALTER TABLE backend_gone RENAME TO elsewhere")
    try:
        with pytest.raises(Unavailable, match="backend_gone"):
            await models.tend()
    finally:
        await pool.execute("ALTER TABLE elsewhere RENAME TO backend_gone")
    assert (await media_of(pool))[FEED] == {20}  # the feed's own sweep came to its turn
    await tend_later(pool, models)
    assert await media_of(pool) == all_have(20)


async def test_an_error_of_this_program_is_not_taken_for_trouble(
    pool: Pool, models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(on: Any) -> int:
        raise OverflowError("date value out of range")

    monkeypatch.setattr(models.sweep.feed, "sweep", fail)
    await pool.execute("UPDATE users SET bio = 'x'")
    with pytest.raises(ExceptionGroup) as raised:
        await models.tend()
    assert raised.group_contains(OverflowError, match="out of range")
    assert await pool.fetchval(f"SELECT bio FROM {USER_SEARCH} WHERE user_id = 7") == "x"


async def test_a_right_database_is_only_read(pool: Pool, models: ReadModels) -> None:
    await models.tend()
    assert await indexed(pool) == set()
    async with pool.acquire() as connection, connection.transaction():
        for look, page in ((models.sweep._look_at_posts, [1, 2]), (models.sweep._look_at_users, [7])):
            assert await look(connection, page) == 0
        assert await connection.fetchval("SELECT pg_current_xact_id_if_assigned()") is None


async def test_post_without_media_rows_goes_too(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 4, [])
    await models.write([post_changed(post_id="4")])
    await pool.execute("DELETE FROM posts WHERE post_id = 4")
    await tend_later(pool, models)
    assert await pool.fetchval(f"SELECT count(*) FROM {POST_SEARCH} WHERE post_id = 4") == 0


async def test_a_deletion_that_is_refused_hurts_no_other(pool: Pool, models: ReadModels, caplog: Any) -> None:
    """The backend may have a table of its own that refers to ours."""
    await pool.execute(f"CREATE TABLE theirs (post_id BIGINT REFERENCES {POST_SEARCH}); INSERT INTO theirs VALUES (1)")
    try:
        await pool.execute("DELETE FROM posts")
        await tend_later(pool, models)
        assert {row[0] for row in await pool.fetch(f"SELECT post_id FROM {POST_SEARCH}")} == {1}
        assert "deleted post 1 is left as it is: " in caplog.text
    finally:
        await pool.execute("DROP TABLE theirs")
    await models.tend()
    assert await pool.fetchval(f"SELECT count(*) FROM {POST_SEARCH}") == 0
