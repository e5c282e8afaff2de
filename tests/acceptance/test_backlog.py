"""Deadlines wait out a backlog: what waits for its turn has not failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from results import aggregates, answered
from system import System

import samples
from demo.backend import Backend

pytestmark = pytest.mark.timeout(120)
MEDIA, SECONDS = 14, 0.8  # one after the other: far more than the timeout of 6 seconds


@pytest.fixture
async def slow_images() -> AsyncIterator[str]:
    """Any path is the same picture, after a while."""

    async def answer(request: web.Request) -> web.FileResponse:
        await asyncio.sleep(SECONDS)
        return web.FileResponse(samples.path("beach"))

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def one_at_a_time(system: System) -> AsyncIterator[None]:
    await system.restart_worker(STREAMAPP_TASKS_IN_FLIGHT="1")
    yield
    await system.restart_worker()


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_backlog_that_moves_puts_the_deadline_off(backend: Backend, slow_images: str, post_id: int) -> None:
    post = post_id * 100
    ids = range(post + 1, post + 1 + MEDIA)
    for media_id in ids:
        await backend.request_image(post, media_id, f"{slow_images}/{media_id}.jpg")
    await backend.trigger(post, *ids)
    (aggregate,) = await aggregates(backend, post, seconds=60)
    assert aggregate["completeness"] == "complete"
    await answered(backend, post, MEDIA)
