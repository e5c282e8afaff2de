"""The schema: made once, by anyone, in which the queries of both documents run as they are written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sinks_support import Connection, database

from streamapp.sinks import sql
from streamapp.sinks.migrations import MigrationError, migrate, pending

NAMES = ["0001_core_tables", "0002_read_models", "0003_outbox", "0004_awaiting"]
INSERT_POST = (
    "INSERT INTO read_model_post_search (post_id, author_id, author_username, created_at) VALUES (5, 1, 'n', now())"
)
VECTOR = str([0.5] * 512)


@pytest.fixture
async def url(servers: Any) -> AsyncIterator[str]:
    async with database(servers.postgres_url, migrated=False) as url:
        yield url


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def test_applies_all_once(connection: Connection) -> None:
    assert (await migrate(connection))[:4] == NAMES
    assert await migrate(connection) == []


async def test_runs_at_once_apply_once(url: str) -> None:
    connections = [await asyncpg.connect(url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(connection) for connection in connections))
    assert sorted(map(len, applied))[:3] == [0, 0, 0]
    assert max(applied)[:4] == NAMES
    for connection in connections:
        await connection.close()


async def test_an_edited_file_is_an_error(connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "0001_a.sql"
    file.write_text("CREATE TABLE a ()")
    assert await migrate(connection, tmp_path) == ["0001_a"]
    file.write_text("CREATE TABLE a (b INT)")
    with pytest.raises(MigrationError, match="0001_a was edited"):
        await migrate(connection, tmp_path)


async def test_a_failing_file_leaves_nothing(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE a ()")
    (tmp_path / "0002_b.sql").write_text("CREATE TABLE b (); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, tmp_path)
    assert await connection.fetchval("SELECT to_regclass('a')") is None


def test_a_new_file_comes_last() -> None:
    with pytest.raises(MigrationError, match="0001_a sorts before 0002_b"):
        pending({"0001_a": ""}, {"0002_b": "x"})


async def test_the_backends_tables_stay(connection: Connection) -> None:
    await connection.execute("CREATE TABLE users (user_id BIGINT PRIMARY KEY, username TEXT, nickname TEXT)")
    await migrate(connection)
    assert await _columns(connection, "users") == {"user_id", "username", "nickname"}
    assert await _columns(connection, "posts") >= {"title", "body", "visibility"}


async def test_a_read_model_of_the_backend_gets_what_it_lacks(connection: Connection) -> None:
    await connection.execute(
        "CREATE TABLE read_model_media_search (media_id BIGINT PRIMARY KEY, post_id BIGINT NOT NULL, "
        "media_url VARCHAR(1000) NOT NULL, image_embedding TEXT, is_safe BOOLEAN DEFAULT true, "
        "uploader_id BIGINT NOT NULL, uploader_username VARCHAR(50) NOT NULL, created_at TIMESTAMPTZ NOT NULL)"
    )
    insert = (
        "INSERT INTO read_model_media_search "
        "(media_id, post_id, media_url, image_embedding, is_safe, uploader_id, uploader_username, created_at) "
        "VALUES ($1, 1, 'u', $2, $3, 1, 'n', now())"
    )
    await connection.execute(insert, 1, VECTOR, None)
    await migrate(connection)
    row = await connection.fetchrow("SELECT * FROM read_model_media_search")
    assert row is not None
    assert (row["is_safe"], row["revision"], row["ai_status"]) == (False, 0, "PROCESSING")
    assert await connection.fetchval("SELECT vector_dims(image_embedding) FROM read_model_media_search") == 512
    assert [e["pk"] for e in await connection.fetch("SELECT pk FROM es_outbox")] == [1]  # it has no document yet


@pytest.mark.parametrize("kind", ["text", "varchar"])
async def test_a_vector_can_be_bound_as(kind: str, connection: Connection) -> None:
    await migrate(connection)
    # A prepared statement with a declared type is what a JDBC driver sends.
    await connection.execute(
        f"PREPARE put ({kind}) AS INSERT INTO read_model_media_search "
        "(media_id, post_id, media_url, image_embedding, uploader_id, uploader_username, created_at) "
        "VALUES (1, 1, 'u', $1, 1, 'n', now())"
    )
    await connection.execute(f"EXECUTE put ('{VECTOR}')")
    assert await connection.fetchval(
        "SELECT vector_norm(image_embedding) FROM read_model_media_search"
    ) == pytest.approx((512 * 0.25) ** 0.5)
    with pytest.raises(asyncpg.DataError, match="expected 512 dimensions"):
        await connection.execute("EXECUTE put ('[1,2]')")


async def test_without_the_right_to_make_casts_it_says_so_and_goes_on(
    url: str, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await connection.execute("CREATE EXTENSION vector")
    role = url.rpartition("/")[2] + "_plain"
    await connection.execute(f"CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role}; SET ROLE {role}")
    with caplog.at_level(logging.WARNING):
        assert (await migrate(connection))[:4] == NAMES
    assert [r.getMessage() for r in caplog.records if "no right" in r.getMessage()] == [
        f"postgresql: no right to create the cast from {kind} to vector: vectors bound as {kind} need CAST(? AS vector)"
        for kind in ("text", "varchar")
    ]
    await connection.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def test_the_backend_may_leave_out_what_only_one_document_has(connection: Connection) -> None:
    await migrate(connection)
    await connection.execute(
        "INSERT INTO read_model_media_search (media_id, post_id, post_title, post_all_tags, media_url, ai_caption, "
        "ai_tags, ai_scenes, detected_user_ids, detected_usernames, uploader_id, uploader_username, "
        "uploader_department, created_at) "
        "VALUES (1, 1, 't', '{a}', 'u', 'c', '{a}', '{b}', '{1}', '{n}', 1, 'n', 'd', now())"
    )
    await connection.execute(
        "INSERT INTO read_model_post_search (post_id, author_id, author_username, title, body, all_ai_tags, "
        "all_detected_user_ids, inferred_event_type, inferred_tags, categories, created_at) "
        "VALUES (1, 1, 'n', 't', 'b', '{a}', '{1}', 'party', '{a}', '{c}', now())"
    )
    row = await connection.fetchrow("SELECT * FROM read_model_media_search")
    assert row is not None
    assert (row["is_safe"], row["reaction_count"], row["media_type"]) == (False, 0, "IMAGE")


async def test_the_backends_role_needs_no_right_on_the_outbox(url: str, connection: Connection) -> None:
    await migrate(connection)
    role = url.rpartition("/")[2] + "_backend"
    await connection.execute(f"CREATE ROLE {role}; GRANT ALL ON read_model_post_search TO {role}; SET ROLE {role}")
    await connection.execute(INSERT_POST)
    await connection.execute("RESET ROLE")
    assert await connection.fetchval("SELECT pk FROM es_outbox") == 5
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_changed_key_concerns_two_documents(connection: Connection) -> None:
    await migrate(connection)
    await connection.execute(f"{INSERT_POST};DELETE FROM es_outbox; UPDATE read_model_post_search SET post_id = 6")
    assert [e["pk"] for e in await connection.fetch("SELECT pk FROM es_outbox ORDER BY pk")] == [5, 6]


async def test_the_count_of_the_backends_orm(connection: Connection) -> None:
    """An update that changes nothing is one row for who counts, and nothing for the outbox."""
    await migrate(connection)
    await connection.execute(f"{INSERT_POST};DELETE FROM es_outbox")
    assert await connection.execute("UPDATE read_model_post_search SET author_id = 1") == "UPDATE 1"
    assert await connection.fetchval("SELECT count(*) FROM es_outbox") == 0
    assert await connection.execute("UPDATE read_model_post_search SET total_reactions = 1") == "UPDATE 1"
    assert await connection.fetchval("SELECT count(*) FROM es_outbox") == 1


def test_every_query_has_a_name() -> None:
    files = [path.stem for path in (sql.directory() / "queries").glob("*.sql")]
    assert {"sink", "users", "feed", "outbox"} <= set(files)
    assert all(text.strip() for file in files for text in sql.queries(file).values())


async def _columns(connection: Connection, table: str) -> set[str]:
    found = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0", table
    )
    return {entry["attname"] for entry in found}
