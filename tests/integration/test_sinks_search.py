"""What a search finds, on documents as the indexer writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from documents_support import Dead, own_indices, put
from elasticsearch import AsyncElasticsearch
from sinks_support import database

from streamapp.sinks import indices
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, INDICES, Index
from streamapp.sinks.search import Answer, NotSearchable, Query, Unusable, find, search

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEDIA, FACES, KNOWN = BY_NAME["media_search"], BY_NAME["face_search"], BY_NAME["known_faces_index"]


def towards(angle: float, width: int = 512) -> list[float]:
    """A vector whose cosine with towards(0) is that of the angle in degrees."""
    vector = np.zeros(width)
    vector[:2] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return [float(each) for each in vector]


def media(text: str, angle: float, **more: Any) -> dict[str, Any]:
    """Columns of a media that says this much only."""
    said = {
        "ai_caption": text,
        "ai_tags": ["thing"],
        "ai_scenes": ["place"],
        "post_all_tags": ["thing"],
        "post_title": "x",
    }
    return said | {"image_embedding": towards(angle), "is_safe": True, "uploader_username": "ann"} | more


ROWS = {
    10: media("a quiet day", 0, ai_tags=["beach"], post_all_tags=["beach", "party"]),
    11: media("people dancing", 10, ai_tags=["party"], post_all_tags=["beach", "party"]),
    12: media("a table", 80, post_all_tags=["beach", "party"]),
    20: media("tall trees", 20, ai_scenes=["forest"], uploader_username="bob", uploader_id=8),
    21: media("a beach party", 5, is_safe=False),
    22: media("a beach", 90, image_embedding=None),
    30: media("a walk", 60, post_title="Beach days"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(servers: Any) -> AsyncIterator[tuple[AsyncElasticsearch, str]]:
    async with (
        database(servers.postgres_url) as url,
        indices.connect(servers.elasticsearch_url) as client,
        own_indices(client) as prefix,
    ):
        pool: Pool = await open_pool(url)
        for media_id, row in ROWS.items():
            await put(pool, MEDIA, media_id, **row)
        faces = ((1, 10, 20), (2, 10, 50), (3, 11, 40), (4, 12, 80), (5, 21, 1))
        for pk, media_id, angle in faces:
            await put(pool, FACES, pk, media_id=media_id, face_embedding=towards(angle, 1024))
        await put(pool, KNOWN, 7, face_embedding=towards(0, 1024))
        await put(pool, KNOWN, 8, face_embedding=towards(0, 1024), is_active=False)
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
        while await indexer.step():
            pass
        for index in INDICES.values():
            await client.indices.refresh(index=index.alias(prefix))
        yield client, prefix
        await pool.close()


Filled = tuple[AsyncElasticsearch, str]


async def found(filled: Filled, **query: Any) -> Answer:
    client, prefix = filled
    return await find(client, Query(**query), prefix=prefix)


def ids(answer: Answer) -> list[int]:
    return [hit.media_id for hit in answer.hits]


async def test_words_find_images_by_what_is_in_them_and_around_them(filled: Filled) -> None:
    answer = await found(filled, text="beach party")
    assert set(ids(answer)) == {10, 11, 12, 22, 30}
    assert ids(answer).index(12) > ids(answer).index(10)  # only its post has the words
    assert (answer.ways, answer.note) == (("words",), "by words only: this engine has no vectors of texts")
    (hit,) = (await found(filled, text="Trees")).hits
    assert (hit.media_id, hit.caption, hit.is_safe) == (20, "tall trees", True)
    assert ids(await found(filled, text="forest")) == [20]
    assert await search(filled[0], "the", prefix=filled[1]) == []
    assert await search(filled[0], "", prefix=filled[1]) == []


async def test_a_caption_says_more_than_a_title(filled: Filled) -> None:
    assert ids(await found(filled, text="beach"))[0] == 22
    assert ids(await found(filled, text="beach"))[-1] != 22


@pytest.mark.parametrize("query", [{"text": "beach party"}, {"like": 10}, {"face": 7}, {"text": "a", "like": 12}])
async def test_unsafe_is_never_shown_unless_asked(filled: Filled, query: dict[str, Any]) -> None:
    answer = await found(filled, **query)
    assert answer.hits
    assert all(hit.is_safe for hit in answer.hits)
    assert 21 in ids(await found(filled, **query, safe_only=False))


async def test_the_limit_cuts_the_worst(filled: Filled) -> None:
    whole = ids(await found(filled, text="beach party"))
    assert ids(await found(filled, text="beach party", limit=2)) == whole[:2]


@pytest.mark.parametrize(("user", "expected"), [("bob", {20}), ("8", {20}), ("nobody", set())])
async def test_of_one_user(filled: Filled, user: str, expected: set[int]) -> None:
    for query in ({"text": "trees beach"}, {"like": 10}):
        assert set(ids(await found(filled, **query, user=user))) == expected


async def test_like_another_media(filled: Filled) -> None:
    answer = await found(filled, like=10)
    assert ids(answer) == [11, 20, 30, 12]  # by their angles, without itself, what is unsafe, and what has no vector
    assert answer.ways == ("likeness",)
    assert answer.hits[0].score == pytest.approx((1 + np.cos(np.radians(10))) / 2, rel=0.01)
    assert ids(await found(filled, like=21))[0] in (10, 11)  # what is not shown may still be the example


async def test_words_and_likeness_are_fused(filled: Filled) -> None:
    lexical, alike = ids(await found(filled, text="beach")), ids(await found(filled, like=11))
    answer = await found(filled, text="beach", like=11)
    assert answer.ways == ("words", "likeness")
    for hit in answer.hits:
        ranks = [ranking.index(hit.media_id) + 1 for ranking in (lexical, alike) if hit.media_id in ranking]
        assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank in ranks))
    assert set(ids(answer)) == set(lexical) | set(alike)


async def test_an_engine_that_reads_finds_by_what_it_looks_like(filled: Filled) -> None:
    client, prefix = filled

    async def embed(text: str) -> Sequence[float]:
        return towards({"trees": 20}[text])

    answer = await find(client, Query(text="trees"), prefix=prefix, embed=embed)
    assert (answer.ways, answer.note) == (("words", "picture"), None)
    assert ids(answer)[0] == 20
    assert len(answer.hits) > 1  # words alone find one


async def test_with_the_face_of_a_user(filled: Filled) -> None:
    answer = await found(filled, face=7)
    assert ids(answer) == [10, 11]  # by their best faces; that of 12 is somebody else's
    assert answer.ways == ("face",)
    assert answer.hits[0].score == pytest.approx((1 + np.cos(np.radians(20))) / 2, rel=0.01)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"like": 99}, "media 99 is not known"),
        ({"like": 22}, "media 22 has no vector"),
        ({"face": 99}, "the face of user 99 is not known"),
        ({"face": 8}, "the face of user 8 is not active"),
        ({}, "say what to find"),
    ],
)
async def test_what_a_search_cannot_start_from(filled: Filled, query: dict[str, Any], told: str) -> None:
    with pytest.raises(NotSearchable, match=told):
        await found(filled, **query)


Pair = tuple[Index, int, dict[str, Any]]


async def crowd(filled: Filled, user: int, first: int, others: int, **of_others: Any) -> None:
    """A face of which many others' images are nearer than the one that is meant: media `first`, of bob."""
    client, prefix = filled
    random = np.random.default_rng(user)
    base = random.normal(size=1024)
    known = {"user_id": user, "username": f"u{user}", "face_embedding": base.tolist(), "is_active": True}
    pairs: list[Pair] = [(KNOWN, user, known)]
    for n in range(others + 1):
        of_media = {"uploader_id": 8, "uploader_username": "bob", "is_safe": True} | (of_others if n else {})
        face = base + random.normal(size=1024) * (0.2 if n else 0.5)
        shown = {"media_id": first + n, "post_id": 1, "media_url": "x"} | of_media
        found = {"id": first + n, "media_id": first + n, "uploader_id": shown["uploader_id"]}
        pairs += [(MEDIA, first + n, shown), (FACES, first + n, found | {"face_embedding": face.tolist()})]
    for some in batched(pairs, 100):
        operations: list[dict[str, Any]] = []
        for index, pk, document in some:
            operations += [{"index": {"_index": index.alias(prefix), "_id": str(pk)}}, document]
        assert not (await client.bulk(operations=operations, refresh=True))["errors"]


def batched(pairs: Sequence[Pair], size: int) -> Iterator[Sequence[Pair]]:
    return (pairs[n : n + size] for n in range(0, len(pairs), size))


@pytest_asyncio.fixture(loop_scope="module")
async def apart(filled: Filled) -> AsyncIterator[Filled]:
    """Empty indices: numbers are kept in 8 bits over the range of an index's values, and beside a thousand vectors of
    small ones those that point along an axis would all become the same."""
    client, _ = filled
    async with own_indices(client) as prefix:
        yield client, prefix


async def test_the_face_on_a_safe_image_is_found_behind_many_unsafe_ones(apart: Filled) -> None:
    await crowd(apart, 50, 5000, 350, is_safe=False)
    assert ids(await found(apart, face=50)) == [5000]
    assert len(ids(await found(apart, face=50, safe_only=False, limit=1000))) == 351
    assert len(ids(await found(apart, face=50, safe_only=False, limit=10))) == 10


@pytest.mark.parametrize("user", ["bob", "8"])
async def test_the_face_on_an_image_of_one_user_is_found_behind_many_of_others(apart: Filled, user: str) -> None:
    await crowd(apart, 60, 6000, 150, uploader_id=9, uploader_username="eve")
    assert ids(await found(apart, face=60, user=user)) == [6000]
    assert ids(await found(apart, face=60, user="nobody")) == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"text": "word " * 3500}, "text has 17,500 characters, at most 1,000"),
        ({"text": "a", "user": "u" * 40_000}, "user has 40,000 characters"),
        ({"text": "caf\udce9"}, "text is no text"),
        ({"text": "a", "user": "\ud800"}, "user is no text"),
    ],
)
async def test_what_cannot_be_asked(filled: Filled, query: dict[str, Any], told: str) -> None:
    with pytest.raises(Unusable, match=told):
        await found(filled, **query)


@pytest.mark.parametrize(
    "query", [{"text": " ".join(f"w{n}" for n in range(300))[:1000]}, {"text": "a\x00b", "user": "\x00" * 200}]
)
async def test_what_is_odd_is_asked(filled: Filled, query: dict[str, Any]) -> None:
    assert ids(await found(filled, **query)) == []


async def test_what_the_server_does_not_take_is_the_fault_of_who_asks(filled: Filled) -> None:
    with pytest.raises(Unusable, match="the search server does not take this"):
        await found(filled, text="beach", limit=20_000)
