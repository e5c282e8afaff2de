"""The real servers, once per run, on their own ports and data: a running `make up` is not touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import stack

INSTANCE = os.environ.get("STREAMAPP_TEST_INSTANCE", "test")


@dataclass(frozen=True)
class Servers:
    """Where the test servers are; `instance` names them for stack.kill and stack.start."""

    instance: str
    redis_url: str
    kafka_url: str
    postgres_url: str
    elasticsearch_url: str


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """All four servers, empty at the start of the run, stopped at its end."""
    keep = "STREAMAPP_TEST_INSTANCE" in os.environ  # somebody's own instance: use it as it is
    if not keep:
        stack.wipe(INSTANCE)
    stack.up(INSTANCE)
    urls = stack.urls(INSTANCE)
    yield Servers(
        instance=INSTANCE,
        redis_url=urls["STREAMAPP_REDIS_URL"],
        kafka_url=urls["STREAMAPP_KAFKA_URL"],
        postgres_url=urls["STREAMAPP_POSTGRES_URL"],
        elasticsearch_url=urls["STREAMAPP_ELASTICSEARCH_URL"],
    )
    if not keep:
        stack.wipe(INSTANCE)


@pytest.fixture(autouse=True)
def no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the shell and of .env do not reach the tests."""
    for name in [name for name in os.environ if name.startswith("STREAMAPP_")]:
        monkeypatch.delenv(name)
