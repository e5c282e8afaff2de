"""What the tests know of the running servers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Servers:
    """Where the test servers are; `instance` names them for stack.kill and stack.start."""

    instance: str
    redis_url: str
    kafka_url: str
    postgres_url: str
    elasticsearch_url: str
