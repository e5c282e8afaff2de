"""One set of tables, whoever made them first, in which the backend's statements run as its documents write them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from read_model_documents import DOCUMENTS, columns
from sinks_support import Connection, backend_post, database

from streamapp.sinks import sql
from streamapp.sinks.migrations import migrate

MODELS = sorted(columns("schema"))
IMAGE, FACE = str([0.5] * 512), str([0.5] * 1024)
VECTORS = {
    ("media_ai_insights", "image_embedding"): 512,
    ("media_detected_faces", "embedding"): 1024,
    ("user_face_embeddings", "embedding"): 1024,
    ("read_model_media_search", "image_embedding"): 512,
    ("read_model_recommendations_knn", "image_embedding"): 512,
    ("read_model_face_search", "face_embedding"): 1024,
    ("read_model_known_faces", "face_embedding"): 1024,
}
# A value for each column by the first word of its type; a vector is bound as the text that a driver makes of it.
LITERALS = {
    "BIGINT": "1",
    "BIGSERIAL": "1",
    "INTEGER": "2",
    "FLOAT": "0.5",
    "TEXT": "'t'",
    "VARCHAR": "'v'",
    "BOOLEAN": "true",
    "JSONB": "'{\"a\": 1}'",
    "TIMESTAMPTZ": "now()",
}
ARRAYS = {"bbox", "dominant_colors", "identified_confidences", "categories", "inferred_tags", "detected_user_ids"}


@pytest.fixture
async def connection(servers: Any) -> AsyncIterator[Connection]:
    async with database(servers.postgres_url, migrated=False) as url:
        connection = await asyncpg.connect(url)
        yield connection
        await connection.close()


async def made_by(connection: Connection, document: str | None) -> None:
    """A migrated database; the read models are there before when a document is named, a row in each."""
    await connection.execute((sql.directory() / "migrations" / "0001_core_tables.sql").read_text())
    await connection.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES (1, 'v', 'v', '', 'USER', 'ACTIVE')"
    )
    await backend_post(connection, 1, [1])
    if document is not None:
        await connection.execute(f"CREATE EXTENSION vector; {DOCUMENTS[document]}")
        for table in MODELS:
            await write(connection, document, table)
    await migrate(connection)


def value(table: str, name: str, kind: str) -> str:
    """A literal, or for a vector a string literal of unknown type, as in a statement that somebody wrote by hand."""
    if (table, name) in VECTORS:
        return f"'{[0.5] * VECTORS[table, name]}'"
    array = name in ARRAYS or name.endswith(("_tags", "_scenes", "_ids", "_usernames"))
    return f"ARRAY[{LITERALS[kind]}]" if array else LITERALS[kind]


async def write(connection: Connection, document: str, table: str) -> None:
    """What an entity of the document writes: every column it has, no other."""
    named = columns(document)[table]
    values = ", ".join(value(table, name, kind) for name, kind in named.items())
    await connection.execute(f"INSERT INTO {table} ({', '.join(named)}) VALUES ({values})")


async def described(connection: Connection) -> dict[str, dict[str, str]]:
    """The types of all columns of the read models."""
    found = await connection.fetch(
        "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = ANY($1::text[]::regclass[]) AND attnum > 0 AND NOT attisdropped",
        MODELS,
    )
    tables: dict[str, dict[str, str]] = {table: {} for table in MODELS}
    for table, name, kind in found:
        tables[table][name] = kind
    return tables


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_tables_of_a_document_become_ours(document: str, connection: Connection, servers: Any) -> None:
    await made_by(connection, document)
    found = await described(connection)
    async with database(servers.postgres_url) as url:
        fresh = await asyncpg.connect(url)
        assert found == await described(fresh)
        await fresh.close()
    for table in MODELS:
        assert found[table].keys() >= columns("schema")[table].keys() | columns("integration")[table].keys()
    # What was there is kept, and has no document yet.
    waiting = {(row[0], row[1]) for row in await connection.fetch("SELECT table_name, pk FROM es_outbox")}
    assert waiting == {(table, 1) for table in MODELS}
    for table, name in VECTORS:
        if table in MODELS:
            width = await connection.fetchval(f"SELECT vector_dims({name}) FROM {table}")
            assert width == VECTORS[table, name]


@pytest.mark.parametrize("writer", DOCUMENTS)
@pytest.mark.parametrize("maker", [*DOCUMENTS, None])
async def test_either_backend_writes_to_tables_of_either(maker: str, writer: str, connection: Connection) -> None:
    await made_by(connection, maker)
    for table in MODELS:
        await connection.execute(f"DELETE FROM {table}")
        await write(connection, writer, table)
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1


@pytest.mark.parametrize("kind", ["text", "varchar"])
async def test_every_vector_can_be_bound_as(kind: str, connection: Connection) -> None:
    await made_by(connection, None)
    await fill(connection)
    for (table, column), width in VECTORS.items():
        # A prepared statement with a declared type is what a JDBC driver sends.
        await connection.execute(f"PREPARE put_{table} ({kind}) AS UPDATE {table} SET {column} = $1")
        await connection.execute(f"EXECUTE put_{table} ('{[0.25] * width}')")
        norm = await connection.fetchval(f"SELECT vector_norm({column}) FROM {table}")
        assert norm == pytest.approx((width / 16) ** 0.5)
        with pytest.raises(asyncpg.DataError, match=f"expected {width} dimensions"):
            await connection.execute(f"EXECUTE put_{table} ('[1,2]')")


async def fill(connection: Connection) -> None:
    """A row in every table, those of the read models as one of the documents has them."""
    await connection.execute(
        f"INSERT INTO media_ai_insights (media_id, post_id, image_embedding) VALUES (1, 1, '{IMAGE}');"
        f"INSERT INTO media_detected_faces (media_id, bbox, embedding) VALUES (1, '{{1, 2, 3, 4}}', '{FACE}');"
        f"INSERT INTO user_face_embeddings (user_id, embedding) SELECT user_id, '{FACE}' FROM users"
    )
    for table in MODELS:
        await write(connection, "schema", table)


@pytest.mark.parametrize("table", MODELS)
async def test_an_update_that_changes_nothing_is_one_row_and_no_work(table: str, connection: Connection) -> None:
    """The backend's ORM checks the count."""
    await made_by(connection, None)
    await write(connection, "integration", table)
    assert await connection.fetchval("DELETE FROM es_outbox RETURNING table_name") == table
    names = columns("integration")[table].keys() - {"id"}
    same = ", ".join(f"{name} = {name}" for name in sorted(names))
    assert await connection.execute(f"UPDATE {table} SET {same}, revision = 9") == "UPDATE 1"
    assert await connection.fetchval("SELECT count(*) FROM es_outbox") == 0
    key = "user_id" if "user_id" in names else "post_id" if table == "read_model_post_search" else "media_id"
    assert await connection.execute(f"UPDATE {table} SET {key} = 77") == "UPDATE 1"
    waiting = {row[0] for row in await connection.fetch("SELECT pk FROM es_outbox")}
    assert waiting == ({1} if "id" in columns("integration")[table] else {1, 77})
    await connection.execute("DELETE FROM es_outbox")
    assert await connection.execute(f"DELETE FROM {table}") == "DELETE 1"
    assert await connection.fetchval("SELECT count(*) FROM es_outbox") == 1


async def test_what_nobody_has_moderated_is_not_safe(connection: Connection) -> None:
    await made_by(connection, "schema")
    await connection.execute("DELETE FROM read_model_recommendations_knn")
    await connection.execute(
        "INSERT INTO read_model_recommendations_knn (media_id, image_embedding, media_url, created_at) "
        f"VALUES (2, '{IMAGE}', 'u', now()); INSERT INTO media_ai_insights (media_id, post_id) VALUES (1, 1)"
    )
    assert await connection.fetchval("SELECT is_safe FROM read_model_recommendations_knn") is False
    assert await connection.fetchval("SELECT is_safe FROM media_ai_insights") is False


async def test_whether_all_media_of_a_post_are_done(connection: Connection) -> None:
    """countByPostId, countByPostIdAndAiStatus."""
    await made_by(connection, None)
    await write(connection, "schema", "read_model_media_search")
    count = "SELECT count(*) FROM read_model_media_search WHERE post_id = $1 AND ai_status = $2"
    assert await connection.fetchval("SELECT count(*) FROM post_media WHERE post_id = $1", 1) == 1
    assert await connection.fetchval(count, 1, "COMPLETED") == 0
    await connection.execute("UPDATE read_model_media_search SET ai_status = 'COMPLETED'")
    assert await connection.fetchval(count, 1, "COMPLETED") == 1


SIMILAR = """
SELECT *, 1 - (face_embedding <=> CAST($1 AS vector)) as similarity
FROM read_model_known_faces
WHERE is_active = true
ORDER BY face_embedding <=> CAST($1 AS vector)
LIMIT $2
"""


@pytest.mark.parametrize("kind", ["text", "varchar"])
async def test_similar_faces(kind: str, connection: Connection) -> None:
    await made_by(connection, None)
    for user, vector in ((1, [1.0, 0.0]), (2, [0.8, 0.6]), (3, [0.0, 1.0]), (4, [1.0, 0.0])):
        await connection.execute(
            "INSERT INTO read_model_known_faces (user_id, username, face_embedding, is_active) "
            "VALUES ($1, 'n' || $1::bigint, $2::text::vector, $1 <> 4)",
            user,
            str(vector + [0.0] * 1022),
        )
    await connection.execute(f"PREPARE faces ({kind}, integer) AS {SIMILAR}")
    found = await connection.fetch(f"EXECUTE faces ('{[1.0] + [0.0] * 1023}', 2)")
    assert [row["user_id"] for row in found] == [1, 2]
    assert [row["similarity"] for row in found] == pytest.approx([1.0, 0.8], abs=1e-6)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("read_model_recommendations_knn", "image_embedding"),
        ("read_model_face_search", "face_embedding"),
        ("read_model_known_faces", "face_embedding"),
    ],
)
async def test_the_nearest_are_found_by_an_index(table: str, column: str, connection: Connection) -> None:
    await made_by(connection, None)
    await connection.execute("SET enable_seqscan = off")
    vector = [0.5] * VECTORS[table, column]
    which, index = "", f"{table}_hnsw"
    if table == "read_model_known_faces":  # only who is in use is looked for, as in the document's query
        which, index = "WHERE is_active = true", f"{table}_active"
    plan = await connection.fetch(
        f"EXPLAIN SELECT * FROM {table} {which} ORDER BY {column} <=> CAST('{vector}' AS vector) LIMIT 5"
    )
    assert f"Index Scan using {index}" in "\n".join(row[0] for row in plan)


async def test_the_feed_of_a_user(connection: Connection) -> None:
    """findByTargetUserIdOrderByCombinedScoreDesc."""
    await made_by(connection, None)
    await connection.execute(
        "INSERT INTO read_model_feed_personalized (feed_item_id, target_user_id, media_id, uploader_id, "
        "combined_score, created_at) SELECT n::text, n % 2, n, 1, n, now() FROM generate_series(1, 6) n"
    )
    query = "SELECT media_id FROM read_model_feed_personalized WHERE target_user_id = $1 ORDER BY combined_score DESC"
    assert [row[0] for row in await connection.fetch(query, 1)] == [5, 3, 1]
    await connection.execute("SET enable_seqscan = off; SET enable_sort = off")
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query.replace('$1', '1')}"))
    assert "idx_rfp_target_score" in plan


async def test_rows_of_the_ai_tables_follow_the_backends(connection: Connection) -> None:
    await made_by(connection, None)
    await fill(connection)
    await connection.execute("UPDATE media_detected_faces SET identified_user_id = 1")
    await connection.execute("DELETE FROM users WHERE user_id = 1")
    assert await connection.fetch("SELECT identified_user_id FROM media_detected_faces") == [(None,)]
    await connection.execute("DELETE FROM post_media")
    assert await connection.fetchval("SELECT count(*) FROM media_ai_insights") == 0
    assert await connection.fetchval("SELECT count(*) FROM media_detected_faces") == 0
    await connection.execute("DELETE FROM users")
    assert await connection.fetchval("SELECT count(*) FROM user_face_embeddings") == 0
