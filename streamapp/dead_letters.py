"""The form of a dead letter: original key and bytes, and headers that tell where it came from and why; and reading
all that there are."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer

from streamapp.names import DEAD_LETTERS
from streamapp.times import iso, now

KEPT_BYTES = 32 * 1024  # of a value that is too large to be kept whole
POLL_MS = 500


def cut(value: bytes) -> tuple[bytes, dict[str, str]]:
    """The beginning of a value that is too large, and headers by which the whole can be known."""
    return value[:KEPT_BYTES], {"length": str(len(value)), "sha256": hashlib.sha256(value).hexdigest()}


def dead_letter_headers(*, origin: str, error: Exception, headers: Mapping[str, bytes]) -> dict[str, str]:
    """The original headers plus `origin`, `error` (one line) and `time`."""
    kept = {name: value.decode("utf-8", "replace") for name, value in headers.items()}
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return {**kept, "origin": origin, "error": text[:2000], "time": iso(now())}


async def read_all(servers: Sequence[str]) -> AsyncIterator[tuple[dict[str, str], bytes | None]]:
    """Headers and value of every dead letter there is now. Raises KafkaError or OSError."""
    consumer = AIOKafkaConsumer(
        DEAD_LETTERS,
        bootstrap_servers=list(servers),
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
                    yield {name: value.decode("utf-8", "replace") for name, value in record.headers}, record.value
    finally:
        await consumer.stop()
