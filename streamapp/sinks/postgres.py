"""Write read-model rows: guarded by revision, one transaction per batch, one statement per table."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import asyncpg
import msgspec
import orjson
from pgvector.asyncpg import register_vector

from streamapp.errors import Unavailable
from streamapp.events import Change, decode_change, encode
from streamapp.sinks import sql
from streamapp.sinks.parts import Deletion, Part, Refused, database_id, split
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH, READ_MODELS
from streamapp.sinks.rows import Values, sort

logger = logging.getLogger(__name__)

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"
Piece: TypeAlias = Part | Deletion
PieceT = TypeVar("PieceT", Part, Deletion)

# Faults of the values themselves: another attempt with the same values is useless. Whatever else the database says
# (it is down, full, locked, read-only, lacks a table or a right) is no fault of a change and is waited for.
DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    orjson.JSONEncodeError,
)

# What the database or the way to it can say; anything else is an error of this program. InternalClientError is what
# asyncpg says when the server ends the connection while it begins a statement.
TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a batch. A refused change may have other rows that were written."""

    changed: int = 0  # rows inserted, updated or deleted
    awaiting: int = 0  # rows that wait for the backend's
    refused: list[tuple[Change, str]] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.changed += other.changed
        self.awaiting += other.awaiting
        self.refused += other.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedRow:
    """A row that is not written yet, because the backend's table `awaited` lacks a row."""

    table_name: str
    pk: int
    media_id: int | None
    awaited: str
    revision: int
    since: dt.datetime
    next_attempt: dt.datetime
    attempts: int
    refused: str | None  # why it can never be written


async def open_pool(url: str, *, max_size: int = 4) -> Pool:
    """A pool that knows vectors. It connects when it is asked for a connection: a database that is down, or that was
    never migrated, is noticed (and waited for) then."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=max_size,
        init=_know_vectors,
        command_timeout=60,
        # A worker that is frozen in a transaction must not keep a post locked.
        server_settings={"application_name": "streamapp", "idle_in_transaction_session_timeout": "60s"},
    )


async def _know_vectors(connection: asyncpg.Connection[Any]) -> None:
    try:
        await register_vector(connection)
    except ValueError as error:  # it has no type of this name
        raise asyncpg.UndefinedObjectError(
            f"pgvector is not installed, are the migrations applied? ({error})"
        ) from error


class ReadModels:
    """The read models that this application writes."""

    def __init__(self, pool: Pool, *, tables: Iterable[str] = READ_MODELS, image_width: int = 512) -> None:
        self.pool = pool
        # In the order of definition: what a media row says of its post is copied from the post's row.
        self.models = [model for table, model in READ_MODELS.items() if table in set(tables)]
        self.image_width = image_width
        self.statements = 0  # sent so far, transaction control not counted
        self._sql = sql.queries("sink")
        self._upserts = {model.table: model.upsert() for model in self.models}

    async def write(self, changes: Sequence[Change]) -> Outcome:
        """Write the rows of the changes, all or none but for the refused ones. Raises Unavailable."""
        outcome, parts, deletions = Outcome(), dict[tuple[str, int], Part](), dict[tuple[int, int | None], Deletion]()
        for change in changes:
            for piece in split(change):
                if isinstance(piece, Refused):
                    outcome.refused.append((change, piece.reason))
                elif isinstance(piece, Deletion):
                    key = piece.post_id, piece.media_id
                    deletions[key] = _newest(piece, deletions.get(key))
                elif piece.table in self._upserts:
                    parts[piece.key] = _newest(piece, parts.get(piece.key))
        outcome.add(await self._apply([*deletions.values(), *parts.values()]))
        return outcome

    async def retry_awaiting(self, limit: int = 100) -> Outcome:
        """Try again what is due, at most `limit` rows; any worker may. Raises Unavailable."""
        due = await self._ask("claim_awaiting", limit, list(self._upserts))
        pieces: list[Piece] = []
        for entry in due:
            try:
                pieces += [piece for piece in split(decode_change(entry["change"])) if not isinstance(piece, Refused)]
            except msgspec.MsgspecError as error:  # of another release, or somebody's hand
                logger.error(
                    "row %s of %s awaits a change that can not be read: %s", entry["pk"], entry["table_name"], error
                )
                key = [entry["table_name"]], [entry["pk"]], [entry["revision"]]
                await self._ask("refuse_awaiting", *key, [str(error)])
        return await self._apply(pieces)

    async def awaiting(self, post_id: str) -> list[AwaitedRow]:
        """What a post waits for. Raises Unavailable."""
        number = database_id(post_id)
        return [] if number is None else [AwaitedRow(**entry) for entry in await self._ask("awaiting", number)]

    async def _apply(self, pieces: Sequence[Piece]) -> Outcome:
        """All in one transaction; when the database refuses a value, each in its own, to find whose it is."""
        if not pieces:
            return Outcome()
        try:
            async with self.pool.acquire() as connection:
                try:
                    async with connection.transaction():
                        return await self._write(connection, pieces)
                except DATA_ERRORS as error:
                    if len(pieces) == 1:
                        return await self._refuse(connection, [(pieces[0], str(error))])
        except TROUBLE as error:
            raise _unavailable(error) from error
        outcome = Outcome()
        for piece in pieces:
            outcome.add(await self._apply([piece]))
        return outcome

    async def _write(self, connection: Connection, pieces: Sequence[Piece]) -> Outcome:
        outcome = Outcome()
        post_ids = sorted({piece.post_id for piece in pieces})
        await self._fetch(connection, "lock_posts", post_ids)
        if deletions := [piece for piece in pieces if isinstance(piece, Deletion)]:
            outcome.changed += await self._delete(connection, deletions)

        parts = sorted((p for p in pieces if isinstance(p, Part)), key=lambda part: part.key)
        posts = {post["post_id"]: dict(post) for post in await self._fetch(connection, "posts", post_ids)}
        asked = [(part.post_id, part.media_id) for part in parts if part.media_id is not None]
        found = await self._fetch(connection, "media", *map(list, zip(*asked, strict=True))) if asked else []
        media = {entry["media_id"]: dict(entry) for entry in found}
        batch = sort(parts, posts, media, width=self.image_width)

        for model in self.models:
            if values := batch.rows.get(model.table):
                outcome.changed += await self._upsert(connection, model.table, values)
        if MEDIA_SEARCH in self._upserts:
            await self._fetch(connection, "tell_media", post_ids, POST_SEARCH in self._upserts)
        if batch.settled:
            await self._settle(connection, batch.settled)
        if batch.awaiting:
            await self._await(connection, batch.awaiting)
            outcome.awaiting += len(batch.awaiting)
        if batch.refused:
            outcome.add(await self._refuse(connection, batch.refused))
        return outcome

    async def _upsert(self, connection: Connection, table: str, values: list[Values]) -> int:
        self.statements += 1
        return _count(await connection.execute(self._upserts[table], orjson.dumps(values).decode()))

    async def _delete(self, connection: Connection, deletions: Sequence[Deletion]) -> int:
        posts = [d for d in deletions if d.media_id is None]
        media = [d for d in deletions if d.media_id is not None]
        deleted = 0
        if posts:
            arrays = [[d.post_id for d in posts], [d.revision for d in posts]]
            deleted += await self._bury(connection, ("post_id",), arrays)
        if media:
            arrays = [[d.post_id for d in media], [d.media_id for d in media if d.media_id is not None]]
            deleted += await self._bury(connection, ("post_id", "media_id"), [*arrays, [d.revision for d in media]])
        return deleted

    async def _bury(self, connection: Connection, key: tuple[str, ...], arrays: list[list[int]]) -> int:
        what = "post" if len(key) == 1 else "media"
        await self._fetch(connection, f"bury_{what}", *arrays)
        await self._fetch(connection, f"forget_{what}", *arrays)
        deleted = 0
        for model in self.models:
            if set(key) <= model.columns.keys():
                self.statements += 1
                deleted += _count(await connection.execute(model.delete_by(key), *arrays))
        return deleted

    async def _await(self, connection: Connection, waiting: Sequence[tuple[Part, str]]) -> None:
        await self._fetch(
            connection,
            "await",
            [part.table for part, _ in waiting],
            [part.pk for part, _ in waiting],
            [part.post_id for part, _ in waiting],
            [part.media_id for part, _ in waiting],
            [table for _, table in waiting],
            [part.revision for part, _ in waiting],
            [encode(part.record) for part, _ in waiting],
        )

    async def _settle(self, connection: Connection, parts: Sequence[Part]) -> None:
        await self._fetch(
            connection, "settle", [p.table for p in parts], [p.pk for p in parts], [p.revision for p in parts]
        )

    async def _refuse(self, connection: Connection, refused: Sequence[tuple[Piece, str]]) -> Outcome:
        """Report, and keep what was awaited but can never be written where it can be seen."""
        parts = [(piece, reason) for piece, reason in refused if isinstance(piece, Part)]
        await self._fetch(
            connection,
            "refuse_awaiting",
            [part.table for part, _ in parts],
            [part.pk for part, _ in parts],
            [part.revision for part, _ in parts],
            [reason for _, reason in parts],
        )
        return Outcome(refused=[(piece.source, reason) for piece, reason in refused])

    async def _ask(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            return await self._fetch(self.pool, query, *arguments)
        except TROUBLE as error:
            raise _unavailable(error) from error

    async def _fetch(self, on: Connection | Pool, query: str, *arguments: Any) -> list[asyncpg.Record]:
        self.statements += 1
        return await on.fetch(self._sql[query], *arguments)


def _newest(piece: PieceT, known: PieceT | None) -> PieceT:
    return piece if known is None or piece.revision >= known.revision else known


def _count(status: str) -> int:
    """Rows of a command tag such as `INSERT 0 5`."""
    return int(status.rpartition(" ")[2])


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"{type(error).__name__}: {error}")
