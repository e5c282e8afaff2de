"""Revisions are a post's own: what one post says of a media never stands in the way of the post that has it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sinks_support import backend_post, fresh_pool, insights, media_changed, post_deleted, view, whole

from streamapp.events import MediaChanged
from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import Outcome, ReadModels
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    FEED,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    RECOMMENDATIONS,
)

WITH_POST = (MEDIA_SEARCH, MEDIA_INSIGHTS, FACE_SEARCH, RECOMMENDATIONS, FEED)
OF_MEDIA = (*WITH_POST, DETECTED_FACES)


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    """Two posts of an hour ago, a media each."""
    await fresh_post(pool, 1, 10)
    await fresh_post(pool, 2, 20)
    return ReadModels(pool)


async def fresh_post(pool: Pool, post_id: int, *media_ids: int) -> None:
    await backend_post(pool, post_id, media_ids)
    await pool.execute("UPDATE posts SET created_at = now() - interval '1 hour'")
    await pool.execute("UPDATE post_media SET created_at = now() - interval '1 hour'")


async def owners(pool: Pool) -> dict[str, set[int]]:
    """The posts that the rows of media 10 are of."""
    return {
        table: {row[0] for row in await pool.fetch(f"SELECT post_id FROM {table} WHERE media_id = 10")}
        for table in WITH_POST
    }


def all_of(posts: set[int]) -> dict[str, set[int]]:
    return dict.fromkeys(WITH_POST, posts)


async def moved(pool: Pool) -> None:
    await pool.execute("UPDATE post_media SET post_id = 2 WHERE media_id = 10")


def said(by: str, revision: int, seed: int = 1, faces: int = 2) -> MediaChanged:
    """What a post says of media 10."""
    return media_changed(view("10", insights(seed, faces=faces)), post_id=by, revision=revision)


def left(post: str, revision: int) -> MediaChanged:
    return replace(said(post, revision), removed=True)


async def captions(pool: Pool) -> dict[str, list[str]]:
    queries = {MEDIA_SEARCH: "ai_caption", MEDIA_INSIGHTS: "caption", FACE_SEARCH: "media_caption"}
    return {
        table: [row[0] for row in await pool.fetch(f"SELECT {name} FROM {table} WHERE media_id = 10")]
        for table, name in queries.items()
    }


@pytest.mark.parametrize("order", [1, -1])
async def test_the_owner_is_written_whoever_else_names_its_media(order: int, pool: Pool, models: ReadModels) -> None:
    batch = [said("1", 3), said("2", 50)][::order]
    outcome = await models.write(batch)
    assert [(change.post_id, why) for change, why in outcome.refused] == [("2", "media 10 belongs to post 1, not to 2")]
    assert await owners(pool) == all_of({1})
    assert await pool.fetchval("SELECT count(*) FROM awaiting") == 0


@pytest.mark.parametrize("order", [1, -1])
async def test_each_post_that_names_a_media_waits_for_itself(order: int, url: str) -> None:
    async with fresh_pool(url) as pool:
        models = ReadModels(pool)
        for change in [said("2", 50), said("1", 3)][::order]:
            assert await models.write([change]) == Outcome(awaiting=1)
        assert [a.revision for a in await models.awaiting("1")] == [3]
        assert [a.revision for a in await models.awaiting("2")] == [50]
        await fresh_post(pool, 1, 10)
        await fresh_post(pool, 2, 20)
        await pool.execute("UPDATE awaiting SET next_attempt = now()")
        outcome = await models.retry_awaiting()
        assert [change.post_id for change, _ in outcome.refused] == ["2"]
        assert await owners(pool) == all_of({1})
        assert await models.awaiting("1") == []
        assert [a.refused for a in await models.awaiting("2")] == ["media 10 belongs to post 1, not to 2"]


async def test_what_one_post_settles_another_still_awaits(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view("11"), post_id="2", revision=2)])
    await models.write([media_changed(view("11"), post_id="1", revision=9)])
    await models.write([replace(media_changed(view("11"), post_id="1", revision=10), removed=True)])
    assert (await models.awaiting("1"), len(await models.awaiting("2"))) == ([], 1)


async def test_a_media_that_moved_is_of_its_new_post_at_any_revision(pool: Pool, models: ReadModels) -> None:
    await models.write([said("1", 50)])
    await moved(pool)
    assert (await models.write([said("2", 3, seed=9, faces=1)])).changed > 0
    assert await owners(pool) == all_of({2})
    assert await captions(pool) == {table: ["caption 9"] for table in (MEDIA_SEARCH, MEDIA_INSIGHTS, FACE_SEARCH)}
    assert await pool.fetchval(f"SELECT count(*) FROM {DETECTED_FACES}") == 1
    before = await pool.fetch(f"SELECT * FROM {FACE_SEARCH}")

    # Whatever the first post still says of it, and its end.
    outcome = await models.write([said("1", 51)])
    assert [why for _, why in outcome.refused] == ["media 10 belongs to post 2, not to 1"]
    for late in (left("1", 52), post_deleted("1", 53)):
        await models.write([late])
        assert await owners(pool) == all_of({2})
        assert await pool.fetchval(f"SELECT count(*) FROM {DETECTED_FACES}") == 1
        assert await pool.fetch(f"SELECT * FROM {FACE_SEARCH}") == before

    # Its revisions count again from here.
    assert await models.write([said("2", 2, seed=8)]) == Outcome()
    assert await models.write([said("2", 3, seed=9, faces=1)]) == Outcome()
    assert (await models.write([said("2", 4, seed=7, faces=0)])).changed > 0
    assert await pool.fetchval(f"SELECT count(*) FROM {FACE_SEARCH}") == 0
    assert await models.write([said("2", 3, seed=9)]) == Outcome()
    await models.write([left("2", 5)])
    for table in OF_MEDIA:
        assert await pool.fetchval(f"SELECT count(*) FROM {table} WHERE media_id = 10") == 0


async def test_a_media_that_moved_and_became_unsafe_is_recommended_no_longer(pool: Pool, models: ReadModels) -> None:
    await models.write([said("1", 50)])
    await moved(pool)
    await models.write([media_changed(view("10", insights(safe=False)), post_id="2", revision=3)])
    found = await owners(pool)
    assert (found[MEDIA_SEARCH], found[RECOMMENDATIONS], found[FEED], found[FACE_SEARCH]) == ({2}, set(), set(), set())


async def test_a_media_that_comes_and_goes_in_one_batch(pool: Pool, models: ReadModels) -> None:
    await models.write([said("1", 50)])
    await moved(pool)
    await models.write([said("2", 3), left("1", 51), *whole(view("20"), post_id="2")])
    assert await owners(pool) == all_of({2})
    await pool.execute("UPDATE post_media SET post_id = 1 WHERE media_id = 10")
    await models.write([left("2", 4), said("1", 52)])
    assert await owners(pool) == all_of({1})
    assert await pool.fetchval(f"SELECT post_all_tags FROM {MEDIA_SEARCH} WHERE media_id = 10") == []
    assert await pool.fetchval(f"SELECT count(*) FROM {POST_SEARCH}") == 1
