"""Rows against state: what PostgreSQL has, judged by what the state says should be there. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from streamapp.posts.expected import removed
from streamapp.sinks.parts import Refused, database_id
from streamapp.sinks.readmodels import MEDIA_SEARCH, READ_MODELS
from streamapp.verify import wanted
from streamapp.verify.findings import Difference, Findings
from streamapp.verify.rows import Compared, Present, Seen
from streamapp.verify.wanted import Known, WantedRow


def judge(known: Known, pieces: Iterable[WantedRow | Refused], present: Iterable[Present], seen: Seen) -> Findings:
    """What differs in the rows of a post. `pieces` should be there, `present` are there."""
    findings = Findings()
    there = {row.key: row for row in present}
    for piece in pieces:
        if isinstance(piece, Refused):
            findings.tell("rows of ids that are no numbers", f"post {known.post_id}: {piece.reason}")
            continue
        stands = there.pop(piece.part.key, None) is not None
        if (refusal := _refusal(piece, seen)) is not None:
            findings.tell("rows refused", f"{_place(piece)}: {refusal}")
        else:
            findings.differences += _required(piece, seen, stands, findings)
    if known.alive is not None:
        for row in seen.told.get(database_id(known.post_id) or 0, ()):
            for name, (expected, found) in row.columns.items():
                ids = {"post": known.post_id, "media": str(row.media_id)}
                where = _where(MEDIA_SEARCH, row.media_id)
                told = Difference(kind="row", where=where, field=name, expected=expected, found=found, **ids)
                findings.differences.append(told)
    for stray in there.values():
        if (reason := _stray(known, stray)) is not None:
            findings.differences.append(_extra(known, stray, reason))
    return findings


def _refusal(row: WantedRow, seen: Seen) -> str | None:
    """Why a row can not be written, as far as that is known."""
    waiting = seen.awaiting.get(row.part.key)
    if waiting is not None and waiting["refused"] is not None:
        return str(waiting["refused"])
    if (found := seen.compared.get(row.part.key)) is not None:
        return found.error
    return next((reason for part, reason in seen.batch.refused if part.key == row.part.key), None)


def _required(row: WantedRow, seen: Seen, stands: bool, findings: Findings) -> Iterable[Difference]:
    key = row.part.key
    waiting = seen.awaiting.get(key)
    lacking = next((table for part, table in seen.batch.awaiting if part.key == key), None)
    if lacking is not None:
        return _awaited(row, lacking, waiting, stands, findings)
    if key not in seen.compared:
        return [_difference(row, "missing", expected="it counts as deleted")] if row.required else []
    findings.compared["rows"] += 1
    return _written(row, seen.compared[key], waiting)


def _place(row: WantedRow) -> str:
    """The row for people."""
    part = row.part
    media = "" if part.media_id is None else f" media {part.media_id}"
    return f"post {part.post_id}{media} {_where(part.table, part.pk)}"


def _where(table: str, pk: int) -> str:
    """The key is told where post and media do not tell it."""
    return f"row {table}" + ("" if READ_MODELS[table].key in ("post_id", "media_id") else f" {pk}")


def _difference(row: WantedRow, kind: Any, **more: Any) -> Difference:
    part = row.part
    media = None if part.media_id is None else str(part.media_id)
    return Difference(kind=kind, where=_where(part.table, part.pk), post=str(part.post_id), media=media, **more)


def _awaited(
    row: WantedRow, table: str, waiting: Mapping[str, Any] | None, there: bool, findings: Findings
) -> Iterator[Difference]:
    """A row for which the backend lacks one of its own."""
    if waiting is not None:
        findings.tell(f"rows that await the backend's {waiting['awaited']}", _place(row))
        if row.settled and waiting["revision"] < row.part.revision:
            late = _difference(row, "row", field="revision", expected=row.part.revision, found=waiting["revision"])
            yield replace(late, where=late.where.replace("row", "awaiting", 1))
    elif there:
        findings.tell(f"rows of which the backend's {table} are gone: not compared", _place(row))
    elif row.required:
        yield _difference(row, "missing", expected=f"the backend's {table} lacks a row, and nothing awaits it")


def _written(row: WantedRow, found: Compared, waiting: Mapping[str, Any] | None) -> Iterator[Difference]:
    if waiting is not None and waiting["revision"] > (found.revision or 0):
        yield _difference(
            row, "pending", found=f"it awaited {waiting['awaited']} and is tried again at {waiting['next_attempt']}"
        )
    elif found.revision is None:
        if row.required:
            yield _difference(row, "missing", expected=f"revision {row.part.revision}")
    elif row.required or found.revision > 0:
        newest = row.part.revision
        if not (found.revision == newest if row.settled else 1 <= found.revision <= newest):
            expected: Any = newest if row.settled else f"1 to {newest}"
            yield _difference(row, "row", field="revision", expected=expected, found=found.revision)
        if row.whole:
            for name, (expected, has) in found.columns.items():
                yield _difference(row, "row", field=name, expected=expected, found=has)


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
    table, pk = row.key
    media = None if row.media_id is None else str(row.media_id)
    return Difference(
        kind="extra",
        where=_where(table, pk),
        post=known.post_id,
        media=media,
        expected=f"{reason} (revision {row.revision})",
        found=row.revision,
    )
