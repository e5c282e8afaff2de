"""The bridge alone: messages/s in and out, against the clients without a bridge in the same run."""

from __future__ import annotations

import time
from typing import Any

import orjson
import redis.asyncio as redis
from aiokafka import AIOKafkaProducer

STREAM_IN, STREAM_OUT = "es-sync-queue", "face-recognition-results"
GROUP = "streamapp"
BODY = "x" * 1000


async def carry(redis_url: str, kafka: str, messages: int) -> dict[str, Any]:
    """Rates over so many messages of 1 kB. The baselines are the bare writes: Redis for in, Kafka for out."""
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    try:
        written, carried_in = await _in(client, messages)
        produced, carried_out = await _out(client, producer, messages)
    finally:
        await producer.stop()
        await client.aclose()
    return {
        "messages": messages,
        "in_per_second": round(carried_in),
        "in_of_bare_xadd": round(carried_in / written, 2),
        "out_per_second": round(carried_out),
        "out_of_bare_produce": round(carried_out / produced, 2),
    }


async def _in(client: redis.Redis, messages: int) -> tuple[float, float]:
    """XADD rate without anyone reading (a stream of its own), and the rate from the first XADD to the last XACK."""
    begin = time.perf_counter()
    await _xadd(client, "bench-nobody-reads", messages)
    written = messages / (time.perf_counter() - begin)
    await client.delete("bench-nobody-reads")
    begin = time.perf_counter()
    await _xadd(client, STREAM_IN, messages)
    last = (await client.xrevrange(STREAM_IN, count=1))[0][0]  # type: ignore[index]
    while True:
        group = next(g for g in await client.xinfo_groups(STREAM_IN) if g["name"] == GROUP)
        if group["last-delivered-id"] == last and group["pending"] == 0:
            return written, messages / (time.perf_counter() - begin)


async def _xadd(client: redis.Redis, stream: str, messages: int) -> None:
    for start in range(0, messages, 1000):
        pipeline = client.pipeline(transaction=False)
        for n in range(start, min(start + 1000, messages)):
            fields = {"documentId": str(n), "indexType": "user_search", "operation": "index", "body": BODY}
            pipeline.xadd(stream, fields)  # type: ignore[arg-type]
        await pipeline.execute()


async def _out(client: redis.Redis, producer: AIOKafkaProducer, messages: int) -> tuple[float, float]:
    """Rate of producing alone, and the rate from the first record to the last entry."""
    before = await client.xlen(STREAM_OUT)
    begin = time.perf_counter()
    sent = [
        await producer.send(
            STREAM_OUT,
            orjson.dumps({"postId": str(n % 100), "body": BODY}),
            key=str(n % 100).encode(),
            headers=[("result-id", f"bench-{begin}-{n}".encode())],
        )
        for n in range(messages)
    ]
    for future in sent:
        await future
    produced = messages / (time.perf_counter() - begin)
    while await client.xlen(STREAM_OUT) - before < messages:
        pass
    return produced, messages / (time.perf_counter() - begin)
