"""Documents that Elasticsearch refused, from the dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from streamapp.dead_letters import read_all
from streamapp.names import DEAD_LETTERS

Refusals: TypeAlias = dict[tuple[str, int], tuple[int, str]]  # table and key -> version and error of the last one


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
        async for headers, _ in read_all(self._servers):
            if (origin := document_of(headers.get("origin", ""))) is not None:
                found[origin[:2]] = origin[2], headers.get("error", "")
        return found


def document_of(origin: str) -> tuple[str, int, int] | None:
    """Table, key and version of a refused document (`es:TABLE:KEY:VERSION`); None for another dead letter."""
    match origin.split(":"):
        case ["es", table, pk, version]:
            return table, int(pk), int(version)
    return None
