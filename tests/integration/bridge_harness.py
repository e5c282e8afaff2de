"""What the bridge's tests share: names of their own, a Redis of their own, reading what came out."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from redis.asyncio import Redis

from bridge.settings import Settings

Entry = tuple[bytes, dict[bytes, bytes]]


class Servers(Protocol):
    """What the session's fixture `servers` has, as far as the bridge needs it."""

    redis_url: str
    kafka_url: str
    instance: str


class Direction(Protocol):
    ready: asyncio.Event

    async def run(self, stop: asyncio.Event) -> None: ...


def unique(name: str) -> str:
    """A name that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def settings_for(servers: Servers, **changes: Any) -> Settings:
    """Settings of a bridge with a group of its own and few partitions."""
    values = {
        "redis_url": servers.redis_url,
        "kafka_url": servers.kafka_url,
        "partitions": 2,
        "bridge_group": unique("group"),
        **changes,
    }
    return Settings(_env_file=None, **values)


async def eventually(condition: Callable[[], Any], *, seconds: float = 20) -> None:
    """Wait until `condition` (plain or async) is true."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(*directions: Direction) -> AsyncIterator[None]:
    """Run them, from ready to stopped."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(direction.run(stop)) for direction in directions]
    try:
        async with asyncio.timeout(20):
            for direction in directions:
                await direction.ready.wait()
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)


class Runs(Protocol):
    async def run(self, stop: asyncio.Event) -> None: ...


@contextlib.asynccontextmanager
async def running_until_stopped(something: Runs) -> AsyncIterator[None]:
    """Run what has no moment of being ready."""
    stop = asyncio.Event()
    task = asyncio.create_task(something.run(stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def produce(settings: Settings, topic: str, records: Iterable[dict[str, Any]]) -> None:
    """Produce records, given as arguments of `AIOKafkaProducer.send`, in order."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap_servers, max_request_size=settings.max_message_bytes
    ) as producer:
        await asyncio.gather(*[await producer.send(topic, **record) for record in records])


def result(number: int, *, key: str = "k", result_id: str | None = None) -> dict[str, Any]:
    """A record with the fields `key` and `n`, and the result id `<key>/<number>` unless told otherwise."""
    result_id = f"{key}/{number}" if result_id is None else result_id
    value = json.dumps({"key": key, "n": str(number)}).encode()
    headers = [("result-id", result_id.encode())] if result_id else []
    return {"value": value, "key": key.encode(), "headers": headers}


async def read_topic(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """All records of a topic as it is now, in offset order per partition."""
    async with AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest") as consumer:
        await consumer._client.add_topic(topic)
        parts = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        found: dict[TopicPartition, list[ConsumerRecord]] = {part: [] for part in parts}
        while [part for part in parts if await consumer.position(part) < ends[part]]:
            for part, records in (await consumer.getmany(timeout_ms=200)).items():
                found[part] += records
    return [record for part in parts for record in found[part]]


def redis_ids(records: Iterable[ConsumerRecord]) -> list[bytes]:
    return [dict(record.headers)["redis-id"] for record in records]


def first_of_each(records: Iterable[ConsumerRecord]) -> list[ConsumerRecord]:
    """Without the repeats, which are known by their Redis id."""
    firsts: dict[bytes, ConsumerRecord] = {}
    for record in records:
        firsts.setdefault(dict(record.headers)["redis-id"], record)
    return list(firsts.values())


def by_key(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """`{key: [value, …]}` in the order of the pairs."""
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


async def add_entries(redis: Redis, stream: str, entries: Sequence[dict[Any, Any]]) -> list[bytes]:
    pipe = redis.pipeline(transaction=False)
    for entry in entries:
        pipe.xadd(stream, entry)
    ids: list[bytes] = await pipe.execute()
    return ids


async def entries_of(redis: Redis, stream: str) -> list[Entry]:
    entries: Any = await redis.xrange(stream)
    return list(entries)


class RedisServer:
    """A Redis of one test, to be killed and started again on the same port and data."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary, "redis-server is on the PATH of who runs the tests"
        self._process = subprocess.Popen(
            [
                *(binary, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._directory)),
                *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
            ],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
