"""What a backend may have in its tables, or do to them, that our schema would not have: none of it stops anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from read_model_documents import DOCUMENTS
from sinks_support import Connection, backend_post, database, insights, view, whole

from streamapp.sinks import sql
from streamapp.sinks.database import Pool
from streamapp.sinks.indices import INDICES
from streamapp.sinks.migrations import MigrationError, migrate
from streamapp.sinks.postgres import ReadModels

GOOD = str([0.5] * 512)
WRONG = ("", "null", "[]", "[0.1, 0.2]", "{}", f"{[0.5] * 513}", f"{[0] * 17_000}", '["a"]', "[NaN, 1]", "[1e40]")


@pytest.fixture
async def theirs(servers: Any) -> AsyncIterator[Connection]:
    """A database with the tables of the final schema, made by a backend."""
    async with database(servers.postgres_url, migrated=False) as url:
        connection = await asyncpg.connect(url)
        await connection.execute((sql.directory() / "migrations" / "0001_core_tables.sql").read_text())
        await connection.execute(f"CREATE EXTENSION vector; {DOCUMENTS['schema']}; DROP EXTENSION vector CASCADE")
        yield connection
        await connection.close()


async def put_media(connection: Connection, media_id: int, embedding: str | None) -> None:
    await connection.execute(
        "INSERT INTO read_model_media_search "
        "(media_id, post_id, media_url, uploader_id, uploader_username, created_at, image_embedding) "
        "VALUES ($1, 1, 'u', 1, 'a', now(), $2)",
        media_id,
        embedding,
    )


async def put_recommended(connection: Connection, media_id: int, embedding: str) -> None:
    await connection.execute(
        "INSERT INTO read_model_recommendations_knn (media_id, image_embedding, media_url, created_at) "
        "VALUES ($1, $2, 'u', now())",
        media_id,
        embedding,
    )


async def test_what_is_no_vector_is_null_afterwards(theirs: Connection, caplog: pytest.LogCaptureFixture) -> None:
    await put_media(theirs, 1, GOOD)
    await put_media(theirs, 2, None)
    for n, text in enumerate(WRONG):
        await put_media(theirs, 10 + n, text)
    assert await migrate(theirs)
    kept = await theirs.fetch("SELECT media_id FROM read_model_media_search WHERE image_embedding IS NOT NULL")
    assert [row[0] for row in kept] == [1]
    assert await theirs.fetchval("SELECT count(*) FROM read_model_media_search") == 2 + len(WRONG)
    ids = ", ".join(str(10 + n) for n in range(len(WRONG)))
    assert (
        f"{len(WRONG)} rows of read_model_media_search had no vector of 512 numbers in image_embedding, "
        f"which is NULL there now: media_id {ids}"
    ) in caplog.text


async def test_where_a_row_must_have_a_vector_those_without_are_named(theirs: Connection) -> None:
    for media_id, text in ((1, GOOD), (2, "[]"), (3, "")):
        await put_recommended(theirs, media_id, text)
    said = r"read_model_recommendations_knn.image_embedding is no vector of 512 numbers in the rows with media_id 2, 3"
    with pytest.raises(MigrationError, match=f"{said}. The column is NOT NULL: mend or delete these rows"):
        await migrate(theirs)
    assert await theirs.fetchval("SELECT to_regclass('streamapp_migrations')") is None
    await theirs.execute("DELETE FROM read_model_recommendations_knn WHERE media_id <> 1")
    assert await migrate(theirs)
    assert await theirs.fetchval("SELECT vector_dims(image_embedding) FROM read_model_recommendations_knn") == 512


async def test_a_backend_may_not_know_whether_a_media_is_safe(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO read_model_media_search (media_id, post_id, media_url, media_type, is_safe, uploader_id, "
        "uploader_username, created_at) VALUES (1, 1, 'u', 'IMAGE', NULL, 1, 'a', now())"
    )
    await pool.execute(
        "INSERT INTO read_model_recommendations_knn (media_id, image_embedding, media_url, post_id, is_safe, "
        f"created_at) VALUES (1, '{GOOD}', 'u', 1, NULL, now())"
    )
    for table in ("read_model_media_search", "read_model_recommendations_knn"):
        assert await pool.fetchval(f"SELECT is_safe FROM {table}") is False
        await pool.execute(f"UPDATE {table} SET is_safe = true")
        assert await pool.fetchval(f"SELECT is_safe FROM {table}") is True
        assert await pool.execute(f"UPDATE {table} SET is_safe = NULL") == "UPDATE 1"
        assert await pool.fetchval(f"SELECT is_safe FROM {table}") is False


@pytest.mark.parametrize("table", INDICES)
async def test_emptied_tables_leave_every_key_in_the_outbox(table: str, pool: Pool) -> None:
    await backend_post(pool, 1, [10, 11])
    await pool.execute("UPDATE posts SET created_at = now(); UPDATE post_media SET created_at = now()")
    await ReadModels(pool).write(whole(view("10", insights(faces=2)), view("11")))
    known = str([0.5] * 1024)
    await pool.execute(
        f"INSERT INTO read_model_known_faces (user_id, username, face_embedding) VALUES (7, 'ann', '{known}')"
    )
    key = INDICES[table].key
    keys = {row[0] for row in await pool.fetch(f"SELECT {key} FROM {table}")}
    assert keys
    await pool.execute("DELETE FROM es_outbox")
    await pool.execute(f"TRUNCATE {table}")
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    entered = await pool.fetch("SELECT table_name, pk FROM es_outbox")
    assert {(row[0], row[1]) for row in entered} == {(table, pk) for pk in keys}
    await pool.execute("DELETE FROM es_outbox")
    await pool.execute(f"TRUNCATE {table}")
    assert await pool.fetchval("SELECT count(*) FROM es_outbox") == 0
