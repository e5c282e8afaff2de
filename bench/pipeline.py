"""Images through the whole system: latencies from the ids Redis gave (milliseconds of its clock), and images/s."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import samples
from bench.machine import percentiles
from demo.backend import Backend, Fields
from streamapp.engines.pixel import Pixel
from streamapp.media.image import decode

IMAGES = ("beach", "beach_people", "beach_sunset", "forest", "street")
PER_POST = 2
RESULTS = 6  # messages per image: five insights and the faces
Entries: TypeAlias = list[tuple[str, list[tuple[str, Fields]]]]
_posts = itertools.count(int(time.time()) * 1000)


def bare(images: int) -> float:
    """Images/s of the same work in a plain loop of one process: decode and all three looks, nothing else."""
    engine = Pixel(image_dim=512, face_dim=1024, max_faces=32)
    files = [samples.path(name).read_bytes() for name in IMAGES]
    begin = time.perf_counter()
    for raw in itertools.islice(itertools.cycle(files), images):
        picture = decode(raw, max_pixels=50_000_000, min_side=960)
        engine.see([picture])
        engine.caption([picture])
        engine.faces([picture])
    return images / (time.perf_counter() - begin)


def new_post() -> int:
    """The id of a post that no other run has."""
    return next(_posts)


async def burst(
    backend: Backend,
    url: str,
    posts: int,
    *,
    per_post: int = PER_POST,
    interval: float = 0.0,
    images: Sequence[str] = IMAGES,
) -> dict[str, Any]:
    """All posts at once, or `interval` seconds apart; each with its trigger."""
    asked: dict[str, int] = {}
    at = await _ends(backend)
    begin = time.perf_counter()
    for n in range(posts):
        await asyncio.sleep(max(0.0, begin + n * interval - time.perf_counter()))
        post = new_post()
        asked[str(post)] = await _ask(backend, url, post, per_post, images)
    results, enriched = await _collect(backend, at, set(asked), per_post)
    seconds = time.perf_counter() - begin
    return {
        "posts": posts,
        "images": posts * per_post,
        "images_per_second": round(posts * per_post / seconds, 2),
        "last_result_to_enriched_ms": percentiles([enriched[post] - max(results[post]) for post in asked]),
        "xadd_to_first_result_ms": percentiles([min(results[post]) - asked[post] for post in asked]),
        "xadd_to_enriched_ms": percentiles([enriched[post] - asked[post] for post in asked]),
    }


async def alone(backend: Backend, url: str, posts: int) -> dict[str, Any]:
    """One post at a time on an idle system."""
    first, last = [], []
    for _ in range(posts):
        post, at = new_post(), await _ends(backend)
        asked = await _ask(backend, url, post, PER_POST)
        results, enriched = await _collect(backend, at, {str(post)}, PER_POST)
        first.append(min(results[str(post)]) - asked)
        last.append(enriched[str(post)] - max(results[str(post)]))
    return {
        "posts": posts,
        "xadd_to_first_result_ms": percentiles(first),
        "last_result_to_enriched_ms": percentiles(last),
    }


async def _ask(backend: Backend, url: str, post: int, per_post: int, images: Sequence[str] = IMAGES) -> int:
    """Ask for the images of a post and its aggregate; Redis's time of the first message."""
    media = [post * 1000 + n for n in range(per_post)]
    entries = [
        await backend.request_image(post, media_id, f"{url}/{images[(post + n) % len(images)]}.jpg")
        for n, media_id in enumerate(media)
    ]
    await backend.trigger(post, *media)
    return _ms(entries[0])


async def _ends(backend: Backend) -> dict[str, str]:
    """Where the result streams end now."""
    ends = {}
    for stream in ("ml-insights-results", "face-detection-results", "post-insights-enriched"):
        newest: Any = await backend.redis.xrevrange(stream, count=1)
        ends[stream] = newest[0][0] if newest else "0"
    return ends


async def _collect(
    backend: Backend, at: dict[str, str], posts: set[str], per_post: int
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Times of the results and of the aggregate of each post, once all are there. `at`: where to read from."""
    results: dict[str, list[int]] = {post: [] for post in posts}
    enriched: dict[str, int] = {}
    while len(enriched) < len(posts) or any(len(times) < RESULTS * per_post for times in results.values()):
        for stream, entries in await _read(backend, at):
            for entry_id, fields in entries:
                post = fields.get("postId", "")
                at[stream] = entry_id
                if post in posts and stream == "post-insights-enriched":
                    enriched.setdefault(post, _ms(entry_id))
                elif post in posts:
                    results[post].append(_ms(entry_id))
    return results, enriched


async def _read(backend: Backend, at: dict[str, str]) -> Entries:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        # Shorter than the client's own patience with a socket.
        found: Entries = await backend.redis.xread(at, count=1000, block=1000)  # type: ignore[arg-type, assignment]
        if found:
            return found
    raise TimeoutError("no result for 60 s")


def _ms(entry_id: str) -> int:
    return int(entry_id.split("-")[0])
