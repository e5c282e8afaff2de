"""`make bench`: figures of the whole system, the bridge, the sink and a rebuild, on servers of their own.

The rebuild of 100,000 rows, and plain requests of as many before and after it, take most of the time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping

import samples
import stack
from bench import carrying, documents, machine, pipeline, posts, rows
from demo.backend import Backend
from demo.instance import running

INSTANCE = "bench"
POSTS = 200
MESSAGES = 20_000
MEDIA = 10_000  # with all their rows
DOCUMENTS = 100_000


async def measure(environment: Mapping[str, str]) -> dict[str, object]:
    """All figures; the bare loop runs before and after, so that a machine that is busy with other things shows."""
    bare = [pipeline.bare(40)]
    with samples.serve() as url:
        async with Backend(environment) as backend:
            await pipeline.burst(backend, url, 20)  # warm
            idle = await pipeline.alone(backend, url, 20)
            burst = await pipeline.burst(backend, url, POSTS)
        with posts.small_images() as url:
            async with Backend(environment) as backend:
                await pipeline.burst(backend, url, 20)  # warm
                sizes = {"pure": posts.pure(), "system": await posts.by_size(backend, url)}
                beside = await posts.beside(backend, url)
    kafka = environment["STREAMAPP_KAFKA_URL"].removeprefix("kafka://")
    bridge = await carrying.carry(environment["STREAMAPP_REDIS_URL"], kafka, MESSAGES)
    postgres, elasticsearch = environment["STREAMAPP_POSTGRES_URL"], environment["STREAMAPP_ELASTICSEARCH_URL"]
    sink = await rows.rows(postgres, MEDIA)
    rebuilt = await documents.documents(postgres, elasticsearch, DOCUMENTS)
    bare.append(pipeline.bare(40))
    loop = round(sum(bare) / len(bare), 1)
    burst["of_bare_loop"] = round(burst["images_per_second"] / loop, 2)
    return {
        "bare_loop_images_per_second": loop,
        "idle": idle,
        "burst": burst,
        "post_size": sizes,
        "beside_incomplete": beside,
        "bridge": bridge,
        "sink": sink,
        "rebuild": rebuilt,
    }


def main() -> int:
    """0 when everything was measured."""
    try:
        with running(INSTANCE) as environment:
            figures = asyncio.run(measure(environment))
    except (stack.StackError, TimeoutError) as exc:
        print(f"The bench failed: {exc}", file=sys.stderr)
        return 1
    print(json.dumps({"machine": machine.machine(), **figures}, indent=2))
    print(f"kept in {machine.keep(figures)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
