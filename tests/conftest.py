"""The real servers, once per run, on their own ports and data: a running `make up` is not touched."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import settings
from running import Servers

import stack
from stack.instance import instances_directory

pytest_plugins = ["system", "own"]
settings.register_profile("thorough", max_examples=2_000)

KEPT = os.environ.get("STREAMAPP_TEST_INSTANCE")  # an instance to use as it is and to leave running


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """All four servers, empty at the start of the run, gone at its end. Two runs at once do not meet."""
    instance = KEPT or f"test-{os.getpid()}"
    _remove_leftovers()
    try:
        stack.up(instance)
        urls = stack.urls(instance)
        yield Servers(
            instance=instance,
            redis_url=urls["STREAMAPP_REDIS_URL"],
            kafka_url=urls["STREAMAPP_KAFKA_URL"],
            postgres_url=urls["STREAMAPP_POSTGRES_URL"],
            elasticsearch_url=urls["STREAMAPP_ELASTICSEARCH_URL"],
        )
    finally:
        if KEPT is None:
            stack.wipe(instance)
            (instances_directory() / f"{instance}.lock").unlink(missing_ok=True)


def _remove_leftovers() -> None:
    """Stop and delete what a killed run left."""
    for home in instances_directory().glob("test-*/"):
        pid = home.name.removeprefix("test-")
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            stack.wipe(home.name)


@pytest.fixture(autouse=True)
def no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the shell and of .env do not reach the tests."""
    for name in [name for name in os.environ if name.startswith("STREAMAPP_")]:
        monkeypatch.delenv(name)
