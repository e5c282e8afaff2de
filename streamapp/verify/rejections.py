"""Documents that Elasticsearch refused, from the dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer

from streamapp.names import DEAD_LETTERS

Refusals: TypeAlias = dict[tuple[str, int], tuple[int, str]]  # table and key -> version and error of the last one

POLL_MS = 500


class Rejections:
    """The dead letters are read when the first document is asked for."""

    def __init__(self, servers: Sequence[str]) -> None:
        self._servers = servers
        self._found: Refusals | None = None

    async def of(self, table: str, pk: int, *, after: int) -> str | None:
        """Why a version of a document that is newer than `after` was refused. Raises KafkaError or OSError."""
        if self._found is None:
            self._found = await self._read()
        version, error = self._found.get((table, pk), (-1, ""))
        return f"version {version} lies in {DEAD_LETTERS}: {error}" if version > after else None

    async def _read(self) -> Refusals:
        found: Refusals = {}
        consumer = AIOKafkaConsumer(
            DEAD_LETTERS,
            bootstrap_servers=list(self._servers),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            group_id=None,
        )
        try:
            await consumer.start()
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                    for record in records:
                        headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
                        if (origin := document_of(headers.get("origin", ""))) is not None:
                            found[origin[:2]] = origin[2], headers.get("error", "")
        finally:
            await consumer.stop()
        return found


def document_of(origin: str) -> tuple[str, int, int] | None:
    """Table, key and version of a refused document (`es:TABLE:KEY:VERSION`); None for another dead letter."""
    match origin.split(":"):
        case ["es", table, pk, version]:
            return table, int(pk), int(version)
    return None
