"""Forgetting somebody's face on a real PostgreSQL and Elasticsearch; the state is told by facts, and imitated here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from documents_support import Dead, own_indices, running
from elasticsearch import AsyncElasticsearch
from faces_support import Told, axis, known_faces, picture, towards, user
from sinks_support import backend_media, backend_post, face, media_changed, post_changed, until, view

from streamapp.errors import Unavailable
from streamapp.events import Match, MediaChanged, Recognition, encode
from streamapp.faces.enrolment import Outdated
from streamapp.faces.forget import NOT_OURS, NOT_SEARCHED
from streamapp.faces.forgetting import Forgetting
from streamapp.faces.store import KnownFaces
from streamapp.insights import FaceDetection
from streamapp.settings import READ_MODELS as TABLES
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, NEXT, connect, create
from streamapp.sinks.people import said
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.readmodels import DETECTED_FACES, FACE_SEARCH, KNOWN_FACES, MEDIA_SEARCH, POST_SEARCH, USER_FACES

BOB = 8
PICTURE = picture(axis(0).tobytes())
TABLES_OF_FACES = (USER_FACES, KNOWN_FACES, POST_SEARCH, MEDIA_SEARCH, FACE_SEARCH, DETECTED_FACES)


class Media(list[tuple[str, str]]):
    """What the state says, or that it is unknown."""

    unknown = False

    async def __call__(self, user_id: int) -> Sequence[tuple[str, str]]:
        if self.unknown:
            raise Unavailable("no worker answers")
        return self if user_id == BOB else []


@pytest.fixture
async def models(pool: Pool) -> ReadModels:
    """Posts 1 and 3 of user 7 with media 10 and 30; user 8 is bob."""
    await backend_post(pool)
    await backend_post(pool, 3, [30])
    await user(pool, BOB, "bob")
    return ReadModels(pool)


@pytest.fixture
async def store(pool: Pool, models: ReadModels) -> KnownFaces:
    return known_faces(pool, models)


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client) as prefix:
        yield prefix


@pytest.fixture
def state() -> Media:
    return Media()


@pytest.fixture
def forgetting(pool: Pool, client: AsyncElasticsearch, models: ReadModels, state: Media, prefix: str) -> Forgetting:
    return Forgetting(pool, client, models=models, state=state, prefix=prefix)


async def seen(store: KnownFaces, media_id: str, cosine: float, *, post_id: str, revision: int = 1) -> MediaChanged:
    """A media with one face, compared with the known ones of now."""
    known, matches = await store.match([towards(cosine)])
    answers = [FaceDetection(width=1, height=1, faces=(face(embedding=towards(cosine)),))]
    media = view(media_id, answers=answers, recognition=Recognition(known=known, at=0, matches=matches))
    return media_changed(media, post_id=post_id, revision=revision)


async def everywhere(models: ReadModels, store: KnownFaces) -> list[MediaChanged]:
    """Bob is enrolled, identified on media 10, suggested on 30, and on 20 whose post the backend does not have yet."""
    await store.enrol(BOB, PICTURE)
    changes = [
        await seen(store, media_id, cosine, post_id=post_id)
        for media_id, cosine, post_id in (("10", 0.9, "1"), ("30", 0.75, "3"), ("20", 0.9, "2"))
    ]
    await models.write([*changes, post_changed(changes[0].media)])
    await Told(models.pool).all()
    return changes


async def places(forgetting: Forgetting) -> set[str]:
    return {left.place for left in await forgetting.left(BOB)}


async def test_everything_of_a_face_goes_at_once(
    pool: Pool, models: ReadModels, store: KnownFaces, forgetting: Forgetting
) -> None:
    await everywhere(models, store)
    assert await places(forgetting) == {"enrolments", "read_model_user_search", "awaiting", *TABLES_OF_FACES}
    removed = await forgetting.forget(BOB)
    assert removed.rows == {
        "enrolments": 1,
        "awaiting": 1,
        USER_FACES: 1,
        KNOWN_FACES: 1,
        POST_SEARCH: 1,
        MEDIA_SEARCH: 1,
        FACE_SEARCH: 2,
        DETECTED_FACES: 2,
        "read_model_user_search": 1,
    }
    assert removed.rechecked == 3
    assert await places(forgetting) == {"known_face_changes", "face_rechecks"}
    assert await Told(pool).all() == {("1", "10"), ("3", "30"), ("2", "20")}
    assert await forgetting.left(BOB) == []
    again = await forgetting.forget(BOB)
    assert not any(again.rows.values())
    assert again.rechecked == 0
    assert await forgetting.left(BOB) == []


async def test_only_a_newer_picture_enrols_again(store: KnownFaces, forgetting: Forgetting, pool: Pool) -> None:
    await store.enrol(BOB, PICTURE)
    await forgetting.forget(BOB)
    for clock in ("1-0", "5-0"):
        with pytest.raises(Outdated, match="forgotten"):
            await store.enrol(BOB, picture(axis(0).tobytes(), clock=clock))
    with pytest.raises(Outdated, match="forgotten"):
        await store.repeat(BOB, "6-0", PICTURE)
    assert (await forgetting.known(BOB))["enrolment"] is None
    assert await pool.fetchval("SELECT clock FROM enrolments WHERE user_id = $1", BOB) > 0
    await Told(pool).all()
    assert await forgetting.left(BOB) == []
    await store.enrol(BOB, picture(axis(1).tobytes(), clock="8000000000000-0"))
    _, matches = await store.match([axis(1).tobytes()])
    assert [match.user_id for match in matches] == [str(BOB)]


async def test_who_was_never_enrolled_is_not_enrolled_by_an_older_picture(
    store: KnownFaces, forgetting: Forgetting
) -> None:
    await forgetting.forget(BOB)
    with pytest.raises(Outdated, match="forgotten"):
        await store.enrol(BOB, PICTURE)
    assert await forgetting.left(BOB) == []


async def test_what_was_recognised_before_and_is_written_later_names_nobody(
    pool: Pool, models: ReadModels, store: KnownFaces, forgetting: Forgetting
) -> None:
    changes = await everywhere(models, store)
    await forgetting.forget(BOB)
    await Told(pool).all()
    await backend_post(pool, 2, [20])
    await pool.execute("UPDATE awaiting SET next_attempt = now()")
    await models.retry_awaiting()
    assert await pool.fetchval(f"SELECT count(*) FROM {MEDIA_SEARCH}") == 3
    for revision in (1, 2):  # a replay, and a change that the state made before it learned of it
        await models.write(
            [media_changed(change.media, post_id=change.post_id, revision=revision) for change in changes]
        )
    assert await places(forgetting) == {"face_rechecks"}
    assert await Told(pool).all() == {("1", "10"), ("3", "30"), ("2", "20")}
    assert await forgetting.left(BOB) == []


async def test_what_the_backend_enrols_itself_is_its_own_wish(
    pool: Pool, models: ReadModels, store: KnownFaces, forgetting: Forgetting
) -> None:
    await everywhere(models, store)
    await forgetting.forget(BOB)
    await pool.execute(
        f"INSERT INTO {KNOWN_FACES} (user_id, username, face_embedding) VALUES ($1, 'bob', $2::text::vector)",
        BOB,
        str(axis(0).tolist()),
    )
    await models.write([await seen(store, "10", 0.9, post_id="1", revision=2)])
    assert await pool.fetchval(f"SELECT detected_user_ids FROM {MEDIA_SEARCH} WHERE media_id = 10") == [BOB]


async def test_tables_that_are_not_ours_are_left_and_told(
    pool: Pool, client: AsyncElasticsearch, models: ReadModels, store: KnownFaces, state: Media, prefix: str
) -> None:
    await everywhere(models, store)
    ours = ReadModels(pool, tables=set(TABLES) - {KNOWN_FACES})
    forgetting = Forgetting(pool, client, models=ours, state=state, prefix=prefix)
    assert KNOWN_FACES not in (await forgetting.forget(BOB)).rows
    await Told(pool).all()
    (left, *_) = await forgetting.left(BOB)
    assert (left.place, left.count, left.examples, left.note) == (KNOWN_FACES, 1, ("user 8",), NOT_OURS)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    "deletion", ["DELETE FROM users WHERE user_id = 8", "UPDATE users SET account_status = 'DELETED' WHERE user_id = 8"]
)
async def test_who_is_deleted_leaves_the_state_too(
    deletion: str, at_once: bool, pool: Pool, models: ReadModels, store: KnownFaces, forgetting: Forgetting
) -> None:
    await everywhere(models, store)
    await backend_post(pool, 4, [40])
    await pool.execute("UPDATE posts SET user_id = 8 WHERE post_id = 4")
    await models.write([await seen(store, "40", 0.5, post_id="4")])
    await pool.execute(deletion)
    if at_once:
        assert sum((await forgetting.forget(BOB)).rows.values()) > 0
    else:
        await models.delete_users([BOB])
    assert await Told(pool).all() == {("1", "10"), ("3", "30"), ("2", "20")}
    assert await forgetting.left(BOB) == []
    with pytest.raises(Outdated, match="forgotten"):
        await store.enrol(BOB, PICTURE)


async def test_who_writes_a_face_and_who_forgets_it_take_turns(
    pool: Pool, models: ReadModels, store: KnownFaces, forgetting: Forgetting
) -> None:
    """The one that has read the enrolment must not write it after the other has deleted what it saw."""
    write, meanwhile = models.sweep.faces.write, list[asyncio.Task[object]]()

    async def slow(on: object, user_ids: Sequence[int]) -> int:
        changed = await write(on, user_ids)  # type: ignore[arg-type]
        meanwhile.append(asyncio.create_task(forgetting.forget(BOB)))
        await asyncio.sleep(0.3)
        assert not meanwhile[0].done()
        return changed

    models.sweep.faces.write = slow  # type: ignore[method-assign]
    await store.enrol(BOB, PICTURE)
    await asyncio.gather(*meanwhile)
    await Told(pool).all()
    assert await forgetting.left(BOB) == []


async def test_what_only_the_state_says_is_compared_again(pool: Pool, forgetting: Forgetting, state: Media) -> None:
    state += [("5", "50"), ("no", "number")]
    assert (await forgetting.forget(BOB)).rechecked == 2
    assert await Told(pool).all() == {("5", "50"), ("no", "number")}
    (left,) = await forgetting.left(BOB)
    assert (left.place, left.count, left.examples) == ("state", 2, ("post 5 media 50", "post no media number"))


async def test_documents_follow_and_old_indices_are_emptied(
    pool: Pool,
    client: AsyncElasticsearch,
    models: ReadModels,
    store: KnownFaces,
    forgetting: Forgetting,
    prefix: str,
) -> None:
    await everywhere(models, store)
    index = BY_NAME["known_faces_index"]
    await create(client, index, index.concrete(prefix, 2), alias=index.alias(prefix, NEXT))
    await create(client, index, index.concrete(prefix, 3))
    row = {"user_id": BOB, "username": "bob", "face_embedding": axis(0).tolist()}
    for generation in (2, 3):
        await client.index(index=index.concrete(prefix, generation), id=str(BOB), document=row)
    async with running(Indexer(pool, client, dead_letter=Dead(), prefix=prefix)):
        await until(lambda: documents(forgetting), seconds=20)
        assert await documents(forgetting) == {
            *(f"{prefix}known_faces_index-v{n}" for n in (1, 2, 3)),
            *(f"{prefix}{name}-v1" for name in ("user_search", "face_search", "media_search", "post_search")),
        }
        (old,) = [left for left in await forgetting.left(BOB) if left.place.endswith("-v3")]
        assert (old.count, old.examples, old.note) == (1, (str(BOB),), NOT_SEARCHED)
        removed = await forgetting.forget(BOB)
        assert removed.documents == {f"{prefix}known_faces_index-v3": 1}
        assert {left.place for left in await forgetting.left(BOB)} >= {f"{prefix}known_faces_index-v2"}
        await Told(pool).all()
        await client.delete(index=index.concrete(prefix, 2), id=str(BOB))  # it was not registered: no entry is for it
        assert await forgetting.wait(BOB, 20) == []


async def documents(forgetting: Forgetting) -> set[str]:
    """Indices that name bob; empty until all of them do."""
    found = {left.place for left in await forgetting.left(BOB) if "-v" in left.place}
    return found if len(found) >= 7 else set()


async def test_what_cannot_be_looked_at_is_unknown(
    pool: Pool, models: ReadModels, store: KnownFaces, state: Media
) -> None:
    await everywhere(models, store)
    state.unknown = True
    async with connect("http://127.0.0.1:9") as away:
        forgetting = Forgetting(pool, away, models=models, state=state)
        assert (await forgetting.forget(BOB)).rechecked == 3
        await Told(pool).all()
        left = await forgetting.wait(BOB, 0)
    assert [(each.place, each.count) for each in left] == [("documents", None), ("state", None)]
    async with await open_pool("postgresql://nobody@127.0.0.1:1/none") as down, connect("http://127.0.0.1:9") as away:
        forgetting = Forgetting(down, away, models=ReadModels(down), state=state)
        for call in (forgetting.forget(BOB), forgetting.left(BOB), forgetting.known(BOB)):
            with pytest.raises(Unavailable):
                await call


async def test_what_is_known(pool: Pool, models: ReadModels, store: KnownFaces, forgetting: Forgetting) -> None:
    assert await forgetting.known(BOB) == {
        "userId": "8",
        "enrolment": None,
        "forgotten": None,
        "inUse": False,
        "inAiTable": False,
        "identified": {"faces": 0, "media": 0},
        "suggested": {"faces": 0, "media": 0},
    }
    await everywhere(models, store)
    await backend_media(pool, 1, [11])
    known = await forgetting.known(BOB)
    assert known["enrolment"] == {
        "clock": "1-0",
        "enrolledAt": "1970-01-01T00:00:00.001000+00:00",
        "url": "http://images.test/me.jpg",
        "model": "m",
        "quality": 0.0,
        "written": True,
        "suspended": False,
    }
    assert (known["identified"], known["suggested"]) == ({"faces": 1, "media": 1}, {"faces": 1, "media": 1})
    assert (known["inUse"], known["inAiTable"], known["forgotten"]) == (True, True, None)
    await forgetting.forget(BOB)
    known = await forgetting.known(BOB)
    assert known["enrolment"] is None
    assert int(known["forgotten"].split("-")[0]) > 1_700_000_000_000


def test_how_a_match_stands_in_bytes_is_as_it_is_looked_for() -> None:
    match = Match(face=0, user_id="8", username="bob", confidence=0.9, status="IDENTIFIED")
    assert said(8) in encode(match)
    assert said(80) not in encode(match)
