"""Rows that wait for the backend's: when they are tried again, and what becomes of those that never come."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from msgspec.structs import replace
from sinks_support import (
    backend_media,
    backend_post,
    insights,
    media_changed,
    post_deleted,
    until,
    view,
    whole,
)

from streamapp.sinks import sql
from streamapp.sinks.database import Pool
from streamapp.sinks.postgres import Outcome, ReadModels
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH

TWO = (POST_SEARCH, MEDIA_SEARCH)
HOUR = 3600.0
WAIT = "SELECT extract(epoch FROM next_attempt - now())::float FROM awaiting"


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    return ReadModels(pool, tables=TWO)


async def aged(pool: Pool, seconds: float) -> None:
    """What waits has done so for this long, and is due."""
    await pool.execute(
        "UPDATE awaiting SET since = now() - $1 * interval '1 second', next_attempt = now()", float(seconds)
    )


async def media_row(pool: Pool, media_id: int = 10) -> dict[str, Any]:
    row = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH} WHERE media_id = $1", media_id)
    assert row is not None
    return dict(row)


async def written(pool: Pool) -> list[int]:
    return [row[0] for row in await pool.fetch(f"SELECT media_id FROM {MEDIA_SEARCH} ORDER BY 1")]


async def due(pool: Pool) -> None:
    await pool.execute("UPDATE awaiting SET next_attempt = now()")


async def test_what_lacks_the_backends_row_waits_and_the_rest_does_not(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10])
    changes = whole(view("10"), view("11"), revision=3)
    assert await models.write([*changes, media_changed(view("20"), post_id="2")]) == Outcome(changed=2, awaiting=2)
    assert [(a.table_name, a.pk, a.media_id, a.awaited, a.revision) for a in await models.awaiting("1")] == [
        (MEDIA_SEARCH, 11, 11, "post_media", 3)
    ]
    assert [(a.pk, a.awaited) for a in await models.awaiting("2")] == [(20, "posts")]
    assert await models.awaiting("not a number") == []

    await backend_media(pool, 1, [11])
    assert await models.retry_awaiting() == Outcome()  # not due yet
    await due(pool)
    assert await models.retry_awaiting() == Outcome(changed=1, awaiting=1)
    assert (await media_row(pool, 11))["post_all_scenes"] == ["outdoor"]
    assert await models.awaiting("1") == []
    assert [a.attempts for a in await models.awaiting("2")] == [1]


async def test_a_late_row_is_written_by_itself(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view(), revision=2)])
    since = (await models.awaiting("1"))[0].since
    await models.write([media_changed(view(answers=insights(5)), revision=3)])  # waits in its place
    await models.write([media_changed(view(), revision=2)])
    waiting = await models.awaiting("1")
    assert [(a.revision, a.since) for a in waiting] == [(3, since)]
    await backend_post(pool)

    async def retried() -> bool:
        return (await models.retry_awaiting()).changed == 1

    await until(retried)
    assert (await media_row(pool))["ai_caption"] == "caption 5"


async def test_a_newer_change_settles_what_was_awaited(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view(), revision=2)])
    await backend_post(pool)
    await models.write([media_changed(view(answers=insights(5)), revision=3)])
    assert await models.awaiting("1") == []


async def test_an_older_change_does_not_settle_a_newer_one(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view(answers=insights(5)), revision=3)])
    await backend_post(pool)
    assert await models.write([media_changed(view(), revision=2)]) == Outcome(changed=1)  # a replay
    await due(pool)
    assert await models.retry_awaiting() == Outcome(changed=1)
    assert (await media_row(pool))["ai_caption"] == "caption 5"


async def test_who_dies_while_retrying_loses_nothing(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view())])
    await backend_post(pool)
    await due(pool)
    claimed = await pool.fetch(sql.queries("sink")["claim_awaiting"], 10, [MEDIA_SEARCH])  # and then it is killed
    assert len(claimed) == 1
    await due(pool)
    assert await ReadModels(pool, tables=TWO).retry_awaiting() == Outcome(changed=1)


async def test_retries_at_once_do_not_meet(pool: Pool, models: ReadModels) -> None:
    media = [view(str(n)) for n in range(100, 150)]
    await models.write([media_changed(m) for m in media])
    await backend_post(pool, 1, [int(m.media_id) for m in media])
    await due(pool)
    outcomes = await asyncio.gather(*(models.retry_awaiting(20) for _ in range(4)))
    assert sum(outcome.changed for outcome in outcomes) == 50


async def test_a_media_that_left_awaits_nothing(pool: Pool, models: ReadModels) -> None:
    await backend_post(pool, 1, [10])
    assert await models.write([media_changed(view("11"), revision=4)]) == Outcome(awaiting=1)
    await models.write([replace(media_changed(view("11"), revision=5), removed=True)])
    assert await models.awaiting("1") == []


async def test_a_deletion_leaves_what_came_after_it_waiting(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view("10"), revision=2), media_changed(view("11"), revision=6)])
    await models.write([post_deleted(revision=5)])
    assert [a.pk for a in await models.awaiting("1")] == [11]


async def test_what_waits_longer_is_tried_less_often(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view())])
    waits = [await pool.fetchval(WAIT)]
    while waits[-1] < 6 * HOUR - 1 and len(waits) < 60:
        await due(pool)
        assert await models.retry_awaiting() == Outcome(awaiting=1)
        waits.append(await pool.fetchval(WAIT))
        assert await models.retry_awaiting() == Outcome()  # not due
    assert waits[0] <= 1
    assert len(waits) < 50
    for n in range(10, len(waits)):
        assert waits[n] <= 0.3 * sum(waits[:n])  # what is a minute late is found 18 seconds later at most
    await due(pool)
    await models.retry_awaiting()
    assert await pool.fetchval(WAIT) <= 6 * HOUR


async def test_a_newer_change_is_a_new_beginning(pool: Pool, models: ReadModels) -> None:
    await models.write([media_changed(view(), revision=2)])
    await pool.execute("UPDATE awaiting SET attempts = 40, next_attempt = now() + interval '3 hours'")
    for revision in (1, 2):  # a replay
        await models.write([media_changed(view(), revision=revision)])
        assert await pool.fetchval(WAIT) > HOUR
    await models.write([media_changed(view(), revision=3)])
    assert await pool.fetchval(WAIT) <= 1
    await due(pool)
    await models.retry_awaiting()
    assert await pool.fetchval(WAIT) <= 2


async def test_what_never_comes_does_not_delay_what_is_there(pool: Pool, models: ReadModels) -> None:
    for first in range(1000, 2000, 100):
        dead = [media_changed(view(str(n), ()), post_id=str(n)) for n in range(first, first + 100)]
        await models.write(dead)
    await models.write([media_changed(view())])
    await pool.execute("UPDATE awaiting SET next_attempt = now() - interval '1 hour'")
    await pool.execute("UPDATE awaiting SET next_attempt = now() WHERE pk = 10")
    await backend_post(pool)
    outcome = await models.retry_awaiting()
    assert await written(pool) == [10]
    assert outcome == Outcome(changed=1, awaiting=1000)
    assert await pool.fetchval("SELECT min(attempts) || '-' || max(attempts) FROM awaiting") == "1-1"


async def test_a_change_that_can_not_be_read_does_not_end_the_round(pool: Pool, models: ReadModels) -> None:
    ids = range(10, 20)
    await models.write([media_changed(view(str(n))) for n in ids])
    await backend_post(pool, 1, ids)
    await pool.execute("UPDATE awaiting SET change = '{}' WHERE pk IN (10, 11)")
    await pool.execute("UPDATE awaiting SET next_attempt = now() - (20 - pk) * interval '1 second'")
    assert await models.retry_awaiting(2) == Outcome(changed=8)
    assert await written(pool) == [*range(12, 20)]
    assert [a.pk for a in await models.awaiting("1") if a.refused] == [10, 11]


async def test_what_waits_for_long_is_told_once_with_its_ids(
    pool: Pool, models: ReadModels, caplog: pytest.LogCaptureFixture
) -> None:
    await backend_post(pool, 1, [10])
    await models.write([media_changed(view("11")), media_changed(view("20"), post_id="2")])
    await aged(pool, 590)
    assert await models.retry_awaiting() == Outcome(awaiting=2)
    assert (models.reported, caplog.messages) == (0, [])

    await aged(pool, 610)
    with caplog.at_level(logging.WARNING):
        assert await models.retry_awaiting() == Outcome(awaiting=2)
    assert models.reported == 2
    media, post = sorted(caplog.messages)
    assert f"post 1: row 11 of {MEDIA_SEARCH} awaits the backend's post_media since" in media
    assert f"post 2: row 20 of {MEDIA_SEARCH} awaits the backend's posts since" in post
    assert [a.reported_at is not None for a in await models.awaiting("1")] == [True]

    caplog.clear()
    for _ in range(2):
        await aged(pool, 5000)
        await models.retry_awaiting()
    await models.write([media_changed(view("11", insights(5)), revision=2)])
    assert (models.reported, caplog.messages) == (2, [])
    await backend_media(pool, 1, [11])  # and it may still come
    await aged(pool, 90_000)
    await models.retry_awaiting()
    assert await written(pool) == [11]


async def test_what_comes_at_last_is_not_told(pool: Pool, models: ReadModels, caplog: pytest.LogCaptureFixture) -> None:
    await models.write([media_changed(view())])
    await aged(pool, 5000)
    await backend_post(pool)
    assert await models.retry_awaiting() == Outcome(changed=1)
    assert (models.reported, caplog.messages) == (0, [])
