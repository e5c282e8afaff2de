"""Find media by words, by likeness to another media, and by who is on them.

Each way gives a ranking of its own; several are fused by reciprocal rank (Cormack, Clarke, Büttcher, SIGIR 2009), here
and not on the server, whose own fusion needs a licence. What is not known to be safe is not shown unless asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from elasticsearch import AsyncElasticsearch, BadRequestError, NotFoundError

from streamapp.sinks.indices import BY_NAME
from streamapp.sinks.parts import database_id

Way: TypeAlias = Literal["words", "picture", "likeness", "face"]
"""By the words around and in a media; by the vector of a text; by the vector of another media; by a known face."""

Embed: TypeAlias = Callable[[str], Awaitable[Sequence[float]]]
"""The vector of a text, in the space of the images'."""

MEDIA, FACES, KNOWN = BY_NAME["media_search"], BY_NAME["face_search"], BY_NAME["known_faces_index"]

# A caption says most about the image itself, then its tags and scenes, then what surrounds it.
FIELDS = ("ai_caption^3", "ai_tags.text^2", "ai_scenes.text^2", "post_all_tags.text", "post_title")
K = 60  # of the reciprocal rank fusion, as in the paper
DEEP = 100  # media of each ranking that are fused, at least
MOST = 1000  # media of an answer
SAME_PERSON = 0.70  # raw cosine, as for a suggestion
LONGEST = {"text": 1000, "user": 200}  # characters; a query has a clause for each word and field
FACES_AT_ONCE = 5000  # of the 10,000 hits that a server gives at once, at most
LOOKED_AT = 50_000  # media whose faces are looked at; a server takes 65,536 terms in a query
UPLOADERS = 1000  # ids of one name


class NotSearchable(ValueError):
    """What the search is to start from is not there, or not enough."""


class Unusable(NotSearchable):
    """What is asked cannot be asked, whatever there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to find. `like` is a media, `face` a user whose face is known, `user` the uploader's name or id."""

    text: str | None = None
    like: int | None = None
    face: int | None = None
    user: str | None = None
    safe_only: bool = True
    limit: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A media that was found. Fields without a value are empty."""

    media_id: int
    post_id: int
    score: float
    media_url: str
    caption: str
    tags: tuple[str, ...]
    is_safe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The hits, the best first. Their scores are those of the one way, or the fused ones of several. `note` says what
    was asked for and not done."""

    hits: list[Hit]
    ways: tuple[Way, ...]
    note: str | None = None


async def search(
    client: AsyncElasticsearch, text: str, *, prefix: str = "", limit: int = 20, safe_only: bool = True
) -> list[Hit]:
    """Media that match any word of `text`, the best first.

    Raises what `find` does.
    """
    return (await find(client, Query(text=text, limit=limit, safe_only=safe_only), prefix=prefix)).hits


async def find(
    client: AsyncElasticsearch,
    query: Query,
    *,
    prefix: str = "",
    embed: Embed | None = None,
    same_person: float = SAME_PERSON,
) -> Answer:
    """The media that fit. `embed` is the engine's, None where it has none for texts.

    Raises NotSearchable, elasticsearch.ApiError or elasticsearch.TransportError.
    """
    check(query)
    try:
        return await _find(client, query, prefix, embed, same_person)
    except BadRequestError as error:
        raise Unusable(f"the search server does not take this: {error}") from error


def check(query: Query) -> None:
    """Raises Unusable."""
    if query.text is None and query.like is None and query.face is None:
        raise Unusable("say what to find: words, a media that it is like, or a user whose face is on it")
    for name, longest in LONGEST.items():
        text: str = getattr(query, name) or ""
        if len(text) > longest:
            raise Unusable(f"{name} has {len(text):,} characters, at most {longest:,} are searched for")
        if any("\ud800" <= character <= "\udfff" for character in text):  # bytes that were no UTF-8
            raise Unusable(f"{name} is no text")


async def _find(
    client: AsyncElasticsearch, query: Query, prefix: str, embed: Embed | None, same_person: float
) -> Answer:
    media, only, deep = MEDIA.alias(prefix), filters(query), max(DEEP, query.limit)
    rankings: dict[Way, dict[int, float]] = {}
    note: str | None = None
    if query.text is not None:
        body: dict[str, Any] = {"query": words(query.text, only)}
        rankings["words"] = await _ranking(client, media, body, deep)
        if embed is not None:
            body = {"knn": nearest(await embed(query.text), only, deep)}
            rankings["picture"] = await _ranking(client, media, body, deep)
        else:
            note = "by words only: this engine has no vectors of texts"
    if query.like is not None:
        vector = await _vector(client, media, query.like, "image_embedding", f"media {query.like}")
        but = [*only, {"bool": {"must_not": {"term": {"media_id": query.like}}}}]
        rankings["likeness"] = await _ranking(client, media, {"knn": nearest(vector, but, deep)}, deep)
    if query.face is not None:
        vector = await _vector(
            client, KNOWN.alias(prefix), query.face, "face_embedding", f"the face of user {query.face}", active=True
        )
        rankings["face"] = await _by_face(client, prefix, vector, query, deep, same_person)
    best = fuse(rankings)[: query.limit]
    return Answer(hits=await _hits(client, media, best, only) if best else [], ways=tuple(rankings), note=note)


def filters(query: Query) -> list[dict[str, Any]]:
    """What every media of the answer must be."""
    only: list[dict[str, Any]] = [{"term": {"is_safe": True}}] if query.safe_only else []
    if query.user is not None:
        number = database_id(query.user)
        named = {"term": {"uploader_username": query.user}}
        either = [named] if number is None else [named, {"term": {"uploader_id": number}}]
        only.append({"bool": {"should": either, "minimum_should_match": 1}})
    return only


def words(text: str, only: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each word counts where it fits best (cross_fields), so that a media with all words comes first."""
    match = {"multi_match": {"query": text, "fields": FIELDS, "type": "cross_fields", "operator": "or"}}
    return {"bool": {"must": match, "filter": list(only)}}


def nearest(vector: Sequence[float], only: Sequence[Mapping[str, Any]], deep: int) -> dict[str, Any]:
    """The media whose image is most like a vector."""
    return {
        "field": "image_embedding",
        "query_vector": list(vector),
        "k": deep,
        "num_candidates": min(10_000, 2 * deep),
        "filter": list(only),
    }


def fuse(rankings: Mapping[Way, Mapping[int, float]]) -> list[tuple[int, float]]:
    """Media with their scores, the best first; each ranking is media -> score, the best first.

    Of one ranking its own; of several the sum of 1 / (K + rank), ranks from 1; a tie goes to the newer media.
    """
    if len(rankings) == 1:
        return [pair for ranking in rankings.values() for pair in ranking.items()]
    scores: dict[int, float] = {}
    for ranking in rankings.values():
        for rank, media_id in enumerate(ranking, 1):
            scores[media_id] = scores.get(media_id, 0.0) + 1 / (K + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], -pair[0]))


async def _ranking(client: AsyncElasticsearch, index: str, body: dict[str, Any], deep: int) -> dict[int, float]:
    """Media with their scores, the best first, the newer before the older."""
    sort: list[Any] = ["_score", {"media_id": "desc"}]
    found = await client.search(index=index, size=deep, sort=sort, source_includes=["media_id"], **body)
    scores: dict[int, float] = {}
    for hit in found["hits"]["hits"]:
        scores.setdefault(hit["_source"]["media_id"], hit["_score"])  # of many faces of a media the best
    return scores


async def _by_face(
    client: AsyncElasticsearch, prefix: str, vector: Sequence[float], query: Query, deep: int, same_person: float
) -> dict[int, float]:
    """Media with a face that is like one, by their best face. What a face does not say of its media is asked of the
    media, and further faces are looked at for those that do not fit."""
    media, only = MEDIA.alias(prefix), filters(query)
    uploaded: list[dict[str, Any]] = []
    if query.user is not None:
        uploaded = [{"terms": {"uploader_id": await _uploaders(client, media, only)}}]
    seen, fitting = list[int](), dict[int, float]()
    at_once = deep
    while len(fitting) < deep and len(seen) < LOOKED_AT:
        knn = {
            "field": "face_embedding",
            "query_vector": list(vector),
            "k": at_once,
            "num_candidates": min(10_000, 2 * at_once),
            "similarity": same_person,
            "filter": [{"bool": {"must_not": {"terms": {"media_id": seen}}}}, *uploaded],
        }
        faces = await _ranking(client, FACES.alias(prefix), {"knn": knn}, at_once)
        if not faces:
            break
        those = {"bool": {"filter": [{"terms": {"media_id": list(faces)}}, *only]}}
        allowed = await _ranking(client, media, {"query": those}, len(faces))
        fitting |= {media_id: score for media_id, score in faces.items() if media_id in allowed}
        seen += faces
        at_once = min(FACES_AT_ONCE, 2 * at_once)
    return fitting


async def _uploaders(client: AsyncElasticsearch, index: str, only: Sequence[Mapping[str, Any]]) -> list[int]:
    """Who uploaded the media that fit."""
    ids = {"ids": {"terms": {"field": "uploader_id", "size": UPLOADERS}}}
    found = await client.search(index=index, size=0, query={"bool": {"filter": list(only)}}, aggs=ids)
    return [bucket["key"] for bucket in found["aggregations"]["ids"]["buckets"]]


async def _vector(
    client: AsyncElasticsearch, index: str, key: int, field: str, what: str, *, active: bool = False
) -> Sequence[float]:
    try:
        found = await client.get(index=index, id=str(key), source_exclude_vectors=False)
    except NotFoundError as error:
        if "error" in error.body:  # it is the index that is not there
            raise
        raise NotSearchable(f"{what} is not known") from error
    source = found["_source"]
    if field not in source or (active and not source.get("is_active", True)):
        raise NotSearchable(f"{what} has no vector" if field not in source else f"{what} is not active")
    vector: Sequence[float] = source[field]
    return vector


async def _hits(
    client: AsyncElasticsearch, index: str, best: Sequence[tuple[int, float]], only: Sequence[Mapping[str, Any]]
) -> list[Hit]:
    """What is shown of the media, in their order; once more only those that fit, since one may have changed."""
    fitting = {"bool": {"filter": [{"terms": {"media_id": [media_id for media_id, _ in best]}}, *only]}}
    names = ["media_id", "post_id", "media_url", "ai_caption", "ai_tags", "is_safe"]
    found = await client.search(index=index, query=fitting, size=len(best), source_includes=names)
    sources = {hit["_source"]["media_id"]: hit["_source"] for hit in found["hits"]["hits"]}
    return [_hit(sources[media_id], score) for media_id, score in best if media_id in sources]


def _hit(source: Mapping[str, Any], score: float) -> Hit:
    return Hit(
        media_id=source["media_id"],
        post_id=source["post_id"],
        score=score,
        media_url=source["media_url"],
        caption=source.get("ai_caption", ""),
        tags=tuple(source.get("ai_tags", ())),
        is_safe=source.get("is_safe", False),
    )
