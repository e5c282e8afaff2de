"""At the message limit: what is too large for one record hurts nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image
from results import answered, letter_of
from system import System

import samples
from demo.backend import Backend, until

pytestmark = pytest.mark.timeout(240)
MEDIA = 150
LONG = 7_000  # characters of an address, which the aggregate repeats: 150 of them are over one MiB


@pytest.fixture
async def small_limit(system: System) -> AsyncIterator[None]:
    await system.restart_worker(STREAMAPP_MAX_MESSAGE_BYTES=str(2**20), STREAMAPP_POST_TIMEOUT_SECONDS="100")
    yield
    await system.restart_worker()


@pytest.mark.usefixtures("small_limit")
async def test_an_aggregate_over_the_limit_is_kept_and_its_post_goes_on(
    system: System, backend: Backend, post_id: int, tmp_path: Path
) -> None:
    Image.new("RGB", (32, 32), "teal").save(tmp_path / "small.jpg")
    post = post_id * 1000
    ids = range(post + 1, post + 1 + MEDIA)
    with samples.serve(folder=tmp_path) as url:
        for media_id in ids:
            await backend.request_image(post, media_id, f"{url}/small.jpg?{'x' * LONG}")
        await backend.trigger(post, *ids)

        async def complete() -> bool:
            return (await backend.story(post)).get("state") == "complete"

        await until(complete, what="all images of the large post", seconds=120)
    await answered(backend, post, MEDIA)
    assert await backend.results("post-insights-enriched", post) == []
    letter = await letter_of(system, f'"post_id":"{post}"')
    assert letter["origin"].startswith("kafka:post-events:")
    assert letter["origin"].endswith(":post-changes")
    assert "TooLarge" in letter["error"]
    assert (await backend.story(post))["state"] == "complete"
    # Others are not held up by it.
    await backend.request_image(post_id, post_id + 1, f"{url}/gone.jpg")
    await until(lambda: backend.results("ml-error-results", post_id), what="the next post's error")
