"""The sink alone: rows/s into all tables in batches of 100 changes, against COPY of the same rows into the same tables.

Two databases with the same indexes and triggers, filled in turns so that a busy machine is busy for both. COPY takes
rows that are ready, many at a time, and guards and decides nothing. Most of the time goes into the indexes of
neighbours; the vectors are random, which is the worst case for these.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import numpy as np

from streamapp.events import Change, MediaChanged, MediaView
from streamapp.insights import (
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Label,
    Moderation,
    SceneRecognition,
    Tagging,
)
from streamapp.resources import CHANGES_A_BATCH
from streamapp.sinks.database import open_pool
from streamapp.sinks.migrations import migrate
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.readmodels import FEED, READ_MODELS

PER_POST = 4
USERS = 10  # all of them are shown every media
TURN = 500  # media, of the sink and of COPY alternately
OF_MEDIA = [*(table for table, model in READ_MODELS.items() if "media_id" in model.columns), FEED]


async def rows(postgres_url: str, media: int) -> dict[str, Any]:
    """Rates over so many media with all their rows, in databases of its own: a face each and an item in ten feeds."""
    names = [f"bench_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    server = await asyncpg.connect(postgres_url)
    try:
        for name in names:
            await server.execute(f"CREATE DATABASE {name}")
        one, other = (urlsplit(postgres_url)._replace(path=f"/{name}").geturl() for name in names)
        return await _measure(one, other, media)
    finally:
        for name in names:
            await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()


async def _measure(sink_url: str, copy_url: str, media: int) -> dict[str, Any]:
    connections = [await asyncpg.connect(url) for url in (sink_url, copy_url)]
    for connection in connections:
        await migrate(connection)
        await _backend(connection, media)
    pool = await open_pool(sink_url)
    sink = ReadModels(pool)
    written = copied = statements = 0
    seconds = {"sink": 0.0, "copy": 0.0, "again": 0.0}
    for first in range(1, media + 1, TURN):
        last = min(first + TURN - 1, media)
        batches = [
            [_change(n) for n in range(start, min(start + CHANGES_A_BATCH, last + 1))]
            for start in range(first, last + 1, CHANGES_A_BATCH)
        ]
        begin = time.perf_counter()
        for batch in batches:
            before = sink.statements
            written += (await sink.write(batch)).changed
            statements = max(statements, sink.statements - before)
        seconds["sink"] += time.perf_counter() - begin
        begin = time.perf_counter()
        for batch in batches:
            assert (await sink.write(batch)).changed == 0
        seconds["again"] += time.perf_counter() - begin
        files = [await _taken(connections[0], table, first, last) for table in OF_MEDIA]
        begin = time.perf_counter()
        for table, file in zip(OF_MEDIA, files, strict=True):
            copied += int((await connections[1].copy_to_table(table, source=file, format="binary")).split()[1])
        seconds["copy"] += time.perf_counter() - begin
    await pool.close()
    for connection in connections:
        await connection.close()
    assert copied == written - USERS, (copied, written)
    return {
        "media": media,
        "rows": written,
        "rows_per_second": round(written / seconds["sink"]),
        "media_per_second": round(media / seconds["sink"]),
        "of_copy": round(seconds["copy"] / seconds["sink"], 2),
        "unchanged_rows_per_second": round(written / seconds["again"]),
        "statements_per_batch": statements,
    }


async def _taken(connection: asyncpg.Connection[Any], table: str, first: int, last: int) -> io.BytesIO:
    """The rows of some media as a file for COPY."""
    file = io.BytesIO()
    query = f"SELECT * FROM {table} WHERE media_id BETWEEN {first} AND {last}"
    await connection.copy_from_query(query, output=file, format="binary")
    file.seek(0)
    return file


async def _backend(connection: asyncpg.Connection[Any], media: int) -> None:
    """What the backend has: users, posts of four media each, all of today."""
    posts = -(-media // PER_POST)
    await connection.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        f"SELECT n, 'u' || n, 'u' || n, '', 'USER', 'ACTIVE' FROM generate_series(1, {USERS}) n"
    )
    await connection.execute(
        "INSERT INTO posts (post_id, user_id, title, body, status, created_at) "
        f"SELECT n, 1 + n % {USERS}, 'title ' || n, 'body', 'PUBLISHED', now() - n * interval '1 second' "
        f"FROM generate_series(1, {posts}) n"
    )
    await connection.execute(
        "INSERT INTO post_media (media_id, post_id, media_type, media_url, created_at) "
        f"SELECT n, 1 + (n - 1) / {PER_POST}, 'IMAGE', 'http://images.test/' || n, now() - n * interval '1 second' "
        f"FROM generate_series(1, {media}) n"
    )
    await connection.execute("ANALYZE")


def _change(n: int) -> Change:
    """All that is known of the media n; every one has vectors of its own."""
    random = np.random.default_rng(n)
    face = Face(bbox=(1, 2, 30, 40), confidence=0.9, embedding=random.normal(size=1024).astype("<f4").tobytes())
    return MediaChanged(
        post_id=str(1 + (n - 1) // PER_POST),
        revision=5,
        media=MediaView(
            media_id=str(n),
            url=f"http://images.test/{n}",
            generation="1-0",
            correlation_id=f"c{n}",
            insights=(
                Moderation(is_safe=True, confidence=0.9),
                Tagging(tags=tuple(Label(f"tag{int(tag)}", 0.5) for tag in random.integers(0, 50, 5))),
                SceneRecognition(scenes=(Label("outdoor", 0.5),), colors=("#0a0b0c", "#ffeedd")),
                ImageCaptioning(caption=f"people on a beach, number {n}"),
                ImageEmbedding(vector=random.normal(size=512).astype("<f4").tobytes()),
                FaceDetection(width=640, height=480, faces=(face,)),
            ),
        ),
    )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(rows(sys.argv[1], int(sys.argv[2]))), indent=2))
