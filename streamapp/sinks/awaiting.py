"""Rows that are not written yet, because the backend's own are not there; one entry for each and the post that names
it, with the newest change."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from streamapp.events import MediaChanged, decode_change, encode
from streamapp.sinks.parts import Deletion, Part, Refused, split
from streamapp.sinks.people import said, without
from streamapp.sinks.statements import On, Statements

logger = logging.getLogger(__name__)

REPORT_AFTER = 600.0  # seconds after which it is said that the backend's row has not come; it is awaited all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedRow:
    """A row, and the rows that follow from it, that waits because the backend's table `awaited` lacks a row."""

    table_name: str
    pk: int
    media_id: int | None
    awaited: str
    revision: int
    since: dt.datetime
    next_attempt: dt.datetime
    attempts: int  # with the newest change
    reported_at: dt.datetime | None  # when it was said that it has waited for long
    refused: str | None  # why it can never be written


class Awaiting:
    """The table `awaiting`. `reported` counts rows that were said to have waited for long."""

    def __init__(self, send: Statements) -> None:
        self.reported = 0
        self._send = send

    async def put(self, on: On, waiting: Sequence[tuple[Part, str]]) -> None:
        """Parts, and the backend's table that each waits for."""
        for_long = await self._send.fetch(
            on,
            "await",
            [part.table for part, _ in waiting],
            [part.pk for part, _ in waiting],
            [part.post_id for part, _ in waiting],
            [part.media_id for part, _ in waiting],
            [table for _, table in waiting],
            [part.revision for part, _ in waiting],
            [encode(part.record) for part, _ in waiting],
            REPORT_AFTER,
        )
        for one in for_long:
            logger.warning(
                "post %s: row %s of %s awaits the backend's %s since %s",
                *(one["post_id"], one["pk"], one["table_name"], one["awaited"], one["since"]),
            )
        self.reported += len(for_long)

    async def settle(self, on: On, parts: Sequence[Part]) -> None:
        """They wait no longer."""
        await self._send.fetch(on, "settle", *_keys(parts))

    async def refuse(self, on: On, refused: Sequence[tuple[Part, str]]) -> None:
        """Keep what was awaited but can never be written, with the reason, where it can be seen."""
        keys = _keys([part for part, _ in refused])
        await self._send.fetch(on, "refuse_awaiting", *keys, [reason for _, reason in refused])

    async def forget(self, on: On, user_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Take users out of what waits, as if they had not been recognised; post and media of each."""
        rewritten = []
        for entry in await self._send.fetch(on, "awaiting_with_users", [said(user) for user in user_ids]):
            try:
                change = decode_change(entry["change"])
            except msgspec.MsgspecError:  # it can not be written either, and is told as left
                continue
            if isinstance(change, MediaChanged) and (known := change.media.recognition) is not None:
                media = replace(change.media, recognition=without(known, user_ids))
                raw = encode(replace(change, media=media))
                rewritten.append((entry["table_name"], entry["pk"], entry["post_id"], raw))
        if rewritten:
            await self._send.fetch(on, "rewrite_awaiting", *map(list, zip(*rewritten, strict=True)))
        return [(post_id, media_id) for _, media_id, post_id, _ in rewritten]

    async def due(self, on: On, tables: Sequence[str], limit: int) -> tuple[int, list[Part | Deletion]]:
        """What is to be tried again, and of how many entries that is. Whoever dies with it loses nothing: it is due
        again later."""
        pieces: list[Part | Deletion] = []
        claimed = await self._send.fetch(on, "claim_awaiting", limit, tables)
        for entry in claimed:
            try:
                pieces += [piece for piece in split(decode_change(entry["change"])) if not isinstance(piece, Refused)]
            except msgspec.MsgspecError as error:  # of another release, or somebody's hand
                logger.error(
                    "row %s of %s awaits a change that can not be read: %s", entry["pk"], entry["table_name"], error
                )
                key = [entry["table_name"]], [entry["pk"]], [entry["post_id"]], [entry["revision"]]
                await self._send.fetch(on, "refuse_awaiting", *key, [str(error)])
        return len(claimed), pieces

    async def of_post(self, on: On, post_id: int) -> list[AwaitedRow]:
        """What a post waits for."""
        return [AwaitedRow(**entry) for entry in await self._send.fetch(on, "awaiting", post_id)]


def _keys(parts: Sequence[Part]) -> tuple[list[str], list[int], list[int], list[int]]:
    tables, pks = [part.table for part in parts], [part.pk for part in parts]
    return tables, pks, [part.post_id for part in parts], [part.revision for part in parts]
