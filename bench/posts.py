"""What one post costs others, and what an event costs in a big post: the figures behind two promises.

An incomplete post does not delay the complete ones beside it; the cost of an event does not grow with its post.
"""

from __future__ import annotations

import json
import socket
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

import samples
from bench import pipeline
from demo.backend import Backend
from streamapp.engines.pixel import Pixel
from streamapp.events import Answered, Event, Registered, Task, Triggered, encode
from streamapp.insights import Insight, Kind
from streamapp.media.image import decode
from streamapp.posts.fold import fold
from streamapp.posts.policy import Policy
from streamapp.posts.state import Media, Post

SIDE = 64  # pixels: the figures are of messages and state, not of looking at images
PAIRS = 5
BESIDE = 100  # complete posts of one run
INTERVAL = 0.2  # seconds between them: well below what the system can do, so that a delay is not a queue's
SIZES = (2, 20, 200)  # media of a post
IMAGES = 400  # of each size, spread over posts
POLICY = Policy(model="pixel-1", quiet=5_000, timeout=120_000, max_wait=3_600_000)


@contextmanager
def small_images() -> Iterator[str]:
    """The base URL of the samples made small."""
    with tempfile.TemporaryDirectory() as folder:
        for name in pipeline.IMAGES:
            with Image.open(samples.path(name)) as image:
                image.resize((SIDE, SIDE)).save(Path(folder, f"{name}.jpg"), quality=90)
        with samples.serve(folder=Path(folder)) as url:
            yield url


async def beside(backend: Backend, url: str) -> dict[str, Any]:
    """p95 from a complete post's first message to its aggregate, without and with an incomplete post beside it:
    alternating pairs of runs, so that a machine that gets slower or faster meanwhile favours neither."""
    alone, together = [], []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:  # accepts and never answers
        never = f"http://127.0.0.1:{silent.getsockname()[1]}/never.jpg"
        for _ in range(PAIRS):
            alone.append(await _steady(backend, url))
            await _incomplete(backend, url, never)
            together.append(await _steady(backend, url))
    without, with_one = statistics.median(alone), statistics.median(together)
    return {
        "complete_posts": BESIDE,
        "pairs": PAIRS,
        "p95_ms_without": without,
        "p95_ms_with": with_one,
        "ratio": round(with_one / without, 2),
    }


async def _steady(backend: Backend, url: str) -> float:
    run = await pipeline.burst(backend, url, BESIDE, interval=INTERVAL)
    return float(run["xadd_to_enriched_ms"]["p95"])


async def _incomplete(backend: Backend, url: str, never: str) -> None:
    """A post with one image that can be had, one whose server never answers, and one that is never asked for."""
    post = pipeline.new_post()
    await backend.request_image(post, f"{post}-0", f"{url}/beach.jpg")
    await backend.request_image(post, f"{post}-1", never)
    await backend.trigger(post, *(f"{post}-{n}" for n in range(3)))


async def by_size(backend: Backend, url: str) -> dict[str, Any]:
    """Images/s of as many images in posts of each size, and as ratios to the smallest."""
    rates = {}
    for size in SIZES:
        run = await pipeline.burst(backend, url, IMAGES // size, per_post=size)
        rates[size] = float(run["images_per_second"])
    return {
        "images": IMAGES,
        "images_per_second": rates,
        "of_smallest": {size: round(rate / rates[SIZES[0]], 2) for size, rate in rates.items()},
    }


def pure() -> dict[str, Any]:
    """Microseconds per fact without any server, for posts of each size, and as ratios to the smallest."""
    insights = _insights()
    _microseconds(SIZES[0], insights)  # warm
    cost = {size: statistics.median(_microseconds(size, insights) for _ in range(3)) for size in SIZES}
    return {
        "microseconds_per_event": {size: round(value) for size, value in cost.items()},
        "of_smallest": {size: round(value / cost[SIZES[0]], 2) for size, value in cost.items()},
    }


def _insights() -> dict[Kind, tuple[Insight, ...]]:
    """What the engine says of a sample with faces."""
    engine = Pixel(image_dim=512, face_dim=1024, max_faces=32)
    picture = decode(samples.path("beach_sunset").read_bytes(), max_pixels=50_000_000)
    (sight,) = engine.see([picture])
    return {
        "vision": sight.insights,
        "captions": tuple(engine.caption([picture])),
        "faces": tuple(engine.faces([picture])),
    }


def _microseconds(size: int, insights: dict[Kind, tuple[Insight, ...]]) -> float:
    """Per fact, the mean over `IMAGES` images: rows decoded, the fold, and all it writes and sends encoded."""
    events, seconds = 0, 0.0
    for n in range(IMAGES // size):
        rows, facts = Rows(), deque(_requests(f"{n}", size))
        while facts:
            begin = time.perf_counter()
            tasks = rows.fold(facts.popleft(), events)
            seconds += time.perf_counter() - begin
            events += 1
            facts += [_answer(task, insights[task.kind]) for task in tasks]
    return seconds / events * 1e6


class Rows:
    """The rows of one post as the tables hold them: bytes."""

    def __init__(self) -> None:
        self._post: bytes | None = None
        self._media: dict[str, bytes] = {}

    def fold(self, fact: Event, at: int) -> tuple[Task, ...]:
        """What the posts agent does with a fact but for the sending; the tasks that follow from it."""
        post = None if self._post is None else msgspec.json.decode(self._post, type=Post)
        folded = fold(post, self._get, fact, at, POLICY)
        self._post = msgspec.json.encode(folded.post)
        for media_id, row in folded.media.items():
            self._media[media_id] = msgspec.json.encode(row)
        if folded.open is not None:
            msgspec.json.encode(folded.open)
        for record in (*folded.tasks, *folded.changes):
            encode(record)
        return folded.tasks

    def _get(self, media_id: str) -> Media | None:
        raw = self._media.get(media_id)
        return None if raw is None else msgspec.json.decode(raw, type=Media)


def _requests(post_id: str, size: int) -> Iterator[Event]:
    media = [str(n) for n in range(size)]
    for n, media_id in enumerate(media):
        yield Registered(
            post_id=post_id, media_id=media_id, url="http://images/a.jpg", clock=f"1-{n}", at=0, correlation_id="c"
        )
    yield Triggered(post_id=post_id, clock=f"2-{size}", at=0, media_ids=tuple(media))


def _answer(task: Task, insights: tuple[Insight, ...]) -> Answered:
    return Answered(
        post_id=task.post_id,
        media_id=task.media_id,
        generation=task.generation,
        model=POLICY.model,
        at=1,
        insights=insights,
    )


if __name__ == "__main__":
    print(json.dumps(pure(), indent=2))
