"""What an index holds.

Every function raises elasticsearch.ApiError or elasticsearch.TransportError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from elasticsearch import AsyncElasticsearch


async def stored(client: AsyncElasticsearch, index: str, keys: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """The documents of some keys (`_source`, `_version`) as they are now, without the wait for a refresh, and with
    their vectors: those are left out unless asked for, and the client's mget has no name for that."""
    answer = await client.perform_request(
        "POST",
        f"/{index}/_mget?_source_exclude_vectors=false",
        headers={"content-type": "application/json", "accept": "application/json"},
        body={"ids": [str(key) for key in keys]},
    )
    return {int(each["_id"]): each for each in answer["docs"] if each.get("found")}


async def ids(
    client: AsyncElasticsearch, index: str, *, key: str, query: Mapping[str, Any], size: int
) -> AsyncIterator[list[str]]:
    """The ids of all documents that a query finds, so many at a time, in the order of the field `key`. A search sees
    what is older than a second, or than a refresh."""
    after: list[Any] | None = None
    while True:
        found = await client.search(
            index=index, query=query, size=size, sort=[{key: "asc"}], search_after=after, source=False
        )
        if not (hits := found["hits"]["hits"]):
            return
        yield [hit["_id"] for hit in hits]
        after = hits[-1]["sort"]
