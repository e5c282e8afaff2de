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
from streamapp.sinks.database import TROUBLE, Pool, open_pool
from streamapp.sinks.indices import BY_NAME, connect
from streamapp.sinks.postgres import read_models
from streamapp.verify.state import State, StateUnavailable

Found: TypeAlias = tuple[bool, Any, str]

ROWS, ALL = "rows", "all"
NAMES = (*BY_NAME, ALL, ROWS)
CONNECTIONS = 6
REFUSED_SHOWN = 10
STOPPED = (Busy, Disagreement, StateUnavailable, Unavailable, *TROUBLE, ApiError, TransportError)


async def rebuild_named(name: str, *, drop_old: bool) -> Found:
    """Rebuild one index, all, or the rows. Bad when one could not be done, or an index refused a document. A row that
    cannot be written is told, and was refused when its change came: that is no failure of now."""
    settings = get_settings()
    if name != ROWS:
        return await _indices(settings, _named(name), drop_old)
    try:
        return await _rows(settings)
    except STOPPED as error:
        text = f"{type(error).__name__}: {error}"
        return False, {"error": text}, f"{text}\nWhat was written stays; run again, it begins with the first post."


async def abandon(name: str) -> Found:
    """Give up the rebuilds that were begun."""
    settings = get_settings()
    gone: list[str] = []
    try:
        async with _servers(settings) as (pool, client):
            for each in _named(name):
                target = Successor(pool, client, BY_NAME[each], prefix=settings.index_prefix)
                async with target.alone():
                    gone += await target.abandon()
    except STOPPED as error:
        text = f"{type(error).__name__}: {error}"
        return False, {"abandoned": gone, "error": text}, "\n".join([*_deleted(gone), text])
    return True, {"abandoned": gone}, "\n".join(_deleted(gone) or ["nothing was begun"])


def _deleted(names: list[str]) -> list[str]:
    return [f"{name} deleted" for name in names]


def _named(name: str) -> list[str]:
    return list(BY_NAME) if name == ALL else [name]


async def _indices(settings: Settings, names: list[str], drop_old: bool) -> Found:
    """One after the other; one that cannot be done now does not stop the others, nor hide what was done."""
    good, body, lines = True, list[dict[str, Any]](), list[str]()
    async with _servers(settings) as (pool, client):
        for name in names:
            progress = Progress(name)
            index, prefix = BY_NAME[name], settings.index_prefix
            try:
                done = await rebuild(pool, client, index, prefix=prefix, drop_old=drop_old, progress=progress)
            except STOPPED as error:
                progress.end()
                text = f"{type(error).__name__}: {error}"
                good = False
                body.append({"index": name, "error": text})
                lines += [f"{name}: {text}", "  what was done is kept: run it again and it goes on from there"]
                continue
            progress.end()
            good = good and not (done.agreement and done.agreement.refused)
            body.append(dataclasses.asdict(done))
            lines += _lines(done)
    return good, body, "\n".join(lines)


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
        models = read_models(pool, settings)
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
