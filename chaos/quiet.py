"""Quiet: everything that was sent is worked off, and nothing more will happen by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from bridge.checkpoints import Checkpoints
from bridge.names import INBOUND, OUTBOUND
from bridge.settings import Settings
from bridge.topic_ids import describe
from bridge.topics import kafka_client
from chaos.kafka import Kafka, behind
from demo.backend import Backend

POLL_SECONDS = 0.5


async def quiet(backend: Backend, environment: Mapping[str, str], *, seconds: float) -> list[str]:
    """Wait until nothing stirs, twice in a row with nothing new in between. What still stirs after so many seconds:
    that is pending for ever."""
    end = time.monotonic() + seconds
    before: object = None
    while True:
        try:
            found, offsets = await _look(backend, environment)
        except (KafkaError, RedisError, OSError) as error:
            found, offsets = [f"{type(error).__name__}: {error}"], {}
        if not found and offsets == before:
            return []
        if time.monotonic() > end:
            return found or ["it never stops"]
        before = None if found else offsets
        await asyncio.sleep(POLL_SECONDS)


async def _look(backend: Backend, environment: Mapping[str, str]) -> tuple[list[str], dict[TopicPartition, int]]:
    """What stirs, in the order of its way through the system: what moves on meanwhile is seen further down."""
    found = await _inbound(backend)
    kafka = Kafka(environment["STREAMAPP_KAFKA_URL"])
    ends, committed = await kafka.ends(), await kafka.committed()
    found += behind(ends, committed)
    found += await _outbound(backend, environment, ends)
    found += await _unfinished(backend)
    for table in ("awaiting", "es_outbox"):
        if count := await backend.postgres.fetchval(f"SELECT count(*) FROM {table}"):
            found.append(f"{count} in {table}")
    return found, ends


async def _inbound(backend: Backend) -> list[str]:
    found = []
    for stream in INBOUND:
        groups: list[dict[str, Any]] = await backend.redis.xinfo_groups(stream)
        found += [
            f"{stream}: {group['pending']} pending, {group['lag']} not read"
            for group in groups
            if group["pending"] or group["lag"]
        ]
        if not groups:
            found.append(f"{stream} has no reader")
    return found


async def _outbound(backend: Backend, environment: Mapping[str, str], ends: Mapping[TopicPartition, int]) -> list[str]:
    settings = Settings(kafka_url=environment["STREAMAPP_KAFKA_URL"])
    async with kafka_client(settings) as client:
        topics = await describe(client, OUTBOUND)
    checkpoints = Checkpoints(redis=backend.redis, seen_seconds=1)
    carried = await checkpoints.read({name: topic.topic_id for name, topic in topics.items()})
    return [
        f"{tp.topic}:{tp.partition} carried to {carried.get(tp, -1) + 1} of {end}"
        for tp, end in ends.items()
        if tp.topic in OUTBOUND and carried.get(tp, -1) + 1 < end
    ]


async def _unfinished(backend: Backend) -> list[str]:
    """Posts that wait for a next attempt or for the end of the quiet period."""
    async with backend.http.get(f"{backend.worker}/tables/open_posts?limit=5") as response:
        body = await response.json()
    if response.status != 200 or body["unreachable"]:
        return [f"the workers do not answer: {body}"]
    return [f"post {row['key']} is not finished" for row in body["rows"]]
