"""Rows against state: what PostgreSQL has, judged by what the state says should be there. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from streamapp.posts.expected import removed
from streamapp.sinks.parts import Refused, database_id
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH, READ_MODELS
from streamapp.verify import wanted
from streamapp.verify.findings import Difference, Findings
from streamapp.verify.rows import Compared, Key, PartKey, Present, Seen
from streamapp.verify.wanted import Known, WantedRow


def judge(known: Known, pieces: Iterable[WantedRow | Refused], present: Iterable[Present], seen: Seen) -> Findings:
    """What differs in the rows of a post. `pieces` should be there, `present` are there."""
    findings = Findings()
    there: dict[PartKey, dict[Key, Present]] = {}  # by part
    for row in present:
        there.setdefault(row.part, {})[row.key] = row
    for piece in pieces:
        if isinstance(piece, Refused):
            findings.tell("rows of ids that are no numbers", f"post {known.post_id}: {piece.reason}")
            continue
        stands = there.pop(piece.part.key, {})
        if (refusal := _refusal(piece, seen)) is not None:
            findings.tell("rows refused", f"{_place(piece)}: {refusal}")
        else:
            findings.differences += _required(piece, seen, stands, findings)
            for why in (why for part, why in seen.batch.faceless if part is piece.part):
                findings.tell("faces without a row", f"{_place(piece)}: {why}")
            for why in (why for part, why in seen.batch.unfit if part is piece.part):
                findings.tell("values that do not fit", f"{_place(piece)}: {why}")
    if known.alive is not None:
        findings.differences += _told(known, seen)
    for stray in (row for rows in there.values() for row in rows.values()):
        if (reason := _stray(known, stray)) is not None:
            findings.differences.append(_extra(known, stray, reason))
    return findings


def _told(known: Known, seen: Seen) -> Iterator[Difference]:
    """What media rows say of their post otherwise than its row does, and that row of who is on them."""
    for media in seen.told.get(database_id(known.post_id) or 0, ()):
        for name, (expected, found) in media.columns.items():
            ids = {"post": known.post_id, "media": str(media.media_id)}
            where = _where((MEDIA_SEARCH, media.media_id))
            yield Difference(kind="row", where=where, field=name, expected=expected, found=found, **ids)
    for name, (expected, found) in seen.shown.get(database_id(known.post_id) or 0, {}).items():
        where = _where((POST_SEARCH, database_id(known.post_id) or 0))
        yield Difference(kind="row", where=where, field=name, expected=expected, found=found, post=known.post_id)


def _refusal(row: WantedRow, seen: Seen) -> str | None:
    """Why a row can not be written, as far as that is known."""
    waiting = seen.awaiting.get(row.part.key)
    if waiting is not None and waiting["refused"] is not None:
        return str(waiting["refused"])
    if (reason := next((reason for part, reason in seen.batch.refused if part is row.part), None)) is not None:
        return reason
    return next((found.error for found in seen.compared.get(row.part.key, {}).values() if found.error), None)


def _required(row: WantedRow, seen: Seen, stands: Mapping[Key, Present], findings: Findings) -> Iterable[Difference]:
    """What differs in the rows that a part makes; `stands` are those that are there."""
    key = row.part.key
    waiting = seen.awaiting.get(key)
    lacking = next((table for part, table in seen.batch.awaiting if part is row.part), None)
    if stands and (table := lacking or seen.lacking.get(key)) is not None:
        return _left(row, table, stands)
    if lacking is not None:
        return _awaited(row, lacking, waiting, findings)
    if key not in seen.compared:
        return _deleted(row, seen.lacking.get(key), findings)
    findings.compared["rows"] += len(seen.compared[key])
    return _written(row, seen.compared[key], stands, waiting)


def _place(row: WantedRow) -> str:
    """The row for people."""
    part = row.part
    media = "" if part.media_id is None else f" media {part.media_id}"
    return f"post {part.post_id}{media} {_where((part.table, part.pk))}"


def _where(key: Key) -> str:
    """The key is told where post and media do not tell it."""
    table, pk = key
    return f"row {table}" + ("" if READ_MODELS[table].key in ("post_id", "media_id") else f" {pk}")


def _difference(row: WantedRow, kind: Any, key: Key | None = None, **more: Any) -> Difference:
    """`key`: of the row, where it is not the first one of the part."""
    part = row.part
    media = None if part.media_id is None else str(part.media_id)
    where = _where(key or (part.table, part.pk))
    return Difference(kind=kind, where=where, post=str(part.post_id), media=media, **more)


def _awaited(row: WantedRow, table: str, waiting: Mapping[str, Any] | None, findings: Findings) -> Iterator[Difference]:
    """A row for which the backend lacks one of its own."""
    if waiting is not None:
        findings.tell(f"rows that await the backend's {waiting['awaited']}", _place(row))
        if row.settled and waiting["revision"] < row.part.revision:
            late = _difference(row, "row", field="revision", expected=row.part.revision, found=waiting["revision"])
            yield replace(late, where=late.where.replace("row", "awaiting", 1))
    elif row.required:
        yield _difference(row, "missing", expected=f"the backend's {table} lacks a row, and nothing awaits it")


def _left(row: WantedRow, table: str, stands: Mapping[Key, Present]) -> Iterator[Difference]:
    """Rows that stand though the backend has deleted its own: they go a minute later."""
    for key, present in stands.items():
        expected = f"the backend's row of {table} is gone (revision {present.revision})"
        yield _difference(row, "extra", key, expected=expected, found=present.revision)


def _deleted(row: WantedRow, table: str | None, findings: Findings) -> Iterator[Difference]:
    """A row that counts as deleted, and is not there."""
    if table is not None:
        findings.tell(f"rows that went with the backend's {table}", _place(row))
    elif row.required:
        yield _difference(row, "missing", expected="it counts as deleted")


def _written(
    row: WantedRow, rows: Mapping[Key, Compared], stands: Mapping[Key, Present], waiting: Mapping[str, Any] | None
) -> Iterator[Difference]:
    if waiting is not None and waiting["revision"] > max((found.revision or 0 for found in rows.values()), default=0):
        yield _difference(
            row, "pending", found=f"it awaited {waiting['awaited']} and is tried again at {waiting['next_attempt']}"
        )
        return
    for key, found in rows.items():
        yield from _one_written(row, key, found)
    for key, stray in stands.items():
        if key not in rows:
            expected = f"the media has no such row (revision {stray.revision})"
            yield _difference(row, "extra", key, expected=expected, found=stray.revision)


def _one_written(row: WantedRow, key: Key, found: Compared) -> Iterator[Difference]:
    if found.revision is None:
        if row.required:
            yield _difference(row, "missing", key, expected=f"revision {row.part.revision}")
    elif row.required or found.revision > 0:
        newest = row.part.revision
        if not (found.revision == newest if row.settled else 1 <= found.revision <= newest):
            expected: Any = newest if row.settled else f"1 to {newest}"
            yield _difference(row, "row", key, field="revision", expected=expected, found=found.revision)
        if row.whole:
            for name, (expected, has) in found.columns.items():
                yield _difference(row, "row", key, field=name, expected=expected, found=has)


def _stray(known: Known, row: Present) -> str | None:
    """Why a row of ours should not be there; None where it may."""
    if known.post is None:
        return "no state knows the post"
    if (post := known.alive) is None:
        return "the post was deleted"
    if row.media_id is None:
        return "the post has no such row"
    media_id = str(row.media_id)
    if media_id in removed(post):
        return "the media left the post"
    if media_id not in post.media:
        return "the post has no such media"
    media = known.media.get(media_id)
    return "the media has no such row" if media is not None and wanted.announced(post, media) else None


def _extra(known: Known, row: Present, reason: str) -> Difference:
    media = None if row.media_id is None else str(row.media_id)
    return Difference(
        kind="extra",
        where=_where(row.key),
        post=known.post_id,
        media=media,
        expected=f"{reason} (revision {row.revision})",
        found=row.revision,
    )
