"""Posts sent at a steady pace while something happens to the system, and what came of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from redis.exceptions import RedisError

import samples
from demo.backend import Backend, Fields, until

STREAMS = ("ml-insights-results", "face-detection-results", "post-insights-enriched")
SERVICES = 6  # answers per image: five insights and the faces
NAMES = ("beach", "beach_people", "beach_sunset", "forest", "street")


@contextmanager
def small_images(folder: Path, *, side: int = 64) -> Iterator[list[str]]:
    """URLs of the samples made small, so that a load is one of messages and not of pixels."""
    for name in NAMES:
        with Image.open(samples.path(name)) as image:
            image.resize((side, side)).save(folder / f"{name}.jpg", quality=90)
    with samples.serve(folder=folder) as url:
        yield [f"{url}/{name}.jpg" for name in NAMES]


@dataclass
class Came:
    """What came for one post. Times are milliseconds of Redis's clock."""

    media: tuple[int, ...]
    asked: int = 0  # when the last image was asked for
    last: int = 0  # when the last result came
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # by media and service
    ids: Counter[str] = field(default_factory=Counter)  # result ids
    enriched: list[tuple[int, str]] = field(default_factory=list)  # when, and completeness
    repeated: bool = False  # a message had to be sent again, maybe after Redis had taken it

    @property
    def whole(self) -> bool:
        """Whether each image has all its answers and the last aggregate is complete."""
        return (
            len(self.answers) == SERVICES * len(self.media)
            and bool(self.enriched)
            and self.enriched[-1][1] == "complete"
        )

    def add(self, entry_id: str, stream: str, fields: Fields) -> None:
        """Take one message of a result stream in."""
        at = int(entry_id.partition("-")[0])
        self.ids[fields["resultId"]] += 1
        if stream == "post-insights-enriched":
            self.enriched.append((at, fields["completeness"]))
            return
        self.last = max(self.last, at)
        self.answers[fields["mediaId"], fields.get("service", "face_detection")] += 1


class Traffic:
    """`posts` posts of `per_post` images, each with its trigger, `interval` seconds apart. Ids begin at `first`.

    Use: `prepare`, then `run` beside whatever is to be tried, then `finish`.
    """

    def __init__(
        self,
        backend: Backend,
        urls: Sequence[str],
        *,
        first: int,
        posts: int,
        interval: float = 1.0,
        per_post: int = 2,
    ) -> None:
        self.backend, self.urls, self.interval = backend, urls, interval
        ids = range(first * 10_000, first * 10_000 + posts)
        self.came = {post: Came(tuple(post * 1000 + n for n in range(per_post))) for post in ids}
        self._at: dict[str, str] = {}

    @property
    def media(self) -> list[int]:
        """All images."""
        return [media_id for came in self.came.values() for media_id in came.media]

    async def prepare(self) -> None:
        """The backend's rows, before its database may be taken away; results from now on count."""
        for post, came in self.came.items():
            await self.backend.add_post(post, 15, f"Post {post}", dict(zip(came.media, self._urls(came), strict=True)))
        for stream in STREAMS:
            newest: Any = await self.backend.redis.xrevrange(stream, count=1)
            self._at[stream] = newest[0][0] if newest else "0"

    async def run(self) -> None:
        """Send all posts; what Redis does not take is sent again until it does, as a backend would."""
        begin = time.monotonic()
        for n, (post, came) in enumerate(self.came.items()):
            await asyncio.sleep(max(0.0, begin + n * self.interval - time.monotonic()))
            for media_id, url in zip(came.media, self._urls(came), strict=True):
                entry = await self._insist(came, "post-image-processing", **_request(post, media_id, url))
                came.asked = int(entry.partition("-")[0])
            listed = ",".join(map(str, came.media))
            await self._insist(came, "post-aggregation-trigger", postId=post, allMediaIds=listed)

    def _urls(self, came: Came) -> list[str]:
        return [self.urls[media_id % len(self.urls)] for media_id in came.media]

    async def _insist(self, came: Came, stream: str, **fields: object) -> str:
        while True:
            try:
                return await self.backend.send(stream, **fields)
            except (RedisError, OSError):
                came.repeated = True
                await asyncio.sleep(0.2)

    async def read(self) -> None:
        """Take in what has come since the last call."""
        while found := await self._new():
            for stream, entries in found:
                for entry_id, fields in entries:
                    self._at[stream] = entry_id
                    post = fields.get("postId", "")
                    if post.isdecimal() and int(post) in self.came:
                        self.came[int(post)].add(entry_id, stream, fields)

    async def _new(self) -> list[tuple[str, list[tuple[str, Fields]]]]:
        found: Any = await self.backend.redis.xread(self._at, count=500)  # type: ignore[arg-type]
        return found or []

    async def finish(self, *, seconds: float) -> None:
        """Wait until every post is whole. Raises TimeoutError naming those that are not."""
        end = time.monotonic() + seconds
        while lacking := await self._lacking():
            if time.monotonic() > end:
                some = {post: f"{len(c.answers)} answers, {c.enriched}" for post, c in list(lacking.items())[:5]}
                raise TimeoutError(f"{len(lacking)} of {len(self.came)} posts not whole after {seconds:g} s: {some}")
            await asyncio.sleep(0.1)

    async def _lacking(self) -> dict[int, Came]:
        await self.read()
        return {post: came for post, came in self.came.items() if not came.whole}

    async def check_once(self) -> None:
        """No result came twice, and of an image asked for once no service answered twice, also not a little later."""
        await asyncio.sleep(1)
        await self.read()
        assert {result: n for came in self.came.values() for result, n in came.ids.items() if n > 1} == {}
        once = [came for came in self.came.values() if not came.repeated]
        assert {answer: n for came in once for answer, n in came.answers.items() if n > 1} == {}

    async def check_stored(self, backend: Backend, *, seconds: float = 60) -> None:
        """Rows and documents of all posts are there; `backend`: connections that live. Raises TimeoutError."""

        async def rows() -> bool:
            media = await backend.postgres.fetchval(
                "SELECT count(*) FROM read_model_media_search"
                " WHERE media_id = ANY($1) AND ai_status = 'COMPLETED' AND post_all_tags <> '{}'",
                self.media,
            )
            posts = await backend.postgres.fetchval(
                "SELECT count(*) FROM read_model_post_search WHERE post_id = ANY($1) AND all_ai_tags <> '{}'",
                list(self.came),
            )
            return (media, posts) == (len(self.media), len(self.came))

        async def documents() -> bool:
            waiting = "SELECT count(*) FROM es_outbox WHERE pk = ANY($1)"
            if await backend.postgres.fetchval(waiting, [*self.media, *self.came]):
                return False
            await backend.elasticsearch.indices.refresh(index="media_search,post_search")
            for index, ids in (("media_search", self.media), ("post_search", list(self.came))):
                found = await backend.elasticsearch.count(index=index, query={"ids": {"values": list(map(str, ids))}})
                if found["count"] != len(ids):
                    return False
            return True

        await until(rows, what=f"rows of {len(self.came)} posts", seconds=seconds)
        await until(documents, what=f"documents of {len(self.came)} posts", seconds=seconds)

    def latencies(self) -> list[int]:
        """For each post in the order sent, milliseconds from its last request to its last result."""
        return [came.last - came.asked for came in self.came.values()]


def _request(post: int, media_id: int, url: str) -> dict[str, object]:
    return {
        "postId": post,
        "mediaId": media_id,
        "mediaUrl": url,
        "uploaderId": 15,
        "correlationId": f"request-{media_id}",
    }
