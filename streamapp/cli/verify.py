"""`streamapp verify`: is what was given out what the state says?"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka.errors import KafkaError
from elasticsearch import ApiError, TransportError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from streamapp.settings import Settings, get_settings
from streamapp.sinks.database import TROUBLE, open_pool
from streamapp.sinks.indices import INDICES, connect
from streamapp.sinks.parts import database_id
from streamapp.verify.documents import Documents
from streamapp.verify.findings import EXAMPLES, Findings
from streamapp.verify.followers import Followers
from streamapp.verify.posts import Posts
from streamapp.verify.rejections import Rejections
from streamapp.verify.results import Results
from streamapp.verify.rows import Rows
from streamapp.verify.state import State, StateUnavailable
from streamapp.verify.streams import Streams

COMPARED = ("posts", "media", "rows", "documents", "results")
COMPARED_APART = ("users", "feed items")  # told where there are any
# Not TimeoutError apart: it is an OSError.
UNREACHABLE = (StateUnavailable, *TROUBLE, ApiError, TransportError, RedisError, KafkaError)


async def verify(post_id: str | None, *, wait: float) -> tuple[bool, Any, str]:
    """Compare everything, or one post. Bad when something differs, or cannot be compared."""
    return await compare(get_settings(), post_id, wait=wait)


async def compare(settings: Settings, post_id: str | None, *, wait: float) -> tuple[bool, Any, str]:
    """The same with given settings; `wait`: seconds that something may be on its way."""
    try:
        async with _opened(settings, post_id, wait) as (posts, others):
            findings = await (posts.all() if post_id is None else posts.some([post_id]))
            number = None if post_id is None else database_id(post_id)
            if post_id is None or number is not None:
                for other in others:
                    findings.add(await other.all(post=number))
    except UNREACHABLE as exc:
        text = f"{type(exc).__name__}: {exc}" if not isinstance(exc, StateUnavailable) else str(exc)
        return False, {"error": text}, f"cannot compare: {text}"
    return report(findings, post_id)


@asynccontextmanager
async def _opened(
    settings: Settings, post_id: str | None, wait: float
) -> AsyncIterator[tuple[Posts, list[Followers | Documents]]]:
    async with AsyncExitStack() as opened:
        state = State(settings.web_address, headers=settings.web_headers)
        opened.push_async_callback(state.close)
        await state.ready()
        pool = await open_pool(settings.postgres_url, max_size=1)
        opened.push_async_callback(pool.close)
        client = connect(settings.elasticsearch_url)
        opened.push_async_callback(client.close)
        redis = Redis.from_url(settings.redis_url, decode_responses=True, encoding_errors="surrogateescape")
        opened.push_async_callback(redis.aclose)
        rows = Rows(
            pool,
            tables=settings.sink_tables,
            image_width=settings.image_embedding_dim,
            face_width=settings.face_embedding_dim,
        )
        results = Results(Streams(redis, only=post_id), dialect=settings.dialect)
        rejections = Rejections(settings.kafka_servers)
        yield (
            Posts(state=state, rows=rows, results=results, wait=wait),
            [
                Followers(pool, tables=settings.sink_tables, wait=wait),
                *(
                    Documents(pool, client, index, prefix=settings.index_prefix, rejections=rejections, wait=wait)
                    for index in INDICES.values()
                ),
            ],
        )


def report(findings: Findings, post_id: str | None) -> tuple[bool, Any, str]:
    """What was found, for programs and for people."""
    differences = findings.differences
    unknown = post_id is not None and not findings.compared["posts"]
    counts = {name: findings.compared[name] for name in COMPARED} | {
        name: findings.compared[name] for name in COMPARED_APART if findings.compared[name]
    }
    body = {
        "differences": [dataclasses.asdict(each) for each in differences],
        "told": [
            {"what": what, "count": count, "examples": findings.examples[what]} for what, count in findings.told.items()
        ],
        "compared": counts,
    }
    lines = [each.line() for each in differences]
    for what, count in findings.told.items():
        examples = "; ".join([*findings.examples[what], *("…" for _ in range(count > EXAMPLES))])
        lines.append(f"no difference: {count} {what} ({examples})")
    if unknown:
        lines.append(f"no state knows post {post_id}")
    compared = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines.append(f"{len(differences)} differences; compared {compared}")
    return not differences and not unknown, body, "\n".join(lines)
