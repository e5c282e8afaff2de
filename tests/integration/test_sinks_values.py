"""Values that the database does not take, or that no column has room for: whose they are, and what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sinks_support import (
    backend_post,
    database,
    fresh_pool,
    insights,
    media_changed,
    post_changed,
    post_deleted,
    vector,
    view,
    whole,
)

from streamapp.events import MediaChanged
from streamapp.insights import ImageCaptioning, ImageEmbedding, Label, Tagging
from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import Outcome, ReadModels
from streamapp.sinks.readmodels import (
    FEED,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    READ_MODELS,
    RECOMMENDATIONS,
    USER_SEARCH,
)

TWO = (POST_SEARCH, MEDIA_SEARCH)


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    return ReadModels(pool, tables=TWO)


async def due(pool: Pool) -> None:
    await pool.execute("UPDATE awaiting SET next_attempt = now() WHERE refused IS NULL")


async def column(pool: Pool, table: str, name: str) -> list[Any]:
    return [row[0] for row in await pool.fetch(f"SELECT {name} FROM {table} ORDER BY 1")]


LONG = media_changed(view("12", (ImageCaptioning(caption="with a \0 in it"),)))
ALSO = media_changed(view("13", (Tagging(tags=(Label("\0", 0.5),)),)))
TEXT = media_changed(view("x"))


async def test_a_bad_change_is_refused_alone(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10, 11, 12, 13])
    good = [media_changed(view("10")), media_changed(view("11"))]
    outcome = await models.write([good[0], LONG, ALSO, TEXT, good[1]])
    assert outcome.changed == 2
    reasons = {id(change): reason for change, reason in outcome.refused}
    assert {id(LONG), id(ALSO), id(TEXT)} == reasons.keys()
    assert "cannot be converted to text" in reasons[id(LONG)]
    assert "cannot be converted to text" in reasons[id(ALSO)]
    assert "'x' is not a 64-bit decimal number" in reasons[id(TEXT)]


async def test_a_bad_media_does_not_keep_its_post_back(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10, 12, 13])
    outcome = await models.write([media_changed(view("10")), LONG, ALSO, post_changed(view("10"))])
    assert outcome.changed == 2
    assert [refused for refused, _ in outcome.refused] == [LONG, ALSO]
    assert await pool.fetchval(f"SELECT count(*) FROM {POST_SEARCH}") == 1


async def test_what_was_awaited_and_is_bad_stays_to_be_seen(pool: Pool, models: ReadModels) -> None:
    await models.write([LONG, ALSO])
    await backend_post(pool, 1, [12, 13])
    await due(pool)
    outcome = await models.retry_awaiting()
    assert {change.media.media_id for change, _ in outcome.refused if isinstance(change, MediaChanged)} == {"12", "13"}
    assert all(a.refused for a in await models.awaiting("1"))
    assert await models.retry_awaiting() == Outcome()
    good = media_changed(view("12"), revision=2)
    assert await models.write([good]) == Outcome(changed=1)
    assert [a.pk for a in await models.awaiting("1")] == [13]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bytes(2048), "the image vector has no direction"),
        (np.full(512, np.nan, "<f4").tobytes(), "the image vector has no direction"),
        (vector(1, 3), "the image vector has 12 bytes, 512 float32 have 2048"),
    ],
)
async def test_a_media_goes_without_a_wrong_vector(
    raw: bytes, reason: str, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await backend_post(pool)
    models = ReadModels(pool)
    answers = [a for a in insights() if not isinstance(a, ImageEmbedding)]
    outcome = await models.write([media_changed(view(answers=[*answers, ImageEmbedding(vector=raw)]))])
    assert (outcome.refused, outcome.awaiting) == ([], 0)
    for table, caption in ((MEDIA_SEARCH, "ai_caption"), (MEDIA_INSIGHTS, "caption")):
        query = f"SELECT is_safe, {caption}, image_embedding FROM {table}"
        assert tuple(await pool.fetchrow(query) or ()) == (True, "caption 1", None)
    assert await column(pool, RECOMMENDATIONS, "media_id") == []
    assert models.unfit == 1
    assert f"{MEDIA_SEARCH} 10 of post 1: {reason}" in caplog.text


async def test_what_the_backend_has_and_we_have_no_room_for_is_cut(
    servers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with database(servers.postgres_url) as url, fresh_pool(url) as pool:
        await backend_post(pool)
        await pool.execute(
            "ALTER TABLE users ALTER username TYPE TEXT, ALTER full_name TYPE TEXT;"
            "ALTER TABLE posts ALTER title TYPE TEXT;"
            "ALTER TABLE post_media ALTER width TYPE BIGINT, ALTER position TYPE BIGINT;"
            "UPDATE users SET username = repeat('\u00fc', 60), full_name = repeat('x', 150);"
            "UPDATE posts SET title = repeat('t', 300);"
            "UPDATE post_media SET width = 3000000000, position = -3000000000"
        )
        await pool.expire_connections()
        models = ReadModels(pool, tables=TWO)
        outcome = await models.write(whole(view()))
        assert outcome == Outcome(changed=2)
        row = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH}")
        assert row is not None
        assert (row["uploader_username"], row["uploader_full_name"]) == ("\u00fc" * 50, "x" * 100)
        assert (row["post_title"], row["width"], row["media_position"]) == ("t" * 200, None, None)
        assert (row["height"], row["ai_caption"]) == (480, "caption 1")
        assert await column(pool, POST_SEARCH, "author_full_name") == ["x" * 100]
        assert models.unfit == 5 + 3
        said = f"{MEDIA_SEARCH} 10 of post 1: {MEDIA_SEARCH}.uploader_full_name: 150 characters are cut to 100"
        assert said in caplog.text
        assert f"{MEDIA_SEARCH}.width: 3000000000 is no 32-bit integer" in caplog.text
        await pool.execute("DELETE FROM es_outbox")
        assert await models.write(whole(view())) == Outcome()


@pytest.mark.parametrize("model", READ_MODELS.values(), ids=READ_MODELS)
async def test_how_wide_a_column_is_is_known(model: Any, pool: Pool) -> None:
    found = await pool.fetch(
        "SELECT column_name, character_maximum_length AS width FROM information_schema.columns "
        "WHERE table_name = $1 AND character_maximum_length IS NOT NULL",
        model.table,
    )
    ours = (
        {"status", "ai_status", "face_id", "identification_status"} if model.table != POST_SEARCH else set()
    )  # made by us, and short
    widths = {name: f"varchar({width})" for name, width in found if name in model.columns and name not in ours}
    assert widths == {name: kind for name, kind in model.columns.items() if kind.startswith("varchar")}


@pytest.mark.parametrize("table", [FEED, USER_SEARCH])
async def test_a_feed_or_a_user_that_can_not_be_written_costs_a_media_nothing(
    table: str, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await backend_post(pool)
    await backend_post(pool, 2, [20])
    await pool.execute("UPDATE posts SET created_at = now(); UPDATE post_media SET created_at = now()")
    models = ReadModels(pool)
    await pool.execute(f"ALTER TABLE {table} ADD CONSTRAINT never CHECK (revision = 0)")
    try:
        outcome = await models.write([*whole(view()), *whole(view("20"), post_id="2")])
        assert (outcome.refused, outcome.awaiting) == ([], 0)
        assert await column(pool, MEDIA_SEARCH, "media_id") == [10, 20]
        assert await column(pool, table, "revision") == []
        assert "violates check constraint" in caplog.text
        assert (await models.write([post_deleted("1", revision=2)])).refused == []
        assert await column(pool, MEDIA_SEARCH, "media_id") == [20]
    finally:
        await pool.execute(f"ALTER TABLE {table} DROP CONSTRAINT never")


async def test_counters_of_any_size_cost_a_media_nothing(pool: Pool) -> None:
    await backend_post(pool)
    await pool.execute("UPDATE posts SET created_at = now(); UPDATE post_media SET created_at = now()")
    models = ReadModels(pool)
    await models.write(whole(view()))
    await pool.execute(
        f"UPDATE {MEDIA_SEARCH} SET reaction_count = {2**31 - 1}, comment_count = {2**31 - 1}, "
        f"save_count = {2**31 - 1}, view_count = {2**63 - 1}"
    )
    outcome = await models.write([media_changed(view(answers=insights(3)), revision=2)])
    assert (outcome.refused, await column(pool, MEDIA_SEARCH, "ai_caption")) == ([], ["caption 3"])
    assert await column(pool, FEED, "media_id") == [10]
