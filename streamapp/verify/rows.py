"""What PostgreSQL has of some posts. It compares the values itself, with the types and the equality of the upsert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from streamapp.sinks import sql
from streamapp.sinks.database import DATA_ERRORS, Pool
from streamapp.sinks.media_rows import BackendRow
from streamapp.sinks.parts import Part
from streamapp.sinks.people import matched_users
from streamapp.sinks.readmodels import MEDIA_INSIGHTS, MEDIA_SEARCH, POST_SEARCH, READ_MODELS, ReadModel
from streamapp.sinks.rows import Batch, Values, sort

Key: TypeAlias = tuple[str, int | str]  # table, and what an upsert knows the row by
PartKey: TypeAlias = tuple[str, int, int]  # of a part of a change
Columns: TypeAlias = Mapping[str, tuple[Any, Any]]  # what a column should have, and what it has
PAGE = 1000  # ids of posts
OF_DELETED_USER = 2**63 - 1  # the revision that ended their posts


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A row of ours that is there; `media_id` is None in a table of posts."""

    key: Key
    post_id: int
    media_id: int | None
    revision: int

    @property
    def part(self) -> PartKey:
        """The part of a change that makes it: one for all rows of a media."""
        if self.media_id is None:
            return POST_SEARCH, self.post_id, self.post_id
        return MEDIA_SEARCH, self.media_id, self.post_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The row that should have some values: its revision, None where it is not there, and those of our columns that
    differ. `error`: why no row can have these values."""

    revision: int | None = None
    columns: Columns
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A media row that does not say of its post what the post's row does; `columns` as in Compared."""

    media_id: int
    columns: Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that the database says to some parts and posts."""

    batch: Batch
    # By part: the rows that it makes; without what counts as deleted.
    compared: Mapping[PartKey, Mapping[Key, Compared]]
    present: Mapping[int, Sequence[Present]]  # by post
    awaiting: Mapping[PartKey, Mapping[str, Any]]
    told: Mapping[int, Sequence[Told]] = field(default_factory=dict)  # by post
    shown: Mapping[int, Columns] = field(default_factory=dict)  # by post: what its row says of who is on its media
    lacking: Mapping[PartKey, str] = field(default_factory=dict)  # by part: the backend's table without its row


class Rows:
    """Those of `tables` whose rows are made of changes. Every method raises OSError or asyncpg's errors."""

    def __init__(self, pool: Pool, *, tables: Sequence[str], image_width: int, face_width: int) -> None:
        self.pool = pool
        self.models = {table: model for table, model in READ_MODELS.items() if table in tables}
        self.parts = {POST_SEARCH if table == POST_SEARCH else MEDIA_SEARCH for table in self.models}
        self.image_width, self.face_width = image_width, face_width

    async def see(self, parts: Sequence[Part], posts: Sequence[int]) -> Seen:
        """Compare the rows of the parts, and list all rows of the posts."""
        queries = sql.queries("sink")
        media = [(part.post_id, part.media_id) for part in parts if part.media_id is not None]
        of_posts = {row["post_id"]: dict(row) for row in await self.pool.fetch(queries["posts"], posts)}
        of_media = {
            (row["wanted_by"], row["media_id"]): dict(row)
            for row in await self.pool.fetch(queries["media"], [p for p, _ in media], [m for _, m in media])
        }
        people = await self.pool.fetch(sql.queries("faces")["people"], matched_users(parts))
        names = {person["user_id"]: person["username"] for person in people}
        batch = sort(parts, of_posts, of_media, width=self.image_width, face_width=self.face_width, people=names)
        compared: dict[PartKey, dict[Key, Compared]] = {part.key: {} for part in batch.media}
        of_media_id = {part.media_id: part.key for part in batch.media}  # the post that has it: one
        present: dict[int, list[Present]] = {}
        for model in self.models.values():
            values = batch.rows.get(model.table, [])
            parts_of: dict[Key, PartKey] = {
                _key(model, row): of_media_id[row["media_id"]]
                if "media_id" in row
                else (POST_SEARCH, row["post_id"], row["post_id"])
                for row in values
            }
            for key, found in (await self._compare(model, values)).items():
                compared.setdefault(parts_of[key], {})[key] = found
            for row in await self.pool.fetch(rows_of_posts(model), posts):
                there = Present(key=(model.table, row["pk"]), **{name: row[name] for name in _NAMES})
                present.setdefault(there.post_id, []).append(there)
        awaiting = await self.pool.fetch(sql.queries("verify")["awaiting"], posts)
        keyed = {(entry["table_name"], entry["pk"], entry["post_id"]): dict(entry) for entry in awaiting}
        return Seen(
            batch=batch,
            compared=compared,
            present=present,
            awaiting=keyed,
            told=await self._told(posts),
            shown=await self._shown(posts),
            lacking=lacking(parts, of_posts, of_media),
        )

    async def _told(self, posts: Sequence[int]) -> dict[int, list[Told]]:
        found: dict[int, list[Told]] = {}
        if MEDIA_SEARCH in self.models:
            for row in await self.pool.fetch(sql.queries("verify")["told"], posts, POST_SEARCH in self.models):
                one = Told(media_id=row["media_id"], columns=_columns(row["differing"]))
                found.setdefault(row["post_id"], []).append(one)
        return found

    async def _shown(self, posts: Sequence[int]) -> dict[int, Columns]:
        if not {MEDIA_SEARCH, POST_SEARCH} <= self.models.keys():
            return {}
        rows = await self.pool.fetch(sql.queries("verify")["shown"], posts)
        return {row["post_id"]: _columns(row["differing"]) for row in rows}

    async def posts_but(self, known: Set[int]) -> AsyncIterator[list[int]]:
        """The posts that have rows of ours and are not known, in pages."""
        for model in (model for model in self.models.values() if "post_id" in model.columns):
            last = -(2**63)
            while page := [row[0] for row in await self.pool.fetch(posts_of_rows(model), last, PAGE)]:
                last = page[-1]
                if others := [post_id for post_id in page if post_id not in known]:
                    yield others

    async def _compare(self, model: ReadModel, values: Sequence[Values]) -> dict[Key, Compared]:
        try:
            found = await self.pool.fetch(comparison(model), orjson.dumps(values).decode())
        except DATA_ERRORS as error:  # no row can have such values; which one is found one by one
            if len(values) == 1:
                return {_key(model, values[0]): Compared(columns={}, error=str(error))}
            return {key: one for each in values for key, one in (await self._compare(model, [each])).items()}
        return {
            (model.table, row["pk"]): Compared(revision=row["revision"], columns=_columns(row["differing"]))
            for row in found
        }


def lacking(
    parts: Iterable[Part], posts: Mapping[int, BackendRow], media: Mapping[tuple[int, int], BackendRow]
) -> dict[PartKey, str]:
    """The parts without a row of the backend's, and its table; that of a deleted user counts as none. Rows of the
    queries `posts` and `media`, as for `sort`."""
    found: dict[PartKey, str] = {}
    for part in parts:
        post, medium = posts[part.post_id], media.get((part.post_id, part.pk))
        if post["user_id"] is None:
            found[part.key] = "posts"
        elif post["username"] is None or post["deleted"] == OF_DELETED_USER:
            found[part.key] = "users"
        elif part.media_id is not None and (medium is None or medium["post_id"] is None):
            found[part.key] = "post_media"
    return found


def _key(model: ReadModel, values: Values) -> Key:
    return model.table, values[model.key]


def _columns(differing: str) -> Columns:
    return {name: (expected, found) for name, expected, found in orjson.loads(differing)}


_NAMES = ("post_id", "media_id", "revision")


def comparison(model: ReadModel) -> str:
    """Rows that should be there, given as for the upsert, with what is there: pk, revision, and an array of
    [column, expected, found] for each column that differs."""
    typed = ", ".join(f"{name} {kind}" for name, kind in model.columns.items())
    ours = {name: kind for name, kind in model.columns.items() if name not in (model.key, "revision")}
    # A column may be narrower than the type we send (varchar); arrays of the two have no operator without the cast.
    each = ",\n".join(
        f"('{name}', to_jsonb(r.{name}), to_jsonb(t.{name}), t.{name}::{kind} IS DISTINCT FROM r.{name})"
        for name, kind in ours.items()
    )
    return (
        f"SELECT r.{model.key} AS pk, t.revision, (\n"  # names are ours
        "SELECT coalesce(jsonb_agg(jsonb_build_array(name, expected, found)), '[]')\n"
        f"FROM (VALUES {each}) AS c (name, expected, found, differs) WHERE differs) AS differing\n"
        f"FROM json_to_recordset($1::json) AS r ({typed})\n"
        f"LEFT JOIN {model.table} t ON t.{model.key} = r.{model.key}"
    )


def rows_of_posts(model: ReadModel) -> str:
    """Our rows of an array of posts; those of revision 0 are the backend's own."""
    media_id = "t.media_id" if "media_id" in model.columns else "NULL::bigint AS media_id"
    of, tables = "t", f"{model.table} t"
    if "post_id" not in model.columns:  # a detected face is of the post of its media
        of, tables = "i", f"{tables} JOIN {MEDIA_INSIGHTS} i ON i.media_id = t.media_id"
    return (
        f"SELECT t.{model.key} AS pk, {of}.post_id, {media_id}, t.revision FROM {tables}\n"  # noqa: S608
        f"WHERE {of}.post_id = ANY($1::bigint[]) AND t.revision > 0"
    )


def posts_of_rows(model: ReadModel) -> str:
    """The posts that have rows of ours, after an id, in their order."""
    return (
        f"SELECT DISTINCT post_id FROM {model.table}\n"  # noqa: S608
        "WHERE revision > 0 AND post_id > $1 ORDER BY post_id LIMIT $2"
    )
