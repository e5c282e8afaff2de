"""Known faces in PostgreSQL: matching, enrolling, and which stored faces a change concerns."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from faces_support import Told, axis, known_faces, picture, towards, user
from sinks_support import backend_post, face, media_changed, view

from streamapp.errors import Unavailable
from streamapp.events import Match, Recognition
from streamapp.faces.enrolment import EnrolmentRefused, Outdated
from streamapp.faces.store import KnownFaces, as_number
from streamapp.insights import FaceDetection
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.readmodels import KNOWN_FACES, USER_FACES, USER_SEARCH
from streamapp.sinks.statements import texts

MEDIA = ("1", "10")


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    """Post 1 of user 7 with media 10; users 8 and 9."""
    await backend_post(pool)
    await user(pool, 8, "bob")
    await user(pool, 9, "cy")
    return ReadModels(pool)


@pytest.fixture
async def store(pool: Pool, models: ReadModels) -> KnownFaces:
    return known_faces(pool, models)


async def stored(models: ReadModels, *vectors: bytes, known: int | None = 1, revision: int = 1) -> None:
    """Media 10 has these faces; they were compared with that version of the known faces."""
    faces = tuple(face(embedding=vector) for vector in vectors)
    recognition = None if known is None else Recognition(known=known, at=0)
    media = view(answers=[FaceDetection(width=1, height=1, faces=faces)], recognition=recognition)
    await models.write([media_changed(media, revision=revision)])


@pytest.mark.parametrize(
    ("cosine", "status"),
    [
        (0.6999, None),
        (0.69999, None),
        (0.70, "SUGGESTED"),
        (0.8499, "SUGGESTED"),
        (0.85, "IDENTIFIED"),
        (1.0, "IDENTIFIED"),
        (-1.0, None),
    ],
)
async def test_the_thresholds_are_exact(cosine: float, status: str | None, store: KnownFaces) -> None:
    await store.enrol(8, picture(axis(0).tobytes()))
    _, matches = await store.match([towards(cosine)])
    if status is None:
        assert matches == ()
    else:
        assert matches == (Match(face=0, user_id="8", username="bob", confidence=cosine, status=status),)  # type: ignore[arg-type]


async def test_the_thresholds_are_exact_for_dense_vectors(store: KnownFaces) -> None:
    """Of many numbers none of which is a round one, float32 sums are off by more than of two."""
    generator = np.random.default_rng(3)
    one = generator.normal(size=1024)
    one /= np.linalg.norm(one)
    other = generator.normal(size=1024)
    other -= (other @ one) * one
    other /= np.linalg.norm(other)
    await store.enrol(8, picture(one.astype("<f4").tobytes()))
    for cosine, status in ((0.6999, None), (0.70, "SUGGESTED"), (0.8499, "SUGGESTED"), (0.85, "IDENTIFIED")):
        face = (cosine * one + np.sqrt(1 - cosine**2) * other) * 3.7  # of any length
        _, matches = await store.match([face.astype("<f4").tobytes()])
        assert [match.status for match in matches] == ([] if status is None else [status])


async def test_the_nearest_of_several_and_of_equals_the_first_user(store: KnownFaces) -> None:
    await store.enrol(9, picture(axis(0).tobytes()))
    await store.enrol(8, picture(axis(0).tobytes()))
    await store.enrol(7, picture(towards(0.9)))
    _, matches = await store.match([towards(0.9), axis(0).tobytes(), axis(5).tobytes(), None])
    assert [(match.face, match.user_id) for match in matches] == [(0, "7"), (1, "8")]


async def test_many_faces_are_one_round_trip(store: KnownFaces) -> None:
    await store.enrol(8, picture(axis(0).tobytes()))
    before = store._send.sent
    _, matches = await store.match([axis(n % 3).tobytes() for n in range(60)])
    assert store._send.sent - before == 1
    assert [match.face for match in matches] == list(range(0, 60, 3))


@pytest.mark.parametrize(
    "bad",
    [b"", axis(0).tobytes()[:-4], bytes(4096), np.full(1024, np.nan, "<f4").tobytes(), b"\x00\x00\x80\x7f" * 1024],
)
async def test_what_is_no_vector_is_refused(bad: bytes, store: KnownFaces) -> None:
    with pytest.raises(EnrolmentRefused, match="vector"):
        await store.enrol(8, picture(bad))
    assert await store.enrolled(8) is None
    await store.enrol(8, picture(axis(0).tobytes()))
    _, matches = await store.match([bad, axis(0).tobytes()])
    assert [match.face for match in matches] == [1]
    assert store.unusable == 1


async def test_nobody_was_ever_known(store: KnownFaces) -> None:
    assert await store.match([axis(0).tobytes()]) == (1, ())
    assert await store.match([]) == (1, ())


async def test_the_newest_picture_counts_in_any_order(pool: Pool, store: KnownFaces) -> None:
    await store.enrol(8, picture(axis(0).tobytes(), clock="5-1"))
    await store.enrol(8, picture(axis(1).tobytes(), clock="10-0"))
    with pytest.raises(Outdated, match="newer picture"):
        await store.enrol(8, picture(axis(2).tobytes(), clock="9-7"))
    await store.enrol(8, picture(axis(1).tobytes(), clock="10-0"))  # again, as after a crash
    for table, column in ((USER_FACES, "embedding"), (KNOWN_FACES, "face_embedding")):
        row = await pool.fetchrow(f"SELECT {column} AS vector, revision FROM {table}")
        assert row is not None
        assert row["vector"].to_numpy().tolist() == axis(1).tolist()
        assert row["revision"] == as_number("10-0")
    assert await pool.fetchval(f"SELECT face_enrolled FROM {USER_SEARCH} WHERE user_id = 8") is True


async def test_a_user_whom_the_backend_does_not_have_yet(pool: Pool, models: ReadModels, store: KnownFaces) -> None:
    await store.enrol(30, picture(axis(0).tobytes()))
    assert (await store.match([axis(0).tobytes()]))[1] == ()
    assert (await Told(pool).pending())["awaiting"] == 1
    await user(pool, 30, "late")
    assert await models.tend() > 0
    assert [match.username for match in (await store.match([axis(0).tobytes()]))[1]] == ["late"]
    assert (await Told(pool).pending())["awaiting"] == 0


async def test_the_same_picture_again_changes_nothing(pool: Pool, store: KnownFaces) -> None:
    first = picture(axis(0).tobytes(), clock="5-0")
    await store.enrol(8, first)
    before = await pool.fetchval(f"SELECT array_agg(xmin::text) FROM {KNOWN_FACES}")
    await store.repeat(8, "9-0", first)
    assert await pool.fetchval(f"SELECT array_agg(xmin::text) FROM {KNOWN_FACES}") == before
    with pytest.raises(Outdated, match="newer picture"):
        await store.enrol(8, picture(axis(2).tobytes(), clock="8-0", sha256=b"2"))
    await store.enrol(8, picture(axis(2).tobytes(), clock="10-0", sha256=b"2"))
    with pytest.raises(Outdated, match="newer picture"):
        await store.repeat(8, "9-5", first)


async def test_back_to_the_picture_of_before_while_another_is_enrolled(pool: Pool, store: KnownFaces) -> None:
    """It was read while the first one was the user's still."""
    first = picture(axis(0).tobytes(), clock="5-0")
    await store.enrol(8, first)
    await store.enrol(8, picture(axis(2).tobytes(), clock="6-0", sha256=b"2"))
    await store.repeat(8, "7-0", first)
    known = await store.enrolled(8)
    assert known is not None
    assert (known.clock, known.sha256) == ("7-0", b"1")
    vector = await pool.fetchval(f"SELECT face_embedding FROM {KNOWN_FACES}")
    assert vector.to_numpy().tolist() == axis(0).tolist()


@pytest.mark.parametrize("table", [USER_FACES, KNOWN_FACES])
async def test_rows_that_were_lost_come_back_with_the_same_picture(table: str, pool: Pool, store: KnownFaces) -> None:
    first = picture(axis(0).tobytes(), clock="5-0")
    await store.enrol(8, first)
    await pool.execute(f"TRUNCATE {table}")
    await store.repeat(8, "6-0", first)
    assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 1
    assert [match.user_id for match in (await store.match([axis(0).tobytes()]))[1]] == ["8"]


async def test_the_same_request_looked_at_by_another_model_replaces_the_face(pool: Pool, store: KnownFaces) -> None:
    await store.enrol(8, picture(axis(0).tobytes(), clock="5-0"))
    await store.enrol(8, picture(axis(3).tobytes(), clock="5-0", model="other"))
    for table, column in ((USER_FACES, "embedding"), (KNOWN_FACES, "face_embedding")):
        vector = await pool.fetchval(f"SELECT {column} FROM {table}")
        assert vector.to_numpy().tolist() == axis(3).tolist()


async def test_a_deleted_user_is_nobody_before_the_sweep_comes(pool: Pool, store: KnownFaces) -> None:
    await store.enrol(8, picture(axis(0).tobytes()))
    await pool.execute("UPDATE users SET account_status = 'DELETED' WHERE user_id = 8")
    assert (await store.match([axis(0).tobytes()]))[1] == ()


async def test_a_backend_that_holds_the_lock_of_versions_is_waited_for_not_long(
    pool: Pool, store: KnownFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamapp.sinks.known_faces.PATIENCE", "100ms")
    async with pool.acquire() as backend, backend.transaction():
        await backend.execute(
            f"INSERT INTO {KNOWN_FACES} (user_id, username, face_embedding) VALUES (9, 'n', $1::text::vector)",
            str(axis(1).tolist()),
        )
        with pytest.raises(Unavailable, match="lock timeout"):
            await store.enrol(8, picture(axis(0).tobytes()))
    await store.enrol(8, picture(axis(0).tobytes()))
    assert len((await store.match([axis(0).tobytes()]))[1]) == 1


async def test_the_version_grows_with_what_is_in_use(pool: Pool, store: KnownFaces) -> None:
    async def version() -> int:
        return (await store.match([]))[0]

    versions = [await version()]
    for statement in (
        None,
        f"UPDATE {KNOWN_FACES} SET is_active = false",
        f"UPDATE {KNOWN_FACES} SET is_active = true",
        f"TRUNCATE {KNOWN_FACES}",
    ):
        if statement is None:
            await store.enrol(8, picture(axis(0).tobytes()))
        else:
            await pool.execute(statement)
        versions.append(await version())
    assert versions == sorted(set(versions))
    for statement in (
        f"INSERT INTO {KNOWN_FACES} (user_id, username, face_embedding, is_active) "
        f"VALUES (9, 'n', '{axis(0).tolist()}', false)",
        f"UPDATE {KNOWN_FACES} SET username = 'other', face_embedding = '{axis(1).tolist()}'",
        f"DELETE FROM {KNOWN_FACES}",
    ):
        await pool.execute(statement)
    assert await version() == versions[-1]


async def test_versions_are_in_the_order_of_commits(pool: Pool, store: KnownFaces) -> None:
    """One that is drawn earlier and committed later would hide a change from who has seen the other."""
    insert = f"INSERT INTO {KNOWN_FACES} (user_id, username, face_embedding) VALUES ($1, 'n', $2::text::vector)"
    async with pool.acquire() as first, first.transaction():
        await first.execute(insert, 8, str(axis(0).tolist()))
        second = asyncio.create_task(pool.execute(insert, 9, str(axis(1).tolist())))
        await asyncio.sleep(0.1)
        assert not second.done()
    await second
    rows = dict(await pool.fetch("SELECT user_id, version FROM known_face_changes"))
    assert rows[8] < rows[9]


async def test_enrolling_concerns_the_stored_faces_near_it(pool: Pool, models: ReadModels, store: KnownFaces) -> None:
    told = Told(pool)
    await stored(models, axis(5).tobytes(), towards(0.70))
    await store.enrol(8, picture(axis(0).tobytes()))
    assert await told.all() == {MEDIA}
    assert await told.all() == set()
    await stored(models, axis(5).tobytes(), towards(0.6999), known=2**60, revision=2)
    await store.enrol(9, picture(axis(0).tobytes()))
    assert await told.all() == set()


async def test_a_change_concerns_the_faces_of_the_user(pool: Pool, models: ReadModels, store: KnownFaces) -> None:
    told = Told(pool)
    await store.enrol(8, picture(axis(0).tobytes()))
    for cosine in (0.9, 0.75):  # identified, suggested
        version, matches = await store.match([towards(cosine)])
        faces = (face(embedding=towards(cosine)),)
        media = view(
            answers=[FaceDetection(width=1, height=1, faces=faces)],
            recognition=Recognition(known=version, at=0, matches=matches),
        )
        await models.write([media_changed(media, revision=version)])
        await told.all()
        await pool.execute(f"UPDATE {KNOWN_FACES} SET is_active = false")
        assert await told.all() == {MEDIA}
        await pool.execute(f"UPDATE {KNOWN_FACES} SET is_active = true")
        assert await told.all() == {MEDIA}


async def test_faces_that_are_stored_after_the_search_are_compared_again(
    pool: Pool, models: ReadModels, store: KnownFaces
) -> None:
    """The write skew: compared before the enrolment, stored after the enrolment has looked."""
    told = Told(pool)
    version, matches = await store.match([axis(0).tobytes()])
    assert matches == ()
    await store.enrol(8, picture(axis(0).tobytes()))
    assert await told.all() == set()
    await stored(models, axis(0).tobytes(), known=version)
    assert await told.all() == {MEDIA}
    version, _ = await store.match([axis(0).tobytes()])
    await stored(models, axis(0).tobytes(), known=version, revision=2)
    assert await told.all() == set()
    await stored(models, axis(0).tobytes(), known=None, revision=3)  # its comparison is still to come
    assert await told.all() == set()


async def test_changes_that_do_not_concern_a_media_leave_it_alone(
    pool: Pool, models: ReadModels, store: KnownFaces
) -> None:
    """While many are enrolled, media must not go round for every one of them."""
    told = Told(pool)
    await store.enrol(8, picture(axis(0).tobytes()))
    version, matches = await store.match([towards(0.9)])
    await told.all()
    await store.enrol(9, picture(axis(5).tobytes()))
    await told.all()
    faces = (face(embedding=towards(0.9)),)
    media = view(
        answers=[FaceDetection(width=1, height=1, faces=faces)],
        recognition=Recognition(known=version, at=0, matches=matches),
    )
    await models.write([media_changed(media)])
    assert await told.all() == set()
    await pool.execute(f"UPDATE {KNOWN_FACES} SET is_active = false WHERE user_id = 8")
    await pool.execute("UPDATE known_face_changes SET pending = false")
    await models.write([media_changed(media)])
    assert await told.all() == {MEDIA}


async def test_a_media_that_waited_is_compared_again_though_the_process_ends_after_it_was_written(
    pool: Pool, models: ReadModels, store: KnownFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = (face(embedding=axis(0).tobytes()),)
    media = view("20", answers=[FaceDetection(width=1, height=1, faces=faces)], recognition=Recognition(known=1, at=0))
    await models.write([media_changed(media, post_id="2")])
    await store.enrol(8, picture(axis(0).tobytes()))
    await Told(pool).all()
    await backend_post(pool, 2, [20])
    await pool.execute("UPDATE awaiting SET next_attempt = now()")

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(models, "_catch_up", killed)
    with pytest.raises(asyncio.CancelledError):
        await models.retry_awaiting()
    assert await pool.fetchval("SELECT count(*) FROM awaiting") == 0
    assert await Told(pool).all() == {("2", "20")}


async def test_a_media_that_waited_for_the_backend_is_compared_again_too(
    pool: Pool, models: ReadModels, store: KnownFaces
) -> None:
    told = Told(pool)
    faces = (face(embedding=axis(0).tobytes()),)
    media = view("20", answers=[FaceDetection(width=1, height=1, faces=faces)], recognition=Recognition(known=1, at=0))
    await models.write([media_changed(media, post_id="2")])
    await store.enrol(8, picture(axis(0).tobytes()))
    assert await told.all() == set()
    await backend_post(pool, 2, [20])
    await pool.execute("UPDATE awaiting SET next_attempt = now()")
    await models.retry_awaiting()
    assert await told.all() == {("2", "20")}


async def test_more_faces_than_one_page(
    pool: Pool, models: ReadModels, store: KnownFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamapp.faces.corrections.NEAREST", 3)
    monkeypatch.setattr("streamapp.faces.corrections.AT_ONCE", 7)
    media_ids = list(range(100, 140))
    await backend_post(pool, 5, media_ids)
    faces = (face(embedding=towards(0.9)),)
    answers = [FaceDetection(width=1, height=1, faces=faces)]
    await models.write([media_changed(view(str(m), answers=answers), post_id="5") for m in media_ids])
    await stored(models, axis(9).tobytes())
    await store.enrol(8, picture(axis(0).tobytes()))
    assert await Told(pool).all() == {("5", str(m)) for m in media_ids}


async def test_what_was_claimed_and_not_done_is_done_by_others(
    pool: Pool, models: ReadModels, store: KnownFaces
) -> None:
    await stored(models, axis(0).tobytes())
    await store.enrol(8, picture(axis(0).tobytes()))

    class Dying(Told):
        async def _note(self, facts: object) -> None:
            raise Unavailable("Kafka is away")

    with pytest.raises(Unavailable):
        await Dying(pool).step()
    assert (await Told(pool).pending())["media"] == 1
    assert await Told(pool).all() == set()  # leased
    await pool.execute("UPDATE face_rechecks SET leased_until = now()")
    assert await Told(pool).all() == {MEDIA}


async def test_accounts_out_of_use_and_back(pool: Pool, models: ReadModels, store: KnownFaces) -> None:
    await store.enrol(8, picture(axis(0).tobytes()))

    async def names() -> list[str]:
        await models.tend()
        return [match.username for match in (await store.match([axis(0).tobytes()]))[1]]

    assert await names() == ["bob"]
    await pool.execute("UPDATE users SET username = 'rob' WHERE user_id = 8")
    assert await names() == ["rob"]
    await pool.execute("UPDATE users SET account_status = 'SUSPENDED' WHERE user_id = 8")
    assert await names() == []
    await pool.execute("UPDATE users SET account_status = 'ACTIVE' WHERE user_id = 8")
    assert await names() == ["rob"]
    await pool.execute(f"UPDATE {USER_FACES} SET is_active = false")
    assert await names() == []
    await pool.execute(f"UPDATE {USER_FACES} SET is_active = true")
    assert await names() == ["rob"]
    await pool.execute(f"UPDATE {KNOWN_FACES} SET is_active = false")  # whoever did that
    assert await names() == []
    await store.enrol(8, picture(axis(0).tobytes(), clock="2-0"))
    assert await names() == ["rob"]


async def test_down(store: KnownFaces, models: ReadModels) -> None:
    pool = await open_pool("postgresql://nobody@127.0.0.1:1/none")
    async with pool:
        away = known_faces(pool, models)
        for call in (
            away.match([]),
            away.enrolled(8),
            away.enrol(8, picture(axis(0).tobytes())),
            Told(pool).step(),
            Told(pool).pending(),
        ):
            with pytest.raises(Unavailable):
                await call


async def test_both_searches_use_their_index(pool: Pool, models: ReadModels, store: KnownFaces) -> None:
    """Also of a table so small that the planner would read it whole, which costs more than it thinks."""
    await stored(models, axis(0).tobytes())
    await store.enrol(8, picture(axis(0).tobytes()))
    used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'read_model_known_faces_active'"
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        before = await connection.fetchval(used)
        await connection.fetch(texts()["match"], [str(axis(0).tolist())] * 3, 5)
        await connection.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        assert await connection.fetchval(used) == before + 3
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        await connection.execute(f"PREPARE recheck AS {texts()['recheck_user']}")
        plan = "\n".join(row[0] for row in await connection.fetch("EXPLAIN EXECUTE recheck(8, 0.3, 1000, 1)"))
        assert "Index Scan using read_model_face_search_hnsw" in plan
        await connection.execute("DEALLOCATE ALL")
