"""`make demo`: real servers, bridge and worker on ports and data of their own; stops what it started."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import time

import samples
import stack
from demo import scenarios
from demo.backend import Backend

INSTANCE = "demo"


async def show() -> None:
    """The scenarios, one after the other."""
    with samples.serve() as images:
        async with Backend(stack.environment(INSTANCE)) as backend:
            await scenarios.one_image(backend, images)
            await scenarios.three_images(backend, images)
            await scenarios.a_missing_image(backend, images)
            await scenarios.rows(backend)
            await scenarios.search(backend)


def _clear() -> None:
    """Stop and delete the demo's instance without a word: the last thing to read is what was found."""
    with contextlib.redirect_stdout(io.StringIO()):
        stack.wipe(INSTANCE)


def main() -> int:
    """0 when everything came out as expected."""
    begin = time.monotonic()
    for name in [name for name in os.environ if name.startswith("STREAMAPP_")]:
        del os.environ[name]  # the demo is the same for everybody
    os.environ |= {"STREAMAPP_ENV_FILE": os.devnull, "STREAMAPP_FETCH_ALLOWED_HOSTS": "127.0.0.1"}
    _clear()
    try:
        stack.up(INSTANCE, workers=1)
        asyncio.run(show())
    except (stack.StackError, TimeoutError) as exc:
        print(f"\nThe demo failed: {exc}", file=sys.stderr)
        return 1
    finally:
        _clear()
    print(
        f"\nDone in {time.monotonic() - begin:.0f} s. `make up` keeps a system running, README tells what to try on it."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
