"""A whole system as people run it: servers, bridge and worker processes. Tests isolate by ids of their own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from running import Servers

import samples
import stack
from demo.backend import Backend
from streamapp.dead_letters import read_all

SETTINGS = {
    "STREAMAPP_ENV_FILE": os.devnull,
    **samples.SETTINGS,
    "STREAMAPP_POST_QUIET_SECONDS": "1.5",
    "STREAMAPP_POST_TIMEOUT_SECONDS": "6",
    "STREAMAPP_RETRY_SECONDS": "0.3",
    "STREAMAPP_FETCH_TIMEOUT_SECONDS": "2",
}
ENGINE = os.environ.get("STREAMAPP_TEST_ENGINE", "pixel")  # what looks at the images in this run: pixel or models
_ids = itertools.count(int(time.time()) * 100, 10)  # also on an instance that is kept between runs


class System:
    """The processes of the run, to kill and to start again with the same settings."""

    def __init__(self, servers: Servers, **settings: str) -> None:
        self.servers = servers
        self.settings = SETTINGS | settings
        self.environment = stack.environment(servers.instance)

    @contextmanager
    def _settings(self, **more: str) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.update(self.settings | more)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def up(self, *, workers: int = 1) -> None:
        with self._settings():
            stack.up(self.servers.instance, workers=workers)

    def start(self, name: str) -> None:
        with self._settings():
            stack.start(name, self.servers.instance)

    async def restart_worker(self, **more: str) -> None:
        """The worker anew, with other settings than the run's."""

        await asyncio.to_thread(self.replace_worker, **more)

    def replace_worker(self, **more: str) -> None:
        """restart_worker without an event loop."""
        self.down("worker-0")
        with self._settings(**more):
            stack.start("worker-0", self.servers.instance)

    def pid(self, name: str) -> int | None:
        """The process of a service, None when it does not run."""
        return next((state.pid for state in stack.status(self.servers.instance) if state.name == name), None)

    def kill(self, name: str) -> None:
        stack.kill(name, self.servers.instance)

    def down(self, *names: str) -> None:
        stack.down(self.servers.instance, only=names)

    async def dead_letters(self) -> list[dict[str, Any]]:
        """All dead letters: headers as text, and the value."""
        servers = [self.servers.kafka_url.removeprefix("kafka://")]
        return [{**headers, "value": value} async for headers, value in read_all(servers)]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a worker with engine `models`, its models tiny (tiny_models.py)."""
    import tiny_models  # it brings torch, which most runs of few tests do without

    directory = tiny_models.write(tmp_path_factory.mktemp("models"))
    return {"STREAMAPP_ENGINE": "models", "STREAMAPP_MODELS_DIR": str(directory)}


@pytest.fixture(scope="session")
def system(servers: Servers, request: pytest.FixtureRequest) -> Iterator[System]:
    """Bridge and one worker; stopped at the end of the run."""
    running = System(servers, **(request.getfixturevalue("models") if ENGINE == "models" else {}))
    running.up()
    yield running
    running.down("bridge", "worker-0", "worker-1")


@pytest.fixture
async def backend(system: System) -> AsyncIterator[Backend]:
    async with Backend(system.environment) as connected:
        await connected.add_user(15, "ana")
        yield connected


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The samples and some files that are no images, over HTTP; what is not there is a 404."""
    folder: Path = tmp_path_factory.mktemp("images")
    for name in samples.NAMES:
        (folder / f"{name}.jpg").write_bytes(samples.path(name).read_bytes())
    if ENGINE == "models":
        import photographs  # as above

        photographs.put_faces(folder)
    (folder / "text.jpg").write_text("I am a text, whatever my name says.\n")
    (folder / "note.json").write_text(json.dumps({"no": "image"}))
    with samples.serve(folder=folder) as url:
        yield url


@pytest.fixture
def post_id() -> int:
    """A post of this test's own; its media ids follow it."""
    return next(_ids)
