"""What a worker holds open: the engine and its threads, pictures, the database, the indexer."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from elasticsearch import AsyncElasticsearch

from streamapp.backlog import Backlog
from streamapp.batches import Batches
from streamapp.dead_letters import cut, dead_letter_headers
from streamapp.delivery import TROUBLE
from streamapp.engines.base import Engine
from streamapp.engines.batching import Looks, Threads
from streamapp.engines.registry import load
from streamapp.errors import Unavailable
from streamapp.events import Change, Recheck, encode
from streamapp.faces.corrections import Corrections
from streamapp.faces.enrolment import Demands
from streamapp.faces.matching import thresholds
from streamapp.faces.profiles import Profiles
from streamapp.faces.store import KnownFaces
from streamapp.media.cache import Pictures
from streamapp.media.fetch import Fetcher
from streamapp.media.files import Files
from streamapp.media.image import Picture, decode
from streamapp.names import DEAD_LETTERS, POST_EVENTS
from streamapp.settings import Settings
from streamapp.sinks.database import open_pool
from streamapp.sinks.hints import Hints
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import connect
from streamapp.sinks.parts import database_id
from streamapp.sinks.postgres import ReadModels, read_models
from streamapp.sinks.statements import Statements

logger = logging.getLogger(__name__)

PICTURE_CACHE = 256 * 2**20  # bytes of decoded pixels kept for the agents that share a picture
CHANGES_A_BATCH = 100
# Seconds between two transactions of fewer changes. Under load most of them cost more than what is in them, and the
# rows of an image change once and not three times where its answers come close together; Elasticsearch, which shows a
# document after up to a second, has less to do too.
CHANGES_EVERY = 0.2
AWAITING_EVERY = 1.0  # seconds between looks at the rows that wait for the backend's
TEND_EVERY = 10.0  # seconds between looks at what changes without a message: the backend's rows, users, feeds
RESTART_AFTER = 2.0  # seconds until background work that failed starts again


class Resources:
    """Opened before the agents start, closed when the application stops. Nothing here needs a server to be up."""

    engine: Engine
    vision: Looks
    captions: Looks
    faces: Looks
    pictures: Pictures
    read_models: ReadModels
    indexer: Indexer
    hints: Hints
    backlog: Backlog
    known_faces: KnownFaces
    corrections: Corrections
    profiles: Profiles
    elasticsearch: AsyncElasticsearch

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.executor = ThreadPoolExecutor(settings.engine_threads, thread_name_prefix="engine")
        self.decoders = ThreadPoolExecutor(settings.engine_threads, thread_name_prefix="decoder")
        self.texts = ThreadPoolExecutor(1, thread_name_prefix="texts")  # a search waits for no look, nor a look for it
        self.threads = Threads(self.executor, settings.engine_threads)
        self.loaded = False
        self._background: list[asyncio.Task[None]] = []
        self._troubles: dict[str, str] = {}  # last errors of the background work
        self.rows: Batches[Change, str | None] = Batches(self._write, size=CHANGES_A_BATCH, every=CHANGES_EVERY)

    async def load(self) -> None:
        """Load the engine. Raises ModelsError."""
        self.engine = await asyncio.get_running_loop().run_in_executor(self.executor, load, self.settings)
        self._part(self.settings)

    async def open(self, app: Any) -> None:
        """Make the clients, start the indexer."""
        settings = self.settings
        self.fetcher = Fetcher(
            max_bytes=settings.fetch_max_bytes,
            timeout_seconds=settings.fetch_timeout_seconds,
            allowed_hosts=settings.fetch_allowed_hosts,
        )
        kept = settings.fetch_cache_bytes
        self.files = Files(settings.datadir / "images", max_bytes=kept) if kept else None
        self.pictures = Pictures(
            fetch=self.fetcher.fetch,
            executor=self.decoders,
            max_bytes=PICTURE_CACHE,
            max_pixels=settings.fetch_max_pixels,
            min_side=settings.decode_min_side,
            files=self.files,
        )
        self.pool = await open_pool(settings.postgres_url)
        self.read_models = read_models(self.pool, settings)
        self._open_faces(app)
        self.elasticsearch = connect(settings.elasticsearch_url)
        logging.getLogger("elastic_transport").setLevel(logging.WARNING)  # else a line for every request
        self._dead_letters = app.topic(DEAD_LETTERS, key_serializer="raw", value_serializer="raw")
        self.indexer = Indexer(self.pool, self.elasticsearch, dead_letter=self._reject, prefix=settings.index_prefix)
        self.hints = Hints(self.pool, self.elasticsearch, prefix=settings.index_prefix, again=settings.sync_rereads)
        self.loaded = True
        self.backlog = Backlog(settings)
        self._background = [
            asyncio.create_task(self._keep("backlog", self.backlog.run), name="backlog"),
            asyncio.create_task(self._keep("indexer", self.indexer.run), name="indexer"),
            asyncio.create_task(self._keep("hints", self.hints.run), name="hints"),
            asyncio.create_task(self._keep("awaiting", self._retry_awaiting), name="awaiting"),
            asyncio.create_task(self._keep("tending", self._tend), name="tending"),
            asyncio.create_task(self._keep("corrections", self.corrections.run), name="corrections"),
        ]

    def _open_faces(self, app: Any) -> None:
        settings, send = self.settings, Statements()
        limits = thresholds(settings)
        self.known_faces = KnownFaces(
            self.pool,
            send=send,
            rows=self.read_models.sweep.faces,
            thresholds=limits,
            width=settings.face_embedding_dim,
        )
        self._post_events = app.topic(POST_EVENTS, key_serializer="raw", value_serializer="raw")
        self.corrections = Corrections(self.pool, send=send, thresholds=limits, tell=self._tell)
        self.profiles = Profiles(
            fetch=self.fetcher.fetch,
            decode=self._decode,
            looks=self.faces,
            store=self.known_faces,
            demands=Demands(min_side=settings.enrol_min_side, min_quality=settings.enrol_min_quality),
            attempts=settings.attempts,
            retry=settings.retry_seconds,
        )

    async def _decode(self, raw: bytes) -> Picture:
        limits = {"max_pixels": self.settings.fetch_max_pixels, "min_side": self.settings.decode_min_side}
        return await asyncio.get_running_loop().run_in_executor(self.decoders, partial(decode, raw, **limits))

    async def _tell(self, facts: Sequence[Recheck]) -> None:
        try:
            sent = [await self._post_events.send(key=fact.post_id.encode(), value=encode(fact)) for fact in facts]
            await asyncio.gather(*sent)
        except TROUBLE as exc:
            raise Unavailable(f"Kafka: {exc!r}") from exc

    def _part(self, settings: Settings) -> None:
        """Give each family of services its batches."""
        engine = self.engine
        looks = partial(
            Looks,
            threads=self.threads,
            size=settings.batch_size,
            delay=settings.batch_delay_seconds,
            patience=settings.attempt_timeout_seconds,
        )
        self.vision = looks(
            engine.vision.model,
            lambda pictures: [sight.insights for sight in engine.vision.see(pictures)],
        )
        self.captions = looks(
            engine.captioner.model,
            lambda pictures: [(caption,) for caption in engine.captioner.caption(pictures)],
        )
        self.faces = looks(
            engine.faces.model,
            lambda pictures: [(found,) for found in engine.faces.faces(pictures)],
        )

    async def close(self) -> None:
        """Stop the background work and close the clients."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self.loaded:
            await self.pictures.aclose()
            await self.fetcher.aclose()
            await self.elasticsearch.close()
            await self.pool.close()
        for threads in (self.executor, self.decoders, self.texts):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _write(self, changes: Any) -> list[str | None]:
        """The rows of some changes; for each, why it was refused. Raises Unavailable."""
        outcome = await self.read_models.write(changes)
        return [next((why for change, why in outcome.refused if change is one), None) for one in changes]

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Work that must not end: what it raises is logged and shown, and it starts again."""
        while True:
            try:
                await work()
            except Unavailable as exc:
                self._troubles[name] = str(exc)
            except Exception as exc:
                logger.exception("%s failed and starts again", name)
                self._troubles[name] = repr(exc)
            await asyncio.sleep(RESTART_AFTER)
            del self._troubles[name]  # until it fails again

    async def _retry_awaiting(self) -> None:
        while True:
            for change, why in (await self.read_models.retry_awaiting()).refused:
                logger.warning("awaited rows of post %s refused: %s", change.post_id, why)
            await asyncio.sleep(AWAITING_EVERY)

    async def _tend(self) -> None:
        while True:
            await self.read_models.tend()
            await asyncio.sleep(TEND_EVERY)

    async def _reject(self, table: str, pk: int, version: int, document: bytes, error: str) -> None:
        """Keep a document that Elasticsearch refused."""
        headers = dead_letter_headers(origin=f"es:{table}:{pk}:{version}", error=ValueError(error), headers={})
        if len(document) > self.settings.max_message_bytes // 2:
            document, whole = cut(document)
            headers |= whole
        raw = {name: text.encode() for name, text in headers.items()}
        await (await self._dead_letters.send(key=str(pk).encode(), value=document, headers=raw))

    async def awaiting(self, post_id: str) -> Any:
        """What rows of a post wait for, or why that is unknown."""
        try:
            return [dataclasses.asdict(row) for row in await self.read_models.awaiting(post_id)]
        except Unavailable as exc:
            return {"unknown": str(exc)}

    async def hints_of(self, post_id: str, media_ids: Sequence[str]) -> Any:
        """What the backend told of the rows of a post that is not so yet, or why that is unknown."""
        keys = [database_id(text) for text in (post_id, *media_ids)]
        if keys[0] is None:
            return []
        try:
            return await self.hints.of_post(keys[0], [key for key in keys[1:] if key is not None])
        except Unavailable as exc:
            return {"unknown": str(exc)}

    def images(self) -> dict[str, Any]:
        """Where pictures came from, and what was refused or failed, since the start."""
        if not self.loaded:
            return {}
        troubles = {} if self.files is None else self.files.troubles
        return {"sources": self.pictures.sources, "failures": self.fetcher.failures, "cacheTroubles": troubles}

    def waiting(self) -> dict[str, Any]:
        """Servers that are down as seen by the background work."""
        found: dict[str, Any] = {name: {"error": error} for name, error in self._troubles.items()}
        if self.rows.waiting_since is not None:
            found["sink"] = {"since": round(self.rows.waiting_since, 3), "error": self.rows.waiting_for}
        if self.threads.overdue:
            since, told = min(self.threads.overdue.values())
            found["engine"] = {"since": round(since, 3), "error": told}
        if self.loaded and self.indexer.waiting_since is not None:
            found["indexer"] = {"since": round(self.indexer.waiting_since, 3), "error": self.indexer.last_error}
        return found
