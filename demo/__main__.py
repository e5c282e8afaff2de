"""`make demo`: real servers, bridge and worker on ports and data of their own; stops what it started."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping

import samples
import stack
from demo import scenarios
from demo.backend import Backend
from demo.instance import running

INSTANCE = "demo"


async def show(environment: Mapping[str, str]) -> None:
    """The scenarios, one after the other."""
    with samples.serve() as images:
        async with Backend(environment) as backend:
            await scenarios.one_image(backend, images)
            await scenarios.three_images(backend, images)
            await scenarios.a_missing_image(backend, images)
            await scenarios.a_face(backend, images)
            await scenarios.rows(backend)
            await scenarios.search(backend)


def main() -> int:
    """0 when everything came out as expected."""
    begin = time.monotonic()
    try:
        with running(INSTANCE) as environment:
            asyncio.run(show(environment))
    except (stack.StackError, TimeoutError) as exc:
        print(f"\nThe demo failed: {exc}", file=sys.stderr)
        return 1
    print(
        f"\nDone in {time.monotonic() - begin:.0f} s. `make up` keeps a system running, README tells what to try on it."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
