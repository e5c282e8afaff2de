"""The tables that follow from a media, and all tables together, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from msgspec.structs import replace
from sinks_support import (
    backend_post,
    face,
    insights,
    media_changed,
    post_changed,
    post_deleted,
    view,
    whole,
)

from streamapp.events import Change, Match, Recognition
from streamapp.ids import face_id
from streamapp.insights import FaceDetection
from streamapp.settings import READ_MODELS as TABLES
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.postgres import Outcome, ReadModels
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    FEED,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    READ_MODELS,
    RECOMMENDATIONS,
    USER_SEARCH,
)


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    return ReadModels(pool)


async def fresh_post(pool: Pool, post_id: int = 1, media_ids: Sequence[int] = (10,)) -> None:
    """A post of an hour ago: young enough for feeds."""
    await backend_post(pool, post_id, media_ids)
    await pool.execute("UPDATE posts SET created_at = now() - interval '1 hour' WHERE post_id = $1", post_id)
    await pool.execute("UPDATE post_media SET created_at = now() - interval '1 hour' WHERE post_id = $1", post_id)


async def rows(pool: Pool, *, times: bool = True) -> dict[str, list[dict[str, Any]]]:
    """All rows, comparable; on request without the times of writing and the numbers drawn for them."""
    found = {
        table: [orjson.loads(row[0]) for row in await pool.fetch(f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1")]
        for table in TABLES
    }
    written = {"updated_at", "indexed_at", "id"}
    for table in [] if times else found:
        if table == DETECTED_FACES:
            written |= {"created_at"}
        made = [{name: value for name, value in row.items() if name not in written} for row in found[table]]
        found[table] = sorted(made, key=str)
    return found


async def column(pool: Pool, table: str, name: str) -> list[Any]:
    return [row[0] for row in await pool.fetch(f"SELECT {name} FROM {table} ORDER BY 1")]


async def outbox(pool: Pool) -> dict[str, int]:
    """How many rows of each table wait to be indexed; emptied by being looked at."""
    found = await pool.fetch(
        "WITH gone AS (DELETE FROM es_outbox RETURNING table_name) SELECT table_name, count(*) FROM gone GROUP BY 1"
    )
    return {row[0]: row[1] for row in found}


async def test_a_post_reaches_every_table(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    outcome = await models.write(whole(view(answers=insights(faces=2))))
    assert outcome == Outcome(changed=10)
    assert {table: len(found) for table, found in (await rows(pool)).items() if found} == {
        POST_SEARCH: 1,
        MEDIA_SEARCH: 1,
        MEDIA_INSIGHTS: 1,
        DETECTED_FACES: 2,
        FACE_SEARCH: 2,
        RECOMMENDATIONS: 1,
        FEED: 1,
        USER_SEARCH: 1,
    }
    found = await pool.fetchrow(f"SELECT * FROM {DETECTED_FACES} WHERE face_id = $1", face_id("10", "1", 0))
    assert found is not None
    assert (found["bbox"], found["status"], found["identified_user_id"]) == ([1, 2, 30, 40], "UNIDENTIFIED", None)
    assert found["embedding"].to_numpy().tobytes() == face(100).embedding
    found = await pool.fetchrow(f"SELECT * FROM {FACE_SEARCH} WHERE face_id = $1", face_id("10", "1", 1))
    assert found is not None
    assert found["face_embedding"].to_numpy().tobytes() == face(101).embedding
    assert (found["identification_status"], found["identified_user_id"], found["match_confidence"]) == (
        "UNKNOWN",
        None,
        None,
    )
    # The AI tables have no documents.
    assert await outbox(pool) == {
        POST_SEARCH: 1,
        MEDIA_SEARCH: 1,
        FACE_SEARCH: 2,
        RECOMMENDATIONS: 1,
        FEED: 1,
        USER_SEARCH: 1,
    }


async def test_the_same_and_the_stale_change_nothing(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    batch = whole(view(answers=insights(faces=2)), revision=5)
    await models.write(batch)
    before = await rows(pool)
    await outbox(pool)
    stale = whole(view(answers=insights(2, faces=4)), revision=4, tags=["x"])
    for again in (batch, batch[::-1], stale, stale[:1], stale[1:]):
        assert await models.write(again) == Outcome()
    assert await rows(pool) == before
    assert await outbox(pool) == {}


async def test_a_new_revision_that_says_the_same_changes_no_document(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    await models.write(whole(view(answers=insights(faces=2)), revision=5))
    await outbox(pool)
    await models.write(whole(view(answers=insights(faces=2)), revision=6))
    assert set(await column(pool, FACE_SEARCH, "revision")) == {6}
    assert await outbox(pool) == {}


async def test_a_row_that_is_written_again_touches_no_index(url: str, pool: Pool) -> None:
    """An entry in an index of neighbours costs more than all else of a row."""
    ids = range(100, 150)
    await fresh_post(pool, 1, ids)
    views = [view(str(n), insights(n, faces=1)) for n in ids]
    alone = await open_pool(url, max_size=1)  # the server tells of a connection's updates when that one says so
    models = ReadModels(alone)
    updates = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1"
    for table in (MEDIA_SEARCH, FACE_SEARCH, RECOMMENDATIONS):
        made = []
        for revision in (1, 2):
            await models.write([media_changed(one, revision=revision) for one in views])
            await alone.execute("SELECT pg_stat_force_next_flush()")
            made.append(await alone.fetchrow(updates, table))
        before, after = made
        assert before is not None
        assert after is not None
        assert (after[0] - before[0], after[1] - before[1]) == (50, 50)
        await pool.execute(f"TRUNCATE {', '.join(TABLES)}")
    await alone.close()


async def test_fewer_faces_leave_no_stale_ones(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool, media_ids=[10, 11])
    other = media_changed(view("11", insights(7, faces=1)), revision=9)
    three, one = insights(faces=3), insights(faces=1)
    await models.write([media_changed(view(answers=three), revision=3), other])
    await outbox(pool)
    await models.write([media_changed(view(answers=one), revision=4)])
    kept = sorted([face_id("10", "1", 0), face_id("11", "1", 0)])
    for table in (FACE_SEARCH, DETECTED_FACES):
        assert await column(pool, table, "face_id") == kept
    assert (await outbox(pool))[FACE_SEARCH] == 2
    assert await models.write([media_changed(view(answers=three), revision=3)]) == Outcome()  # a late writer
    assert await column(pool, FACE_SEARCH, "face_id") == kept
    await models.write([media_changed(view(answers=insights()), revision=5)])
    assert await models.write([media_changed(view(answers=one), revision=4)]) == Outcome()
    assert await column(pool, DETECTED_FACES, "face_id") == [face_id("11", "1", 0)]


async def test_another_generation_has_other_faces(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    media = view(answers=insights(faces=2))
    await models.write([media_changed(media, revision=3)])
    await models.write([media_changed(replace(media, generation="2"), revision=4)])
    assert await column(pool, FACE_SEARCH, "face_id") == sorted(face_id("10", "2", n) for n in (0, 1))


async def test_who_a_face_is_follows_what_was_recognised(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    await pool.execute(
        "INSERT INTO users (user_id, username, email, password, role, account_status) "
        "VALUES (8, 'bob', 'b@example.test', '', 'USER', 'ACTIVE'), (9, 'cy', 'c@example.test', '', 'USER', 'DELETED')"
    )
    faces = insights(faces=4)
    matches = (
        Match(face=0, user_id="8", username="old name", confidence=0.9, status="IDENTIFIED"),
        Match(face=1, user_id="7", username="ann", confidence=0.7, status="SUGGESTED"),
        Match(face=2, user_id="9", username="cy", confidence=0.99, status="IDENTIFIED"),
    )
    seen = Recognition(known=1, at=0, matches=matches)
    await models.write(whole(view(answers=faces, recognition=seen), revision=3))
    of_face = "SELECT {} FROM {} ORDER BY array_position($1::text[], face_id::text)"
    ids = [face_id("10", "1", n) for n in range(4)]

    async def faces_of(table: str, *names: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await pool.fetch(of_face.format(", ".join(names), table), ids)]

    nobody = (None, None, None)
    assert await faces_of(DETECTED_FACES, "status", "identified_user_id", "suggested_user_id", "confidence_score") == [
        ("CONFIRMED", 8, None, 0.9),
        ("SUGGESTED", None, 7, 0.7),
        *[("UNIDENTIFIED", *nobody)] * 2,
    ]
    assert await faces_of(
        FACE_SEARCH, "identification_status", "identified_user_id", "identified_username", "match_confidence"
    ) == [("IDENTIFIED", 8, "bob", 0.9), ("SUGGESTED", None, None, 0.7), *[("UNKNOWN", *nobody)] * 2]
    media = await pool.fetchrow(f"SELECT * FROM {MEDIA_SEARCH}")
    assert media is not None
    assert (media["detected_face_count"], media["unidentified_face_count"]) == (4, 3)
    assert media["detected_user_ids"] == media["identified_user_ids"] == [8]
    assert media["detected_usernames"] == media["identified_usernames"] == ["bob"]
    assert media["identified_confidences"] == [0.9]
    assert await column(pool, POST_SEARCH, "all_detected_user_ids") == [[8]]
    assert await column(pool, POST_SEARCH, "all_detected_usernames") == [["bob"]]

    forgotten = Recognition(known=2, at=0)
    await models.write([media_changed(view(answers=faces, recognition=forgotten), revision=4)])
    assert await faces_of(DETECTED_FACES, "status", "identified_user_id") == [("UNIDENTIFIED", None)] * 4
    assert await faces_of(FACE_SEARCH, "identification_status", "suggested_user_id") == [("UNKNOWN", None)] * 4
    assert await column(pool, POST_SEARCH, "all_detected_user_ids") == [[]]


async def test_the_backends_own_faces_stay(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    await models.write([media_changed(view(answers=insights()), revision=3)])
    vector = str([0.5] * 1024)
    await pool.execute(
        f"INSERT INTO {DETECTED_FACES} (media_id, bbox, embedding) VALUES (10, '{{1}}', '{vector}'::vector)"
    )
    await models.write([media_changed(view(answers=insights(faces=1)), revision=4)])
    assert len(await column(pool, DETECTED_FACES, "face_id")) == 2


async def test_what_becomes_unsafe_is_recommended_and_fed_no_longer(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    await models.write([media_changed(view(), revision=3)])
    assert (await column(pool, RECOMMENDATIONS, "media_id"), await column(pool, FEED, "media_id")) == ([10], [10])
    await models.write([media_changed(view(answers=insights(safe=False)), revision=4)])
    assert (await column(pool, RECOMMENDATIONS, "media_id"), await column(pool, FEED, "media_id")) == ([], [])
    assert await column(pool, MEDIA_INSIGHTS, "status") == ["UNSAFE"]
    assert await models.write([media_changed(view(), revision=3)]) == Outcome()  # a late writer
    assert (await column(pool, RECOMMENDATIONS, "media_id"), await column(pool, FEED, "media_id")) == ([], [])


async def test_a_face_without_a_vector_is_counted_and_told(
    pool: Pool, models: ReadModels, caplog: pytest.LogCaptureFixture
) -> None:
    await fresh_post(pool)
    faces = (replace(face(), embedding=None), face(2))
    media = view(answers=(FaceDetection(width=640, height=480, faces=faces),))
    await models.write([media_changed(media)])
    assert models.faceless == 1
    assert f"media 10 of post 1: face without a row: {face_id('10', '1', 0)}: the face vector has 0" in caplog.text
    assert await column(pool, MEDIA_SEARCH, "detected_face_count") == [2]
    assert await column(pool, FACE_SEARCH, "face_id") == [face_id("10", "1", 1)]


async def test_one_statement_per_table_however_many_rows(pool: Pool, models: ReadModels) -> None:
    used = []
    for first, posts in ((100, 2), (200, 40)):
        changes: list[Change] = []
        for post_id in range(first, first + posts):
            media = [view(str(post_id * 10 + n), insights(n, faces=2)) for n in range(3)]
            await fresh_post(pool, post_id, [int(m.media_id) for m in media])
            changes += whole(*media, post_id=str(post_id))
        before = models.statements
        await models.write(changes)
        used.append(models.statements - before)
    # Locks, posts, media; eight tables; what media say of their post, and what was awaited.
    assert used == [14, 14]


async def test_what_is_gone_leaves_every_table(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool, 1, [10, 11])
    await fresh_post(pool, 2, [20])
    faces = insights(faces=1)
    await models.write([*whole(view("10", faces), view("11", faces), revision=3)])
    await models.write(whole(view("20", faces), post_id="2"))
    await outbox(pool)
    left = [replace(media_changed(view("11", faces), revision=5), removed=True)]
    assert await models.write(left) == Outcome(changed=6)
    assert await outbox(pool) == {MEDIA_SEARCH: 1, FACE_SEARCH: 1, RECOMMENDATIONS: 1, FEED: 1}
    for table in (MEDIA_SEARCH, MEDIA_INSIGHTS, DETECTED_FACES, FACE_SEARCH, RECOMMENDATIONS, FEED):
        assert await column(pool, table, "media_id") == [10, 20]
    await models.write([post_deleted(revision=6)])
    assert await models.write(whole(view("10", faces), view("11", faces), revision=4)) == Outcome()
    for table in (MEDIA_SEARCH, MEDIA_INSIGHTS, DETECTED_FACES, FACE_SEARCH, RECOMMENDATIONS, FEED):
        assert await column(pool, table, "media_id") == [20]
    assert await column(pool, POST_SEARCH, "post_id") == [2]


async def test_all_rows_of_a_media_wait_for_the_backends_and_others_do_not(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool, 1, [10])
    faces = insights(faces=1)
    outcome = await models.write([media_changed(view("10", faces)), media_changed(view("20", faces), post_id="2")])
    assert outcome.awaiting == 1
    assert [(a.pk, a.awaited) for a in await models.awaiting("2")] == [(20, "posts")]
    assert await column(pool, FACE_SEARCH, "media_id") == [10]
    await fresh_post(pool, 2, [20])
    await pool.execute("UPDATE awaiting SET next_attempt = now()")
    await models.retry_awaiting()
    for table in (MEDIA_SEARCH, MEDIA_INSIGHTS, DETECTED_FACES, FACE_SEARCH, RECOMMENDATIONS, FEED):
        assert await column(pool, table, "media_id") == [10, 20]
    assert await models.awaiting("2") == []


async def test_what_refers_to_a_row_of_the_backends_waits_for_it(pool: Pool, models: ReadModels) -> None:
    """A backend's own tables may refer to others of its own."""
    await fresh_post(pool)
    await pool.execute(
        "CREATE TABLE profiles (user_id BIGINT PRIMARY KEY);"
        f"ALTER TABLE {MEDIA_SEARCH} ADD CONSTRAINT known FOREIGN KEY (uploader_id) REFERENCES profiles"
    )
    try:
        change = media_changed(view(answers=insights(faces=1)))
        assert await models.write([change]) == Outcome(awaiting=1)
        assert [(a.pk, a.awaited) for a in await models.awaiting("1")] == [(10, "profiles")]
        assert await column(pool, FACE_SEARCH, "media_id") == []
        await pool.execute("INSERT INTO profiles VALUES (7)")
        await pool.execute("UPDATE awaiting SET next_attempt = now()")
        assert (await models.retry_awaiting()).changed > 0
        assert await column(pool, DETECTED_FACES, "media_id") == [10]
    finally:
        await pool.execute("DROP TABLE profiles CASCADE")


@pytest.mark.parametrize("table", sorted(set(TABLES) - {MEDIA_INSIGHTS}))  # its faces refer to it
async def test_a_table_of_the_backends_is_left_alone(table: str, pool: Pool) -> None:
    await fresh_post(pool)
    models = ReadModels(pool, tables=set(TABLES) - {table})
    outcome = await models.write(whole(view(answers=insights(faces=1))))
    await models.write([post_deleted(revision=2)])
    assert (outcome.awaiting, outcome.refused) == (0, [])
    assert await column(pool, table, "revision") == []


async def test_the_backends_counts_outlive_further_changes(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    await models.write(whole(view(answers=insights(1)[:2]), revision=3))
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET reaction_count = 5")
    await pool.execute(f"UPDATE {POST_SEARCH} SET total_reactions = 6")
    await pool.execute(f"UPDATE {USER_SEARCH} SET total_followers = 7")
    await models.write(whole(view(), revision=4))
    assert await column(pool, MEDIA_SEARCH, "reaction_count") == [5]
    assert await column(pool, POST_SEARCH, "total_reactions") == [6]
    assert await column(pool, USER_SEARCH, "total_followers") == [7]


async def test_a_media_that_left_one_post_for_another_keeps_all_rows_of_the_other(
    pool: Pool, models: ReadModels
) -> None:
    await fresh_post(pool)
    await models.write([media_changed(view(answers=insights(faces=2)), revision=40)])
    await fresh_post(pool, 2, [])
    await pool.execute("UPDATE post_media SET post_id = 2")
    await models.write([replace(media_changed(view("10"), revision=41), removed=True)])
    of_media = [table for table in TABLES if table in (*READ_MODELS, FEED) and table != POST_SEARCH]
    assert not any([(await rows(pool))[table] for table in of_media])

    moved = media_changed(view(answers=insights(faces=2)), post_id="2", revision=3)
    await models.write([moved])
    there = await rows(pool)
    assert {table: len(there[table]) for table in of_media} == dict.fromkeys(of_media, 1) | dict.fromkeys(
        (DETECTED_FACES, FACE_SEARCH), 2
    )
    await models.write([replace(media_changed(view("10"), revision=50), removed=True)])  # of the first post, late
    assert await rows(pool) == there
    await models.write([replace(media_changed(view("10"), post_id="2", revision=2), removed=True)])  # before it came
    assert await rows(pool) == there
    await models.write([replace(media_changed(view("10"), post_id="2", revision=4), removed=True)])
    assert not any([(await rows(pool))[table] for table in of_media])


async def test_late_writers_do_not_bring_anything_back(pool: Pool, models: ReadModels) -> None:
    await fresh_post(pool)
    late = ReadModels(pool)
    changes = [whole(view(answers=insights(n, faces=n)), revision=n) for n in range(2, 8)]
    await asyncio.gather(*(late.write(change) for change in changes), models.write([post_deleted(revision=9)]))
    assert {table for table, found in (await rows(pool)).items() if found} == {USER_SEARCH}


def history(random_: random.Random) -> list[Change]:
    """Changes of two posts as a fold gives them: revisions that grow, each a function of its revision."""
    changes: list[Change] = []
    for post_id in ("1", "2"):
        media = {f"{post_id}{n}": view(f"{post_id}{n}", ()) for n in range(3)}
        deleted = random_.randint(1, 14)
        for revision in range(1, 9):
            media_id = random_.choice(sorted(media))
            answers = insights(revision, safe=random_.random() < 0.7, faces=random_.randint(0, 3))
            some = random_.sample(answers, random_.randint(0, 6))
            media[media_id] = view(media_id, some, generation=random_.choice(["1", "2"]))
            tags = [f"tag{revision}", "people"]
            changes.append(media_changed(media[media_id], post_id=post_id, revision=revision))
            if random_.random() < 0.5:
                scenes = [f"scene{revision}"]
                changes.append(
                    post_changed(*media.values(), post_id=post_id, revision=revision, tags=tags, scenes=scenes)
                )
            if random_.random() < 0.2:
                left = random_.choice(sorted(media.keys() - {media_id}))
                changes.append(replace(media_changed(media[left], post_id=post_id, revision=revision), removed=True))
            if revision == deleted:
                changes.append(post_deleted(post_id, revision))
    return changes


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_and_repetition_ends_in_the_same_rows(seed: int, pool: Pool, models: ReadModels) -> None:
    random_ = random.Random(seed)
    changes = history(random_)
    for post_id in (1, 2):
        await fresh_post(pool, post_id, [post_id * 10 + n for n in range(3)])
    ends = []
    for shuffled in (False, True, True):
        await pool.execute(f"TRUNCATE {', '.join(TABLES)}, awaiting, deleted_posts, deleted_media")
        order = [*changes, *random_.sample(changes, 5)] if shuffled else changes
        if shuffled:
            random_.shuffle(order)
        while order:
            size = random_.randint(1, 7)
            assert not (await models.write(order[:size])).refused
            order = order[size:]
        # What stands in a feed follows what its reader posted, which may be known later: the sweep finds it.
        await models.tend()
        ends.append(await rows(pool, times=False))
    assert ends[0] == ends[1] == ends[2]
