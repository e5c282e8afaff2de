"""Write rows: guarded by revision, one transaction per batch, one statement per table."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import asyncpg
import orjson

from streamapp.events import Change
from streamapp.faces.matching import Thresholds, thresholds
from streamapp.settings import Settings
from streamapp.sinks.awaiting import AwaitedRow, Awaiting
from streamapp.sinks.database import DATA_ERRORS, TROUBLE, Connection, Pool, unavailable
from streamapp.sinks.parts import Deletion, Part, Refused, database_id, split
from streamapp.sinks.people import Compared, compared, matched_users
from streamapp.sinks.readmodels import (
    FEED,
    KNOWN_FACES,
    MEDIA_SEARCH,
    POST_SEARCH,
    READ_MODELS,
    TABLES,
    USER_FACES,
    USER_SEARCH,
    ReadModel,
)
from streamapp.sinks.rows import Batch, sort
from streamapp.sinks.statements import TABLES_OF, Statements
from streamapp.sinks.sweep import Sweep

logger = logging.getLogger(__name__)

Piece: TypeAlias = Part | Deletion
PieceT = TypeVar("PieceT", Part, Deletion)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a batch. A refused change may have other rows that were written."""

    changed: int = 0  # rows inserted, updated or deleted
    awaiting: int = 0  # rows that wait for the backend's
    refused: list[tuple[Change, str]] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)  # media with faces that were written

    def add(self, other: Outcome) -> None:
        self.changed += other.changed
        self.awaiting += other.awaiting
        self.refused += other.refused
        self.compared += other.compared


class ReadModels:
    """The tables that this application writes. `faceless` counts faces that had no usable vector when they were
    written: they have no row of their own; `unfit` counts values that rows went without, or have only cut."""

    def __init__(
        self,
        pool: Pool,
        *,
        tables: Iterable[str] = TABLES,
        image_width: int = 512,
        face_width: int = 1024,
        feed_users: int = 100,
        reach: float = Thresholds().reach,
    ) -> None:
        self.pool = pool
        self.reach = reach  # cosine distance at which a face may be that of a known one
        self.tables = frozenset(tables)
        self.models = [model for table, model in READ_MODELS.items() if table in self.tables]
        self.image_width, self.face_width = image_width, face_width
        self.faceless = self.unfit = 0
        self._send = Statements()
        self._awaiting = Awaiting(self._send)
        self.sweep = Sweep(
            pool, self._send, awaiting=self._awaiting, tables=self.tables, feed_users=feed_users, delete=self._delete
        )
        # What a part is of use for, by the table that it is named after.
        uses = {
            MEDIA_SEARCH: self.tables - {POST_SEARCH, KNOWN_FACES, USER_FACES},
            POST_SEARCH: self.tables & {POST_SEARCH, USER_SEARCH},
        }
        self._parts = [table for table, those in uses.items() if those]

    @property
    def statements(self) -> int:
        """Sent so far, transaction control not counted."""
        return self._send.sent

    @property
    def reported(self) -> int:
        """Rows of which it was said that they have waited for long."""
        return self._awaiting.reported

    async def write(self, changes: Sequence[Change]) -> Outcome:
        """Write the rows of the changes, all or none but for the refused ones. Raises Unavailable."""
        outcome, deletions = Outcome(), dict[tuple[int, int | None], Deletion]()
        parts = dict[tuple[str, int, int], Part]()
        for change in changes:
            for piece in split(change):
                if isinstance(piece, Refused):
                    outcome.refused.append((change, piece.reason))
                elif isinstance(piece, Deletion):
                    key = piece.post_id, piece.media_id
                    deletions[key] = _newest(piece, deletions.get(key))
                elif piece.table in self._parts:
                    parts[piece.key] = _newest(piece, parts.get(piece.key))
        outcome.add(await self._apply([*deletions.values(), *parts.values()]))
        return outcome

    async def retry_awaiting(self, limit: int = 100) -> Outcome:
        """Try again all that is due, `limit` rows at a time; any worker may. Raises Unavailable."""
        outcome, claimed = Outcome(), limit
        while claimed == limit:
            try:
                claimed, due = await self._awaiting.due(self.pool, self._parts, limit)
            except TROUBLE as error:
                raise unavailable(error) from error
            outcome.add(await self._apply(due, awaited=True))
        return outcome

    async def awaiting(self, post_id: str) -> list[AwaitedRow]:
        """What a post waits for. Raises Unavailable."""
        number = database_id(post_id)
        try:
            return [] if number is None else await self._awaiting.of_post(self.pool, number)
        except TROUBLE as error:
            raise unavailable(error) from error

    async def tend(self) -> int:
        """A bounded piece of what no change tells of: rows that are not as the backend's are by now, and what it no
        longer has. To be called every few seconds, by any worker; how many rows changed. Raises Unavailable."""
        return await self.sweep.tend()

    async def delete_users(self, user_ids: Sequence[int]) -> int:
        """Remove all that names users; how many rows. One whom the backend still has, and not as deleted, keeps them.
        Raises Unavailable."""
        try:
            return await self.sweep.delete_users(user_ids)
        except TROUBLE as error:
            raise unavailable(error) from error

    async def _apply(self, pieces: Sequence[Piece], *, awaited: bool = False) -> Outcome:
        """All in one transaction; when the database refuses a value, each in its own, to find whose it is. `awaited`:
        nothing brings them again, should this process end after the transaction."""
        if not pieces:
            return Outcome()
        try:
            async with self.pool.acquire() as connection:
                try:
                    async with connection.transaction():
                        outcome = await self._write(connection, pieces)
                        if awaited and outcome.compared:
                            await self._send.fetch(connection, "recheck_awaited", *_arrays(outcome.compared))
                    return await self._catch_up(connection, outcome)
                except DATA_ERRORS as error:
                    if len(pieces) == 1:
                        return await self._alone(connection, pieces[0], error)
        except TROUBLE as error:
            raise unavailable(error) from error
        outcome = Outcome()
        for piece in pieces:
            outcome.add(await self._apply([piece], awaited=awaited))
        return outcome

    async def _alone(self, connection: Connection, piece: Piece, error: Exception) -> Outcome:
        """A piece, when the database has refused a value: perhaps none of its own, but of a feed or of a user."""
        try:
            async with connection.transaction():
                outcome = await self._write(connection, [piece], alone=True)
                if outcome.compared:
                    await self._send.fetch(connection, "recheck_awaited", *_arrays(outcome.compared))
        except DATA_ERRORS as own:
            return await self._give_up(connection, piece, own)
        logger.warning("post %s: written without feeds and users: %s", piece.post_id, error)
        return await self._catch_up(connection, outcome)

    async def _catch_up(self, connection: Connection, outcome: Outcome) -> Outcome:
        """Have media compared again whose known faces have changed since: who changes them looks for the faces that are
        stored, and these were not yet. After the commit, so that one of the two sees the other (docs/adr/0013)."""
        if outcome.compared:
            said = [(each.media_id, user) for each in outcome.compared for user in each.users]
            asked = [*_arrays(outcome.compared), self.reach, [media for media, _ in said], [user for _, user in said]]
            await self._send.fetch(connection, "recheck_media", *asked)
        return outcome

    async def _write(self, connection: Connection, pieces: Sequence[Piece], *, alone: bool = False) -> Outcome:
        """`alone`: without what only follows from these rows and the backend's, which is found later too."""
        outcome = Outcome()
        post_ids = sorted({piece.post_id for piece in pieces})
        await self._send.fetch(connection, "lock_posts", post_ids)
        deletions = [piece for piece in pieces if isinstance(piece, Deletion)]
        ended = [(d.post_id, d.revision) for d in deletions if d.media_id is None]
        left = [(d.post_id, d.media_id, d.revision) for d in deletions if d.media_id is not None]
        outcome.changed += await self._delete(connection, "post", ended) + await self._delete(connection, "media", left)

        parts = sorted((p for p in pieces if isinstance(p, Part)), key=lambda part: part.key)
        posts = {post["post_id"]: dict(post) for post in await self._send.fetch(connection, "posts", post_ids)}
        asked = [(part.post_id, part.media_id) for part in parts if part.media_id is not None]
        theirs = await self._send.fetch(connection, "media", *map(list, zip(*asked, strict=True))) if asked else []
        media = {(entry["wanted_by"], entry["media_id"]): dict(entry) for entry in theirs}
        users = matched_users(parts)
        people = await self._send.fetch(connection, "people", users) if users else []
        names = {person["user_id"]: person["username"] for person in people}
        batch = sort(parts, posts, media, width=self.image_width, face_width=self.face_width, people=names)

        for model in self.models:
            outcome.changed += await self._upsert(connection, model, batch)
        if MEDIA_SEARCH in self.tables:
            await self._send.fetch(connection, "tell_media", post_ids, POST_SEARCH in self.tables)
            if POST_SEARCH in self.tables:
                await self._send.fetch(connection, "tell_post", post_ids)
        if FEED in self.tables and batch.media and not alone:
            outcome.changed += await self.sweep.feed.write(connection, [part.pk for part in batch.media])
        authors = sorted({post["user_id"] for post in posts.values() if post["username"] is not None})
        if USER_SEARCH in self.tables and authors and not alone:
            outcome.changed += await self.sweep.users.write(connection, authors)
        await self._keep(connection, batch)
        outcome.compared += compared(batch.media)
        outcome.awaiting += len(batch.awaiting)
        outcome.refused += [(part.source, reason) for part, reason in batch.refused]
        return outcome

    async def _upsert(self, connection: Connection, model: ReadModel, batch: Batch) -> int:
        rows = batch.rows.get(model.table, [])
        arguments: list[Any] = [orjson.dumps(rows).decode()]
        if model.several and batch.media:
            arguments += map(list, zip(*((p.pk, p.post_id, p.revision) for p in batch.media), strict=True))
            arguments.append([str(row[model.key]) for row in rows])
        elif not rows:
            return 0
        return await self._send.change(connection, f"write_{model.table}", *arguments)

    async def _delete(self, connection: Connection, what: str, gone: Sequence[tuple[int, ...]]) -> int:
        """Posts, or media of posts: their ids, and the revision that ended each."""
        if not gone:
            return 0
        arrays = [list(column) for column in zip(*gone, strict=True)]
        await self._send.fetch(connection, f"bury_{what}", *arrays)
        await self._send.fetch(connection, f"forget_{what}", *arrays)
        deleted = 0
        for table in reversed(TABLES_OF[what]):  # whatever refers to another one first, so that all are counted
            if table in self.tables:
                deleted += await self._send.change(connection, f"delete_{table}_of_{what}", *arrays)
        return deleted

    async def _keep(self, connection: Connection, batch: Batch) -> None:
        """What no longer waits, what does, and what can never be written."""
        if batch.settled:
            await self._awaiting.settle(connection, batch.settled)
        if batch.awaiting:
            await self._awaiting.put(connection, batch.awaiting)
        if batch.refused:
            await self._awaiting.refuse(connection, batch.refused)
        for part, why in batch.faceless:
            logger.warning("media %s of post %s: face without a row: %s", part.pk, part.post_id, why)
        for part, why in batch.unfit:
            logger.warning("%s %s of post %s: %s", part.table, part.pk, part.post_id, why)
        self.faceless += len(batch.faceless)
        self.unfit += len(batch.unfit)

    async def _give_up(self, connection: Connection, piece: Piece, error: Exception) -> Outcome:
        """A piece whose values the database does not take."""
        if isinstance(piece, Part):
            if isinstance(error, asyncpg.ForeignKeyViolationError) and (table := _REFERRED.search(error.detail or "")):
                await self._awaiting.put(connection, [(piece, table[1])])
                return Outcome(awaiting=1)
            await self._awaiting.refuse(connection, [(piece, str(error))])
        return Outcome(refused=[(piece.source, str(error))])


def read_models(pool: Pool, settings: Settings) -> ReadModels:
    """As the settings say."""
    return ReadModels(
        pool,
        tables=settings.sink_tables,
        image_width=settings.image_embedding_dim,
        face_width=settings.face_embedding_dim,
        feed_users=settings.feed_users,
        reach=thresholds(settings).reach,
    )


def _arrays(media: Sequence[Compared]) -> list[list[int]]:
    """Posts, media and versions."""
    return [[each.post_id for each in media], [each.media_id for each in media], [each.known for each in media]]


# Where the row is that another one refers to: of the backend, and gone after we had read it, or not there yet.
_REFERRED = re.compile(r'not present in table "(\w+)"')


def _newest(piece: PieceT, known: PieceT | None) -> PieceT:
    return piece if known is None or piece.revision >= known.revision else known
