"""Send bulk requests, so that an index that takes nothing keeps no other waiting."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import TypeAlias

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from streamapp.sinks.bulk import LARGEST_DOCUMENT_BYTES, Entry, Operation, Verdict, requests, verdict
from streamapp.sinks.indices import Target

Ruling: TypeAlias = tuple[Verdict, str]
"""A verdict and its error."""

SHARD_TIMEOUT = "2s"  # that the server waits for a shard to write to, and all of a request waits with it; else a minute
LONGEST_WAIT = 10.0  # seconds


def backoff(failures: int) -> float:
    """Seconds: a quarter, a half, 1, 2 ... up to LONGEST_WAIT."""
    return float(min(LONGEST_WAIT, 0.25 * 2 ** min(failures, 10)))


async def send(client: AsyncElasticsearch, operations: Sequence[Operation]) -> list[Ruling]:
    """The verdicts, in the order of the operations. One index does not wait for another.

    Raises elasticsearch.ApiError or elasticsearch.TransportError where the server answers for none.
    """
    apart = defaultdict[str, list[Operation]](list)
    for operation in operations:
        apart[operation.index].append(operation)
    ruled = await asyncio.gather(*(_send(client, those) for those in apart.values()), return_exceptions=True)
    failures = [found for found in ruled if isinstance(found, BaseException)]
    rulings: dict[Entry, Ruling] = {}
    for those, found in zip(apart.values(), ruled, strict=True):
        if isinstance(found, BaseException):
            if len(failures) == len(ruled) or not isinstance(found, ApiError | TransportError):
                raise found
            found = [(Verdict.LATER, str(found))] * len(those)
        rulings |= zip((operation.entry for operation in those), found, strict=True)
    return [rulings[operation.entry] for operation in operations]


async def _send(client: AsyncElasticsearch, operations: Sequence[Operation]) -> list[Ruling]:
    """The verdicts on the operations of one index, which is not asked again once it takes nothing."""
    rulings: list[Ruling] = []
    for request in requests(operations):
        if request is None:
            rulings.append((Verdict.REJECTED, f"the document is larger than {LARGEST_DOCUMENT_BYTES} bytes"))
            continue
        answer = await client.bulk(operations=request, timeout=SHARD_TIMEOUT)  # type: ignore[arg-type]  # bytes
        found = [verdict(item) for item in answer["items"]]
        rulings += found
        if all(ruling is Verdict.LATER for ruling, _ in found):
            break
    return rulings + rulings[-1:] * (len(operations) - len(rulings))


class Rests:
    """Indices that took nothing the last time, and are left alone for a while."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, Target], tuple[int, float]] = {}  # and how often it took nothing

    def awake(self, tables: Collection[str], target: Target) -> list[str]:
        """The tables whose documents may be sent."""
        now = time.monotonic()
        return [table for table in tables if self._until.get((table, target), (0, now))[1] <= now]

    def note(self, operations: Sequence[Operation], rulings: Sequence[Ruling]) -> None:
        """What came of a batch. An index that refuses a document has taken notice of it."""
        places = [(operation.entry.table_name, operation.entry.target) for operation in operations]
        took = {place for place, (ruling, _) in zip(places, rulings, strict=True) if ruling is not Verdict.LATER}
        for place in set(places):
            failures, _ = self._until.pop(place, (0, 0.0))
            if place not in took:
                self._until[place] = failures + 1, time.monotonic() + backoff(failures)
