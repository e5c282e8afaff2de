"""Rows that are not written yet, because the backend's own are not there; one entry each, with the newest change."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from streamapp.events import decode_change, encode
from streamapp.sinks.parts import Deletion, Part, Refused, split
from streamapp.sinks.statements import On, Statements

logger = logging.getLogger(__name__)


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
    attempts: int
    refused: str | None  # why it can never be written


class Awaiting:
    """The table `awaiting`."""

    def __init__(self, send: Statements) -> None:
        self._send = send

    async def put(self, on: On, waiting: Sequence[tuple[Part, str]]) -> None:
        """Parts, and the backend's table that each waits for."""
        await self._send.fetch(
            on,
            "await",
            [part.table for part, _ in waiting],
            [part.pk for part, _ in waiting],
            [part.post_id for part, _ in waiting],
            [part.media_id for part, _ in waiting],
            [table for _, table in waiting],
            [part.revision for part, _ in waiting],
            [encode(part.record) for part, _ in waiting],
        )

    async def settle(self, on: On, parts: Sequence[Part]) -> None:
        """They wait no longer."""
        await self._send.fetch(on, "settle", *_keys(parts))

    async def refuse(self, on: On, refused: Sequence[tuple[Part, str]]) -> None:
        """Keep what was awaited but can never be written, with the reason, where it can be seen."""
        keys = _keys([part for part, _ in refused])
        await self._send.fetch(on, "refuse_awaiting", *keys, [reason for _, reason in refused])

    async def due(self, on: On, tables: Sequence[str], limit: int) -> list[Part | Deletion]:
        """What is to be tried again. Whoever dies with it loses nothing: it is due again later."""
        pieces: list[Part | Deletion] = []
        for entry in await self._send.fetch(on, "claim_awaiting", limit, tables):
            try:
                pieces += [piece for piece in split(decode_change(entry["change"])) if not isinstance(piece, Refused)]
            except msgspec.MsgspecError as error:  # of another release, or somebody's hand
                logger.error(
                    "row %s of %s awaits a change that can not be read: %s", entry["pk"], entry["table_name"], error
                )
                key = [entry["table_name"]], [entry["pk"]], [entry["revision"]]
                await self._send.fetch(on, "refuse_awaiting", *key, [str(error)])
        return pieces

    async def of_post(self, on: On, post_id: int) -> list[AwaitedRow]:
        """What a post waits for."""
        return [AwaitedRow(**entry) for entry in await self._send.fetch(on, "awaiting", post_id)]


def _keys(parts: Sequence[Part]) -> tuple[list[str], list[int], list[int]]:
    return [part.table for part in parts], [part.pk for part in parts], [part.revision for part in parts]
