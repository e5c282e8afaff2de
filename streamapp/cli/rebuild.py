"""`streamapp rebuild`: indices from rows, rows from state."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import aiohttp
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from streamapp.cli.progress import Progress
from streamapp.errors import Unavailable
from streamapp.rebuild import rows
from streamapp.rebuild.agreement import Disagreement
from streamapp.rebuild.documents import Rebuilt, rebuild
from streamapp.rebuild.successor import Busy, Successor
from streamapp.settings import Settings, get_settings
from streamapp.sinks.indices import BY_NAME, connect
from streamapp.sinks.postgres import TROUBLE, Pool, ReadModels, open_pool
from streamapp.verify.state import State, StateUnavailable

Found: TypeAlias = tuple[bool, Any, str]

ROWS, ALL = "rows", "all"
NAMES = (*BY_NAME, ALL, ROWS)
CONNECTIONS = 6
REFUSED_SHOWN = 10
STOPPED = (Busy, Disagreement, StateUnavailable, Unavailable, *TROUBLE, ApiError, TransportError)


async def rebuild_named(name: str, *, drop_old: bool) -> Found:
    """Rebuild one index, all, or the rows. Bad when it could not be done, or something was refused."""
    settings = get_settings()
    try:
        return await (_rows(settings) if name == ROWS else _indices(settings, _named(name), drop_old))
    except STOPPED as error:
        text = f"{type(error).__name__}: {error}"
        return False, {"error": text}, f"{text}\nWhat was done is kept: run it again and it goes on from there."


async def abandon(name: str) -> Found:
    """Give up the rebuilds that were begun."""
    settings = get_settings()
    gone = []
    try:
        async with _servers(settings) as (pool, client):
            for each in _named(name):
                target = Successor(pool, client, BY_NAME[each], prefix=settings.index_prefix)
                async with target.alone():
                    if (index := await target.abandon()) is not None:
                        gone.append(index)
    except STOPPED as error:
        text = f"{type(error).__name__}: {error}"
        return False, {"error": text}, text
    return True, {"abandoned": gone}, "\n".join(f"{index} deleted" for index in gone) or "nothing was begun"


def _named(name: str) -> list[str]:
    return list(BY_NAME) if name == ALL else [name]


async def _indices(settings: Settings, names: list[str], drop_old: bool) -> Found:
    done: list[Rebuilt] = []
    async with _servers(settings) as (pool, client):
        for name in names:
            progress = Progress(name)
            index = BY_NAME[name]
            done.append(
                await rebuild(pool, client, index, prefix=settings.index_prefix, drop_old=drop_old, progress=progress)
            )
            progress.end()
    good = not any(each.agreement and each.agreement.refused for each in done)
    return good, [dataclasses.asdict(each) for each in done], "\n".join(line for each in done for line in _lines(each))


def _lines(done: Rebuilt) -> list[str]:
    resumed = ", begun by an earlier run" if done.resumed else ""
    if (agreed := done.agreement) is None:
        lines = [f"{done.index}: searches already went to {done.name}; tidied up"]
    else:
        counted = f"{agreed.documents:,} documents of {agreed.rows:,} rows agree, content {agreed.digest[:12]}"
        lines = [f"{done.index}: {counted}; searches go to {done.name} now{resumed}"]
        refused = list(agreed.refused.items())
        lines += [f"  refused by the index: {key}: {error}" for key, error in refused[:REFUSED_SHOWN]]
        lines += [f"  and {len(refused) - REFUSED_SHOWN} more"] * (len(refused) > REFUSED_SHOWN)
    return lines + [f"  dropped {name}" for name in done.dropped]


async def _rows(settings: Settings) -> Found:
    state = State(settings.web_address, headers=settings.web_headers)
    pool = await open_pool(settings.postgres_url, max_size=2)
    progress = Progress(ROWS)
    try:
        await state.ready()
        models = ReadModels(
            pool,
            tables=settings.sink_tables,
            image_width=settings.image_embedding_dim,
            face_width=settings.face_embedding_dim,
            feed_users=settings.feed_users,
        )
        written = await rows.rebuild(state, models, total=await _posts(settings), progress=progress)
    finally:
        progress.end()
        await pool.close()
        await state.close()
    refused = [f"post {change.post_id}: {reason}" for change, reason in written.refused]
    counts = {name: written.counts[name] for name in ("posts", "changed", "awaiting")}
    text = "{posts:,} posts, {changed:,} rows changed, {awaiting:,} wait for the backend's".format(**counts)
    lines = [text, *(f"  refused: {each}" for each in refused[:REFUSED_SHOWN])]
    lines += [f"  and {len(refused) - REFUSED_SHOWN} more"] * (len(refused) > REFUSED_SHOWN)
    return True, {**counts, "refused": refused}, "\n".join(lines)


async def _posts(settings: Settings) -> int:
    """How many posts the state has, for the progress; 0 where nobody says."""
    try:
        async with (
            aiohttp.ClientSession(headers=settings.web_headers) as session,
            session.get(f"{settings.web_address}/tables", raise_for_status=True) as response,
        ):
            tables: list[dict[str, Any]] = (await response.json())["tables"]
    except aiohttp.ClientError:
        return 0
    return next((int(table["rows"]) for table in tables if table["name"] == "posts"), 0)


@asynccontextmanager
async def _servers(settings: Settings) -> AsyncIterator[tuple[Pool, AsyncElasticsearch]]:
    pool = await open_pool(settings.postgres_url, max_size=CONNECTIONS)
    client = connect(settings.elasticsearch_url)
    try:
        yield pool, client
    finally:
        await client.close()
        await pool.close()
